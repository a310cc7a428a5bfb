"""Pictures of cores and of their timeline show what is there."""

import matplotlib
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from torch import nn

import mho
from mho.chip import Chip, Cores, LayerShape, Rewriting, place
from mho.effects import StuckAt
from mho.plot import core_plan, core_timeline, floor_plan
from mho.plot.cores import grid_of

matplotlib.use("Agg")
CHIP = Cores(count=7, rows=16, cols=12, read_time=1.0)
LAYERS = [
    LayerShape("a", 16, 12, reads=4.0),
    LayerShape("b", 20, 12, reads=2.0),
    LayerShape("c", 8, 6, reads=1.0),
]


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def rectangles(ax):
    return [p for p in ax.patches if isinstance(p, Rectangle)]


@pytest.mark.parametrize("columns", [None, 2, 7])
def test_a_plan_shows_every_core_and_tile(columns):
    mapping = place(LAYERS, CHIP, "layer", copies={"a": 2})
    ax = core_plan(mapping, columns=columns)
    cores, tiles = rectangles(ax)[:7], rectangles(ax)[7:]
    assert all((p.get_width(), p.get_height()) == (12, 16) for p in cores)
    assert len(tiles) == len(mapping.tiles)
    grid = grid_of(CHIP, 1, columns)
    for patch, tile in zip(tiles, mapping.tiles, strict=True):
        top, left = grid.corner(tile.core)
        assert patch.get_xy() == (left + tile.col, top + tile.row)
        assert (patch.get_width(), patch.get_height()) == (tile.piece.width, tile.piece.height)
        assert bool(patch.get_hatch()) == (tile.copy > 0)
    colours = {
        t.layer: to_hex(p.get_facecolor()) for p, t in zip(tiles, mapping.tiles, strict=True)
    }
    assert len(set(colours.values())) == 3
    texts = [t.get_text() for t in ax.get_legend().get_texts()]
    assert texts == ["1  a", "2  b", "3  c", "copies"]
    assert ax.get_title(loc="left") + ax.get_title() == "5 of 7 cores, layer"


def test_cores_never_cover_one_another():
    for cores in (CHIP, CHIP.replace(rows=100), CHIP.replace(count=1)):
        grid = grid_of(cores, 2)
        corners = [grid.corner(core) for core in range(cores.count)]
        assert len(set(corners)) == cores.count
        down, across = grid.pitch
        assert down > cores.rows
        assert across > 2 * cores.cols
        assert all(row % down == 0 and col % across == 0 for row, col in corners)


def test_many_layers_are_thinned_in_the_legend_and_turns_are_said():
    many = [
        LayerShape(f"stage.{i}.a.name.that.nobody.can.read.at.once.conv", 16, 12) for i in range(90)
    ]
    mapping = place(many, CHIP, turns=Rewriting(row_time=1.0))
    ax = core_plan(mapping, turn=2)
    assert "turn 3 of 13" in ax.get_title(loc="left") + ax.get_title()
    assert len(rectangles(ax)) == 14
    ax = core_plan(place(many, CHIP.replace(count=90)))
    assert len(ax.get_legend().get_texts()) == 26
    with pytest.raises(ValueError, match="turn must be"):
        core_plan(mapping, turn=13)
    with pytest.raises(TypeError, match="mapping must be CoreMapping"):
        core_plan(CHIP)


def spans(ax):
    """Return (line, start, end, colour) of all bars."""
    found = []
    for bars in ax.collections:
        for path in bars.get_paths():
            (x, low), (end, high) = path.vertices.min(0), path.vertices.max(0)
            found.append((round((low + high) / 2), x, end, to_hex(bars.get_facecolor()[0])))
    return found


def test_a_timeline_shows_the_schedule():
    mapping = place(LAYERS, CHIP, "layer")
    ax = core_timeline(mapping, inferences=2)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b", "c"]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["inference 1", "inference 2"]
    drawn = sorted((line, start, end) for line, start, end, _ in spans(ax))
    assert drawn == [(0, 0, 4), (0, 4, 8), (1, 4, 6), (1, 8, 10), (2, 6, 7), (2, 10, 11)]
    by_core = core_timeline(mapping, by="core")
    assert len(by_core.get_yticklabels()) == mapping.cores_used
    with pytest.raises(ValueError, match="by must be one of 'layer', 'core'"):
        core_timeline(mapping, by="tile")
    with pytest.raises(ValueError, match="inferences must be >= 1"):
        core_timeline(mapping, inferences=0)


def test_a_timeline_in_turns_shows_writing_and_the_batch():
    turns = Rewriting(batch=10, row_time=0.5)
    mapping = place(LAYERS, CHIP.replace(count=2), "layer", turns=turns)
    ax = core_timeline(mapping)
    texts = [t.get_text() for t in ax.get_legend().get_texts()]
    assert texts[-2:] == ["all 10 of a batch", "writing"]
    end = max(end for _, _, end, _ in spans(ax))
    assert end == pytest.approx(mapping.latency)
    assert min(start for _, start, _, _ in spans(ax)) == 0.0


def test_a_floor_plan_of_a_chip_of_cores():
    hardware = mho.Hardware(array=mho.Array(16, 12), effects=(StuckAt(low=0.2),))
    chip = Chip(cores=CHIP, hardware=hardware)
    chip.place(mho.convert(nn.Linear(20, 12), hardware), name="first")
    chip.place(mho.convert(nn.Linear(10, 5), hardware), "random", name="second")
    ax = floor_plan(chip)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["first", "second"]
    regions = [r for found in chip.regions.values() for r in found]
    assert len(rectangles(ax)) == 7 + 2 * len(regions)
    picture = torch.tensor(ax.images[0].get_array().filled(float("nan")))
    assert float(picture.nan_to_num().sum()) == pytest.approx(100 * int(chip.stuck.sum()))
    grid = grid_of(CHIP, 2)
    for core in range(7):
        for array in range(2):
            top, left = grid.corner(core, array)
            own = chip.stuck.view(7, 2, 16, 12)[core, array]
            assert torch.equal(picture[top : top + 16, left : left + 12] > 0, own)
    assert not floor_plan(chip, defects=False).images
