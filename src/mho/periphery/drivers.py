"""Errors of word-line drivers: mismatch of each, and a curve that all have."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mho.cells.spread import Spread, check, positive
from mho.core import checks
from mho.core.constants import constant
from mho.core.spec import Spec
from mho.periphery import quantize
from mho.periphery.converters.base import curve_of, slope_of


@dataclass(frozen=True, kw_only=True)
class DriverErrors(Spec):
    """How the drivers of word lines miss their voltages.

        v_i = gain_i · curve(u) · v_max + offset_i · v_max,    u = level / largest level

    Every word line of a row of tiles has one driver, for all tiles beside one another and all
    slices. A number is the same for all drivers; a `Spread` is drawn for each when the chip is made
    and kept with it; in training it is drawn afresh at every read, as the cells are.

    Attributes:
        gain: factor on the voltage, > 0; a `Spread` without a lower bound is bounded by 0.
        offset: added to it, of ``v_max``; of drivers by amplitude.
        inl: coefficients ``a2, a3, …`` of the curve ``u + a2 u² + a3 u³ + …`` of all drivers, which
            must rise; of drivers by amplitude with bits.
        levels: in place of ``inl`` the measured curve: what each level delivers, of ``v_max``, from
            the lowest to the highest.

    Raises:
        TypeError, ValueError: if a value is refused.
    """

    gain: float | Spread = 1.0
    offset: float | Spread = 0.0
    inl: tuple[float, ...] = ()
    levels: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "gain", positive("DriverErrors gain", self.gain))
        check("DriverErrors offset", self.offset)
        for name in ("inl", "levels"):
            values = getattr(self, name)
            checks.instance(f"DriverErrors {name}", values, (tuple, list))
            for k, each in enumerate(values):
                checks.number(f"DriverErrors {name}[{k}]", each)
            object.__setattr__(self, name, tuple(float(each) for each in values))
        if self.inl and self.levels:
            raise ValueError("DriverErrors inl and levels are two ways to say one curve: give one")
        u = torch.linspace(-1.0, 1.0, 2001, dtype=torch.float64)
        if float(slope_of(u, self.inl).min()) <= 0.0:
            raise ValueError(
                f"DriverErrors inl must leave a curve that rises over ±1, got {self.inl!r}"
            )

    @property
    def curved(self) -> bool:
        """Whether levels are unevenly spaced."""
        return bool(self.inl or self.levels)

    @property
    def offsets(self) -> bool:
        """Whether a line that is driven with 0 is not at 0 V."""
        return self.offset != 0.0

    @property
    def mismatched(self) -> bool:
        """Whether gains are not 1."""
        return self.gain != 1.0

    @property
    def acts(self) -> bool:
        """Whether drivers are other than exact ones."""
        return self.curved or self.offsets or self.mismatched

    @property
    def drawn(self) -> bool:
        """Whether drivers differ by chance."""
        return isinstance(self.gain, Spread) or isinstance(self.offset, Spread)

    def check(self, bits: int | None, mode: str, span: tuple[int, int]) -> None:
        """Refuse what would not act on drivers of a kind (ValueError).

        Args:
            bits: of the drivers.
            mode: of the drivers.
            span: lowest and highest level.
        """
        if mode != "amplitude" and (self.offsets or self.curved):
            raise ValueError(
                "DAC errors of pulses of one voltage are their gain alone: offset, inl and levels "
                "are for mode 'amplitude'"
            )
        if self.curved and (bits is None or bits < 2):
            raise ValueError(f"DAC errors inl and levels need bits >= 2, got {bits!r}")
        if self.levels and len(self.levels) != span[1] - span[0] + 1:
            raise ValueError(
                f"DAC errors levels must be one for each of the {span[1] - span[0] + 1} levels "
                f"{span[0]} … {span[1]}, got {len(self.levels)}"
            )
        most = max(map(abs, self.levels), default=1.0)
        if not 0.25 <= most <= 4.0:
            raise ValueError(
                "DAC errors levels must be shares of v_max, of ideal drivers at most 1, got up to "
                f"{most:g}: divide voltages by v_max"
            )

    def bent(self, level: Tensor, span: tuple[int, int]) -> Tensor:
        """Return what integer levels deliver, in steps; the gradient of a table is its step's."""
        low, high = span
        if self.inl:
            return curve_of(level / high, self.inl) * high
        table = constant(self.levels, level.dtype, level.device) * high
        index = (level.detach() - low).to(torch.int64).clamp_(0, len(self.levels) - 1)
        hard = torch.where(level.isnan(), level.detach(), table[index])
        return quantize.straight_through(hard, level)
