"""Every way of reading crossed with every way of using a model: all give what the plain way gives.

The plain way is `mho.crossbar.read.product` at once, without a plan and without blocks; it is held
against the definitions elsewhere (`naive`). The others, plans of small reads and bounded reads, are
held against it here: in half precision, under autocast, with learned ranges, noise-free, copied,
traced, transformed, and between two changes of the chip.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.utils.checkpoint
from torch import Tensor, nn
from torch.func import functional_call, vmap

import mho
from mho.crossbar import blocks, plan, read
from mho.crossbar.reader import Reader

ROWS, COLS = 40, 6
CONVERTERS = {"dac": mho.DAC(8), "adc": mho.ADC(8)}
NOISE = (mho.effects.ReadNoise(sigma=0.01),)
KINDS = {
    "ideal": {},
    "drivers": {"dac": mho.DAC(8)},
    "converters": CONVERTERS,
    "two tiles": {**CONVERTERS, "array": mho.Array(20, 20)},
    "noise": {**CONVERTERS, "effects": NOISE},
    "noise of every cell": {
        **CONVERTERS,
        "effects": (mho.effects.ReadNoise(sigma=0.01, relative_to="value"),),
    },
    "serial": {"dac": mho.DAC(8, mode="bit_serial"), "adc": mho.ADC(8)},
    "drift": {**CONVERTERS, "effects": (mho.effects.PowerLawDrift(nu=0.06), *NOISE)},
}
Use = Callable[[nn.Module, Tensor], Tensor]


def model_of(kind: str) -> nn.Module:
    torch.manual_seed(3)
    model = mho.convert(nn.Sequential(nn.Linear(ROWS, COLS)), mho.Hardware(**KINDS[kind]), seed=1)
    if kind != "ideal":
        mho.calibrate(model, inputs(32))
    return model.eval()


def inputs(count: int = 5) -> Tensor:
    return torch.randn(count, ROWS, generator=torch.Generator().manual_seed(4))


@contextmanager
def plainly(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is kept but what reads see: no plan, no turned weights."""
    with patch.context() as inner:
        for name in ("plan", "planned"):
            inner.setattr(Reader, name, lambda *_: None)
        inner.setattr(Reader, "_weight", lambda _, seen: seen.matrix[0].T)
        yield


# ── uses of a model that has been read before ────────────────────────────────────────────────


def half(kind: torch.dtype) -> Use:
    def use(model: nn.Module, x: Tensor) -> Tensor:
        model = model.to(kind)
        return torch.cat([model(x.to(kind)), model(x.to(kind))])

    return use


