"""ADC: bit-line currents to digital partial sums."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mho.core import checks
from mho.core.spec import Spec
from mho.periphery import quantize

METHODS = ("uniform", "linear", "log", "minmax", "log_minmax", "tanh")
RANGES = ("calibrated", "per_call", "full_scale")
_GRIDS = ("uniform", "linear")


@dataclass(frozen=True)
class ADC(Spec):
    """Converters at the bit lines; every tile's currents are converted, then added digitally.

    Methods: ``"uniform"`` has ``2^bits - 1`` symmetric levels over ``±range`` (zero is one);
    ``"linear"`` is two's-complement fixed point whose step is a power of two; ``"log"`` and
    ``"tanh"`` are companded (fine near zero); ``"minmax"`` and ``"log_minmax"`` span each call's
    own smallest to largest current, whatever the range policy.

    Attributes:
        bits: resolution, >= 1; one bit is the sign.
        range: the current (A) at full scale: a number; ``"calibrated"`` (from `mho.calibrate`;
            until then as per call); ``"per_call"`` (each call's largest); or ``"full_scale"``
            (the worst case: all inputs and all cells of a tile at their largest).
        method: see above.
        percentile: of ``|I|`` that calibration takes as the range, in (0, 100].
        decades: dynamic range of the ``"log"`` method below full scale, > 0.

    Raises:
        ValueError: if a value is outside its range.
    """

    bits: int = 8
    range: str | float = "calibrated"
    method: str = "uniform"
    percentile: float = 100.0
    decades: float = 3.0

    def __post_init__(self) -> None:
        checks.integer("ADC bits", self.bits, most=24)
        checks.one_of("ADC method", self.method, METHODS)
        checks.number("ADC percentile", self.percentile, above=0.0, most=100.0)
        checks.number("ADC decades", self.decades, above=0.0)
        if isinstance(self.range, str):
            checks.one_of("ADC range", self.range, RANGES)
        else:
            checks.number("ADC range", self.range, above=0.0)

    @property
    def on_grid(self) -> bool:
        """Whether the output is an integer times one step (so the step can be folded away)."""
        return self.method in _GRIDS and self.bits > 1

    @property
    def ranged(self) -> bool:
        """Whether the method needs a range at all (min–max methods find their own)."""
        return "minmax" not in self.method

    def step(self, limit: Tensor) -> Tensor:
        """Return the current (A) of one level for a full scale ``limit`` (A)."""
        if self.method == "linear":
            return quantize.power_of_two_step(limit, self.bits)
        return limit / quantize.levels(self.bits)[1]

    def to_levels(self, current: Tensor) -> Tensor:
        """Convert currents given in units of one step to integer levels (grid methods only).

        ``current`` is overwritten where no gradient is needed.
        """
        low, high = quantize.levels(self.bits)
        if self.method == "linear":
            low -= 1
        return quantize.to_grid(current, low, high, fresh=True)

    def measure(self, currents: list[Tensor]) -> Tensor:
        """Return the range that one call's own currents (A) ask for.

        Args:
            currents: of all tiles, in any number of pieces.

        Returns:
            ``[1]``, the largest magnitude; or ``[2]``, the two ends, for the min–max methods: the
            smallest and the largest current, or (logarithmic) magnitude above zero.
        """
        pieces = [piece.detach() for piece in currents if piece.numel()]
        if not pieces:
            ones = currents[0].new_ones(1)
            return ones if self.ranged else torch.cat((-ones, ones))
        if self.method == "minmax":
            low = torch.stack([piece.amin() for piece in pieces]).amin()
            return torch.stack((low, torch.stack([piece.amax() for piece in pieces]).amax()))
        # Over all pieces at once: one that carries no current at all must not set the range.
        largest = quantize.magnitude(torch.stack([quantize.peak(piece) for piece in pieces]))
        if self.ranged:
            return largest.reshape(1)
        # What rounding leaves of a current that cancels is no current.
        rounding = largest * torch.finfo(largest.dtype).eps
        flows = [torch.where(p.abs() > rounding, p.abs(), largest).amin() for p in pieces]
        return torch.stack((torch.stack(flows).amin(), largest))

    def convert(self, current: Tensor, limit: Tensor) -> Tensor:
        """Convert currents (A), by any method.

        Args:
            current: any shape; overwritten where no gradient is needed.
            limit: full scale (A), broadcast to ``current``; the two ends for min–max methods, as
                `measure` returns them.
        """
        if self.method == "minmax":
            return quantize.min_max(current, self.bits, *limit)
        if self.method == "log_minmax":
            return quantize.companded_log(current, self.bits, *limit)
        if self.method == "log":
            return quantize.companded_log(current, self.bits, limit * 10**-self.decades, limit)
        if self.method == "tanh":
            return quantize.companded_tanh(current, self.bits, limit)
        if self.bits == 1:
            return quantize.sign_ste(current, limit)
        step = self.step(limit)
        return self.to_levels(current / step) * step
