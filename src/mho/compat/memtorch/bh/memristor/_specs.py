"""mho's device models in MemTorch's terms.

MemTorch states a cell by the conductance of its own read-out: ``1/R`` of the data-driven models
(whose current is ``(a/R) sinh(b v)``), ``I(v_read)/v_read`` of the Stanford–PKU model. The specs
here restate ``I = g · f(v)`` with that g; the physics is that of `mho.devices`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mho import devices
from mho.devices import maths

# A state at a bound of Joglekar's window would never leave it again: states count as this far
# inside where the window is taken.
INSIDE = 1e-6


@dataclass(frozen=True)
class ThresholdedDrift(devices.LinearIonDrift):
    """Linear ion drift that moves only at voltages beyond two write thresholds (V)."""

    pos_write_threshold: float = 0.55
    neg_write_threshold: float = -0.55

    def rate(self, x: Any, drive: tuple[Any, ...], p: Any) -> Any:
        (v,) = drive
        moved = self.unthresholded(x, v, p)
        beyond = (v >= p.pos_write_threshold) | (v <= p.neg_write_threshold)
        return maths.where(beyond, moved, 0.0 * moved)

    def unthresholded(self, x: Any, v: Any, p: Any) -> Any:
        """Return dx/dt (1/s) as if there were no thresholds."""
        return super().rate(maths.clip(x, INSIDE, 1.0 - INSIDE), (v,), p)


@dataclass(frozen=True)
class ReadAtVoltage(devices.StanfordPKU):
    """The Stanford–PKU model whose conductance is that of a read at ``read_voltage`` (V), > 0."""

    read_voltage: float = 0.1

    def _read_gain(self, p: Any) -> Any:
        # f(read_voltage) = read_voltage, in units of the low-voltage conductance.
        return p.v0 * maths.sinh(p.read_voltage / p.v0) / p.read_voltage

    def conductance_at(self, x: Any, p: Any) -> Any:
        return super().conductance_at(x, p) * self._read_gain(p)

    def state_at(self, g: Any, p: Any) -> Any:
        return super().state_at(g / self._read_gain(p), p)

    def transfer_at(self, v: Any, p: Any) -> Any:
        return super().transfer_at(v, p) / self._read_gain(p)


@dataclass(frozen=True)
class _PerResistance(devices.SwitchingDevice):
    """Data-driven models whose conductance is ``1/R`` and whose current has two branches.

    Attributes:
        a_neg, b_neg: ``a`` (V) and ``b`` (1/V) of negative voltages, > 0.
    """

    a_neg: float = 0.24
    b_neg: float = 3.0

    def conductance_at(self, x: Any, p: Any) -> Any:
        return 1.0 / (p.r_off - x * (p.r_off - p.r_on))

    def state_at(self, g: Any, p: Any) -> Any:
        return (p.r_off - 1.0 / g) / (p.r_off - p.r_on)

    def transfer_at(self, v: Any, p: Any) -> Any:
        rising, falling = p.a * maths.sinh(p.b * v), p.a_neg * maths.sinh(p.b_neg * v)
        return maths.where(v > 0.0, rising, falling)


@dataclass(frozen=True)
class TwoBranch2018(_PerResistance, devices.DataDriven2018):
    """One whose positive voltages reset the cell (``eta`` = 1) or set it (-1)."""

    eta: float = 1.0

    @property
    def set_polarity(self) -> int:
        return -1 if self.eta > 0.0 else 1

    def drive(self, v: Any, p: Any) -> tuple[Any, ...]:
        return super().drive(v if self.eta > 0.0 else -v, p)

    def pulse(self, x: Tensor, v: Tensor, duration: Tensor, p: Any) -> Tensor | None:
        if self.eta > 0.0:
            return super().pulse(x, v, duration, p)
        return self.replace(eta=1.0).pulse(x, -v, duration, p)


@dataclass(frozen=True)
class TwoBranch2021(_PerResistance, devices.DataDriven2021):
    """One whose resistance approaches its bound as ``1/t``."""