def autocast(model: nn.Module, x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return torch.cat([model(x), model(x)])


def learned_shift(model: nn.Module, x: Tensor) -> Tensor:
    if model[0].crossbar.hardware.drive.ideal:
        return model(x)
    model[0].crossbar.learn_ranges()
    with torch.no_grad():
        model[0].crossbar.range_shift.fill_(-0.5)
    moved = model(x)
    moved.square().sum().backward()
    shift = model[0].crossbar.range_shift.grad
    model[0].crossbar.learn_ranges(False)
    return torch.cat([moved.flatten(), model(x).flatten(), shift])


def ruled(model: nn.Module, x: Tensor) -> Tensor:
    if model[0].crossbar.hardware.drive.ideal:
        return model(x)
    model[0].crossbar.learn_ranges(mho.train.InputRangeRule(batches=2))
    torch.manual_seed(0)
    model.train()(x)
    found = [model(2.0 * x), model.eval()(x), model(4.0 * x)]
    model[0].crossbar.learn_ranges(False)
    return torch.cat([*found, model(x)])


def noise_free(model: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([mho.noise_free(model)(x), model(x)])


def given_parameters(model: nn.Module, x: Tensor) -> Tensor:
    if model[0].crossbar.hardware.drive.ideal:
        return model(x)
    model[0].crossbar.learn_ranges()
    given = {"0.crossbar.range_shift": torch.full_like(model[0].crossbar.range_shift, -1.0)}
    return torch.cat([functional_call(model, given, (x,)), model(x)])


def gradients(model: nn.Module, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    y = model(x)
    (found,) = torch.autograd.grad(y.square().sum(), x)
    return torch.cat([y.flatten(), found.flatten()])


def trained_between(model: nn.Module, x: Tensor) -> Tensor:
    torch.manual_seed(0)
    before, practised, after = model(x), model.train()(x), model.eval()(x)
    return torch.cat([before, practised, after])


def changed_between(model: nn.Module, x: Tensor) -> Tensor:
    found = [model(x)]
    with torch.no_grad():
        model[0].weight.mul_(-1.0)
    mho.program(model)
    found.append(model(x))
    mho.age(model, 1e4)
    found.append(model(x))
    mho.compensate(model)
    found.append(model(x))
    model[0].crossbar.commit(scale=2.0 * model[0].crossbar.scale)
    return torch.cat([*found, model(x)])


def on_a_chip(model: nn.Module, x: Tensor) -> Tensor:
    chip = mho.chip.Chip(128, 128, model[0].crossbar.hardware, seed=5)
    chip.place(model)
    placed = model(x)
    chip.age(1e4)
    aged = model(x)
    chip.remove(model)
    return torch.cat([placed, aged, model(x)])


def copied(model: nn.Module, x: Tensor) -> Tensor:
    twin, other = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    with torch.no_grad():
        model[0].weight.mul_(-1.0)
    mho.program(model)
    assert model[0].crossbar.reader.cells is not twin[0].crossbar.reader.cells
    return torch.cat([twin(x), other(x), model(x)])


def saved(model: nn.Module, x: Tensor) -> Tensor:
    state = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        model[0].weight.mul_(-1.0)
    mho.program(model)
    turned = model(x)
    model.load_state_dict(state)
    return torch.cat([turned, model(x)])


def inferred(model: nn.Module, x: Tensor) -> Tensor:
    with torch.inference_mode():
        model[0].crossbar.refresh()
        kept = model(x).clone()
    return torch.cat([kept.flatten(), gradients(model, x)])


def watched(model: nn.Module, x: Tensor) -> Tensor:
    if not model[0].crossbar.hardware.drive.ideal:
        mho.calibrate(model, 3.0 * x)
    return model(x)


def other_shapes(model: nn.Module, x: Tensor) -> Tensor:
    found = [model(x[:0]), model(x[0])[None], model(x.T.contiguous().T), model(x[None])[0]]
    return torch.cat([*found, model(x.expand(3, *x.shape)).flatten(0, 1)])


USES: dict[str, Use] = {
    "bfloat16": half(torch.bfloat16),
    "float16": half(torch.float16),
    "float64": half(torch.float64),
    "autocast": autocast,
    "learned shift": learned_shift,
    "range rule": ruled,
    "noise-free": noise_free,
    "functional_call": given_parameters,
    "gradients": gradients,
    "train and eval": trained_between,
    "changes": changed_between,
    "chip": on_a_chip,
    "copies": copied,
    "state": saved,
    "inference mode": inferred,
    "calibration": watched,
    "shapes": other_shapes,
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_plan_is_the_plain_way(kind: str, use: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = model_of(kind)
    other = copy.deepcopy(one)
    found, x = [], inputs()
    for model, ways in ((one, None), (other, plainly)):
        if ways is None:
            model(x), model(x)  # whatever is kept is kept
            found.append(USES[use](model, x))
        else:
            with ways(monkeypatch):
                model(x), model(x)
                found.append(USES[use](model, x))
    assert found[0].isfinite().all()
    assert found[0].dtype == found[1].dtype
    assert torch.equal(*found)


@pytest.mark.parametrize("kind", KINDS)
def test_vmap_reads_as_a_batch(kind: str) -> None:
    model, x = mho.noise_free(model_of(kind)), inputs()
    wanted = model(x)
    torch.testing.assert_close(vmap(model)(x), wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model(x), wanted)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("read_before", [False, True])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_a_trace_is_always_the_same(kind: str, precision: torch.dtype, read_before: bool) -> None:
    model = mho.noise_free(model_of(kind).to(precision))
    x = inputs().to(precision)
    with torch.no_grad():
        if read_before:
            model(x), model(x)
        traces = [torch.jit.trace(model, (x,)) for _ in range(2)]  # each checks itself
        graphs = [[n.kind() for n in trace.inlined_graph.nodes()] for trace in traces]
        assert graphs[0] == graphs[1]
        more = inputs(7).to(precision)
        torch.testing.assert_close(traces[0](more), model(more))
        file = io.BytesIO()
        torch.jit.save(traces[0], file)
        file.seek(0)
        torch.testing.assert_close(torch.jit.load(file)(more), model(more))


def test_meta_reads_have_shapes_alone() -> None:
    for kind in KINDS:
        model = model_of(kind)
        model(inputs())
        away = copy.deepcopy(model).to("meta")
        y = away(torch.empty(3, ROWS, device="meta"))
        assert y.is_meta
        assert y.shape == (3, COLS)


# ── bounded reads: a limit of memory changes nothing but rounding ────────────────────────────


LITTLE = 3000
ONE = mho.encoding.Differential()
SERIAL = {"dac": mho.DAC(4, mode="bit_serial"), "adc": mho.ADC(6), "array": mho.Array(8, 8)}
WAYS = {
    "converters": {"dac": mho.DAC(5), "adc": mho.ADC(6), "array": mho.Array(8, 8)},
    "serial": {**SERIAL, "encoding": mho.encoding.BitSliced(bits=4, bits_per_cell=2)},
}


class Whole(nn.Module):
    """A layer of any call, as a module of one input."""

    def __init__(self, layer: nn.Module, call: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.call = layer, call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(self.layer, x)


def to_itself(layer: nn.Module, x: Tensor) -> Tensor:
    return layer(x, x, x, need_weights=False)[0]


def twice(layer: nn.Module, x: Tensor) -> Tensor:
    return layer(x, x.flip(-1))


def last(layer: nn.Module, x: Tensor) -> Tensor:
    return layer(x)[0]


def only(layer: nn.Module, x: Tensor) -> Tensor:
    return layer(x)


def again(layer: nn.Module, x: Tensor) -> Tensor:
    return torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=False)


LAYERS: dict[str, tuple[Callable[[], nn.Module], Callable, tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(12, 7), only, (9, 12)),
    "checkpointed": (lambda: nn.Linear(12, 7), again, (9, 12)),
    "convolution": (lambda: nn.Conv2d(2, 3, 3, padding=1), only, (2, 2, 5, 4)),
    "transposed": (lambda: nn.ConvTranspose2d(3, 2, 3, stride=2), only, (2, 3, 4, 3)),
    "bilinear": (lambda: nn.Bilinear(10, 10, 3), twice, (9, 10)),
    "attention": (lambda: nn.MultiheadAttention(12, 2, batch_first=True), to_itself, (3, 4, 12)),
    "lstm": (lambda: nn.LSTM(10, 6, 1), last, (4, 3, 10)),
}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make pieces a few vectors and a few lines large."""
    monkeypatch.setattr(read, "CURRENTS_AT_ONCE", 50)
    monkeypatch.setattr(plan, "MOST", 50)
    monkeypatch.setattr(blocks, "AT_ONCE", 50)
    monkeypatch.setattr(blocks, "HELD", 50)
    monkeypatch.setattr(blocks, "_WIDEST", 3)


def practised(model: nn.Module, practice: mho.train.NoiseInjection) -> None:
    for crossbar in mho.crossbars(model).values():
        crossbar.inject_noise(practice)


def by_rule(model: nn.Module) -> None:
    for crossbar in mho.crossbars(model).values():
        crossbar.learn_ranges(mho.train.InputRangeRule(batches=3, deviations=1.5))


def by_shift(model: nn.Module) -> None:
    for crossbar in mho.crossbars(model).values():
        crossbar.learn_ranges()


SETTINGS: dict[str, Callable[[nn.Module], object]] = {
    "eval": lambda model: model.eval(),
    "train": lambda model: model.train(),
    "weight noise": lambda model: practised(
        model.train(), mho.train.NoiseInjection(weight_noise=0.05, perfect_cells=True)
    ),
    "range rule": lambda model: by_rule(model.train()),
    "learned shifts": lambda model: by_shift(model.train()),
    "learned shifts, eval": lambda model: by_shift(model.eval()),
}


def stepped(model: nn.Module, x: Tensor, cast: torch.dtype | None) -> dict[str, Tensor]:
    """Return outputs and all gradients of a step, and of the step after it."""
    found = {}
    x = x.clone().requires_grad_()
    for k in range(2):
        torch.manual_seed(k)
        with torch.autocast("cpu", dtype=cast or torch.bfloat16, enabled=cast is not None):
            y = model(x)
        y.float().square().sum().backward()
        found[f"outputs {k}"] = y.detach()
    found["inputs"] = x.grad
    found |= {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return found


@pytest.mark.parametrize(
    ("setting", "precision"),
    [*((each, "float64") for each in SETTINGS), ("train", "bfloat16"), ("eval", "autocast")],
)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("layer", LAYERS)
def test_a_limit_of_memory_changes_nothing(
    tiny: None, layer: str, way: str, setting: str, precision: str
) -> None:
    torch.manual_seed(1)
    made, call, shape = LAYERS[layer]
    effects = (mho.effects.WriteNoise(sigma=0.03),)
    parts = WAYS[way] | ({"encoding": ONE} if setting == "weight noise" else {})
    whole = mho.convert(Whole(made(), call), mho.Hardware(**parts, effects=effects), seed=2)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    mho.calibrate(whole, x)
    kind = {"float64": torch.float64, "bfloat16": torch.bfloat16}.get(precision, torch.float32)
    cast = torch.bfloat16 if precision == "autocast" else None
    whole, x = whole.to(kind), x.to(kind)
    SETTINGS[setting](whole)
    cut = copy.deepcopy(whole)
    mho.limit_memory(whole, 10**9)
    mho.limit_memory(cut, LITTLE)
    found, wanted = stepped(cut, x, cast), stepped(whole, x, cast)
    assert found.keys() == wanted.keys()
    # Half precision adds up in another order, and what was rounded meets converters again.
    close = 1e-9 if precision == "float64" else 0.05
    for name, one in found.items():
        size = wanted[name].abs().max().item()
        torch.testing.assert_close(one, wanted[name], rtol=close, atol=close * size, msg=name)
