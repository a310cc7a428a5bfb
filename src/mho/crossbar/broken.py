"""Broken cells among cells that are drawn as sums: only the few weights they belong to are mended.

In training, white errors of the cells of one weight are drawn as the one normal they add up to
(`mho.crossbar.readout.lumped`). A broken cell k of a weight conducts g_k whatever was asked of it,
and has no error: what the converter sees changes by ``a_k (g_k - target_k)``, and of the error's
variance the broken cell's part is missing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mho.cells.life import Broken
from mho.core.constants import constant
from mho.encoding.base import Encoding


def mended(
    matrix: Tensor,
    scale: Tensor,
    siemens: Tensor | None,
    error: Tensor | None,
    broken: Broken,
    encoding: Encoding,
    window: tuple[float, float],
) -> Tensor:
    """Return what converters see of cells of which some are broken.

    Args:
        matrix: of perfect cells, as `Encoding.ideal` returns it, of an encoding with one converter
            a weight: ``[rows, cols]``.
        scale: ``[]`` or ``[cols]`` (1/S).
        siemens: unit of ``matrix``; None is 1 S.
        error: of programming, as if no cell were broken, in the unit of ``matrix`` and laid out in
            memory like it; overwritten. None for none.
        broken: positions in ``[slices, rows, cols]``, and conductances (S).
        encoding: says the targets of a weight's cells, and how their currents flow together.
        window: lowest and highest conductance used (S).

    Returns:
        As ``matrix``, with the error. No gradient passes through a broken cell.
    """
    rows, cols = matrix.shape
    at, real = broken.at, None
    if broken.padded:  # what stands for no cell changes nothing, at the first
        real = at < encoding.slices * rows * cols
        at = at * real
    piece = at // (rows * cols)  # which slice
    place = at - piece * (rows * cols)
    if scale.dim():
        scale = scale[place % cols]
    turned = matrix.stride(-1) != 1  # a torch weight, [outputs, inputs], turned
    if turned:
        matrix, error = matrix.mT, None if error is None else error.mT
        row = place // cols
        place = (place - row * cols) * rows + row
    flat = matrix.reshape(-1)
    analog = constant(encoding.analog[0], flat.dtype, flat.device)
    targets = encoding.each(flat.index_select(0, place), scale, *window)
    assert targets is not None
    change = analog[piece] * (broken.g - targets.gather(0, piece.unsqueeze(0))[0])
    change = change if siemens is None else change * scale
    change = change if real is None else torch.where(real, change, 0.0)
    if error is None:
        flat = flat.index_add(0, place, change)
    else:
        error = error.reshape(-1)
        share = analog.square() / analog.square().sum()
        lost = -share[piece] if real is None else -share[piece] * real
        healthy = torch.ones_like(error).index_add_(0, place, lost).index_select(0, place)
        # Of a weight with several broken cells each says the same.
        part = error.index_select(0, place).mul_(healthy.clamp_(min=0.0).sqrt_())
        error.index_copy_(0, place, part)
        flat = error.add_(flat).index_add_(0, place, change)
    return flat.view(cols, rows).mT if turned else flat.view(rows, cols)
