"""Layers whose weights are computed: copied, saved, changed later, watched, refused."""

import copy
import io
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import mho
from mho import Hardware
from weight_ways import WAYS, Scaled, Softplus, digital_part, parametrized, prepared, steps

IDEAL = Hardware()
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated"),
    pytest.mark.filterwarnings("ignore:.*is deprecated in favor of"),
]
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


# ── the layer as an object ───────────────────────────────────────────────────────────────────


def pickled(model):
    return pickle.loads(pickle.dumps(model))


def saved(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def test_unpickled_weight_norm_still_loads_checkpoints_of_the_older_one():
    old = nn.utils.weight_norm(nn.Linear(6, 5))
    with torch.no_grad():
        old.weight_g.mul_(2)
    analog = pickled(mho.convert(parametrizations.weight_norm(nn.Linear(6, 5)), IDEAL))
    assert analog.load_state_dict(old.state_dict(), strict=False).unexpected_keys == []
    x = torch.randn(3, 6)
    torch.testing.assert_close(analog(x), old(x), rtol=1e-4, atol=1e-5)


@ways
@pytest.mark.parametrize("copied", [copy.deepcopy, pickled, saved])
def test_copies(way, copied):
    digital, x = prepared(way)
    analog = mho.convert(nn.Sequential(digital), IDEAL)
    steps(analog, x, 1)  # weights that hooks have set now have a history
    mho.program(analog)
    twin = copied(analog)
    assert torch.equal(twin.eval()(x), analog.eval()(x))
    assert repr(twin) == repr(analog)
    before = {k: v.clone() for k, v in analog.state_dict().items() if torch.is_tensor(v)}
    steps(twin.train(), x, 1)
    mho.program(twin)
    assert not torch.equal(twin.eval()(x), analog(x))
    after = analog.state_dict()
    assert all(torch.equal(after[k].nan_to_num(), v.nan_to_num()) for k, v in before.items())


@ways
def test_other_precision(way):
    digital, x = prepared(way)
    analog = mho.convert(digital.float(), IDEAL).to(torch.float64)
    twin = prepared(way)[0].float().double()
    for found, wanted in zip(steps(analog, x), steps(twin, x), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)
    mho.program(analog)
    torch.testing.assert_close(analog.eval()(x), twin.eval()(x), rtol=1e-6, atol=1e-6)


def test_pruning_made_permanent():
    analog = mho.convert(prune.l1_unstructured(nn.Linear(6, 5), "weight", 0.5), IDEAL)
    mask, kept = analog.weight_mask.clone(), analog.weight_orig.detach().clone()
    prune.remove(analog, "weight")
    assert set(digital_part(analog)) == {"weight", "bias"}
    assert torch.equal(analog.weight, kept * mask)
    x = torch.randn(4, 6)
    steps(analog, x)
    mho.program(analog)
    assert torch.allclose(analog.eval()(x), nn.functional.linear(x, analog.weight, analog.bias))


@pytest.mark.parametrize("kept", [True, False])
def test_parametrizations_are_removed_from_one_layer_alone(kept):
    analog = mho.convert(parametrized(nn.Linear(6, 5), "weight", Softplus()), IDEAL).eval()
    twin, x = copy.deepcopy(analog), torch.randn(4, 6)
    value, original = analog.weight.detach(), analog.parametrizations.weight.original.clone()
    parametrize.remove_parametrizations(twin, "weight", leave_parametrized=kept)
    assert type(twin) is mho.nn.Linear
    assert torch.equal(twin.weight, value if kept else original)
    mho.program(twin)
    assert torch.allclose(twin(x), nn.functional.linear(x, twin.weight, twin.bias), atol=1e-6)
    assert torch.equal(analog.weight, value)
    assert set(digital_part(analog)) == {"parametrizations.weight.original", "bias"}


@pytest.mark.filterwarnings("ignore:left digital")
def test_what_is_left_digital_is_the_copy_s_own_too():
    model = nn.Sequential(nn.Linear(3, 3), parametrizations.weight_norm(nn.Embedding(4, 3)))
    analog = mho.convert(model, IDEAL)
    plain = mho.collapse(analog)
    before = model[1].weight.detach().clone()
    for copied in (analog, plain):
        parametrize.remove_parametrizations(copied[1], "weight")
        assert type(copied[1]) is nn.Embedding
    assert torch.equal(model[1].weight, before)
    assert torch.equal(plain[1].weight, analog[1].weight)


def test_layers_may_be_pruned_and_parametrized_later():
    analog = mho.convert(nn.Linear(6, 5), IDEAL)
    prune.l1_unstructured(analog, "weight", 0.5)
    parametrize.register_parametrization(analog, "bias", Scaled())
    x = torch.randn(4, 6)
    with pytest.warns(UserWarning, match=r"weight_mask.*mho\.program"):
        analog.eval()(x)
    steps(analog.train(), x)
    mho.program(analog)
    wanted = nn.functional.linear(x, analog.weight_orig * analog.weight_mask, analog.bias)
    assert torch.allclose(analog.eval()(x), wanted, atol=1e-6)


def test_parametrizations_cached_by_torch_are_each_layer_s_own():
    model = nn.Sequential(*(parametrized(nn.Linear(4, 4), "weight", Softplus()) for _ in range(9)))
    analog = mho.convert(model, IDEAL)
    x = torch.randn(3, 4)
    with parametrize.cached():
        torch.testing.assert_close(analog(x), model(x), rtol=1e-4, atol=1e-5)


# ── stale, loaded, refused ───────────────────────────────────────────────────────────────────


@ways
def test_what_weights_are_made_of_is_watched(way):
    digital, x = prepared(way)
    analog = mho.convert(digital, IDEAL).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        analog(x)
        copy.deepcopy(analog)(x)
        analog.load_state_dict(analog.state_dict())
        analog(x)
        analog.train()
        analog.wanted()
        analog.eval()(x)
    name = next(n for n, _ in analog.named_parameters() if "bias" not in n)
    with torch.no_grad():
        analog.get_parameter(name).mul_(2)
    with pytest.warns(UserWarning, match=f"{name}.*mho.program"):
        analog(x)


def test_masks_are_watched():
    analog = mho.convert(prune.identity(nn.Linear(6, 5), "weight"), IDEAL).eval()
    analog.weight_mask[0] = 0
    with pytest.warns(UserWarning, match=r"weight_mask.*mho\.program"):
        analog(torch.randn(2, 6))
    mho.program(analog)
    assert not analog(torch.zeros(1, 6)).sub(analog.bias).any()
    assert not analog.crossbar.weight[:, 0].abs().gt(1e-6).any()


@ways
def test_checkpoints_of_the_torch_layer_load(way):
    digital, x = prepared(way)
    other = prepared(way)[0]
    steps(other, x)
    analog = mho.convert(digital, IDEAL).eval()
    missing, unexpected = analog.load_state_dict(other.state_dict(), strict=False)
    assert all("crossbar" in name for name in missing)
    assert not unexpected
    mho.program(analog)
    torch.testing.assert_close(analog(x), other.eval()(x), rtol=1e-9, atol=1e-9)
    fresh = mho.convert(digital, IDEAL).eval()
    fresh.load_state_dict(analog.state_dict())
    torch.testing.assert_close(fresh(x), analog(x), rtol=1e-12, atol=1e-12)


def test_weights_set_by_unknown_hooks_are_refused():
    def equalise(module, _):
        module.weight = module.gain * 2

    layer = nn.Linear(4, 4)
    layer.gain = nn.Parameter(layer.weight.detach().clone())
    del layer.weight
    layer.register_forward_pre_hook(equalise)
    equalise(layer, ())
    with pytest.raises(ValueError, match=r"'1'.*weight.*equalise"):
        mho.convert(nn.Sequential(nn.Linear(4, 4), layer), IDEAL)


def test_a_failure_names_the_layer_and_changes_nothing():
    model = nn.Sequential(
        parametrizations.spectral_norm(nn.Linear(4, 4)),
        parametrizations.weight_norm(nn.Linear(4, 4)),
    )
    with torch.no_grad():
        model[1].parametrizations.weight.original0[0] = torch.inf
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=r"'1'.*finite"):
        mho.convert(model, IDEAL)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    analog = mho.convert(model[0], IDEAL)
    with torch.no_grad():
        analog.parametrizations.weight.original[0, 0] = torch.nan
    stored = analog.crossbar.G.clone()
    with pytest.raises(ValueError, match="finite"):
        mho.program(analog)
    assert torch.equal(analog.crossbar.G, stored)


