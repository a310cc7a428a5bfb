"""Quantised models of all shapes against references written out, and against torch itself."""

import copy
import io
import pickle
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import mho
from mho.periphery import formats
from mho.periphery.formats import BlockFloat, FixedPoint
from mho.train.quantised.layers import Followed, QuantisedLayer, QuantisedLinear, Rounding
from mho.train.quantised.optimizer import QuantisedOptimizer
from mho.train.quantised.scheme import Formats, Reading, Scheme, quantise
from mho.train.quantised.wage import WAGE, initialise

W, A, E = FixedPoint(6, 4), FixedPoint(6, 3), FixedPoint(8, 10)
SCHEME = Formats(weights=W, activations=A, errors=E)


class Residual(nn.Module):
    """Nested, residual, with a shared layer, functional activations and a norm."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"a": nn.Conv2d(4, 4, 3, padding=1), "act": nn.ReLU()}) for _ in range(2)
        )
        self.shared = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = F.relu(self.norm(self.conv(x)))
        for block in self.blocks:
            x = x + block["act"](block["a"](x))
        x = x.mean((2, 3))
        x = x + torch.tanh(self.shared(x))
        return self.head(torch.tanh(self.shared(x)))


def images():
    return torch.rand(5, 1, 6, 6, generator=torch.Generator().manual_seed(1)).requires_grad_()


def seen(model, x):
    """Run a model; return its output and every parameter's gradient."""
    out = model(x)
    out.square().sum().backward()
    return out.detach(), {n: p.grad.clone() for n, p in model.named_parameters()}


# ── forward and backward ───────────────────────────────────────────────────────────────────────


def test_a_layer_reads_rounded_weights_and_inputs_and_sends_rounded_errors():
    layer = nn.Linear(5, 3)
    model = quantise(nn.Sequential(layer), SCHEME)
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    weights = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    y = model(x)
    assert torch.equal(y, F.linear(A(x), W(layer.weight), layer.bias))
    (y * weights).sum().backward()
    e = E(weights)  # from the loss, rounded at the output of the last layer
    assert torch.allclose(model[0].weight.grad, e.T @ A(x))
    inside = (x >= -4 - 1 / 16) & (x <= 31 / 8 + 1 / 16)
    assert torch.allclose(x.grad, E((e @ W(layer.weight)) * inside))
    assert x.grad.any()


def test_outputs_instead_of_inputs():
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    quantised = quantise(model, SCHEME, at="outputs")
    x = torch.randn(4, 5)
    hidden = A(F.linear(x, W(model[0].weight), model[0].bias))
    expected = F.linear(hidden.tanh(), W(model[2].weight), model[2].bias)  # not rounded: the last
    assert torch.equal(quantised(x), expected)
    rounded = quantise(model, SCHEME, at="outputs", last=())(x)
    assert torch.equal(rounded, A(expected))


def test_behind_other_modules():
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    x = torch.randn(4, 5)
    hidden = A(F.linear(x, W(model[0].weight), model[0].bias).tanh())
    expected = F.linear(hidden, W(model[2].weight), model[2].bias)
    for at in (nn.Tanh, "1", lambda name, module: name == "1", [nn.Tanh]):
        quantised = quantise(model, SCHEME, at=at)
        assert torch.equal(quantised(x), expected)
        assert quantised.state_dict().keys() == model.state_dict().keys()


def test_no_format_is_no_change():
    model, x = Residual().double(), images().double()
    plain, plain_gradients = seen(model, x)
    out, gradients = seen(quantise(model, Formats()), x)
    assert torch.equal(out, plain)
    assert all(torch.equal(gradients[n], g) for n, g in plain_gradients.items())


def test_any_model():
    model = Residual()
    quantised = quantise(model, SCHEME)
    kinds = {
        n: type(m).__name__ for n, m in quantised.named_modules() if isinstance(m, QuantisedLayer)
    }
    assert list(kinds) == ["conv", "blocks.0.a", "blocks.1.a", "shared", "head"]
    assert set(kinds.values()) == {"QuantisedConv2d", "QuantisedLinear"}
    # The same computation with every factor rounded by the test itself.
    reference = copy.deepcopy(model)
    with torch.no_grad():
        for layer in reference.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                layer.weight.copy_(W(layer.weight))
                layer.register_forward_pre_hook(lambda _, args: (A(args[0]),))
    assert torch.allclose(quantised(images()), reference(images()), atol=1e-6)
    assert torch.equal(model.conv.weight, Residual().conv.weight)


