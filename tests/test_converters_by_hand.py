"""What converters make of the ends of their ranges, and what drivers send, against plain sums."""

import numpy as np
import pytest
import torch
from torch import nn

import mho
from mho import ADC, DAC, Array, Hardware, PulseWidth
from mho.encoding import BitSliced, Differential, SingleColumn
from mho.periphery import quantize

F64 = torch.float64


@pytest.mark.parametrize("bits", [1, 2, 5])
def test_min_max_rounds_inside_of_its_range_and_clips_outside(bits):
    low, high = -0.25, 1.25
    x = torch.linspace(-2.0137, 3.0171, 301, dtype=F64)
    steps = 2**bits - 1
    level = np.clip(np.round((x.numpy() - low) / (high - low) * steps), 0, steps)
    found = quantize.min_max(x.clone(), bits, *torch.tensor([low, high], dtype=F64))
    np.testing.assert_allclose(found, level / steps * (high - low) + low, atol=1e-7)
    assert float(found.min()) == pytest.approx(low)
    assert float(found.max()) == pytest.approx(high)


@pytest.mark.parametrize(
    "dac",
    [
        DAC(5, mode="bit_serial"),
        DAC(5, mode="pulse_width"),
        DAC(5, mode="pulse_width", pulses=PulseWidth(split=(1, 1, 1, 1))),
        DAC(5, mode="pulse_width", pulses=PulseWidth(split=(1, 3))),
        DAC(5, mode="pulse_width", pulses=PulseWidth(signs="two_phase")),
    ],
    ids=["bits", "whole pulse", "bit by bit", "two pulses", "two phases"],
)
def test_what_is_sent_in_parts_adds_up_to_every_level(dac):
    level = torch.arange(-15.0, 16.0, dtype=F64)
    planes, weights = dac.planes(level)
    assert torch.equal((planes * weights.view(-1, 1)).sum(0), level)
    assert planes.shape == (dac.planes_sent, 31)
    # No part of an input has the other sign, unless it is that of a phase of its own.
    if weights.min() > 0:
        assert (planes * level.sign() >= 0).all()


@pytest.mark.parametrize("range", ["per_vector", "per_call"])
@pytest.mark.parametrize("encoding", [Differential(), SingleColumn(), BitSliced(bits=4)])
@pytest.mark.parametrize("mode", ["amplitude", "bit_serial"])
def test_ranges_of_vectors_are_their_own(mode, encoding, range):
    """A vector that finds its range by itself is read among others as it is alone."""
    torch.manual_seed(0)
    hardware = Hardware(
        encoding=encoding, array=Array(4, 4), dac=DAC(4, mode=mode, range=1.0),
        adc=ADC(5, range=range),
    )  # fmt: skip
    layer = mho.convert(nn.Linear(6, 5).double(), hardware).eval()
    x = torch.rand(3, 6, dtype=F64) * torch.tensor([[1.0], [0.4], [0.1]], dtype=F64)
    with torch.no_grad():
        together, alone = layer(x), torch.cat([layer(one) for one in x.split(1)])
    assert torch.allclose(together, alone, atol=1e-12) == (range == "per_vector")
