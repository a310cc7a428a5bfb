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
    """Linear ion drift that moves only at voltages beyond two write thresholds.

    Attributes:
        pos_write_threshold: least positive voltage that moves the state (V).
        neg_write_threshold: largest negative voltage that does (V).
    """

    pos_write_threshold: float = 0.55
    neg_write_threshold: float = -0.55

    def rate(self, x: Any, drive: tuple[Any, ...], p: Any) -> Any:
        """Return dx/dt (1/s)."""
        (v,) = drive
        moved = self.unthresholded(x, v, p)
        beyond = (v >= p.pos_write_threshold) | (v <= p.neg_write_threshold)
        return maths.where(beyond, moved, 0.0 * moved)

    def unthresholded(self, x: Any, v: Any, p: Any) -> Any:
        """Return dx/dt (1/s) as if there were no thresholds."""
        return super().rate(maths.clip(x, INSIDE, 1.0 - INSIDE), (v,), p)


@dataclass(frozen=True)
class ReadAtVoltage(devices.StanfordPKU):
    """The Stanford–PKU model whose conductance is that of a read at ``read_voltage``.

    Attributes:
        read_voltage: of the read (V), > 0.
    """

    read_voltage: float = 0.1

    def _read_gain(self, p: Any) -> Any:
        # f(read_voltage) = read_voltage, in units of the low-voltage conductance.
        return p.v0 * maths.sinh(p.read_voltage / p.v0) / p.read_voltage

    def conductance_at(self, x: Any, p: Any) -> Any:
        """Return ``I(read_voltage)/read_voltage`` (S) at states ``x``."""
        return super().conductance_at(x, p) * self._read_gain(p)

    def state_at(self, g: Any, p: Any) -> Any:
        """Return the state of conductance ``g`` (S)."""
        return super().state_at(g / self._read_gain(p), p)

    def transfer_at(self, v: Any, p: Any) -> Any:
        """Return ``f(v)`` (V) of ``I = g · f(v)``."""
        return super().transfer_at(v, p) / self._read_gain(p)


class _PerResistance:
    """Data-driven models whose conductance is ``1/R`` and whose current has two branches."""

    def conductance_at(self, x: Any, p: Any) -> Any:
        """Return ``1/R`` (S) at states ``x``."""
        return 1.0 / (p.r_off - x * (p.r_off - p.r_on))

    def state_at(self, g: Any, p: Any) -> Any:
        """Return the state of conductance ``g`` (S)."""
        return (p.r_off - 1.0 / g) / (p.r_off - p.r_on)

    def transfer_at(self, v: Any, p: Any) -> Any:
        """Return ``f(v)`` (V): ``a sinh(b v)``, with a and b of the voltage's sign."""
        rising, falling = p.a * maths.sinh(p.b * v), p.a_neg * maths.sinh(p.b_neg * v)
        return maths.where(v > 0.0, rising, falling)


@dataclass(frozen=True)
class TwoBranch2018(_PerResistance, devices.DataDriven2018):
    """`mho.devices.DataDriven2018` with a branch of the current for each polarity.

    Attributes:
        a_neg: amplitude of the current at negative voltages (V), > 0.
        b_neg: steepness of the current at negative voltages (1/V), > 0.
        eta: 1 if positive voltages reset the cell, -1 if they set it.
    """

    a_neg: float = 0.24
    b_neg: float = 3.0
    eta: float = 1.0

    @property
    def set_polarity(self) -> int:
        """+1 if a positive voltage sets the cell."""
        return -1 if self.eta > 0.0 else 1

    def drive(self, v: Any, p: Any) -> tuple[Any, ...]:
        """Return voltage, speed and bound under ``v`` (V)."""
        return super().drive(v if self.eta > 0.0 else -v, p)

    def pulse(self, x: Tensor, v: Tensor, duration: Tensor, p: Any) -> Tensor | None:
        """Return the states after a constant voltage, in closed form."""
        if self.eta > 0.0:
            return super().pulse(x, v, duration, p)
        return self.replace(eta=1.0).pulse(x, -v, duration, p)


@dataclass(frozen=True)
class TwoBranch2021(_PerResistance, devices.DataDriven2021):
    """`mho.devices.DataDriven2021` with a branch of the current for each polarity.

    Attributes:
        a_neg: amplitude of the current at negative voltages (V), > 0.
        b_neg: steepness of the current at negative voltages (1/V), > 0.
    """

    a_neg: float = 0.32046175
    b_neg: float = 2.71689828