def test_names_ties_hooks_and_modes_stay():
    model = Residual().eval()
    model.head.weight.requires_grad_(False)
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    calls = []
    tied[0].register_forward_hook(lambda *_: calls.append(1))
    quantised = quantise(model, SCHEME)
    assert list(quantised.state_dict()) == list(model.state_dict())
    quantised.load_state_dict(Residual().state_dict())
    Residual().load_state_dict(quantised.state_dict())
    assert not quantised.training
    assert not quantised.head.training
    assert not quantised.head.weight.requires_grad
    both = quantise(tied, SCHEME)
    assert both[0].weight is both[1].weight
    both(torch.zeros(1, 4))
    assert calls == [1]
    assert isinstance(both[0], nn.Linear)


@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv3d])
def test_other_convolutions(kind):
    dims = 1 if kind is nn.Conv1d else 3
    layer = kind(4, 6, 3, stride=2, padding=1, groups=2, padding_mode="circular")
    x = torch.randn(2, 4, *[6] * dims)
    reference = copy.deepcopy(layer)
    with torch.no_grad():
        reference.weight.copy_(W(layer.weight))
    assert torch.equal(quantise(nn.Sequential(layer), SCHEME)(x), reference(A(x)))


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_recurrent_layers(kind):
    layer = kind(5, 4, num_layers=2, bidirectional=True, batch_first=True)
    model = quantise(nn.ModuleDict({"r": layer}), SCHEME)["r"]
    reference = copy.deepcopy(layer)
    with torch.no_grad():
        for name, parameter in reference.named_parameters():
            if name.startswith("weight"):
                parameter.copy_(W(parameter))
    x = torch.randn(3, 6, 5)
    assert torch.allclose(model(x)[0], reference(A(x))[0], atol=1e-6)
    packed = pack_padded_sequence(x, torch.tensor([6, 4, 2]), batch_first=True)
    rounded = pack_padded_sequence(A(x), torch.tensor([6, 4, 2]), batch_first=True)
    found = pad_packed_sequence(model(packed)[0], batch_first=True)[0]
    expected = pad_packed_sequence(reference(rounded)[0], batch_first=True)[0]
    assert torch.allclose(found, expected, atol=1e-6)
    model(x)[0].sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert list(model.state_dict()) == list(layer.state_dict())
    assert torch.allclose(copy.deepcopy(model)(x)[0], model(x)[0])


@pytest.mark.parametrize(
    "cell",
    [nn.RNNCell(5, 4), nn.RNNCell(5, 4, nonlinearity="relu"), nn.LSTMCell(5, 4), nn.GRUCell(5, 4)],
)
def test_recurrent_cells(cell):
    model = quantise(nn.ModuleDict({"c": cell}), SCHEME)["c"]
    reference = copy.deepcopy(cell)
    with torch.no_grad():
        reference.weight_ih.copy_(W(cell.weight_ih))
        reference.weight_hh.copy_(W(cell.weight_hh))
    x, h, c = torch.randn(3, 5), torch.randn(3, 4), torch.randn(3, 4)
    lstm = isinstance(cell, nn.LSTMCell)
    found, expected = model(x, (h, c) if lstm else h), reference(A(x), (A(h), c) if lstm else A(h))
    if lstm:
        assert torch.allclose(found[1], expected[1], atol=1e-6)
        found, expected = found[0], expected[0]
    if isinstance(cell, nn.GRUCell):  # h' = n + z (h - n): here h is in no product
        gates = F.linear(A(x), W(cell.weight_ih), cell.bias_ih)
        gates = gates + F.linear(A(h), W(cell.weight_hh), cell.bias_hh)
        expected = expected + gates.chunk(3, -1)[1].sigmoid() * (h - A(h))
    assert torch.allclose(found, expected, atol=1e-6)
    assert torch.allclose(model(x[0])[0], reference(A(x[0]))[0], atol=1e-6)  # no batch, no state


