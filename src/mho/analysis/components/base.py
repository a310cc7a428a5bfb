"""What every circuit around the cells says of itself: energy, latency, area, leakage, a source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from mho.core import checks
from mho.core.spec import Spec
from mho.core.text import quantity


@dataclass(frozen=True)
class Estimate(Spec):
    """A quantity >= 0 in SI units, with the range in which it lies.

    Sums and multiples keep the range: what is uncertain in two parts is taken to be off in the
    same direction, which never claims more than is known. So does a quotient of two: its range goes
    from the least over the most to the most over the least. `sum` adds estimates.
    Comparisons with ``<`` and ``>`` are of what is certain: of whole ranges, so that neither holds
    where two overlap; `sorted` by ``typical`` takes ``key=lambda e: e.typical``. ``float()`` and
    format specifications (``f"{energy:.2e}"``) are of the typical value.

    Attributes:
        low: lower end.
        typical: what is reported where one number is wanted.
        high: upper end.

    Raises:
        TypeError, ValueError: unless 0 <= low <= typical <= high.
    """

    sized: ClassVar[bool] = False  # also sums and products

    low: float
    typical: float
    high: float

    def __post_init__(self) -> None:
        checks.number("low of an Estimate", self.low, least=0.0)
        checks.number("typical of an Estimate", self.typical, least=self.low)
        checks.number("high of an Estimate", self.high, least=self.typical)

    @classmethod
    def exact(cls, value: float) -> Estimate:
        """An estimate whose range is one number."""
        return cls(value, value, value)

    @classmethod
    def covering(cls, typical: float, *others: float) -> Estimate:
        """A typical value with the range over which it and others spread."""
        return cls(min((typical, *others)), typical, max((typical, *others)))

    def __add__(self, other: Estimate) -> Estimate:
        if not isinstance(other, Estimate):
            return NotImplemented
        return Estimate(self.low + other.low, self.typical + other.typical, self.high + other.high)

    def __mul__(self, factor: float | Estimate) -> Estimate:
        if isinstance(factor, Estimate):
            low, typical, high = factor.low, factor.typical, factor.high
        else:
            low = typical = high = checks.number("factor of an Estimate", factor, least=0.0)
        return Estimate(self.low * low, self.typical * typical, self.high * high)

    __rmul__ = __mul__

    def __radd__(self, other: int | Estimate) -> Estimate:
        """Let `sum` begin with its 0."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __truediv__(self, divisor: float | Estimate) -> Estimate:
        if not isinstance(divisor, Estimate):
            divisor = Estimate.exact(checks.number("divisor of an Estimate", divisor, above=0.0))
        if not divisor.low:
            raise ZeroDivisionError(f"the divisor may be 0: {divisor!r}")
        ends = self.low / divisor.high, self.typical / divisor.typical, self.high / divisor.low
        return Estimate(*ends)

    def __rtruediv__(self, dividend: float) -> Estimate:
        return Estimate.exact(checks.number("dividend of an Estimate", dividend, least=0.0)) / self

    def __lt__(self, other: float | Estimate) -> bool:
        low, _ = _ends(other)
        return self.high < low

    def __gt__(self, other: float | Estimate) -> bool:
        _, high = _ends(other)
        return self.low > high

    def __float__(self) -> float:
        return float(self.typical)

    def __format__(self, specification: str) -> str:
        return format(self.typical, specification) if specification else str(self)


def _ends(value: float | Estimate) -> tuple[float, float]:
    if isinstance(value, Estimate):
        return value.low, value.high
    number = checks.number("what an Estimate is compared with", value)
    return number, number


def total(parts: Iterable[Estimate | None]) -> Estimate | None:
    """Return the sum of estimates: None, not known, as soon as one of them is."""
    result = Estimate.exact(0.0)
    for part in parts:
        if part is None:
            return None
        result = result + part
    return result


class Component(Spec):
    """Base of all circuits around the cells: a frozen dataclass, one published circuit a class.

    Its fields are what the circuit depends on (bits, rate, node, voltage, …); its properties say
    what one use costs and what one instance takes. What is not known is None and never 0: a sum
    with it in it is not known either. Without arguments it is the circuit as published.

    Class attributes:
        source: author, year, doi or address of the numbers.
        conditions: node, voltage and how the numbers came about, where that matters.
        use: what is one use, whose energy and latency are told.
        leakage_in_energy: whether the energy of one use is all power over the rate, so that what
            leaks is in it already; ``leakage``, by itself, is then not known.
    """

    source: str = ""
    conditions: str = ""
    use: str = "one use"
    leakage_in_energy: bool = False

    @property
    def energy(self) -> Estimate | None:
        """Dynamic energy of one use (J)."""
        return None

    @property
    def latency(self) -> Estimate | None:
        """Time of one use (s)."""
        return None

    @property
    def area(self) -> Estimate | None:
        """Of one instance (m²)."""
        return None

    @property
    def leakage(self) -> Estimate | None:
        """Power that one instance draws while it does nothing (W)."""
        return None

    def check_rate(self, rate: float) -> None:
        """Refuse more uses a second than one instance does, one after the other.

        Where the time of one use is not known, nothing is refused.

        Args:
            rate: uses per second, > 0.

        Raises:
            TypeError, ValueError: if it is no number, or beyond the limit, which is told.
        """
        checks.number("rate", rate, above=0.0)
        if self.latency is not None and rate * self.latency.typical > 1.0 + 1e-9:
            raise ValueError(
                f"rate must be at most {1.0 / self.latency.typical:.4g}/s for {self}, whose "
                f"{self.use} takes {quantity(self.latency.typical, 's')}; got {rate:.4g}/s"
            )


def between(component: Component, name: str, least: float, most: float, unit: str) -> None:
    """Refuse a field outside the range in which a circuit's numbers hold.

    Raises:
        TypeError, ValueError: naming the circuit, the value, the range and its unit.
    """
    value = getattr(component, name)
    kind = type(component).__name__
    checks.number(f"{name} of {kind}", value)
    if not least <= value <= most:
        raise ValueError(
            f"{name} of {kind} must be in [{least:g}, {most:g}] {unit}, where its numbers hold; "
            f"got {value!r}"
        )
