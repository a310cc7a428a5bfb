"""What stands in series with a cell while its loop is measured: wires, a transistor, a limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from mho.core import checks
from mho.core.spec import Spec

# Slope of a transistor below its threshold: 2 n kT/q with n = 1.3 at 300 K (V).
_SOFT = 0.067
_NUDGE = 1e-5  # of the voltage, to find a slope


@dataclass(frozen=True)
class Access(Spec):
    """What a loop is measured through, per polarity of the voltage applied.

    The voltage V divides over the cell, a resistance and, where its gain is not 0, a transistor
    whose gate is tied to the far end, so that it turns on with the voltage itself (an access
    transistor on its source side); a source limits the current:

        |V| = |V_cell| + r I + u        I = gain/2 s(u)²        I <= compliance
        s(u) = w · ln(1 + exp((u - turn_on)/w))        w = 2 n kT/q

    The square law above and the exponential one below threshold in one: Enz, Krummenacher &
    Vittoz 1995, doi 10.1007/BF01239381, in saturation.

    Attributes:
        r_positive: resistance under positive voltages (Ω), >= 0.
        r_negative: resistance under negative voltages (Ω), >= 0.
        turn_on_positive: threshold under positive voltages (V); acts where ``gain_positive`` > 0.
        turn_on_negative: threshold under negative voltages (V); acts where ``gain_negative`` > 0.
        gain_positive: gain under positive voltages (A/V²), >= 0; 0: no transistor acts there.
        gain_negative: gain under negative voltages (A/V²), >= 0.
        compliance: largest current of the source (A), > 0, or None.

    Raises:
        ValueError: if a number is out of its range.
    """

    r_positive: float = 0.0
    r_negative: float = 0.0
    turn_on_positive: float = 0.0
    turn_on_negative: float = 0.0
    gain_positive: float = 0.0
    gain_negative: float = 0.0
    compliance: float | None = None

    def __post_init__(self) -> None:
        for name in ("r_positive", "r_negative", "gain_positive", "gain_negative"):
            checks.number(name, getattr(self, name), least=0.0)
        for name in ("turn_on_positive", "turn_on_negative"):
            checks.number(name, getattr(self, name))
        if self.compliance is not None:
            checks.number("compliance", self.compliance, above=0.0)


def cell_voltage(
    current: Callable[[Tensor], Tensor], v: Tensor, access: Any, guess: Tensor, iterations: int = 8
) -> Tensor:
    """Return the voltages (V) that are left over the cells.

    Newton's method within a bracket, on all cells at once: what the access drops less what is left
    for it falls with the cell's voltage, so that there is one root between 0 and V.

    Args:
        current: of the cells (A) under voltages of their own (V), of two of every cell,
            ``[2, *shape]``.
        v: applied (V), of a shape that broadcasts to the cells'.
        access: `Access`, or an object with its fields as tensors.
        guess: where to begin (V), of the cells' shape.
        iterations: how many.
    """
    sign = torch.where(v < 0.0, -1.0, 1.0).to(v.dtype)
    size = v.abs()
    if _none(access):
        return v
    side = _side(v, access)
    size = size.expand_as(guess)
    low, high = torch.zeros_like(guess), size
    y = torch.minimum(guess.abs(), high)
    step = (_NUDGE * size).clamp(min=1e-9)
    both = torch.stack([torch.zeros_like(step), step])
    for _ in range(iterations):
        left = _left_over(current(sign * (y + both)).abs(), size - y - both, side)
        ahead = left[0] > 0.0
        low, high = torch.where(ahead, y, low), torch.where(ahead, high, y)
        new = y - left[0] * step / (left[1] - left[0])
        middle = 0.5 * (low + high)
        y = torch.where((new >= low) & (new <= high), new, middle)
    return sign * y


def _none(access: Any) -> bool:
    plain = (access.r_positive, access.r_negative, access.gain_positive, access.gain_negative)
    return access.compliance is None and all(
        not isinstance(value, Tensor) and not value for value in plain
    )


def _side(v: Tensor, access: Any) -> tuple[Any, Any, Any, float | None]:
    # The elements that act under each voltage's polarity.
    up = v >= 0.0

    def of(positive: Any, negative: Any) -> Any:
        same = not isinstance(positive, Tensor) and not isinstance(negative, Tensor)
        if same and positive == negative:
            return positive
        return torch.where(up, *(torch.as_tensor(b, dtype=v.dtype) for b in (positive, negative)))

    return (
        of(access.r_positive, access.r_negative),
        of(access.turn_on_positive, access.turn_on_negative),
        of(access.gain_positive, access.gain_negative),
        access.compliance,
    )


def _left_over(current: Tensor, drop: Tensor, side: tuple[Any, Any, Any, float | None]) -> Tensor:
    """Return how much more voltage the access leaves than the current needs; falls with it."""
    r, turn_on, k, compliance = side
    left = drop - r * current
    if isinstance(k, Tensor) or k:
        gate = _SOFT * softplus((left - turn_on) / _SOFT, threshold=40.0)
        gain = torch.as_tensor(k, dtype=current.dtype).clamp(min=1e-30)
        left = torch.where(torch.as_tensor(k > 0.0), gate - (2.0 * current / gain).sqrt(), left)
    if compliance is not None:
        # The source gives way before the current does; in the scale of the largest voltage.
        left = torch.minimum(left, (1.0 - current / compliance) * (drop.abs() + 1e-3))
    return left
