"""Inputs that are no finite numbers: large reads give what small ones do, NaN for NaN."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import mho

INPUTS = {
    "amplitude": mho.DAC(bits=8, range=1.0),
    "bit-serial": mho.DAC(bits=8, mode="bit_serial", range=1.0),
    "two's complement": mho.DAC(bits=8, mode="bit_serial", code="twos_complement", range=1.0),
    "one conversion": mho.DAC(bits=8, mode="bit_serial", converts_once=True, range=1.0),
    "unsigned": mho.DAC(bits=8, mode="bit_serial", signed=False, range=1.0),
    "by vector": mho.DAC(bits=8, mode="bit_serial", range="per_vector"),
}
CONVERTERS = {
    "fixed": mho.ADC(bits=8, range=1e-4),
    "by vector": mho.ADC(bits=8, range="per_vector"),
    "min-max": mho.ADC(bits=8, range="per_vector", method="minmax"),
}


@pytest.mark.parametrize("dac", INPUTS.values(), ids=INPUTS)
@pytest.mark.parametrize("adc", CONVERTERS.values(), ids=CONVERTERS)
@pytest.mark.parametrize("follows", [True, False], ids=["gradients", "none"])
def test_large_reads_of_nan_and_infinity(dac: mho.DAC, adc: mho.ADC, follows: bool) -> None:
    torch.manual_seed(0)
    hardware = mho.Hardware(array=mho.Array(rows=8), dac=dac, adc=adc)
    analog = mho.convert(nn.Linear(24, 6), hardware).eval()
    x = torch.rand(64, 24)
    x[3, 5], x[7, 0], x[9, 20] = float("nan"), float("inf"), float("-inf")
    x.requires_grad_(follows)
    small = analog(x)
    assert small[3].isnan().all()
    assert small[:3].isfinite().all()
    mho.limit_memory(analog, 3000)
    torch.testing.assert_close(analog(x), small, equal_nan=True)


def test_large_reads_of_images_with_nan() -> None:
    torch.manual_seed(0)
    dac = mho.DAC(bits=8, mode="bit_serial", range=1.0)
    hardware = mho.Hardware(array=mho.Array(rows=8), dac=dac, adc=mho.ADC(bits=8, range=1e-4))
    analog = mho.convert(nn.Conv2d(3, 4, 3), hardware).eval()
    x = torch.rand(6, 3, 9, 9)
    x[2, 1, 4, 4] = float("nan")
    small = analog(x)
    assert small[2, :, 2:5, 2:5].isnan().all()
    assert small.isnan().sum() == 4 * 9
    mho.limit_memory(analog, 3000)
    torch.testing.assert_close(analog(x), small, equal_nan=True)
