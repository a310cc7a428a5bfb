"""What stands in series with a cell: an access transistor, a selector, a resistor, a limit.

The voltage applied divides so that one current flows through both, at every moment:

    I_cell(x, u) = I_series(v - u),   |I| <= compliance

For currents that rise with their voltages there is one such u between 0 and v. It is found in
``y = ln(u/(v - u))``, of which ``ln I_cell - ln I_series`` is a nearly straight line: where both
are ohmic, it is one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from mho.circuit.selector import Selector
from mho.core.checks import number
from mho.core.spec import Spec
from mho.devices import maths
from mho.devices.course import Model
from mho.devices.roots import crossing

# u and v - u are resolved to e^-40 of v; below the least current nothing flows.
_WIDEST = 40.0
_LEAST = 1e-300
_PRECISE = 1e-10


@dataclass(frozen=True)
class Resistor(Spec):
    """A resistor in series with every cell.

    Args:
        ohms: its resistance (Ω), > 0.
    """

    ohms: float

    def __post_init__(self) -> None:
        """Refuse what is not positive."""
        number("ohms", self.ohms, above=0.0)


@dataclass(frozen=True)
class Transistor(Spec):
    """An n-channel access transistor (1T1R), by the square law.

        I = k (V_ov V - V²/2)    for V < V_ov,   ½ k V_ov² beyond,   V_ov = v_gate - v_threshold

    ``V`` is the size of the voltage over the channel; the current has its sign. The gate voltage
    counts from the end of the channel that acts as its source, in either polarity; where a reset
    drives the gate from another line, say so by a waveform of ``gate``.

    Args:
        v_gate: gate voltage (V), where no waveform of it is given.
        v_threshold: threshold voltage (V).
        k: transconductance parameter k' W/L (A/V²), > 0.
    """

    v_gate: float
    v_threshold: float = 0.4
    k: float = 1e-3

    def __post_init__(self) -> None:
        """Refuse what is not finite, or not positive."""
        number("v_gate", self.v_gate)
        number("v_threshold", self.v_threshold)
        number("k", self.k, above=0.0)


KINDS = (Resistor, Transistor, Selector)
Series: TypeAlias = "Resistor | Transistor | Selector"
Law: TypeAlias = Callable[[Any], Any]
Compliance: TypeAlias = "float | tuple[float, float]"


def current(series: Series | None, size: Any, gate: Any = None) -> Any:
    """Return the current (A) of a series element at voltages of a size >= 0 (V) over it.

    Args:
        series: the element; None passes any current.
        size: voltages over it (V), floats or tensors.
        gate: the gate's voltage (V) instead of that of a `Transistor`.
    """
    if series is None:
        return 0.0 * size + math.inf
    if isinstance(series, Resistor):
        return size / series.ohms
    if isinstance(series, Transistor):
        over = (series.v_gate if gate is None else gate) - series.v_threshold + 0.0 * size
        over = maths.positive(over)
        across = maths.smallest(size, over)
        return series.k * (over - 0.5 * across) * across
    v0 = series.decade / math.log(10.0)
    ratio = maths.log_sinh(size / v0) - maths.log_sinh(series.v_on / v0)
    return series.i_on * maths.exp(maths.clip(ratio, -math.inf, 600.0))


@dataclass(frozen=True)
class Loaded:
    """A device with something in series, as a device that is driven by the whole voltage.

    Attributes:
        spec: the device.
        series: the element.
        limits: the largest current (A) of either sign, ``(positive, negative)``.
    """

    spec: Model
    series: Series | None
    limits: tuple[float, float] = (math.inf, math.inf)
    state_free: bool = field(default=False, init=False)

    @property
    def stochastic(self) -> bool:
        """Whether the state moves at random, too."""
        return self.spec.stochastic

    def share(self, x: Any, v: Any, p: Any) -> Any:
        """Return the voltage (V) over the cells.

        Args:
            x: states.
            v: the whole voltage (V), or a pair of it and the gate's.
            p: parameters of the cells.
        """
        v, gate = v if isinstance(v, tuple) else (v, None)
        v = v + 0.0 * x
        limit = maths.where(v > 0.0, 0.0 * v + self.limits[0], 0.0 * v + self.limits[1])

        def cell(u: Any) -> Any:
            return self.spec.current_at(x, u, p)

        def rest(size: Any) -> Any:
            return maths.smallest(current(self.series, abs(size), gate), limit)

        if self.series is not None:
            return divide(cell, rest, v)
        # All of the voltage is the cells' where that drives less than the limit.
        free = abs(cell(v))
        over = free > limit
        ratio = limit / maths.where(over, free - limit, 1.0 + 0.0 * free)
        return divide(cell, rest, v, maths.where(over, maths.log(ratio), 0.0 * v + _WIDEST))

    def pulse(self, x: Any, v: Any, duration: Any, p: Any) -> None:
        """Return None: there is no closed form."""

    def drive(self, v: Any, p: Any) -> tuple[Any, ...]:
        """Return the voltage as it is: what the cells see of it depends on their states."""
        return (v,)

    def rate(self, x: Any, drive: tuple[Any, ...], p: Any) -> Any:
        """Return dx/dt (1/s)."""
        return self.spec.rate(x, self.spec.drive(self.share(x, drive[0], p), p), p)

    def diffusion(self, x: Any, drive: tuple[Any, ...], p: Any) -> Any:
        """Return the noise intensity (1/√s)."""
        return self.spec.diffusion(x, self.spec.drive(self.share(x, drive[0], p), p), p)

    def current_at(self, x: Any, v: Any, p: Any) -> Any:
        """Return the current (A) through both."""
        return self.spec.current_at(x, self.share(x, v, p), p)


def divide(one: Law, other: Law, v: Any, guess: Any = None) -> Any:
    """Return the part of a voltage (V) over the first of two in series, ``one(u) = other(v - u)``.

    Args:
        one: its current (A) at voltages (V), of their sign; it must rise with them.
        other: that of the second.
        v: voltages over both.
        guess: of ``ln(u/(v - u))``; if not given, as if both were ohmic.
    """
    high = 0.0 * v + _WIDEST

    def log_current(law: Law, u: Any) -> Any:
        size = abs(law(u))
        return maths.log(maths.largest(size, 0.0 * size + _LEAST))

    def excess(y: Any) -> Any:
        u, rest = _shares(y)
        return log_current(one, v * u) - log_current(other, v * rest)

    if guess is None:
        guess = log_current(other, v) - log_current(one, v)
    guess = maths.largest(maths.smallest(guess, high), -high)
    return v * _shares(crossing(excess, -high, high, guess, _PRECISE))[0]


def _shares(y: Any) -> tuple[Any, Any]:
    # 1/(1 + e^-y), and 1 minus it, both without cancellation.
    small = maths.exp(-abs(y))
    large, small = 1.0 / (1.0 + small), small / (1.0 + small)
    return maths.where(y > 0.0, large, small), maths.where(y > 0.0, small, large)


def limits(compliance: Compliance | None, set_polarity: int) -> tuple[float, float]:
    """Return the largest current (A) under positive and under negative voltages.

    Args:
        compliance: the limit (A), one for all or ``(set, reset)``; None for none.
        set_polarity: the sign of the voltages that set.

    Raises:
        ValueError, TypeError: if they are not one or two positive numbers.
    """
    if compliance is None:
        return math.inf, math.inf
    pair = compliance if isinstance(compliance, (tuple, list)) else (compliance, compliance)
    if len(pair) != 2:
        raise ValueError(f"compliance must be one current or (set, reset), got {compliance!r}")
    for name, value in zip(("compliance", "compliance[1]"), pair, strict=True):
        number(name, value, above=0.0)
    setting, resetting = map(float, pair)
    return (setting, resetting) if set_polarity > 0 else (resetting, setting)
