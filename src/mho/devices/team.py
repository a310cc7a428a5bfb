"""TEAM: threshold-adaptive memristor with current thresholds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from mho.cells.spread import Spread, check
from mho.devices.switching import SwitchingDevice
from mho.devices.vteam import check_family, series_conductance, series_state, threshold_drive
from mho.devices.windows import Rectangular, Window


@dataclass(frozen=True)
class TEAM(SwitchingDevice):
    """A state that moves only beyond two current thresholds.

        dw/dt = k_off (I/i_off - 1)^alpha_off · window    for I > i_off > 0
        dw/dt = k_on  (I/i_on  - 1)^alpha_on  · window    for I < i_on  < 0,   else 0
        I = v / R,   linear:      R = r_on + (r_off - r_on) (w - w_on)/(w_off - w_on)
                     exponential: R = r_on (r_off/r_on)^((w - w_on)/(w_off - w_on))

    The state held is ``x = (w_off - w)/(w_off - w_on)``. A positive voltage resets the cell
    (``set_polarity`` = -1).

    Source: Kvatinsky, Friedman, Kolodny & Weiser 2013, doi 10.1109/TCSI.2012.2215714; speeds,
    thresholds, exponents and lengths of its authors' public Verilog-A model.

    Attributes:
        r_on: resistance at w = w_on (Ω), > 0.
        r_off: resistance at w = w_off (Ω), > r_on.
        i_on: set threshold (A), < 0.
        i_off: reset threshold (A), > 0.
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
    i_on: float | Spread = -8.9e-6
    i_off: float | Spread = 115e-6
    k_on: float | Spread = -8e-13
    k_off: float | Spread = 8e-13
    alpha_on: float | Spread = 3.0
    alpha_off: float | Spread = 3.0
    w_on: float | Spread = 0.0
    w_off: float | Spread = 3e-9
    resistance: str = "linear"
    window_function: Window = field(default_factory=Rectangular)

    def __post_init__(self) -> None:
        check_family(self)
        check("i_on", self.i_on, below=0.0)
        check("i_off", self.i_off, above=0.0)

    @property
    def set_polarity(self) -> int:
        """Negative voltages set the cell."""
        return -1

    def rate(self, x: Any, drive: tuple[Any, ...], p: Any) -> Any:
        """Return dx/dt (1/s)."""
        (v,) = drive
        push = threshold_drive(v * self.conductance_at(x, p), p.i_on, p.i_off, p)
        return push if self.window_function.hard else push * self.window_function(x, push)

    def conductance_at(self, x: Any, p: Any) -> Any:
        """Return the conductance (S) at states ``x``."""
        return series_conductance(x, p, self.resistance)

    def state_at(self, g: Any, p: Any) -> Any:
        """Return the state of conductance ``g`` (S)."""
        return series_state(g, p, self.resistance)