class Outer(nn.Linear):
    def forward(self, x):
        return x.unsqueeze(-1) * self.weight


def test_what_is_left_digital_counts_with_its_parametrizations():
    model = nn.Sequential(
        parametrizations.weight_norm(nn.Linear(4, 4)),
        parametrizations.weight_norm(Outer(3, 2)),
    )
    with pytest.warns(UserWarning, match=r"left digital: Outer '1' \(no crossbar layer"):
        analog = mho.convert(model, IDEAL)
    summary = mho.summary(analog)
    assert [(d.name, d.parameters) for d in summary.digital] == [("1", 2 + 6 + 2)]
    assert [layer.kind for layer in summary.layers] == ["Linear"]


@ways
def test_only_parameters_can_be_quantised(way):
    digital, _ = prepared(way)
    with pytest.raises(ValueError, match=r"(weight|bias) is computed"):
        mho.train.quantise(nn.Sequential(digital), mho.train.WAGE(2, 8, 8, 8))


def test_what_a_layer_holds_beside_its_weights_comes_along():
    layer = nn.Linear(4, 4)
    layer.gate = nn.Parameter(torch.ones(1))
    layer.tag = {"name": "first"}
    layer.register_buffer("seen", torch.zeros(1), persistent=False)
    analog = mho.convert(layer, IDEAL)
    assert analog.tag == layer.tag
    assert analog.tag is not layer.tag
    assert "gate" in dict(analog.named_parameters())
    assert "seen" not in analog.state_dict()
    assert "seen" in dict(analog.named_buffers())


def test_lazy_layers_that_have_run():
    model = nn.Sequential(nn.LazyLinear(4), nn.LazyConv1d(3, 1))
    with pytest.raises(ValueError, match=r"'0'.*LazyLinear has no weights yet"):
        mho.convert(model, IDEAL)
    x = torch.randn(2, 5, 6)
    wanted = model(x)
    analog = mho.convert(model, IDEAL)
    torch.testing.assert_close(analog(x), wanted, rtol=1e-4, atol=1e-5)
