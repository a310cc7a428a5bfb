"""The picture of a cost shows what the record says."""

from functools import partial

import pytest
import torch
from torch import nn

import mho
from mho.analysis import Technology, chips, cost
from mho.plot import cost_breakdown

# Energies and areas are far below 1e-12, which pytest tolerates by itself.
approx = partial(pytest.approx, rel=1e-9, abs=0.0)

plt = pytest.importorskip("matplotlib.pyplot")


def test_bars_are_the_typical_energies_and_what_is_missing_is_named():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    hardware = mho.Hardware(array=mho.Array(4, 4), dac=mho.DAC(8), adc=mho.ADC(8))
    analog = mho.convert(model, hardware)
    found = cost(analog, torch.rand(4, 6), chips.get("generic_22nm"))
    ax = cost_breakdown(found)
    assert "pJ" in ax.get_ylabel()
    for k, layer in enumerate(found.layers):
        height = sum(bars[k].get_height() for bars in ax.containers if hasattr(bars, "patches"))
        assert height * 1e-12 == approx(layer.energy.typical)
    assert "not counted" not in ax.get_xlabel()
    least = cost_breakdown(cost(analog, torch.rand(4, 6), Technology()))
    assert "not counted: lines, DAC" in least.get_xlabel()
    plt.close("all")
