"""Ranges next to nothing: converters make no NaN of finite inputs, and stay true to scale."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import mho
from mho.periphery import quantize

SIZES = [1e-30, 1e-36, 1e-37, 1e-38, 1e-40, 1e-44, 0.0]
SHAPE = torch.tensor([[0.0, 1.0, 0.5, -0.25]])


@pytest.mark.parametrize("bits", [2, 8, 24])
@pytest.mark.parametrize("power", [-90, -120, -124, -128, -130])
def test_levels_do_not_depend_on_the_scale(bits: int, power: int) -> None:
    x = torch.randn(3, 50, generator=torch.Generator().manual_seed(1)).mul(2**10).round()
    x = x / x.abs().amax(-1, keepdim=True) * 2.0**10
    x = x.round() / 2.0**10  # exact also where numbers have few bits left
    for drive in (mho.DAC(bits), mho.DAC(bits, range="per_vector"), mho.DAC(bits, signed=False)):
        limit = drive.measure(x)
        expected = drive.to_levels(x, limit)
        small = x * 2.0**power
        assert torch.equal(drive.to_levels(small, limit * 2.0**power), expected)
        assert torch.equal(drive.to_levels(small, drive.measure(small)), expected)
        assert torch.equal(drive.to_levels(small, float(limit.max()) * 2.0**power), expected)


def test_ordinary_ranges_are_divided_as_ever() -> None:
    x = torch.randn(4, 9)
    limit = x.abs().amax(-1, keepdim=True)
    assert torch.equal(quantize.in_steps(x, limit, 127), x * (127 / limit))
    assert torch.equal(quantize.in_steps(x, 0.7, 127), x * (127 / 0.7))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["amplitude", "bit_serial"])
@pytest.mark.parametrize("policy", ["calibrated", "per_vector", "per_call"])
@pytest.mark.parametrize("adc", [None, mho.ADC(8)], ids=["no ADC", "ADC"])
def test_reads_of_tiny_inputs(size: float, mode: str, policy: str, adc: mho.ADC | None) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 2, bias=False))
    x = (SHAPE * size).requires_grad_()
    hardware = mho.Hardware(dac=mho.DAC(8, mode=mode, range=policy), adc=adc)
    analog = mho.convert(model, hardware).eval()
    for _ in range(2):
        y = analog(x)
        y.sum().backward()
        assert x.grad.isfinite().all()
        # A percent for eight bits twice, and the rounding of numbers below the normal ones.
        near = 0.02 * size + 1e-43
        assert (y - model(x)).abs().max() <= near
        mho.calibrate(analog, x.detach())
    analog.train()(x).sum().backward()
    assert x.grad.isfinite().all()
    assert analog[0].weight.grad.isfinite().all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("method", ["uniform", "linear", "log", "minmax", "log_minmax", "tanh"])
@pytest.mark.parametrize("bits", [1, 2, 8, 24])
def test_conversion_of_tiny_currents(size: float, method: str, bits: int) -> None:
    adc = mho.ADC(bits, method=method, range="per_vector")
    current = (SHAPE * size).requires_grad_()
    parts = [current.view(1, 1, 1, -1)]
    limits = [adc.measure(parts)]
    limits += [torch.full_like(limits[0], size)] if adc.ranged else []
    for limit in limits:
        found = adc.convert(parts[0].clone(), limit)
        assert found.isfinite().all()
        (gradient,) = torch.autograd.grad(found.sum(), current)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("size", [1e-12, 1e-20, 1e-30, 1e-37, 1e-42, 0.0])
@pytest.mark.parametrize(
    "encoding",
    [
        mho.encoding.Differential(),
        mho.encoding.Differential(subtract="digital"),
        mho.encoding.Differential(scaling=mho.encoding.Scaling(per_column=True)),
        mho.encoding.SingleColumn(),
        mho.encoding.BitSliced(),
        mho.encoding.Ternary(),
    ],
    ids=lambda e: str(e),
)
def test_weights_next_to_nothing(size: float, encoding: mho.encoding.Encoding) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 3, bias=False))
    with torch.no_grad():
        model[0].weight.mul_(size)
    noise = (mho.effects.WriteNoise(0.01), mho.effects.ReadNoise(0.01))
    for parts in ({}, {"dac": mho.DAC(8), "adc": mho.ADC(8), "effects": noise}):
        analog = mho.convert(model, mho.Hardware(encoding=encoding, **parts))
        x = torch.randn(5, 8, requires_grad=True)
        mho.calibrate(analog.eval(), x.detach())
        for mode in (True, False):
            y = analog.train(mode)(x)
            y.sum().backward()
            assert y.isfinite().all()
            if size:  # weights that are all zero have a range like any other, and its noise
                assert y.abs().max() <= 8 * 3 * size + 1e-15
            assert x.grad.isfinite().all()
        assert analog[0].weight.grad.isfinite().all()
