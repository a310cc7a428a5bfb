"""Rounding to integers, to nearest or stochastically, and powers of two: exact and quick."""

from __future__ import annotations

import torch
from torch import Tensor

from mho.core import random

Randomness = Tensor | torch.Generator | None
"""A stream of `mho.core.random`, a generator, or nothing."""

_WORDS = {
    torch.float32: (torch.int32, 0x7F800000),
    torch.float64: (torch.int64, 0x7FF0000000000000),
}

_BULK = 2**16


def widened(x: Tensor) -> Tensor:
    """Return a tensor in at least single precision."""
    return x if x.dtype in _WORDS else x.float()


def integers(x: Tensor, rng: Randomness = None) -> Tensor:
    """Round to integers: half to even, or, with randomness, up with the fraction's probability.

    Integers stay what they are.

    Args:
        x: is overwritten, as fresh memory costs more than rounding.
        rng: a stream or a generator.
    """
    if rng is None:
        return x.round_()
    if isinstance(rng, torch.Generator):
        return _dithered_(x, rng)
    if torch.compiler.is_compiling():
        rounded: Tensor = _dithered(x, rng)
        return rounded
    return _dithered_(x, random.take(rng, x.device))


def power_below(x: Tensor) -> Tensor:
    """Return the largest power of two not above ``|x|``, exactly; 0 below normal numbers.

    Args:
        x: float32 or float64. Infinity and NaN give infinity.
    """
    word, mask = _WORDS[x.dtype]
    return (x.contiguous().view(word) & mask).view(x.dtype)


@torch.library.custom_op("mho::dithered", mutates_args=("rng",))
def _dithered(x: Tensor, rng: Tensor) -> Tensor:
    # One opaque operator, so that a compiled graph draws the same numbers as eager code.
    return _dithered_(x.clone(), random.take(rng, x.device))


@_dithered.register_fake
def _(x: Tensor, rng: Tensor) -> Tensor:
    return torch.empty_like(x)


def _dithered_(x: Tensor, source: torch.Generator) -> Tensor:
    """Round stochastically, in place."""
    if x.device.type == "cpu" and x.numel() >= _BULK and x.is_contiguous():
        return _dithered_in_bulk(x, source)
    # Half precision would be too coarse for probabilities.
    dtype = x.dtype if x.dtype in _WORDS else torch.float32
    uniform = torch.rand(x.shape, generator=source, dtype=dtype, device=x.device)
    below = x.floor()
    return x.sub_(below).copy_(x > uniform).add_(below)


def _dithered_in_bulk(x: Tensor, source: torch.Generator) -> Tensor:
    """As `_dithered_`, at a third of the cost: sixteen random bits a number.

    What sixteen bits leave out, one draw for all numbers adds, so that each of them is rounded
    with the right probability.
    """
    rest = 0.5 + 2.0**-16 * float(torch.rand((), generator=source, dtype=torch.float64))
    dtype = torch.promote_types(x.dtype, torch.float32)
    rest_of_all = torch.tensor(rest, dtype=dtype)
    words = random.words(source)
    # Piece by piece in the same small buffers: fresh memory costs more than the drawing.
    uniform, below = (torch.empty(_BULK, dtype=kind) for kind in (dtype, x.dtype))
    for piece in x.view(-1).split(_BULK):
        draw, floor = uniform[: len(piece)], below[: len(piece)]
        draw.copy_(random.shorts(words, len(piece)))
        torch.add(rest_of_all, draw, alpha=2.0**-16, out=draw)
        fraction = piece.sub_(torch.floor(piece, out=floor))
        if x.dtype == dtype:
            fraction.gt_(draw)
        else:
            fraction.copy_(fraction > draw)
        piece.add_(floor)
    return x
