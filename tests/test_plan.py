"""Reads by a plan: to the bit those of the general way, which every other test looks at."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import mho
from mho.crossbar import read
from mho.crossbar.reader import Reader

CONVERTERS = {"dac": mho.DAC(bits=8), "adc": mho.ADC(bits=8)}
NOISE = (mho.effects.ReadNoise(sigma=0.01),)
PLANNED = {
    "converters": CONVERTERS,
    "read noise": {**CONVERTERS, "effects": NOISE},
    "noise of every cell": {
        **CONVERTERS,
        "effects": (mho.effects.ReadNoise(sigma=0.01, relative_to="value"),),
    },
    "ideal drivers": {"adc": mho.ADC(bits=6)},
    "ideal converters": {"dac": mho.DAC(bits=8), "effects": NOISE},
    "other grids": {"dac": mho.DAC(bits=5, signed=False), "adc": mho.ADC(6, method="linear")},
    "ranges given": {"dac": mho.DAC(8, range=2.0), "adc": mho.ADC(8, range="full_scale")},
    "scales of columns": {
        **CONVERTERS,
        "encoding": mho.encoding.Differential(scaling=mho.encoding.Scaling(per_column=True)),
    },
}
NOT_PLANNED = {
    "bit-serial": {"dac": mho.DAC(8, mode="bit_serial"), "adc": mho.ADC(8)},
    "one bit": {"dac": mho.DAC(1), "adc": mho.ADC(8)},
    "measured inputs": {"dac": mho.DAC(8, range="per_vector"), "adc": mho.ADC(8)},
    "measured currents": {"dac": mho.DAC(8), "adc": mho.ADC(8, range="per_vector")},
    "companded": {"dac": mho.DAC(8), "adc": mho.ADC(8, method="tanh")},
    "two converters": {**CONVERTERS, "encoding": mho.encoding.Differential(subtract="digital")},
}


def layer(rows: int = 256, **parts: object) -> nn.Module:
    torch.manual_seed(3)
    analog = mho.convert(nn.Sequential(nn.Linear(rows, 10)), mho.Hardware(**parts), seed=1)
    with torch.no_grad():
        mho.calibrate(analog.eval(), torch.randn(32, rows))
    return analog[0]


def general(analog: nn.Module, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    with monkeypatch.context() as patch:
        patch.setattr(Reader, "plan", lambda *_: None)
        return analog(x)


@pytest.mark.parametrize("rows", [100, 256], ids=["one tile", "two tiles"])
@pytest.mark.parametrize("kind", PLANNED)
def test_a_plan_reads_as_the_general_way(
    kind: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = layer(rows, **PLANNED[kind])
    other = copy.deepcopy(one)  # its own stream of noise
    reader = one.crossbar.reader
    assert reader.plan(reader.stored) is not None
    for shape in ((1, rows), (7, rows), (rows,), (2, 3, rows), (0, rows), (2, 0, rows)):
        x = torch.randn(shape)
        with torch.no_grad():
            assert torch.equal(one(x), general(other, x, monkeypatch))
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        y, z = one(a), general(other, b, monkeypatch)
        assert torch.equal(y, z)
        y.square().sum().backward()
        z.square().sum().backward()
        assert torch.equal(a.grad, b.grad)
    turned = torch.randn(rows, 5).T
    assert torch.equal(one(turned), general(other, turned, monkeypatch))


@pytest.mark.parametrize("kind", NOT_PLANNED)
def test_other_hardware_has_no_plan(kind: str) -> None:
    analog = layer(**NOT_PLANNED[kind])
    reader = analog.crossbar.reader
    assert reader.plan(reader.stored) is None
    assert analog(torch.randn(2, 256)).isfinite().all()


def test_unequal_tiles_and_bulk_are_read_the_general_way(monkeypatch: pytest.MonkeyPatch) -> None:
    uneven = layer(200, **CONVERTERS)
    assert uneven.crossbar.reader.plan(uneven.crossbar.reader.stored) is None
    even = layer(**CONVERTERS)
    seen: list[int] = []
    whole = read.product

    def watched(x: Tensor, *args: object, **rest: object) -> Tensor:
        seen.append(x.shape[1])
        return whole(x, *args, **rest)

    monkeypatch.setattr(read, "product", watched)
    with torch.no_grad():
        even(torch.randn(8, 256))
        assert seen == []
        even(torch.randn(60_000, 256))
    assert seen == [60_000]


def test_a_plan_follows_the_crossbar(monkeypatch: pytest.MonkeyPatch) -> None:
    analog = layer(**CONVERTERS)
    x = torch.randn(4, 256)
    with torch.inference_mode():  # what it keeps must also serve reads with gradients
        before = analog(x)
    with torch.no_grad():
        analog.weight.mul_(-1.0)
    mho.program(analog)
    after = analog(x.requires_grad_())
    after.sum().backward()
    bias = analog.bias
    torch.testing.assert_close(after - bias, bias - before, atol=0.05, rtol=0.05)
    twice = copy.deepcopy(analog).double()
    assert twice(x.double()).dtype == torch.float64
    assert torch.equal(analog(x), general(analog, x, monkeypatch))


def test_autocast_reads_as_the_general_way(monkeypatch: pytest.MonkeyPatch) -> None:
    analog, x = layer(**CONVERTERS), torch.randn(4, 256)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        y, z = analog(x), general(analog, x, monkeypatch)
    assert y.dtype == z.dtype
    assert torch.equal(y, z)


@pytest.mark.parametrize("kind", ["ideal", "converters"])
def test_what_is_kept_of_stale_weights_is_not_kept_too_long(kind: str) -> None:
    analog = layer(**({} if kind == "ideal" else CONVERTERS))
    x = torch.randn(2, 256)
    analog(x)
    analog(x)
    with torch.no_grad():
        analog.weight.add_(1.0)
    with pytest.warns(UserWarning, match="has changed since it was programmed"):
        analog(x)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_training_steps_of_recurrent_layers_by_plan(
    kind: type[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 3, 8)
    effects = (mho.effects.WriteNoise(sigma=0.01), *NOISE)
    model = nn.Sequential(kind(8, 12, 2, bidirectional=True))
    analog = mho.convert(model, mho.Hardware(**CONVERTERS, effects=effects), seed=1)
    mho.calibrate(analog, x)
    found = []
    for planned in (True, False):
        layer = copy.deepcopy(analog)[0].train()
        if not planned:
            monkeypatch.setattr(Reader, "planned", lambda *_: None)
        torch.manual_seed(5)
        y = layer(x)[0]
        y.square().sum().backward()
        found.append([y, *(p.grad for p in layer.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_what_needs_no_gradient_is_the_same_under_grad_mode() -> None:
    """A read with converters may then work in place; gradients pass where they are asked for."""
    analog = layer(64, **CONVERTERS).requires_grad_(False)
    x = torch.randn(5, 64)
    with torch.no_grad():
        expected = analog(x)
    found = analog(x)
    assert torch.equal(found, expected)
    assert not found.requires_grad
    x.requires_grad_()
    gradient = torch.autograd.grad(analog(x).sum(), x)[0]
    assert gradient.abs().sum() > 0
    inside = torch.func.grad(lambda x: analog(x).sum())(x.detach())
    torch.testing.assert_close(inside, gradient)
