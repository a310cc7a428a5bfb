"""Products with parameters, wherever a module computes them, and how much they are."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.parametrizations import weight_norm

import mho
from mho.model.tracer import trace


class Bare(nn.Module):
    """One parameter, used as ``use`` says."""

    def __init__(self, use, *shape):
        super().__init__()
        self.use = use
        self.w = nn.Parameter(torch.randn(*shape))

    def forward(self, x):
        return self.use(x, self.w)


USES = {
    "matmul": (lambda x, w: x @ w, (6, 4), (3, 6), 72),
    "linear": (lambda x, w: F.linear(x, w), (4, 6), (3, 6), 72),
    "einsum": (lambda x, w: torch.einsum("bi,oi->bo", x, w), (4, 6), (3, 6), 72),
    "bmm": (lambda x, w: torch.bmm(x, w), (2, 6, 4), (2, 3, 6), 144),
    "baddbmm": (lambda x, w: torch.baddbmm(x[..., :4], x, w), (2, 6, 4), (2, 3, 6), 144),
    "addmm": (lambda x, w: torch.addmm(x[:, :4], x, w), (6, 4), (3, 6), 72),
    "mv": (lambda x, w: torch.mv(w, x), (4, 6), (6,), 24),
    "tensordot": (lambda x, w: torch.tensordot(x, w, dims=1), (6, 4), (3, 6), 72),
    "conv2d": (lambda x, w: F.conv2d(x, w), (4, 2, 3, 3), (1, 2, 5, 5), 4 * 18 * 9),
    "conv1d": (lambda x, w: F.conv1d(x, w, groups=2), (4, 1, 3), (1, 2, 5), 4 * 3 * 3),
    "conv_transpose1d": (lambda x, w: F.conv_transpose1d(x, w), (2, 4, 3), (1, 2, 5), 10 * 12),
    "bilinear": (lambda x, w: F.bilinear(x, x, w), (4, 6, 6), (3, 6), 3 * 144),
}


@pytest.mark.parametrize("name", USES)
def test_each_operation_is_found_with_its_multiply_accumulates(name):
    use, shape, given, macs = USES[name]
    found = trace(Bare(use, *shape), torch.randn(*given))
    (product,) = found.products
    assert (product.name, product.operation, product.macs) == ("w", name, macs)
    assert found.between == 0


@pytest.mark.parametrize(
    "use",
    [
        lambda x, w: x @ w.T,
        lambda x, w: x @ w.reshape(12, 2).view(4, 6).mT,
        lambda x, w: x.double() @ w.double().T,
        lambda x, w: x @ w[:, :6].t().contiguous(),
        lambda x, w: x @ (2.0 * w / w.norm()).T,
        lambda x, w: F.linear(x, torch.cat((w[:2], w[2:]))),
        lambda x, w: F.linear(x, w.detach().clone()),
        lambda x, w: F.linear(x, nn.functional.normalize(w, dim=1)),
        lambda x, w: F.linear(x, w.data),
    ],
)
def test_what_is_made_of_a_parameter_keeps_its_name(use):
    (product,) = trace(Bare(use, 4, 6), torch.randn(3, 6)).products
    assert product.name == "w"
    assert product.macs == 72


def test_sums_and_scales_are_no_products():
    found = trace(Bare(lambda x, w: x * w + w, 3, 6), torch.randn(3, 6))
    assert not found.products
    assert found.between == 0


def test_products_of_activations_are_counted_apart():
    found = trace(Bare(lambda x, w: (x @ w) @ (x @ w).T, 6, 4), torch.randn(3, 6))
    assert [p.macs for p in found.products] == [2 * 72]
    assert found.products[0].uses == 2
    assert found.between == 3 * 3 * 4


def test_attention_and_recurrent_layers():
    attention = trace(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), torch.randn(2, 5, 8))
    assert attention.macs == 10 * (3 * 64 + 64 + 2 * 128)
    assert attention.between == 2 * 2 * 5 * 5 * 8  # scores and values, over both heads
    lstm = trace(nn.LSTM(3, 4), torch.randn(7, 2, 3))
    assert lstm.macs == 14 * 16 * (3 + 4)


def test_a_weight_that_is_computed_has_the_names_of_its_parts():
    layer = weight_norm(nn.Linear(6, 4))
    (product,) = trace(layer, torch.randn(3, 6)).products
    assert "parametrizations.weight.original0" in product.name
    assert product.macs == 72
    masked = prune.random_unstructured(nn.Linear(6, 4), "weight", 0.5)
    (product,) = trace(masked, torch.randn(3, 6)).products
    assert product.name == "weight_orig"


def test_the_model_is_left_alone():
    model = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Dropout(0.5)).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.get_rng_state()
    trace(model, torch.randn(3, 6, generator=torch.Generator().manual_seed(0)))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert model.training
    assert torch.backends.mha.get_fastpath_enabled()


class Looking(nn.Module):
    """Cannot run without values."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(6, 4))

    def forward(self, x, *, scale=1.0):
        return x @ self.w * scale if float(x.sum()) > 0 else x


def test_a_model_that_looks_at_values_is_run_on_a_copy():
    (product,) = trace(Looking(), {"x": torch.ones(3, 6), "scale": 2.0}).products
    assert product.macs == 72


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.w = nn.Parameter(torch.randn(6, 2))

    def forward(self, x):
        return self.first(x) @ self.w


def test_summary_names_bare_parameters_and_shares():
    model, x = Mixed().eval(), torch.randn(3, 6)
    with pytest.warns(UserWarning, match=r"and 75% of multiply–accumulates on crossbars"):
        analog = mho.convert(model, mho.Hardware(), inputs=x)
    for inputs in (x, (x,), {"x": x}):
        summary = mho.summary(analog, inputs)
        (product,) = summary.products
        assert (product.name, product.operation, product.macs) == ("w", "matmul", 36)
        assert (summary.shares.macs, summary.shares.of_macs) == (108, 144)
    text = str(summary)
    assert "w (matmul): 25% of multiply–accumulates" in text
    digital = mho.summary(model, x)
    assert [p.name for p in digital.products] == ["first.weight", "w"]
    assert mho.summary(analog).products == ()


def test_inputs_that_do_not_fit_are_said_and_do_no_harm():
    with pytest.warns(UserWarning, match=r"multiply–accumulates not known: RuntimeError"):
        analog = mho.convert(Mixed(), mho.Hardware(), inputs=torch.randn(3, 5))
    assert "not known" in str(mho.summary(analog, torch.randn(3, 5)))


class _Half(nn.Module):
    def forward(self, w):
        return w / 2


def test_a_parametrized_layer_on_crossbars_counts_as_there():
    model = nn.Sequential(nn.Linear(6, 6))
    parametrize.register_parametrization(model[0], "weight", _Half())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        analog = mho.convert(model, mho.Hardware(), inputs=torch.randn(2, 6))
    shares = mho.summary(analog, torch.randn(2, 6)).shares
    assert (shares.weights, shares.of_weights) == (36, 36)
    assert shares.macs == shares.of_macs == 72
