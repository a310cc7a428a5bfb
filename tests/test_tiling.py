"""Matrices cut into tiles: every cell in one place, and back again."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mho.crossbar.tiling import Tiling, spans
from mho.hardware import Array


@st.composite
def tilings(draw):
    def size(most):
        return draw(st.integers(1, most))

    interleaved = draw(st.booleans())
    slices = size(4)
    cols = draw(st.integers(slices, 9)) if interleaved else size(9)
    array = Array(size(7), cols, interleaved=interleaved)
    return Tiling(slices, size(3), size(20), size(20), array)


def numbered(tiling):
    shape = (tiling.slices, tiling.groups * tiling.rows, tiling.cols)
    return torch.arange(tiling.cells).view(shape)


@given(st.integers(1, 100), st.integers(1, 100))
def test_spans_are_whole_tiles_and_a_rest(size, tile):
    parts = spans(size, tile)
    assert sum(parts) == size
    assert 0 not in parts
    assert len(parts) < 2 or (parts[0] % tile == 0 and parts[1] < tile)


@given(tilings())
def test_joined_is_what_was_cut(tiling):
    x = numbered(tiling)
    assert torch.equal(tiling.join(tiling.cut(x)), x)


@given(tilings())
def test_tiles_fit_the_array_and_are_counted(tiling):
    blocks = [block for band in tiling.cut(numbered(tiling)) for block in band]
    assert sum(block.shape[:4].numel() for block in blocks) == tiling.tiles
    assert sum(block.numel() for block in blocks) == tiling.cells
    assert max(block.shape[4] for block in blocks) == tiling.height <= tiling.array.rows
    assert max(block.shape[5] for block in blocks) == tiling.width <= tiling.array.cols
    area = tiling.tiles * tiling.array.rows * tiling.array.cols
    assert tiling.utilisation == pytest.approx(tiling.cells / area)


@given(tilings())
def test_every_cell_has_exactly_one_place(tiling):
    places = tiling.places()
    assert places.shape == (tiling.tiles, tiling.height, tiling.width)
    assert torch.equal(places[places >= 0].sort().values, torch.arange(tiling.cells))


@given(tilings())
def test_places_are_those_of_the_physical_array(tiling):
    """Cell by cell: which tile, word line and bit line a cell of the matrix lies on."""
    places = tiling.places()
    high, slices = tiling.array.rows, tiling.slices
    for s in range(slices):
        for group in range(tiling.groups):
            for i in range(tiling.rows):
                for j in range(tiling.cols):
                    line = j * slices + s if tiling.array.interleaved else j
                    wide = tiling.array.cols
                    if tiling.array.interleaved:
                        wide = wide // slices * slices
                    lead = group if tiling.array.interleaved else s * tiling.groups + group
                    across = -(-tiling.lines // wide)
                    down = -(-tiling.rows // high)
                    tile = (lead * down + i // high) * across + line // wide
                    cell = (s * tiling.groups + group) * tiling.rows + i
                    assert places[tile, i % high, line % wide] == cell * tiling.cols + j


@given(tilings())
def test_inputs_are_cut_as_word_lines_are(tiling):
    inputs = torch.arange(tiling.groups * tiling.rows).view(tiling.groups, 1, tiling.rows)
    lines = inputs.flatten()[None, :, None].expand(tiling.slices, -1, tiling.cols)
    for part, band in zip(tiling.cut_inputs(inputs), tiling.cut(lines), strict=True):
        for block in band:
            assert torch.equal(part[None, :, :, None, 0, :, None].expand_as(block), block)


def test_sizes_by_hand():
    tiling = Tiling(2, 3, 300, 70, Array(128, 64))
    assert (tiling.down, tiling.across, tiling.tiles) == (3, 2, 2 * 3 * 3 * 2)
    assert tiling.utilisation == 2 * 3 * 300 * 70 / (36 * 128 * 64)
    pair = Tiling(2, 3, 300, 70, Array(128, 65, interleaved=True))
    assert (pair.outputs, pair.width, pair.down, pair.across) == (32, 64, 3, 3)
    assert pair.tiles == 27


def test_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="rows"):
        Tiling(1, 1, 0, 4, Array())
    with pytest.raises(ValueError, match="interleaved"):
        Tiling(3, 1, 4, 4, Array(4, 2, interleaved=True))
