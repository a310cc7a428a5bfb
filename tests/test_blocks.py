"""Large batches read in blocks: the same outputs, in bounded memory."""

import pytest
import torch
from torch import nn

import mho
from mho import ADC, DAC, Array, Crossbar, Hardware
from mho.crossbar import read
from mho.crossbar.reader import Reader
from mho.effects import ReadNoise

F64 = torch.float64
CONVERTERS = {"dac": DAC(bits=6, range=1.0), "adc": ADC(bits=8, range=1e-4)}


@pytest.fixture
def held(monkeypatch):
    """Make blocks small; collect how many currents each read held at once."""
    monkeypatch.setattr(read, "CURRENTS_AT_ONCE", 400)
    # Small reads on equal tiles need no blocks, and have a way of their own.
    monkeypatch.setattr(Reader, "measured", lambda *_: None)
    found = []
    convert = read.convert

    def watched(parts, *rest):
        found.append(sum(part.numel() for part in parts))
        return convert(parts, *rest)

    monkeypatch.setattr(read, "convert", watched)
    return found


def crossbar(dtype=F64, **parts):
    made = Crossbar(20, 5, Hardware(array=Array(8, 8), **{**CONVERTERS, **parts}), dtype=dtype)
    made.program(torch.randn(20, 5, generator=torch.Generator().manual_seed(0)).to(dtype))
    return made


def inputs(*shape):
    return torch.rand(*shape, dtype=F64, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"dac": DAC(bits=6)},
    ],
    ids=["converters", "own ranges"],
)
def test_blocks_change_nothing(held, parts, monkeypatch):
    cb, x = crossbar(**parts), inputs(300, 20)
    with torch.no_grad():
        blocks = cb(x)
        assert len(held) > 1
        assert max(held) <= 400
        monkeypatch.setattr(read, "CURRENTS_AT_ONCE", 1 << 30)
        held.clear()
        torch.testing.assert_close(blocks, cb(x), rtol=1e-12, atol=1e-12)
        assert len(held) == 1


def test_convolutions_in_blocks(held, monkeypatch):
    conv = nn.Conv2d(2, 3, 3).double()
    analog = mho.convert(conv, Hardware(array=Array(8, 8), **CONVERTERS)).eval()
    x = inputs(12, 2, 6, 6)
    with torch.no_grad():
        blocks = analog(x)
        assert len(held) > 1
        assert max(held) <= 400
        monkeypatch.setattr(read, "CURRENTS_AT_ONCE", 1 << 30)
        torch.testing.assert_close(blocks, analog(x), rtol=1e-12, atol=1e-12)


def test_ranges_that_follow_the_batch_are_measured_over_all_of_it(held):
    cb, x = crossbar(adc=ADC(bits=4, range="per_call")), inputs(300, 20)
    with torch.no_grad():
        cb(x)
    assert len(held) == 1


def test_gradients_are_those_of_one_read(held):
    cb, x = crossbar(adc=None, dac=None, effects=(ReadNoise(1e-9, "value"),)), inputs(300, 20)
    x.requires_grad_()
    cb(x).sum().backward()
    expected = cb.weight.sum(1).expand_as(x)
    torch.testing.assert_close(x.grad, expected, rtol=1e-5, atol=1e-6)
    assert len(held) == 1


def test_noise_of_blocks_is_independent(held):
    cb = crossbar(adc=None, dac=None, effects=(ReadNoise(0.05, "value"),))
    with torch.no_grad():
        y = cb(inputs(1, 20).expand(4000, -1))
    assert len(held) >= 50
    assert len(y.unique(dim=0)) == 4000
    whole = crossbar(adc=None, dac=None, effects=(ReadNoise(0.05, "value"),))
    wanted = whole(inputs(1, 20).expand(4000, -1).requires_grad_()).detach().std(0)
    torch.testing.assert_close(y.std(0), wanted, rtol=5 / 4000**0.5, atol=0.0)


@pytest.mark.parametrize("rows", [8, 40])
def test_noise_before_converters_is_that_of_the_read_with_gradients(rows):
    """One tile between fine converters: noise of 4000 equal vectors, by both ways of reading."""
    parts = {
        "dac": DAC(12, range=1.0),
        "adc": ADC(14, range=2e-4),
        "effects": (ReadNoise(0.05, "value"),),
    }
    torch.manual_seed(0)
    weight = torch.randn(rows, 6, dtype=torch.float64)
    found = []
    for follow in (False, True):
        cb = Crossbar(rows, 6, Hardware(array=Array(64, 64), **parts), dtype=torch.float64)
        cb.program(weight)
        x = inputs(1, rows).expand(4000, -1).clone().requires_grad_(follow)
        with torch.set_grad_enabled(follow):
            found.append(cb.eval()(x).detach())
        assert found[-1].shape == (4000, 6)
    quick, slow = found
    assert float(quick.std(0).min()) > 0.0
    torch.testing.assert_close(quick.std(0), slow.std(0), rtol=5 / 4000**0.5, atol=0.0)
    error = (quick.mean(0) - slow.mean(0)).abs() / (quick.std(0) * (2 / 4000) ** 0.5)
    assert float(error.max()) < 5.0