def test_transformers_do_not_pass_the_formats_by():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).eval()
    with pytest.warns(UserWarning, match="not quantised: self_attn"):
        model = quantise(layer, Formats(weights=lambda w: torch.zeros_like(w)))
    x = torch.randn(2, 3, 8)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quick = model(x)
    assert torch.allclose(quick, model(x), atol=1e-6)
    assert isinstance(model.linear1, QuantisedLinear)


# ── which layers ───────────────────────────────────────────────────────────────────────────────


def test_only_skip_and_overrides():
    def names(**options):
        found = quantise(Residual(), SCHEME, **options).named_modules()
        return [n for n, m in found if isinstance(m, QuantisedLayer)]

    assert names(only=nn.Linear) == ["shared", "head"]
    assert names(only="blocks.*") == ["blocks.0.a", "blocks.1.a"]
    assert names(skip=["conv", "head"]) == ["blocks.0.a", "blocks.1.a", "shared"]
    assert names(skip=lambda name, module: "a" in name) == ["conv"]
    fine = Formats(weights=FixedPoint(12, 10))
    model = quantise(Residual(), SCHEME, overrides={"head": fine, "conv": None, "*": SCHEME})
    assert model.head.weight_formats["weight"].values == fine.weights
    assert model.shared.weight_formats["weight"].values == W
    assert not isinstance(model.conv, QuantisedLayer)


def test_last_layers():
    def ends(**options):
        found = quantise(Residual(), SCHEME, **options).named_modules()
        return [n for n, m in found if isinstance(m, QuantisedLayer) and m.outputs is not None]

    assert ends() == ["head"]
    assert ends(skip="head") == ["shared"]
    assert ends(last=()) == []
    assert ends(last=["head", "shared"]) == ["shared", "head"]


class Own(nn.Linear):
    def forward(self, x):
        return super().forward(x) * 2


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: quantise(nn.ReLU(), SCHEME), ValueError, "no layer to quantise"),
        (lambda: quantise(Own(2, 2), SCHEME), ValueError, "no layer to quantise"),
        (lambda: quantise(quantise(Residual(), SCHEME), SCHEME), ValueError, "already"),
        (lambda: quantise(Residual(), SCHEME, only="x"), ValueError, "only: 'x' matches"),
        (lambda: quantise(Residual(), SCHEME, at="x"), ValueError, "at: 'x' matches"),
        (lambda: quantise(Residual(), SCHEME, last="x"), ValueError, "last: 'x' matches"),
        (lambda: quantise(Residual(), SCHEME, overrides={"x": None}), ValueError, "overrides"),
        (lambda: quantise(Residual(), SCHEME, skip="*"), ValueError, "leave no layer"),
        (lambda: quantise(nn.LazyLinear(3), SCHEME), ValueError, "one batch"),
        (lambda: quantise(Residual(), W), TypeError, "scheme"),
        (lambda: quantise("model", SCHEME), TypeError, "model"),
        (lambda: quantise(Residual(), SCHEME, only=3), TypeError, "selector"),
        (
            lambda: quantise(mho.convert(nn.Linear(2, 2), mho.Hardware()), SCHEME),
            TypeError,
            "on crossbars",
        ),
        (lambda: Formats(weights=8), TypeError, "Formats weights"),
        (lambda: Formats(weights=FixedPoint), TypeError, "Formats weights"),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()


# ── what users' tools do with it ───────────────────────────────────────────────────────────────

RANDOM = Formats(
    FixedPoint(6, 4, rounding="stochastic"),
    FixedPoint(6, 3, rounding="stochastic"),
    FixedPoint(8, 10, rounding="stochastic"),
)


@pytest.mark.parametrize(
    "scheme", [SCHEME, RANDOM, WAGE(2, 8, 8, 8)], ids=["near", "random", "WAGE"]
)
def test_copies_and_checkpoints_go_on_with_the_same_numbers(scheme):
    model = quantise(initialise(Residual()), scheme, seed=7)
    model(images())
    twin, thawed = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    saved = io.BytesIO()
    torch.save(model.state_dict(), saved)
    saved.seek(0)
    loaded = quantise(Residual(), scheme)
    loaded.load_state_dict(torch.load(saved, weights_only=True))
    out, gradients = seen(model, images())
    for other in (twin, thawed, loaded):
        found, others = seen(other, images())
        assert torch.equal(found, out)
        assert all(torch.equal(others[n], g) for n, g in gradients.items())


