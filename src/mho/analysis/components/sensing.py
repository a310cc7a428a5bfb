"""Between a bit line and its converter: samplers, amplifiers, multiplexers."""

from __future__ import annotations

from dataclasses import dataclass

from mho.analysis.components.base import Component, Estimate, between
from mho.core import checks


@dataclass(frozen=True)
class IsaacSampleHold(Component):
    """Sample-and-hold of ISAAC: 10 µW for 1024 that sample every 100 ns.

    Source: A. Shafiee et al., "ISAAC", ISCA 2016, doi 10.1109/ISCA.2016.12; a tenth is taken as
    leakage by A. Ankit et al., "PUMA", ASPLOS 2019, in its public simulator.
    """

    node = 32e-9
    source = "Shafiee et al. (ISAAC) 2016, doi 10.1109/ISCA.2016.12; leakage: PUMA's simulator"
    conditions = "32 nm design, sampling every 100 ns; a tenth of the power leaks"
    use = "one sample"

    @property
    def energy(self) -> Estimate:
        """Of one sample (J)."""
        return Estimate.exact(8.73e-9 * 100e-9)

    @property
    def latency(self) -> Estimate:
        """Of one sample (s), one cycle in PUMA's simulator."""
        return Estimate.exact(1e-9)

    @property
    def area(self) -> Estimate:
        """Of one of them (m²): 40 µm² for 1024."""
        return Estimate.exact(0.0390625e-12)

    @property
    def leakage(self) -> Estimate:
        """Of one of them (W)."""
        return Estimate.exact(0.97e-9)


@dataclass(frozen=True)
class AlbireoTIA(Component):
    """Transimpedance amplifier, of an optical receiver: no number of an electrical one was found.

    Source: K. Shiflett et al., "Albireo", ISCA 2021, doi 10.1109/ISCA52012.2021.00072, and
    T. Andrulis et al., ISPASS 2024, doi 10.1109/ISPASS61541.2024.00040: the range is of their
    aggressive, moderate and conservative scenarios.
    """

    node = 7e-9
    source = "Shiflett et al. (Albireo) 2021, doi 10.1109/ISCA52012.2021.00072"
    conditions = "7 nm, optical receiver; range of three scenarios"
    use = "one read"

    @property
    def energy(self) -> Estimate:
        """Of one read (J)."""
        return Estimate(0.045e-12, 0.3125e-12, 0.625e-12)

    @property
    def area(self) -> Estimate:
        """Of one amplifier (m²)."""
        return Estimate.exact(2769e-12)


@dataclass(frozen=True)
class ColumnMultiplexer(Component):
    """Connects one of several bit lines to what they share; one use turns to the next.

    No number of an analog multiplexer was found (PUMA's simulator has 0). Derived from a gate: a
    transmission gate has half the transistors of a NAND, so half its capacitance and area, to twice
    of which the range goes. What decodes the choice is not counted.

    Source: NAND of 0.7 fF and 0.614 µm² at 28 nm, ZigZag-IMC
    (github.com/KULeuven-MICAS/zigzag-imc), ``imc_unit.py``.

    Attributes:
        inputs: bit lines, >= 1.
        voltage: of the gates (V), 0.5 to 1.2.

    Raises:
        TypeError, ValueError: if a value is no number, or out of range.
    """

    inputs: int = 8
    voltage: float = 0.9

    node = 28e-9
    source = "derived from a NAND of ZigZag-IMC, imc_unit.py"
    conditions = "28 nm, 0.9 V; derived, decoder not counted"
    use = "one turn"

    def __post_init__(self) -> None:
        checks.integer("inputs of ColumnMultiplexer", self.inputs)
        between(self, "voltage", 0.5, 1.2, "V")

    @property
    def energy(self) -> Estimate:
        """Of one turn (J): the gate that opens is charged; with one input none is."""
        if self.inputs == 1:
            return Estimate.exact(0.0)
        return Estimate(0.35e-15, 0.35e-15, 0.7e-15) * self.voltage**2

    @property
    def area(self) -> Estimate:
        """Of all its gates (m²)."""
        if self.inputs == 1:
            return Estimate.exact(0.0)
        return Estimate(0.307e-12, 0.307e-12, 0.614e-12) * self.inputs
