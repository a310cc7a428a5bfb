"""Steps for states in [0, 1] whose rate may be steep, run away, or jump.

Where a state moves gently one explicit step (Heun) is enough, and costs one rate. Elsewhere an
implicit step is tried: the diagonally implicit Runge–Kutta method of order 3 of Alexander
(three stages, L-stable and stiffly accurate), with the method of order 2 of its first two stages
for the error. As the state is one number, each stage is the root of a function of one unknown,
found within a bracket. It exists whatever the rate does:

* a rate that falls steeply with the state (heating that ends as the cell resets) costs no small
  steps;
* a rate that jumps (a threshold on the field) may hold the state on the jump: where the rate is
  positive below and negative above, the root is the jump itself (Filippov's solution);
* a bound is a rate that jumps to minus or plus infinity: a state that would leave is held.

Stages give slopes as differences quotients, never as the rate at their end, which on a jump would
mean nothing.

Source: R. Alexander, SIAM J. Numer. Anal. 14 (1977), doi 10.1137/0714068.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from mho.devices import maths
from mho.devices.maths import unit
from mho.devices.roots import rising

# Change of a state in the whole time unit; ``law(c)`` is that at the part ``c`` of a step.
Rate = Callable[[Any], Any]
Law = Callable[[float], Rate]

# Errors as parts of a step's tolerance: of an explicit step, whose estimate is that of a lower
# order, and of the roots in an implicit one.
_EXPLICIT, _ROOT = 1.0, 0.01
# No step moves a state further: it must not leap over a window that would have stopped it.
MOST = 0.05
# Steps so short that the state might as well jump.
SHORTEST = 1e-14

_G = 0.435866521508459  # 6 γ³ - 18 γ² + 9 γ - 1 = 0
_C2 = 0.5 * (1.0 + _G)
_A21 = 0.5 * (1.0 - _G)
_B1 = -1.5 * _G**2 + 4.0 * _G - 0.25
_B2 = 1.5 * _G**2 - 5.0 * _G + 1.25
# Weights of order 2 on the first two stages.
_E1 = (_C2 - 0.5) / (_C2 - _G)
_E2 = 1.0 - _E1


class Step(NamedTuple):
    """What one step came to.

    Attributes:
        x: state after it.
        slope: its slope there (a whole time unit's change).
        excess: its error, or its length, over what is allowed: accepted up to 1.
        order: the error falls as the step to this power.
    """

    x: Any
    slope: Any
    excess: Any
    order: int

    def factor(self) -> Any:
        """Return what the next step should be, as a part of this one."""
        return maths.clip(0.9 / (self.excess + 1e-9) ** (1.0 / self.order), 0.1, 5.0)


def held(x: Any, slope: Any) -> Any:
    """Return slopes, 0 where they point out of the range."""
    leaving = ((x >= 1.0) & (slope > 0.0)) | ((x <= 0.0) & (slope < 0.0))
    return maths.where(leaving, 0.0 * slope, slope)


def explicit(law: Law, x: Any, slope: Any, h: Any, tolerance: float) -> Step:
    """Return Heun's step of length ``h`` from states with known slopes."""
    ahead = unit(x + h * slope)
    end = held(ahead, law(1.0)(ahead))
    # The difference to Euler's step: an error of order 2, beyond that of the step itself.
    error = 0.5 * h * abs(end - slope)
    travel = h * maths.largest(abs(end), abs(slope))
    excess = maths.largest(error / (_EXPLICIT * tolerance), (travel / MOST) ** 2)
    return Step(unit(x + 0.5 * h * (slope + end)), end, excess, 2)


def implicit(law: Law, x: Any, slope: Any, h: Any, tolerance: float) -> Step:
    """Return the implicit step of length ``h``; ``slope`` is a guess."""
    root = _ROOT * tolerance
    k1 = stage(law(_G), x, _G * h, slope, root)
    k2 = stage(law(_C2), x + h * _A21 * k1, _G * h, k1, root)
    base = x + h * (_B1 * k1 + _B2 * k2)
    k3 = stage(law(1.0), base, _G * h, k2, root)
    new = unit(base + _G * h * k3)
    error = h * abs((_B1 - _E1) * k1 + (_B2 - _E2) * k2 + _G * k3)
    excess = maths.largest(error / tolerance, (abs(new - x) / MOST) ** 3)
    return Step(new, k3, excess, 3)


def stage(rate: Rate, base: Any, h: Any, guess: Any, tolerance: float) -> Any:
    """Return the slope k = (y - base)/h of the state ``y = base + h · rate(y)`` in [0, 1]."""
    low = 0.0 * base
    y = rising(
        lambda y: y - base - h * rate(y),
        low,
        low + 1.0,
        unit(base + h * guess),
        tolerance,
    )
    return (y - base) / h
