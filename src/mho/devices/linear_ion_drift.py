"""The linear ion drift model: the first memristor model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from mho.cells.spread import Spread, check, check_order
from mho.core import checks
from mho.devices import maths
from mho.devices.switching import SwitchingDevice
from mho.devices.windows import Rectangular, Window


@dataclass(frozen=True)
class LinearIonDrift(SwitchingDevice):
    """A doped layer of width ``x · d`` that grows in proportion to the charge that has passed.

        I = v / R(x)        R(x) = r_on · x + r_off · (1 - x)
        dx/dt = mobility · r_on / d² · I · window(x, I)

    A positive voltage sets the cell (``set_polarity`` = +1). Without a window (`Rectangular`) a
    pulse has the closed form ``R(t)² = R(0)² - 2 (r_off - r_on) mobility r_on / d² · v · t``.

    Source: Strukov, Snider, Stewart & Williams 2008, doi 10.1038/nature06932.

    Attributes:
        r_on: resistance at x = 1 (Ω), > 0.
        r_off: resistance at x = 0 (Ω), > r_on.
        d: thickness of the film (m), > 0.
        mobility: of the dopants (m²/(V s)), > 0.
        window_function: slows the state near its bounds; see ``mho.devices.windows``.

    Raises:
        ValueError: if a parameter is out of its range.
    """

    r_on: float | Spread = 100.0
    r_off: float | Spread = 16e3
    d: float | Spread = 10e-9
    mobility: float | Spread = 1e-14
    window_function: Window = field(default_factory=Rectangular)

    def __post_init__(self) -> None:
        for name in ("r_on", "r_off", "d", "mobility"):
            check(name, getattr(self, name), above=0.0)
        check_order("r_on", self.r_on, "r_off", self.r_off)
        checks.instance("window_function", self.window_function, Window)

    def rate(self, x: Any, drive: tuple[Any, ...], p: Any) -> Any:
        """Return dx/dt (1/s)."""
        (v,) = drive
        speed = p.mobility * p.r_on / (p.d * p.d) * v / (p.r_off - x * (p.r_off - p.r_on))
        return speed if self.window_function.hard else speed * self.window_function(x, v)

    def conductance_at(self, x: Any, p: Any) -> Any:
        """Return the conductance (S) at states ``x``."""
        return 1.0 / (p.r_off - x * (p.r_off - p.r_on))

    def state_at(self, g: Any, p: Any) -> Any:
        """Return the state of conductance ``g`` (S)."""
        return (p.r_off - 1.0 / g) / (p.r_off - p.r_on)

    def pulse(self, x: Tensor, v: Tensor, duration: Tensor, p: Any) -> Tensor | None:
        """Return the states after a constant voltage, in closed form where no window acts."""
        if not self.window_function.hard:
            return None
        span = p.r_off - p.r_on
        start = p.r_off - x * span
        pushed = 2.0 * span * p.mobility * p.r_on / (p.d * p.d) * v * duration
        # Solved for the change of R without a difference of squares: exact for short pulses.
        end = maths.sqrt(maths.positive(start * start - pushed))
        state: Tensor = maths.unit(x + pushed / (start + end) / span)
        return state