def test_randomness_is_the_seeds_and_not_torchs():
    outs = []
    for seed, noise in ((0, 0), (0, 1), (1, 0)):
        torch.manual_seed(0)
        model = quantise(Residual(), RANDOM, seed=seed)
        torch.manual_seed(noise)
        outs.append(model(images()))
    assert torch.equal(outs[0], outs[1])
    assert not torch.equal(outs[0], outs[2])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scheme", [WAGE(2, 8, 8, 8), RANDOM], ids=["WAGE", "random"])
def test_autocast(scheme, dtype):
    model = quantise(initialise(Residual()), scheme)
    with torch.autocast("cpu", dtype=dtype):
        out = model(images())
        loss = out.float().square().sum()
    loss.backward()
    assert all(p.grad.dtype == torch.float32 for p in model.parameters())
    assert all(p.grad.isfinite().all() for p in model.parameters())
    if isinstance(scheme, WAGE):  # eight bits fit into half precision
        assert torch.allclose(out.float(), model(images()), atol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", [WAGE(2, 8, 8, 8), RANDOM], ids=["WAGE", "random"])
def test_compiled_in_one_graph_it_computes_the_same(scheme):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 3))
    model = quantise(initialise(plain), scheme)
    x = torch.rand(8, 20)
    fast = torch.compile(copy.deepcopy(model), fullgraph=True, backend="aot_eager")
    out, gradients = seen(model, x)
    found, others = seen(fast, x)
    assert torch.allclose(found, out, atol=1e-6)
    for (_, a), (_, b) in zip(gradients.items(), others.items(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_functions_modules_and_qpytorch():
    def third(x):  # as QPyTorch's functions: no gradient comes back
        return (x * 3).round() / 3

    class Learned(nn.Module):
        def __init__(self):
            super().__init__()
            self.limit = nn.Parameter(torch.tensor(0.5))

        def forward(self, x):
            return torch.maximum(torch.minimum(x, self.limit), -self.limit)

    plain = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    model = quantise(plain, Formats(weights=third, activations=Learned()))
    x = 2 * torch.randn(6, 4)
    assert torch.equal(model[0].read("weight"), third(plain[0].weight))
    _, gradients = seen(model, x)
    assert gradients["0.weight"].any()
    limits = [n for n in gradients if n.endswith("limit")]
    assert len(limits) == 2  # one per place
    assert all(gradients[n] != 0 for n in limits)


# ── crossbars ──────────────────────────────────────────────────────────────────────────────────


def test_any_quantised_model_goes_to_crossbars():
    model = quantise(Residual(), SCHEME).eval()
    with pytest.warns(UserWarning, match=r"left digital: \w+ 'norm'"):
        chip = mho.convert(model, mho.Hardware())
    assert torch.allclose(chip(images()), model(images()), atol=1e-4)
    assert isinstance(chip.shared, Followed)
    with torch.no_grad():
        before = chip.shared.layer.weight.clone()
        model.shared.weight.add_(1.0)
    assert torch.equal(chip.shared.layer.weight, before)
    plain = mho.collapse(chip)
    assert torch.allclose(plain(images()), chip(images()), atol=1e-4)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRUCell])
def test_recurrent_models_go_to_crossbars(kind):
    model = quantise(nn.ModuleDict({"r": kind(5, 4)}), Formats(weights=W)).eval()
    chip = mho.convert(model, mho.Hardware())
    x = torch.randn(3, 5)
    assert torch.allclose(chip["r"](x)[0], model["r"](x)[0], atol=1e-4)


# ── the optimizer ──────────────────────────────────────────────────────────────────────────────


def parameters():
    source = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(*shape, generator=source)) for shape in ((4, 3), (4,))]


