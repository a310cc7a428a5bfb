"""What drives word lines: converters and switches. What the line itself takes is `Line`'s."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mho.analysis.components.base import Component, Estimate, between
from mho.analysis.components.scaling import check_node
from mho.core import checks


@dataclass(frozen=True)
class IsaacDriver(Component):
    """One-bit driver of a word line in ISAAC: an inverter.

    4 mW for 1024 of them at 12 MHz, times 1.28 for what they wait for converters (as Accelergy's
    library counts). Leakage is in it, so that by itself it is not known.

    Source: A. Shafiee et al., "ISAAC", ISCA 2016, doi 10.1109/ISCA.2016.12, as in Accelergy's
    library.
    """

    node = 32e-9
    source = "Shafiee et al. (ISAAC) 2016, doi 10.1109/ISCA.2016.12"
    conditions = "32 nm design, 1 bit; power/rate, leakage and the line included in the energy"
    use = "one drive"
    leakage_in_energy = True

    @property
    def energy(self) -> Estimate:
        """Of one drive (J)."""
        return Estimate.exact(0.41667e-12)

    @property
    def latency(self) -> Estimate:
        """One read of the array (s)."""
        return Estimate.exact(100e-9)

    @property
    def area(self) -> Estimate:
        """Of one driver (m²): 170 µm² for 1024."""
        return Estimate.exact(0.166015625e-12)


@dataclass(frozen=True)
class CapacitiveDAC(Component):
    """Binary-weighted capacitors, as in a SAR converter: energy and area double with every bit.

    Source: H. Chen et al., VLSI Circuits 2018, doi 10.1109/VLSIC.2018.8502370 (0.32 mW at
    1.1 GS/s, 8 bits; area measured in the micrograph), as used by T. Song et al., "BRAHMS", DAC
    2021, doi 10.1109/DAC18074.2021.9586247, and Accelergy's library.

    Attributes:
        bits: resolution, 1 to 10.
        rate: conversions per second, up to 1.1 GHz.

    Raises:
        TypeError, ValueError: if a value is no number, or out of range.
    """

    bits: int = 8
    rate: float = 1.1e9

    node = 40e-9
    source = "Chen et al. 2018, doi 10.1109/VLSIC.2018.8502370"
    conditions = "40 nm, 8 bits measured; doubling with every bit is assumed"
    use = "one conversion"
    leakage_in_energy = True

    def __post_init__(self) -> None:
        checks.integer("bits of CapacitiveDAC", self.bits, most=10)
        checks.number("rate of CapacitiveDAC", self.rate, above=0.0)
        between(self, "rate", 0.0, 1.1e9, "1/s")

    @property
    def energy(self) -> Estimate:
        """Of one conversion, leakage included (J)."""
        return Estimate.exact(0.291e-12 * 2.0 ** (self.bits - 8))

    @property
    def latency(self) -> Estimate:
        """One period of the rate (s)."""
        return Estimate.exact(1.0 / self.rate)

    @property
    def area(self) -> Estimate:
        """Of one converter (m²)."""
        return Estimate.exact(438e-12 * 2.0 ** (self.bits - 8))


@dataclass(frozen=True)
class ZigZagDAC(Component):
    """Driver of b bits of an SRAM array: E = 50 fF · b · V²; one bit needs no converter.

    Source: ZigZag-IMC (github.com/KULeuven-MICAS/zigzag-imc), ``AimcArrayUnit.py``. Area and delay
    are neglected there, so not known.

    Attributes:
        bits: resolution, 1 to 8.
        voltage: supply (V), 0.5 to 1.2.

    Raises:
        TypeError, ValueError: if a value is no number, or out of range.
    """

    bits: int = 4
    voltage: float = 0.9

    node = 28e-9
    source = "ZigZag-IMC, AimcArrayUnit.py"
    conditions = "fit to 28 nm SRAM macros"
    use = "one conversion"

    def __post_init__(self) -> None:
        checks.integer("bits of ZigZagDAC", self.bits, most=8)
        between(self, "voltage", 0.5, 1.2, "V")

    @property
    def energy(self) -> Estimate:
        """Of one conversion (J)."""
        capacitance = 50e-15 * self.bits if self.bits > 1 else 0.0
        return Estimate.exact(capacitance * self.voltage**2)


@dataclass(frozen=True)
class ResistiveDAC(Component):
    """R–2R ladder: what it takes from its reference while it holds a voltage, by Kirchhoff's laws.

    Every bit is a switch with 2R to ground or to the reference; between neighbours lies R, and 2R
    ends the ladder at the lowest bit. The output carries no current. Averaged over all codes (each
    as likely), the power is V² times a number that the bits give, over R; the range is from code 0,
    which takes nothing, to the code that takes most.

    Source: Kirchhoff's laws. Area: Accelergy's library (C-2C and R-2R ladders): 3 b R of
    2.35e-15 (node/22 nm)² m²/Ω.

    Attributes:
        bits: resolution, 1 to 12.
        resistance: R (Ω), > 0.
        voltage: of the reference (V), > 0.
        time: for which one voltage is held (s), > 0.
        node: technology node (m), 7 to 130 nm.

    Raises:
        TypeError, ValueError: if a value is no number, or out of range.
    """

    bits: int = 4
    resistance: float = 1e4
    voltage: float = 0.5
    time: float = 10e-9
    node: float = 22e-9

    source = "Kirchhoff's laws; area: Accelergy's library, R-2R ladder"
    conditions = "ladder alone, no output current; switches and their control not counted"
    use = "one voltage held"

    def __post_init__(self) -> None:
        checks.integer("bits of ResistiveDAC", self.bits, most=12)
        for name in ("resistance", "voltage", "time"):
            checks.number(f"{name} of ResistiveDAC", getattr(self, name), above=0.0)
        check_node("node of ResistiveDAC", self.node)

    @property
    def energy(self) -> Estimate:
        """Of one voltage held (J)."""
        mean, most = _ladder(self.bits)
        each = self.voltage**2 * self.time / self.resistance
        return Estimate(0.0, mean * each, most * each)

    @property
    def latency(self) -> Estimate:
        """For which it is held (s)."""
        return Estimate.exact(self.time)

    @property
    def area(self) -> Estimate:
        """Of the resistors (m²)."""
        each = 2.35e-15 * (self.node / 22e-9) ** 2
        return Estimate.exact(3.0 * self.bits * self.resistance * each)


def _ladder(bits: int) -> tuple[float, float]:
    """Mean and largest power over all codes, of an R–2R ladder of 1 V and 1 Ω."""
    eye = torch.eye(bits, dtype=torch.float64)
    links = torch.diag(torch.ones(bits, dtype=torch.float64))  # 2R to its switch and …
    links = 0.5 * links
    links[0, 0] += 0.5  # … the end of the ladder
    for low in range(bits - 1):
        pair = eye[low] - eye[low + 1]
        links += torch.outer(pair, pair)
    nodes = torch.linalg.solve(links, 0.5 * eye)  # voltage of each node by each bit
    codes = torch.arange(2**bits).unsqueeze(1).bitwise_and(2 ** torch.arange(bits)).ne(0).double()
    power = (0.5 * codes * (codes - codes @ nodes.T)).sum(1)
    return float(power.mean()), float(power.max())


@dataclass(frozen=True)
class SwitchMatrix(Component):
    """Switches a line to one of 2^bits rails: what holding the choice takes, a flip-flop a bit.

    The rails' current is the array's and the charge that of `Line`; areas of the switches were not
    found.

    Source: flip-flops of 2.1 fF at 28 nm, ZigZag-IMC (github.com/KULeuven-MICAS/zigzag-imc),
    ``imc_unit.py``.

    Attributes:
        bits: by which a rail is chosen, 1 to 4.
        voltage: supply of the flip-flops (V), 0.5 to 1.2.

    Raises:
        TypeError, ValueError: if a value is no number, or out of range.
    """

    bits: int = 1
    voltage: float = 0.9

    node = 28e-9
    source = "ZigZag-IMC, imc_unit.py (flip-flops); switches' areas not found"
    conditions = "28 nm, 0.9 V; without the line's charge"
    use = "one drive"

    def __post_init__(self) -> None:
        checks.integer("bits of SwitchMatrix", self.bits, most=4)
        between(self, "voltage", 0.5, 1.2, "V")

    @property
    def energy(self) -> Estimate:
        """Of one drive (J)."""
        return Estimate.exact(2.1e-15 * self.bits * self.voltage**2)
