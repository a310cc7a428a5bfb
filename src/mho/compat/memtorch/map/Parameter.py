"""Weights to conductances."""
# ruff: noqa: N999

from __future__ import annotations

from torch import Tensor

from mho.compat._common import real, require
from mho.compat.memtorch.bh.crossbar.Crossbar import Scheme
from mho.compat.memtorch.utils import convert_range
from mho.core import derivatives
from mho.core.checks import plain
from mho.encoding.differential import pair

__all__ = ["convert_range", "naive_map"]


def naive_map(
    weight: Tensor, r_on: float, r_off: float, scheme: Scheme, p_l: float | None = None
) -> tuple[Tensor, Tensor] | Tensor:
    """Map weights linearly to conductances.

    ``DoubleColumn``: a weight's magnitude, from 0 to the largest, is from ``1/r_off`` to
    ``1/r_on`` in the crossbar of its sign, and the other one is at ``1/r_off``. ``SingleColumn``:
    weights from minus the largest to the largest are from ``1/r_off`` to ``1/r_on``, so 0 is in
    the middle.

    Args:
        weight: any shape.
        r_on: low resistance state (Ω).
        r_off: high resistance state (Ω).
        scheme: how weights are held.
        p_l: the proportion of weights, counted from the smallest magnitude, that keep their
            value; larger ones are clipped to the largest kept. None: all.

    Returns:
        Conductances (S) of the positive and the negative crossbar; of the one crossbar for
        ``SingleColumn``.

    Raises:
        Refused: if an argument is refused.
    """
    require(isinstance(scheme, Scheme), f"scheme must be a Scheme, got {scheme!r}")
    r_on, r_off = plain(r_on), plain(r_off)
    require(0 < r_on < r_off, f"0 < r_on < r_off must hold, got r_on={r_on!r}, r_off={r_off!r}")
    low, high = 1.0 / r_off, 1.0 / r_on
    part = derivatives.clip(weight / _largest(weight.detach(), p_l), -1.0, 1.0)
    if scheme is Scheme.DoubleColumn:
        positive, negative = pair(part * (high - low), low).unbind()
        return positive, negative
    return low + (part + 1.0) * (0.5 * (high - low))


def _largest(weight: Tensor, p_l: float | None) -> Tensor:
    sizes = weight.abs().flatten()
    require(sizes.numel() > 0, "weight must not be empty")
    p_l = 1.0 if p_l is None else real("p_l", p_l, least=0.0, most=1.0)
    rank = 1 + round(p_l * (sizes.numel() - 1))
    largest = sizes.kthvalue(rank).values if p_l < 1 else sizes.amax()
    return largest if float(largest) > 0.0 else largest.new_ones(())