def with_gradients(found, seed=1):
    source = torch.Generator().manual_seed(seed)
    for parameter in found:
        parameter.grad = torch.randn(parameter.shape, generator=source)
    return found


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
        lambda p: torch.optim.Adam(p, lr=0.1),
    ],
    ids=["SGD", "Adam"],
)
def test_without_formats_the_optimizer_is_torchs(make):
    one, other = parameters(), parameters()
    plain, wrapped = make(one), QuantisedOptimizer(make(other))
    for seed in range(3):
        with_gradients(one, seed)
        with_gradients(other, seed)
        plain.step()
        wrapped.step()
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_what_is_rounded_when():
    gradient, momentum, update, kept = (FixedPoint(16, n) for n in (3, 4, 5, 6))
    found = with_gradients(parameters())
    start = [p.detach().clone() for p in found]
    gradients = [p.grad.clone() for p in found]
    optimizer = Formats(gradients=gradient, momentum=momentum, updates=update, kept=kept).optimizer(
        torch.optim.SGD(found, lr=0.3, momentum=0.9)
    )
    memory = [torch.zeros_like(p) for p in found]
    for _ in range(2):
        optimizer.step()
        for i, g in enumerate(gradients):
            raw = 0.9 * memory[i] + gradient(g)
            start[i] = kept(start[i] + update((start[i] - 0.3 * raw) - start[i]))
            memory[i] = momentum(raw)
            assert torch.equal(found[i], start[i])
            assert torch.equal(optimizer.state[found[i]]["momentum_buffer"], memory[i])
            found[i].grad = g.clone()


def test_momentum_by_name_and_parameters_skipped():
    found = with_gradients(parameters())
    coarse = FixedPoint(8, 2)
    inner = torch.optim.Adam(found, lr=0.1)
    optimizer = QuantisedOptimizer(
        inner, momentum={"exp_avg": coarse}, weights=coarse, skip=[found[1]]
    )
    optimizer.step()
    first, second = (optimizer.state[p] for p in found)
    assert torch.equal(first["exp_avg"], coarse(first["exp_avg"]))
    assert not torch.equal(first["exp_avg_sq"], coarse(first["exp_avg_sq"]))
    assert not torch.equal(second["exp_avg"], coarse(second["exp_avg"]))
    assert torch.equal(found[0], coarse(found[0]))
    assert not torch.equal(found[1], coarse(found[1]))


def test_stochastic_updates_keep_small_steps_on_average():
    n, lr = 40_000, 0.01
    weight = nn.Parameter(torch.full((n,), 0.5))
    update = FixedPoint(8, 3, clamp=False, rounding="stochastic")  # steps of 1/8
    optimizer = QuantisedOptimizer(torch.optim.SGD([weight], lr=lr), updates=update)
    for _ in range(5):
        weight.grad = torch.ones(n)
        optimizer.step()
    p = lr * 8
    error = (5 * p * (1 - p) / n) ** 0.5 / 8
    assert abs(float(weight.detach().double().mean()) - 0.5 + 5 * lr) < 5 * error
    assert torch.equal(weight * 8, (weight * 8).round())


def test_closures():
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = QuantisedOptimizer(
        torch.optim.SGD([weight], lr=0.5), gradients=FixedPoint(8, 1), weights=FixedPoint(8, 1)
    )

    def closure():
        optimizer.zero_grad()
        loss = (weight - 0.3).square().sum()
        loss.backward()
        return loss

    assert float(optimizer.step(closure).detach()) == pytest.approx(0.49 + 5.29)
    # Gradients 1.4 → 1.5 and -4.6 → -4.5; then 0.25 → 0 and 0.25 → 0 (half to even).
    assert weight.tolist() == [0.0, 0.0]


def test_schedulers_scalers_and_groups():
    one, two = with_gradients(parameters())
    optimizer = QuantisedOptimizer(torch.optim.SGD([one], lr=0.4), weights=W)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    optimizer.step()
    schedule.step()
    assert optimizer.inner.param_groups[0]["lr"] == 0.2
    optimizer.add_param_group({"params": [two], "lr": 0.1})
    before = two.detach().clone()
    optimizer.step()
    assert torch.equal(two, W(before - 0.1 * two.grad))
    optimizer.zero_grad()
    assert one.grad is None
    assert two.grad is None


