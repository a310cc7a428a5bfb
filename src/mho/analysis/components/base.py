"""What every circuit around the cells says of itself: energy, latency, area, leakage, a source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mho.core import checks
from mho.core.spec import Spec


@dataclass(frozen=True)
class Estimate:
    """A quantity >= 0 in SI units, with the range in which it lies.

    Sums and multiples keep the range: what is uncertain in two parts is taken to be off in the
    same direction, which never claims more than is known.

    Attributes:
        low: lower end.
        typical: what is reported where one number is wanted.
        high: upper end.

    Raises:
        TypeError, ValueError: unless 0 <= low <= typical <= high.
    """

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

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(self.low + other.low, self.typical + other.typical, self.high + other.high)

    def __mul__(self, count: float) -> Estimate:
        return Estimate(self.low * count, self.typical * count, self.high * count)

    __rmul__ = __mul__


class Component(Spec):
    """Base of all circuits around the cells: a frozen dataclass, one published circuit a class.

    Its fields are what the circuit depends on (bits, rate, node, voltage, …); its properties say
    what one use costs and what one instance takes. What is not known is None and never 0: a sum
    with it in it is not known either.

    Class attributes:
        source: author, year, doi or address of the numbers.
    """

    source: ClassVar[str] = ""

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
