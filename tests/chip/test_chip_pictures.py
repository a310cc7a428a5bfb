"""Pictures of chips show what is there."""

import matplotlib
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle
from torch import nn

import mho
from mho.chip import Chip, Region
from mho.effects import StuckAt
from mho.plot.chip import fault_tolerance, floor_plan

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.mark.parametrize("size", [60, 700])
def test_floor_plan_shows_regions_and_defects(size):
    hardware = mho.Hardware(effects=(StuckAt(low=0.05),))
    chip = Chip(size, size, hardware)
    chip.place(mho.convert(nn.Linear(20, 10), hardware), name="first")
    chip.place(mho.convert(nn.Linear(10, 5), hardware), "random", name="second")
    ax = floor_plan(chip)
    drawn = {
        Region(round(p.get_y() + 0.5), round(p.get_x() + 0.5), p.get_height(), p.get_width())
        for p in ax.patches
        if isinstance(p, Rectangle)
    }
    assert drawn == {r for regions in chip.regions.values() for r in regions}
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["first", "second"]
    share = torch.tensor(ax.images[0].get_array().data)
    assert float(share.mean()) == pytest.approx(100 * float(chip.stuck.float().mean()), rel=0.05)
    if size == 60:
        assert torch.equal(share > 0, chip.stuck)
    assert ax.yaxis_inverted()


def test_floor_plan_of_an_empty_chip():
    ax = floor_plan(Chip(10, 10), defects=False)
    assert not ax.patches
    assert ax.get_legend() is None
    with pytest.raises(TypeError, match="chip must be Chip"):
        floor_plan(nn.Linear(2, 2))


def test_fault_tolerance_draws_means_and_published_lines():
    accuracy = {"LEA": [[0.9, 0.94], [0.5, 0.7]], "average": [[0.9, 0.9], [0.4, 0.4]]}
    ax = fault_tolerance(accuracy, [0.0, 0.2], published={"LEA": [0.95, 0.8]})
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["LEA"].get_ydata().tolist() == pytest.approx([92.0, 60.0])
    assert lines["LEA"].get_xdata().tolist() == [0.0, 20.0]
    dashed = [line for line in ax.lines if line.get_linestyle() == "--" and len(line.get_xdata())]
    assert dashed[0].get_ydata().tolist() == pytest.approx([95.0, 80.0])
    assert dashed[0].get_color() == lines["LEA"].get_color()
    with pytest.raises(ValueError, match="one row for each of 3 stuck fractions"):
        fault_tolerance(accuracy, [0.0, 0.2, 0.4])
    with pytest.raises(ValueError, match="published 'LEA' must have 2 numbers"):
        fault_tolerance(accuracy, [0.0, 0.2], published={"LEA": [0.9]})