def test_its_state_resumes_exactly():
    def make(found):
        update = FixedPoint(12, 6, rounding="stochastic")
        inner = torch.optim.SGD(found, lr=0.1, momentum=0.9)
        return QuantisedOptimizer(inner, updates=update, momentum=FixedPoint(8, 5), seed=3)

    one = parameters()
    optimizer = make(one)
    for seed in range(3):
        with_gradients(one, seed)
        optimizer.step()
    saved = io.BytesIO()
    torch.save(optimizer.state_dict(), saved)
    saved.seek(0)
    other = [nn.Parameter(p.detach().clone()) for p in one]
    resumed = make(other)
    resumed.load_state_dict(torch.load(saved, weights_only=True))
    twin, twins = copy.deepcopy((optimizer, one))
    for seed in range(3, 6):
        for wrapped, found in ((optimizer, one), (resumed, other), (twin, twins)):
            with_gradients(found, seed)
            wrapped.step()
    for a, b, c in zip(one, other, twins, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def test_gradients_that_are_not_finite_change_nothing():
    first, second = with_gradients(parameters())
    first.grad[0, 0] = float("nan")
    start = first.detach().clone(), second.detach().clone()
    optimizer = WAGE(2, 8, 8, 8, clip="gradients").optimizer(
        torch.optim.SGD([first, second], lr=8.0)
    )
    with pytest.warns(UserWarning, match=r"not finite.*\[4, 3\]"):
        optimizer.step()
    assert torch.equal(first, start[0])
    assert not torch.equal(second, start[1])
    assert first.grad.isnan().any()  # nothing is lost


def test_gradient_scalers():
    one, other = (with_gradients(parameters()) for _ in range(2))
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for wrapped, found, factor in (
        (QuantisedOptimizer(torch.optim.SGD(one, lr=0.5), gradients=E), one, 1.0),
        (QuantisedOptimizer(torch.optim.SGD(other, lr=0.5), gradients=E), other, 1024.0),
    ):
        for parameter in found:
            parameter.grad.mul_(factor)
        if factor == 1.0:
            wrapped.step()
        else:
            scaler.scale(torch.zeros(()))
            scaler.step(wrapped)
            scaler.update()
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_sparse_gradients_are_refused_or_skipped():
    table = nn.Embedding(5, 3, sparse=True)
    table(torch.tensor([1, 2])).sum().backward()
    start = table.weight.detach().clone()
    inner = torch.optim.SGD(table.parameters(), lr=1.0)
    with pytest.raises(TypeError, match=r"sparse.*\[5, 3\]"):
        QuantisedOptimizer(inner, weights=W).step()
    assert torch.equal(table.weight, start)
    QuantisedOptimizer(inner, weights=W, skip=[table.weight]).step()
    assert torch.equal(table.weight[1], start[1] - 1)


def test_bad_optimizers():
    found = parameters()
    with pytest.raises(TypeError, match="optimizer"):
        QuantisedOptimizer(found)
    inner = torch.optim.SGD(found, lr=0.1)
    with pytest.raises(TypeError, match="gradients"):
        QuantisedOptimizer(inner, gradients=8)
    with pytest.raises(TypeError, match="momentum exp_avg"):
        QuantisedOptimizer(inner, momentum={"exp_avg": 8})
    with pytest.raises(ValueError, match=r"skip: .*\(2,\)"):
        QuantisedOptimizer(inner, skip=[nn.Parameter(torch.zeros(2))])


def test_own_schemes():
    class Rows(Scheme):
        def reading(self, layer):
            return Reading({"weight": BlockFloat(3 if layer.out_features > 3 else 8, dim=0)})

        def writing(self):
            return {"weights": FixedPoint(16, 12)}

    model = quantise(nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2)), Rows())
    assert model[0].weight_formats["weight"].values.word == 3
    assert model[1].weight_formats["weight"].values.word == 8
    assert isinstance(Rows().optimizer(torch.optim.SGD(model.parameters())), QuantisedOptimizer)


def test_roundings_print_what_they_do():
    text = str(Rounding(A, E))
    assert "values=FixedPoint(word=6, fraction=3)" in text
    assert "errors=FixedPoint(word=8, fraction=10)" in text
    assert formats.is_stochastic(RANDOM.weights)
