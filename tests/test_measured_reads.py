"""Reads whose ranges are measured: to the bit those of the general way."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import mho
from mho.core.modes import settled
from mho.crossbar.reader import Reader

NOISE = (mho.effects.ReadNoise(sigma=0.01),)
EACH = (mho.effects.ReadNoise(sigma=0.01, relative_to="value"),)
MEASURED = {
    "both": {"dac": mho.DAC(8, range="per_vector"), "adc": mho.ADC(8, range="per_vector")},
    "inputs": {"dac": mho.DAC(8, range="per_vector"), "adc": mho.ADC(8)},
    "currents": {"dac": mho.DAC(8), "adc": mho.ADC(6, range="per_vector"), "effects": NOISE},
    "each cell": {"dac": mho.DAC(8, range="per_call"), "adc": mho.ADC(8), "effects": EACH},
    "companded": {"dac": mho.DAC(8), "adc": mho.ADC(8, method="tanh", range="per_vector")},
    "one bit": {"dac": mho.DAC(8), "adc": mho.ADC(1, range="per_vector")},
    "linear": {"dac": mho.DAC(8), "adc": mho.ADC(8, method="linear", range="per_vector")},
    "ideal drivers": {"adc": mho.ADC(8, range="per_vector")},
    "range given": {"dac": mho.DAC(8, range=0.5), "adc": mho.ADC(8, range="per_vector")},
}
GENERAL = {
    "of a call": {"dac": mho.DAC(8), "adc": mho.ADC(8, range="per_call")},
    "min and max": {"dac": mho.DAC(8), "adc": mho.ADC(8, method="minmax", range="per_vector")},
    "bit-serial": {"dac": mho.DAC(8, mode="bit_serial"), "adc": mho.ADC(8, range="per_vector")},
}


def layer(rows: int, **parts: object) -> nn.Module:
    torch.manual_seed(3)
    analog = mho.convert(nn.Sequential(nn.Linear(rows, 10)), mho.Hardware(**parts), seed=1)
    mho.calibrate(analog.eval(), torch.randn(32, rows))
    return analog[0]


def used(analog: nn.Module, rows: int) -> bool:
    reader = analog.crossbar.reader
    with torch.no_grad():
        return reader.measured(reader.stored, torch.ones(2, rows)) is not None


@pytest.mark.parametrize("rows", [100, 256, 384], ids=["one tile", "two", "three"])
@pytest.mark.parametrize("kind", MEASURED)
def test_a_measured_read_is_the_general_one(
    kind: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = layer(rows, **MEASURED[kind])
    other = copy.deepcopy(one)  # its own stream of noise
    assert used(one, rows)
    shapes = ((1, rows), (7, rows), (rows,), (2, 3, rows), (0, rows))
    inputs = [torch.randn(shape) for shape in shapes]
    inputs += [torch.zeros(2, rows), torch.randn(3, rows) * 1e-38, torch.randn(rows, 5).T]
    with torch.no_grad():
        found = [one(x) for x in inputs]
        monkeypatch.setattr(Reader, "measured", lambda *_: None)
        for x, y in zip(inputs, found, strict=True):
            assert torch.equal(y, other(x))


@pytest.mark.parametrize("kind", GENERAL)
def test_what_needs_more_goes_the_general_way(kind: str) -> None:
    assert not used(layer(100, **GENERAL[kind]), 100)


def test_gradients_go_through_a_read_whose_ranges_are_measured() -> None:
    analog = layer(100, **MEASURED["both"])
    x = torch.randn(4, 100, requires_grad=True)
    analog(x).sum().backward()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", [*MEASURED, *GENERAL])
def test_calibration_finds_the_same(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {**MEASURED, **GENERAL}[kind]
    one = layer(256, **parts).state_dict()
    monkeypatch.setattr(Reader, "measured", lambda *_: None)
    other = layer(256, **parts).state_dict()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_settled_leaves_inference_mode_and_gradients() -> None:
    modes = settled(lambda: (torch.is_grad_enabled(), torch.is_inference_mode_enabled()))
    assert modes() == (False, False)
    with torch.no_grad():
        assert modes() == (False, False)
    with torch.inference_mode():
        assert modes() == (False, False)
        assert torch.is_inference_mode_enabled()
