"""Circuits in the time domain: pulse widths in and out. Numbers of TIMELY.

W. Li et al., "TIMELY: pushing data movements and interfaces in PIM accelerators towards local and
in time domain", ISCA 2020, doi 10.1109/ISCA45697.2020.00073, table II: 65 nm, 8 bits. That energy
and area of the converters double with every bit, as the steps they tell apart do, is assumed here
(and by Accelergy's library). Leakage and times were not published there.
"""

from __future__ import annotations

from dataclasses import dataclass

from mho.analysis.components.base import Component, Estimate
from mho.core import checks

SOURCE = "Li et al. (TIMELY) 2020, doi 10.1109/ISCA45697.2020.00073"


@dataclass(frozen=True)
class TimelyDTC(Component):
    """Digital-to-time converter: drives a line with a pulse as long as the input.

    Attributes:
        bits: resolution, 1 to 10.
        unit: length of the shortest pulse (s), > 0, one's own choice; or None, and the time is not
            known. The longest pulse takes 2^bits − 1 of it.

    Raises:
        TypeError, ValueError: if a value is no number, or out of range.
    """

    bits: int = 8
    unit: float | None = None

    node = 65e-9
    source = SOURCE
    conditions = "65 nm design, 8 bits; doubling with every bit is assumed"
    use = "one pulse"

    def __post_init__(self) -> None:
        checks.integer("bits of TimelyDTC", self.bits, most=10)
        if self.unit is not None:
            checks.number("unit of TimelyDTC", self.unit, above=0.0)

    @property
    def energy(self) -> Estimate:
        """Of one pulse, without what the line takes (J)."""
        return Estimate.exact(0.0375e-12 * 2.0 ** (self.bits - 8))

    @property
    def latency(self) -> Estimate | None:
        """Of the longest pulse (s)."""
        return None if self.unit is None else Estimate.exact((2**self.bits - 1) * self.unit)

    @property
    def area(self) -> Estimate:
        """Of one converter (m²)."""
        return Estimate.exact(240e-12 * 2.0 ** (self.bits - 8))


@dataclass(frozen=True)
class TimelyTDC(Component):
    """Time-to-digital converter, for outputs that are pulse widths.

    Attributes:
        bits: resolution, 1 to 10.

    Raises:
        TypeError, ValueError: if it is no number, or out of range.
    """

    bits: int = 8

    node = 65e-9
    source = SOURCE
    conditions = "65 nm design, 8 bits; doubling with every bit is assumed"
    use = "one conversion"

    def __post_init__(self) -> None:
        checks.integer("bits of TimelyTDC", self.bits, most=10)

    @property
    def energy(self) -> Estimate:
        """Of one conversion (J)."""
        return Estimate.exact(0.145e-12 * 2.0 ** (self.bits - 8))

    @property
    def area(self) -> Estimate:
        """Of one converter (m²)."""
        return Estimate.exact(310e-12 * 2.0 ** (self.bits - 8))


@dataclass(frozen=True)
class TimelyComparator(Component):
    """Integrates a bit line's charge on a capacitor and tells when it exceeds a reference."""

    node = 65e-9
    source = SOURCE
    conditions = "65 nm design"
    use = "one comparison"

    @property
    def energy(self) -> Estimate:
        """Of one comparison (J)."""
        return Estimate.exact(0.0417e-12)

    @property
    def area(self) -> Estimate:
        """Of one comparator (m²)."""
        return Estimate.exact(40e-12)


@dataclass(frozen=True)
class TimelyCurrentAdder(Component):
    """Adds the currents of two bit lines."""

    node = 65e-9
    source = SOURCE
    conditions = "65 nm design"
    use = "one sum of two currents"

    @property
    def energy(self) -> Estimate:
        """Of one sum (J)."""
        return Estimate.exact(0.0368e-12)

    @property
    def area(self) -> Estimate:
        """Of one adder (m²)."""
        return Estimate.exact(40e-12)
