"""The generalised model of Yakopcic and others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from mho.cells.spread import Spread, check
from mho.core import checks
from mho.devices import maths
from mho.devices.switching import SwitchingDevice


@dataclass(frozen=True)
class Yakopcic(SwitchingDevice):
    """Hyperbolic-sine currents and a state that moves exponentially fast beyond two thresholds.

        I = a1 · x · sinh(b v)  for v >= 0,   a2 · x · sinh(b v)  for v < 0
        dx/dt = η · g(v) · f(x)
        g = A_p (e^v - e^v_p)  for v > v_p,   -A_n (e^-v - e^v_n)  for v < -v_n,   else 0
        rising:  f = exp(-α_p (x - x_p)) (1 - x)/(1 - x_p)  for x >= x_p,       else 1
        falling: f = exp(α_n (x + x_n - 1)) x/(1 - x_n)     for x <= 1 - x_n,   else 1

    With η = +1 a positive voltage sets the cell (``set_polarity`` = η). The low-voltage
    conductance is ``a1 · b · x``: none at x = 0 (the paper's device starts at x = 0.11). For
    v < 0 the read's ``f(v)`` carries the factor ``a2/a1``.

    Source: Yakopcic, Taha, Subramanyam, Pino & Rogers 2011, doi 10.1109/LED.2011.2163292;
    Yakopcic, Taha, Subramanyam & Pino 2013, doi 10.1109/TCAD.2013.2252057.

    Attributes:
        a1: amplitude of the current for v >= 0 (A), > 0.
        a2: amplitude of the current for v < 0 (A), > 0.
        b: steepness of the current (1/V), > 0.
        v_p: positive threshold (V), >= 0.
        v_n: size of the negative threshold (V), >= 0.
        amplitude_p: A_p, speed beyond the positive threshold (1/s), > 0.
        amplitude_n: A_n, speed beyond the negative threshold (1/s), > 0.
        x_p: state from which rising slows down, in [0, 1).
        x_n: 1 - x_n is the state from which falling slows down, in [0, 1).
        alpha_p: decay of rising, >= 0.
        alpha_n: decay of falling, >= 0.
        eta: +1 or -1: where a positive voltage moves the state.

    Raises:
        ValueError: if a parameter is out of its range.
    """

    ordered: ClassVar[tuple[tuple[str, str], ...]] = ()

    a1: float | Spread = 0.17
    a2: float | Spread = 0.17
    b: float | Spread = 0.05
    v_p: float | Spread = 0.16
    v_n: float | Spread = 0.15
    amplitude_p: float | Spread = 4000.0
    amplitude_n: float | Spread = 4000.0
    x_p: float | Spread = 0.3
    x_n: float | Spread = 0.5
    alpha_p: float | Spread = 1.0
    alpha_n: float | Spread = 5.0
    eta: int = 1

    def __post_init__(self) -> None:
        for name in ("a1", "a2", "b", "amplitude_p", "amplitude_n"):
            check(name, getattr(self, name), above=0.0)
        for name in ("v_p", "v_n", "alpha_p", "alpha_n"):
            check(name, getattr(self, name), least=0.0)
        for name in ("x_p", "x_n"):
            check(name, getattr(self, name), least=0.0, below=1.0)
        checks.one_of("eta", self.eta, (1, -1))

    @property
    def set_polarity(self) -> int:
        """η: +1 if a positive voltage sets the cell, -1 if a negative one does."""
        return int(self.eta)

    def drive(self, v: Any, p: Any) -> tuple[Any, ...]:
        """Return ``η g(v)`` (1/s)."""
        up = p.amplitude_p * maths.positive(maths.exp(v) - maths.exp(p.v_p))
        down = p.amplitude_n * maths.positive(maths.exp(-v) - maths.exp(p.v_n))
        return (p.eta * (up - down),)

    def rate(self, x: Any, drive: tuple[Any, ...], p: Any) -> Any:
        """Return dx/dt (1/s)."""
        (push,) = drive
        # Past the point where slowing begins both are 0, and the factors are 1.
        over = maths.positive(x - p.x_p)
        under = maths.positive(1.0 - p.x_n - x)
        rising = maths.exp(-p.alpha_p * over) * (1.0 - over / (1.0 - p.x_p))
        falling = maths.exp(-p.alpha_n * under) * (1.0 - under / (1.0 - p.x_n))
        return push * maths.where(push > 0.0, rising, falling)

    def conductance_at(self, x: Any, p: Any) -> Any:
        """Return the low-voltage conductance ``a1 b x`` (S) at states ``x``."""
        return p.a1 * p.b * x

    def state_at(self, g: Any, p: Any) -> Any:
        """Return the state of low-voltage conductance ``g`` (S)."""
        return g / (p.a1 * p.b)

    def transfer_at(self, v: Any, p: Any) -> Any:
        """Return ``sinh(b v)/b`` (V), times ``a2/a1`` for negative voltages."""
        f = maths.sinh(p.b * v) / p.b
        return maths.where(v < 0.0, p.a2 / p.a1 * f, f)
