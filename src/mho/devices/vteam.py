"""VTEAM: threshold-adaptive memristor with voltage thresholds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from mho.cells.spread import Spread, check, check_order
from mho.core import checks
from mho.devices import maths
from mho.devices.switching import SwitchingDevice
from mho.devices.windows import Rectangular, Window

RESISTANCES = ("linear", "exponential")


def threshold_drive(signal: Any, on: Any, off: Any, p: Any) -> Any:
    """Return the unwindowed dx/dt (1/s) of the TEAM family under a voltage or a current.

    Args:
        signal: voltage (V) or current (A).
        on: threshold of ``signal`` for setting, < 0.
        off: threshold for resetting, > 0.
        p: parameters ``k_on, k_off, alpha_on, alpha_off, w_on, w_off``.
    """
    rising = maths.positive(signal / on - 1.0) ** p.alpha_on * p.k_on
    falling = maths.positive(signal / off - 1.0) ** p.alpha_off * p.k_off
    # w falls where x rises: x = (w_off - w) / (w_off - w_on).
    return -(rising + falling) / (p.w_off - p.w_on)


def series_conductance(x: Any, p: Any, resistance: str) -> Any:
    """Return the conductance (S) at states ``x`` of the TEAM family."""
    if resistance == "linear":
        return 1.0 / (p.r_off - x * (p.r_off - p.r_on))
    return maths.exp((x - 1.0) * maths.log(p.r_off / p.r_on)) / p.r_on


def series_state(g: Any, p: Any, resistance: str) -> Any:
    """Return the state of conductance ``g`` (S) of the TEAM family."""
    if resistance == "linear":
        return (p.r_off - 1.0 / g) / (p.r_off - p.r_on)
    return 1.0 + maths.log(g * p.r_on) / maths.log(p.r_off / p.r_on)


def check_family(spec: Any) -> None:
    """Refuse parameters of the TEAM family that are out of range (ValueError)."""
    for name in ("r_on", "r_off", "alpha_on", "alpha_off", "k_off"):
        check(name, getattr(spec, name), above=0.0)
    check("k_on", spec.k_on, below=0.0)
    check("w_on", spec.w_on)
    check("w_off", spec.w_off)
    check_order("r_on", spec.r_on, "r_off", spec.r_off)
    check_order("w_on", spec.w_on, "w_off", spec.w_off)
    checks.one_of("resistance", spec.resistance, RESISTANCES)
    checks.instance("window_function", spec.window_function, Window)


@dataclass(frozen=True)
class VTEAM(SwitchingDevice):
    """A state that moves only beyond two voltage thresholds.

        dw/dt = k_off (v/v_off - 1)^alpha_off · window    for v > v_off > 0
        dw/dt = k_on  (v/v_on  - 1)^alpha_on  · window    for v < v_on  < 0,   else 0
        I = v / R,   linear:      R = r_on + (r_off - r_on) (w - w_on)/(w_off - w_on)
                     exponential: R = r_on (r_off/r_on)^((w - w_on)/(w_off - w_on))

    The state held is ``x = (w_off - w)/(w_off - w_on)``. A positive voltage resets the cell
    (``set_polarity`` = -1). Without a window (`Rectangular`) a pulse moves ``x`` in proportion
    to its width. With the default speeds a cell sets within picoseconds at -1 V: for cells
    switching slowly take smaller ``k_on`` and ``k_off``.

    Source: Kvatinsky, Ramadan, Friedman & Kolodny 2015, doi 10.1109/TCSII.2015.2433536.

    Attributes:
        r_on: resistance at w = w_on (Ω), > 0.
        r_off: resistance at w = w_off (Ω), > r_on.
        v_on: set threshold (V), < 0.
        v_off: reset threshold (V), > 0.
        k_on: speed of setting (m/s), < 0.
        k_off: speed of resetting (m/s), > 0.
        alpha_on: exponent of setting, > 0.
        alpha_off: exponent of resetting, > 0.
        w_on: state variable at low resistance (m).
        w_off: state variable at high resistance (m), > w_on.
        resistance: ``linear`` or ``exponential`` in w.
        window_function: slows the state near its bounds; see ``mho.devices.windows``.

    Raises:
        ValueError: if a parameter is out of its range.
    """

    ordered: ClassVar[tuple[tuple[str, str], ...]] = (("r_on", "r_off"), ("w_on", "w_off"))
    signed: ClassVar[tuple[str, ...]] = ("w_on", "w_off")

    r_on: float | Spread = 50.0
    r_off: float | Spread = 1000.0
    v_on: float | Spread = -0.2
    v_off: float | Spread = 0.02
    k_on: float | Spread = -10.0
    k_off: float | Spread = 5e-4
    alpha_on: float | Spread = 3.0
    alpha_off: float | Spread = 1.0
    w_on: float | Spread = 0.0
    w_off: float | Spread = 3e-9
    resistance: str = "linear"
    window_function: Window = field(default_factory=Rectangular)

    def __post_init__(self) -> None:
        check_family(self)
        check("v_on", self.v_on, below=0.0)
        check("v_off", self.v_off, above=0.0)

    @property
    def state_free(self) -> bool:
        """Whether the rate depends on the voltage alone: where no window acts."""
        return self.window_function.hard

    @property
    def set_polarity(self) -> int:
        """Negative voltages set the cell."""
        return -1

    def drive(self, v: Any, p: Any) -> tuple[Any, ...]:
        """Return the unwindowed dx/dt (1/s) under ``v`` (V)."""
        return (threshold_drive(v, p.v_on, p.v_off, p),)

    def rate(self, x: Any, drive: tuple[Any, ...], p: Any) -> Any:
        """Return dx/dt (1/s)."""
        (push,) = drive
        return push if self.window_function.hard else push * self.window_function(x, push)

    def conductance_at(self, x: Any, p: Any) -> Any:
        """Return the conductance (S) at states ``x``."""
        return series_conductance(x, p, self.resistance)

    def state_at(self, g: Any, p: Any) -> Any:
        """Return the state of conductance ``g`` (S)."""
        return series_state(g, p, self.resistance)

    def pulse(self, x: Tensor, v: Tensor, duration: Tensor, p: Any) -> Tensor | None:
        """Return the states after a constant voltage, in closed form where no window acts."""
        if not self.window_function.hard:
            return None
        (push,) = self.drive(v, p)
        state: Tensor = maths.unit(x + push * duration)
        return state
