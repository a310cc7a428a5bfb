"""The picture of a cost shows what the record says."""

from functools import partial
from itertools import pairwise

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


def pictured(architecture):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    hardware = mho.Hardware(array=mho.Array(4, 4), dac=mho.DAC(8), adc=mho.ADC(8))
    found = cost(mho.convert(model, hardware), torch.rand(4, 6), architecture)
    ax = plt.figure().add_subplot()
    assert cost_breakdown(found, ax) is ax
    return found, ax


def test_whiskers_are_the_ranges_and_leakage_stands_apart():
    found, ax = pictured(chips.get("generic_22nm"))
    size = 1e-12
    assert "pJ" in ax.get_ylabel()
    (whiskers,) = (c for c in ax.containers if c.get_label() == "range")
    ends = whiskers.lines[2][0].get_segments()
    assert len(ends) == len(found.layers) == 2
    for layer, ((_, low), (_, high)) in zip(found.layers, ends, strict=True):
        assert layer.energy.low < layer.energy.typical < layer.energy.high
        assert low * size == approx(layer.energy.low)
        assert high * size == approx(layer.energy.high)
    heights = {
        c.get_label(): [bar.get_height() * size for bar in c.patches]
        for c in ax.containers
        if hasattr(c, "patches")
    }
    for k, layer in enumerate(found.layers):
        leakage = sum(p.leakage.typical for p in layer.parts if p.leakage is not None)
        assert leakage > 0
        assert heights["leakage"][k] == approx(leakage)
        adc = sum(p.dynamic.typical for p in layer.parts if p.roles[0] == "converters")
        assert heights["converters"][k] == approx(adc)
    # Stacked: each bar begins where the one below it ends.
    for k in range(2):
        bars = [c.patches[k] for c in ax.containers if hasattr(c, "patches")]
        for below, above in pairwise(bars):
            assert above.get_y() == approx(below.get_y() + below.get_height())
    plt.close("all")


def test_what_takes_nothing_has_no_bar_and_one_number_no_whisker():
    exact = Technology(adc_energy=(1e-12, 1e-12))
    _, ax = pictured(exact)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "leakage" not in labels
    assert "digital" not in labels
    assert "converters" in labels
    assert "range" not in labels
    _, ax = pictured(Technology(adc_energy=(1e-12, 2e-12)))
    assert "range" in [text.get_text() for text in ax.get_legend().get_texts()]
    plt.close("all")
