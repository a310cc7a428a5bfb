"""Between cores: wires, buses, routers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mho.analysis.components.base import Component, Estimate
from mho.analysis.components.scaling import Logic, check_node
from mho.core import checks

# By node (nm): width of a wire (nm), its height over its width, its resistivity (Ω·m).
_WIRES = {
    130: (175.0, 1.60, 2.20e-8),
    90: (110.0, 1.60, 2.52e-8),
    65: (105.0, 1.70, 2.68e-8),
    45: (80.0, 1.70, 3.31e-8),
    32: (56.0, 1.80, 3.70e-8),
    22: (40.0, 1.90, 4.03e-8),
    14: (25.0, 2.00, 5.08e-8),
    10: (18.0, 2.00, 6.35e-8),
    7: (18.0, 2.00, 6.35e-8),
}
# Ω/µm
_RESISTANCE = {n: 1e12 * rho / (width**2 * tall) for n, (width, tall, rho) in _WIRES.items()}


@dataclass(frozen=True)
class Wire(Component):
    """A wire on the chip, without repeaters: one use charges it once.

        E = C V²,   t = 0.38 R C  (to one half, R and C spread along it)

    with 0.2 fF/µm, and a resistance per length that rises as the node falls: 0.449 Ω/µm at 130 nm,
    3.04 at 45, 6.56 at 32, 13.3 at 22, 40.6 at 14, 98 at 10 and 7, a power law between.

    Source: DNN+NeuroSim V1.3 (github.com/neurosim/DNN_NeuroSim_V1.3): capacitance of ``Bus.cpp``;
    widths, heights and resistivities at 300 K of ``Param.cpp``. 0.38 R C is the time in which a
    distributed line reaches one half.

    Attributes:
        length: metres, > 0.
        voltage: swing (V), > 0.
        node: technology node (m), 7 to 130 nm.

    Raises:
        TypeError, ValueError: if a value is no number, or out of range.
    """

    length: float = 1e-3
    voltage: float = 0.9
    node: float = 32e-9

    source = "DNN+NeuroSim V1.3, Bus.cpp and Param.cpp"
    conditions = "0.2 fF/µm, 300 K; no repeaters"
    use = "one bit that charges it"

    def __post_init__(self) -> None:
        checks.number("length of Wire", self.length, above=0.0)
        checks.number("voltage of Wire", self.voltage, above=0.0)
        check_node("node of Wire", self.node)

    @property
    def capacitance(self) -> float:
        """Of the wire (F)."""
        return 0.2e-15 * self.length * 1e6

    @property
    def resistance(self) -> float:
        """Of the wire (Ω)."""
        node = min(max(self.node * 1e9, 7.0), 130.0)
        above = min(known for known in _RESISTANCE if known >= node - 1e-6)
        below = max(known for known in _RESISTANCE if known <= node + 1e-6)
        each = _RESISTANCE[above]
        if above != below:
            share = math.log(node / below) / math.log(above / below)
            each = _RESISTANCE[below] * (_RESISTANCE[above] / _RESISTANCE[below]) ** share
        return each * self.length * 1e6

    @property
    def energy(self) -> Estimate:
        """Taken from the supply as it charges (J)."""
        return Estimate.exact(self.capacitance * self.voltage**2)

    @property
    def latency(self) -> Estimate:
        """To one half at the far end (s)."""
        return Estimate.exact(0.38 * self.resistance * self.capacitance)


@dataclass(frozen=True)
class Bus(Logic):
    """Bus of a tile in ISAAC: 0.054 pJ and 29.3 µm² for every bit of its width and unit on it.

    One use transfers one word. Leakage is in the energy; the time is the clock's. The area is told
    for one of the 12 units on the bus, whose 0.09 mm² a tile they share.

    Source: A. Shafiee et al., "ISAAC", ISCA 2016, doi 10.1109/ISCA.2016.12 (7 mW, 0.09 mm² of 384
    wires), as in Accelergy's library (7500 µm² for 256 bits) and PUMA's simulator (0.09 mm²).

    Attributes:
        bits: width, >= 1.
        node: technology node (m), 7 to 130 nm.

    Raises:
        TypeError, ValueError: if a value is no number, or out of range.
    """

    bits: int = 256
    node: float = 32e-9

    published = 32e-9
    source = "Shafiee et al. (ISAAC) 2016, doi 10.1109/ISCA.2016.12"
    conditions = "32 nm design; leakage included in the energy"
    use = "one word across"
    leakage_in_energy = True

    def __post_init__(self) -> None:
        checks.integer("bits of Bus", self.bits)
        check_node("node of Bus", self.node)

    @property
    def energy(self) -> Estimate:
        """Of one word (J)."""
        return self._energy(0.054e-12 * self.bits)

    @property
    def area(self) -> Estimate:
        """Of the bus, as told for one unit on it (m²)."""
        return self._area(29.296875e-12 * self.bits)


@dataclass(frozen=True)
class Router(Logic):
    """Router of ISAAC, shared by four tiles: 20.74 pJ for 256 bits, 0.15 mm².

    Energy goes with the bits of a word, area with them too. Leakage is in the energy; the time is
    the network's.

    Source: A. Shafiee et al., "ISAAC", ISCA 2016, doi 10.1109/ISCA.2016.12 (42 mW), as in
    Accelergy's library.

    Attributes:
        bits: of a word, >= 1.
        node: technology node (m), 7 to 130 nm.

    Raises:
        TypeError, ValueError: if a value is no number, or out of range.
    """

    bits: int = 256
    node: float = 32e-9

    published = 32e-9
    source = "Shafiee et al. (ISAAC) 2016, doi 10.1109/ISCA.2016.12"
    conditions = "32 nm design, shared by four tiles; leakage included in the energy"
    use = "one word through"
    leakage_in_energy = True

    def __post_init__(self) -> None:
        checks.integer("bits of Router", self.bits)
        check_node("node of Router", self.node)

    @property
    def energy(self) -> Estimate:
        """Of one word (J)."""
        return self._energy(20.74e-12 * self.bits / 256)

    @property
    def area(self) -> Estimate:
        """Of one router (m²)."""
        return self._area(150000e-12 * self.bits / 256)


# By ports: dynamic power (mW), leakage (mW), area (mm²).
_PUMA = {4: (16.13, 0.41, 0.047), 8: (51.48, 1.04, 0.116)}


@dataclass(frozen=True)
class PumaRouter(Logic):
    """Router of PUMA's network of cores: one use is a cycle of 1 GHz in which it works.

    Source: A. Ankit et al., "PUMA", ASPLOS 2019, doi 10.1145/3297858.3304049, and its public
    simulator.

    Attributes:
        ports: 4 or 8.
        node: technology node (m), 7 to 130 nm.

    Raises:
        TypeError, ValueError: if a value is unknown, no number, or out of range.
    """

    ports: int = 4
    node: float = 32e-9

    published = 32e-9
    source = "Ankit et al. (PUMA) 2019, doi 10.1145/3297858.3304049, simulator's constants"
    conditions = "32 nm design, 1 GHz"
    use = "one cycle of work"

    def __post_init__(self) -> None:
        checks.integer("ports of PumaRouter", self.ports)
        checks.one_of("ports of PumaRouter", self.ports, _PUMA)
        check_node("node of PumaRouter", self.node)

    @property
    def energy(self) -> Estimate:
        """Of one cycle (J)."""
        return self._energy(1e-12 * _PUMA[self.ports][0])

    @property
    def latency(self) -> Estimate:
        """One cycle (s)."""
        return self._delay(1e-9)

    @property
    def area(self) -> Estimate:
        """Of one router (m²)."""
        return self._area(1e-6 * _PUMA[self.ports][2])

    @property
    def leakage(self) -> Estimate | None:
        """Of one router (W); None at another node."""
        return self._leakage(1e-3 * _PUMA[self.ports][1])
