"""Where matrices go on a chip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mho.chip.placement import Region, Windows
from mho.compat._common import seed
from mho.core import random

Start = tuple[int, int]
Taken = tuple[Start, tuple[int, int]]

_DARTS = 64
_NONE: list[Taken] = []  # stands for "not given"; nothing is ever put into it


def check_overlap(
    start1: Sequence[int], shape1: Sequence[int], start2: Sequence[int], shape2: Sequence[int]
) -> bool:
    """Whether two rectangles of cells, each of a first cell and a shape, have one in common."""
    return _region(start1, shape1).overlaps(_region(start2, shape2))


def _region(start: Sequence[int], shape: Sequence[int]) -> Region:
    return Region(int(start[0]), int(start[1]), int(shape[0]), int(shape[1]))


def map_random(
    accelerator: Any,
    layer_shape: Sequence[int],
    beta: int = 1,
    current_mappings: list[Taken] = _NONE,
) -> list[Start]:
    """Choose free places for copies of a matrix, any with equal chances.

    Args:
        accelerator: with ``get_xb_size()``.
        layer_shape: rows and columns of the matrix.
        beta: how many copies.
        current_mappings: rectangles that are taken, ``((row, column), (rows, columns))`` each; the
            new ones are added to it. Without it nothing is taken.

    Returns:
        First row and column of each copy.

    Raises:
        ValueError: if the matrix is larger than the chip, or no place is free.
    """
    taken = [] if current_mappings is _NONE else current_mappings
    size = tuple(int(n) for n in accelerator.get_xb_size())
    height, width = (int(n) for n in layer_shape)
    what = f"a layer of {height} × {width} cells"
    if height > size[0] or width > size[1]:
        raise ValueError(f"{what} is larger than the chip of {size[0]} × {size[1]}")
    source = random.generator(seed())
    regions = [_region(*place) for place in taken]
    for number in range(int(beta)):
        region = _free(size, height, width, regions, source)
        if region is None:
            raise ValueError(
                f"could not find a free place for copy {number + 1} of {beta} of {what} on the "
                f"chip of {size[0]} × {size[1]}"
            )
        regions.append(region)
    found = [(region.row, region.col) for region in regions[len(taken) :]]
    taken += [(start, (height, width)) for start in found]
    return found


def _free(size: Any, height: int, width: int, taken: list[Region], source: Any) -> Region | None:
    # A few darts nearly always hit; only a crowded chip needs a look at all its places.
    for down, across in torch.rand(_DARTS, 2, generator=source, dtype=torch.float64).tolist():
        row, col = int(down * (size[0] - height + 1)), int(across * (size[1] - width + 1))
        region = Region(row, col, height, width)
        if not any(region.overlaps(other) for other in taken):
            return region
    return Windows((size[0], size[1]), height, width, taken).choose(source)
