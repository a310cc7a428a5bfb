"""Data-driven models of TiOx cells: rates fitted to measured resistance transients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from mho.cells.spread import Spread, check, check_order
from mho.devices import maths
from mho.devices.switching import SwitchingDevice

# exp(80) is still a float32: no cell of these models takes longer than 1e-30 s there.
_STEEPEST = 80.0


class _DataDriven(SwitchingDevice):
    """What both models share: ``I = (a/R) sinh(b v)`` and a state that is linear in R."""

    signed: ClassVar[tuple[str, ...]] = ("r_p0", "r_p1", "r_n0", "r_n1")

    a: float | Spread
    b: float | Spread
    r_on: float | Spread
    r_off: float | Spread

    def _check_shared(self) -> None:
        for name in ("a", "b", "r_on", "r_off"):
            check(name, getattr(self, name), above=0.0)
        check_order("r_on", self.r_on, "r_off", self.r_off)

    def _resistance(self, x: Any, p: Any) -> Any:
        return p.r_off - x * (p.r_off - p.r_on)

    def conductance_at(self, x: Any, p: Any) -> Any:
        """Return the low-voltage conductance ``a b/R`` (S) at states ``x``."""
        return p.a * p.b / self._resistance(x, p)

    def state_at(self, g: Any, p: Any) -> Any:
        """Return the state of low-voltage conductance ``g`` (S)."""
        return (p.r_off - p.a * p.b / g) / (p.r_off - p.r_on)

    def transfer_at(self, v: Any, p: Any) -> Any:
        """Return ``sinh(b v)/b`` (V)."""
        return maths.sinh(p.b * v) / p.b


@dataclass(frozen=True)
class DataDriven2018(_DataDriven):
    """A resistance that relaxes exponentially fast towards a bound set by the voltage.

        I = (a/R) sinh(b v)
        dR/dt = s_p(v) (exp(k_p (r_p(v) - R)) - 1)    for v > 0 and R < r_p(v)
        dR/dt = s_n(v) (exp(k_n (R - r_n(v))) - 1)    for v < 0 and R > r_n(v),   else 0
        s(v) = A (exp(t |v|) - 1)        r(v) = r0 + r1 · v

    The state held is ``x = (r_off - R)/(r_off - r_on)``; R is kept in ``[r_on, r_off]``. A
    positive voltage raises R, so it resets the cell (``set_polarity`` = -1; the paper's η = 1).
    The low-voltage conductance is ``a b/R``. Under a constant voltage, with
    ``u = k |r - R|``: ``exp(-u(t)) = 1 - (1 - exp(-u(0))) exp(-k |s| t)``.

    Source: Messaris, Serb, Stathopoulos, Khiat, Nikolaidis & Prodromakis 2018,
    doi 10.1109/TCAD.2018.2791468.

    Attributes:
        a_p: A of positive voltages (Ω/s), > 0.
        a_n: A of negative voltages (Ω/s), < 0.
        t_p: exponent of the speed, positive voltages (1/V), > 0.
        t_n: exponent of the speed, negative voltages (1/V), > 0.
        k_p: steepness of the approach, positive voltages (1/Ω), > 0.
        k_n: steepness of the approach, negative voltages (1/Ω), > 0.
        r_p0: bound of positive voltages at 0 V (Ω).
        r_p1: its slope (Ω/V).
        r_n0: bound of negative voltages at 0 V (Ω).
        r_n1: its slope (Ω/V).
        a: amplitude of the current (V), > 0: I = (a/R) sinh(b v).
        b: steepness of the current (1/V), > 0 (the paper also prints 2.81).
        r_on: least resistance (Ω), > 0.
        r_off: largest resistance (Ω), > r_on.

    Raises:
        ValueError: if a parameter is out of its range.
    """

    a_p: float | Spread = 743.47
    a_n: float | Spread = -68012.28374
    t_p: float | Spread = 6.51
    t_n: float | Spread = 0.31645
    k_p: float | Spread = 5.11e-4
    k_n: float | Spread = 1.17e-3
    r_p0: float | Spread = 16719.0
    r_p1: float | Spread = 0.0
    r_n0: float | Spread = 29304.82557
    r_n1: float | Spread = 23692.77225
    a: float | Spread = 0.24
    b: float | Spread = 3.0
    r_on: float | Spread = 1280.0
    r_off: float | Spread = 17e3

    def __post_init__(self) -> None:
        self._check_shared()
        for name in ("a_p", "t_p", "t_n", "k_p", "k_n"):
            check(name, getattr(self, name), above=0.0)
        check("a_n", self.a_n, below=0.0)
        for name in ("r_p0", "r_p1", "r_n0", "r_n1"):
            check(name, getattr(self, name))

    @property
    def set_polarity(self) -> int:
        """Negative voltages set the cell."""
        return -1

    def drive(self, v: Any, p: Any) -> tuple[Any, ...]:
        """Return the voltage (V), the speed ``s(v)`` (Ω/s) and the bound ``r(v)`` (Ω)."""
        up = v > 0.0
        speed = maths.where(
            up,
            p.a_p * maths.expm1(p.t_p * abs(v)),
            p.a_n * maths.expm1(p.t_n * abs(v)),
        )
        bound = maths.where(up, p.r_p0 + p.r_p1 * v, p.r_n0 + p.r_n1 * v)
        return v, speed, bound

    def _distance(self, x: Any, v: Any, bound: Any, p: Any) -> Any:
        # u: how far the bound is, in units of 1/k; 0 where it has been passed.
        ahead = bound - self._resistance(x, p)
        u = maths.where(v > 0.0, p.k_p * ahead, -p.k_n * ahead)
        return maths.clip(u, 0.0, _STEEPEST)

    def rate(self, x: Any, drive: tuple[Any, ...], p: Any) -> Any:
        """Return dx/dt (1/s)."""
        v, speed, bound = drive
        return -speed * maths.expm1(self._distance(x, v, bound, p)) / (p.r_off - p.r_on)

    def pulse(self, x: Tensor, v: Tensor, duration: Tensor, p: Any) -> Tensor | None:
        """Return the states after a constant voltage, in closed form."""
        _, speed, bound = self.drive(v, p)
        k = maths.where(v > 0.0, p.k_p + 0.0 * v, p.k_n + 0.0 * v)
        start = self._distance(x, v, bound, p)
        passed = k * abs(speed) * duration
        # exp(-u) as a sum of positive terms: exact for short and for long pulses.
        end = -maths.log(maths.exp(-start - passed) - maths.expm1(-passed))
        state: Tensor = maths.unit(x - maths.sign(v) * (start - end) / k / (p.r_off - p.r_on))
        return state


@dataclass(frozen=True)
class DataDriven2021(_DataDriven):
    """A resistance that approaches a bound set by the voltage as ``1/t``.

        I = (a/R) sinh(b v)
        dR/dt = s_p(v) (r_p(v) - R)²    for v > 0 and R > r_p(v)
        dR/dt = s_n(v) (R - r_n(v))²    for v < 0 and R < r_n(v),   else 0
        s(v) = A (exp(|v|/t) - 1)       r(v) = r0 + r1 · v

    The state held is ``x = (r_off - R)/(r_off - r_on)``; R is kept in ``[r_on, r_off]``. With
    the published signs (t < 0, A_p > 0, A_n < 0) s_p is negative and s_n positive: a positive
    voltage sets the cell (``set_polarity`` = +1). The low-voltage conductance is ``a b/R``.
    Under a constant voltage ``R(t) = (R0 + s r (r - R0) t)/(1 + s (r - R0) t)``.

    Source: Vaidya, Kothari, Abbey, Stathopoulos, Michalas, Serb & Prodromakis 2021,
    doi 10.1109/TED.2021.3101996.

    Attributes:
        a_p: A of positive voltages (1/(Ω s)), > 0.
        a_n: A of negative voltages (1/(Ω s)), < 0.
        t_p: voltage scale of the speed, positive voltages (V), < 0.
        t_n: voltage scale of the speed, negative voltages (V), < 0.
        r_p0: bound of positive voltages at 0 V (Ω).
        r_p1: its slope (Ω/V).
        r_n0: bound of negative voltages at 0 V (Ω).
        r_n1: its slope (Ω/V).
        a: amplitude of the current (V), > 0: I = (a/R) sinh(b v).
        b: steepness of the current (1/V), > 0.
        r_on: least resistance (Ω), > 0.
        r_off: largest resistance (Ω), > r_on.

    Raises:
        ValueError: if a parameter is out of its range.
    """

    a_p: float | Spread = 600.10075
    a_n: float | Spread = -34.5988399
    t_p: float | Spread = -0.0212028
    t_n: float | Spread = -0.05343997
    r_p0: float | Spread = 2699.2336
    r_p1: float | Spread = -672.930205
    r_n0: float | Spread = 649.413746
    r_n1: float | Spread = -1474.32358
    a: float | Spread = 0.32046
    b: float | Spread = 2.71690
    r_on: float | Spread = 1600.0
    r_off: float | Spread = 3000.0

    def __post_init__(self) -> None:
        self._check_shared()
        check("a_p", self.a_p, above=0.0)
        for name in ("a_n", "t_p", "t_n"):
            check(name, getattr(self, name), below=0.0)
        for name in ("r_p0", "r_p1", "r_n0", "r_n1"):
            check(name, getattr(self, name))

    def drive(self, v: Any, p: Any) -> tuple[Any, ...]:
        """Return the speed ``s(v)`` (1/(Ω s)) and the bound ``r(v)`` (Ω)."""
        up = v > 0.0
        speed = maths.where(
            up,
            p.a_p * maths.expm1(abs(v) / p.t_p),
            p.a_n * maths.expm1(abs(v) / p.t_n),
        )
        bound = maths.where(up, p.r_p0 + p.r_p1 * v, p.r_n0 + p.r_n1 * v)
        return speed, bound

    def rate(self, x: Any, drive: tuple[Any, ...], p: Any) -> Any:
        """Return dx/dt (1/s)."""
        speed, bound = drive
        ahead = bound - self._resistance(x, p)
        # s and r - R have one sign exactly where the bound lies ahead.
        return -maths.positive(speed * ahead) * ahead / (p.r_off - p.r_on)

    def pulse(self, x: Tensor, v: Tensor, duration: Tensor, p: Any) -> Tensor | None:
        """Return the states after a constant voltage, in closed form."""
        speed, bound = self.drive(v, p)
        ahead = bound - self._resistance(x, p)
        passed = maths.positive(speed * ahead) * duration
        moved = ahead * passed / (1.0 + passed)
        state: Tensor = maths.unit(x - moved / (p.r_off - p.r_on))
        return state
