"""From one technology node to another: the one place where that is done.

Logic scales by A. Stillmaker and B. Baas, "Scaling equations for the accurate prediction of CMOS
device performance from 180 nm to 7 nm", Integration 58, 2017, doi 10.1016/j.vlsi.2017.02.002:
relative areas, and polynomials in the supply voltage of the energy and delay of an inverter driving
four. All is taken at 0.8 V, the one voltage at which their energies fall with the node from 130 nm
on and their delays with the voltage at every node; so 7 to 130 nm are taken, and other nodes
refused.

Below 65 nm the source has two kinds of transistors, for high performance (HP) and for low power
(LP), and nobody says which a circuit was made of. Typical is what the public estimators take
(bulk above 45 nm, LP at 45 and 32 nm, HP below; energy alone), and the range spans HP to HP and LP
to LP. Delays of the two kinds differ up to tenfold: they are HP's.

Not scaled, as the source does not say how: leakage (None at another node), analog circuits and
converters (refused, unless one asks for `AtNode`), supply voltage, wires (whose resistance per
length rises: `Wire`).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from mho.analysis.components.base import Component, Estimate
from mho.analysis.components.given import Given
from mho.core import checks

SOURCE = "A. Stillmaker and B. Baas, Integration 58, 2017, doi 10.1016/j.vlsi.2017.02.002"

# Areas relative to 45 nm. The table there has two digits an entry; these reproduce all 110 of them.
_AREA = {
    130: 6.429,
    90: 2.841,
    65: 1.505,
    45: 1.0,
    32: 0.4624,
    20: 0.2122,
    16: 0.1898,
    14: 0.1735,
    10: 0.1025,
    7: 0.05935,
}
# Coefficients of V², V and 1.
_BULK = {
    130: (7.171, -6.709, 2.904),
    90: (4.762, -4.781, 2.092),
    65: (3.755, -4.398, 1.975),
}
_HP = {
    45: (1.018, -0.3107, 0.1539),
    32: (0.8367, -0.4341, 0.1701),
    20: (0.373, -0.1582, 0.04104),
    16: (0.2958, -0.1241, 0.03024),
    14: (0.2363, -0.09675, 0.02239),
    10: (0.2068, -0.09311, 0.02375),
    7: (0.1776, -0.09097, 0.02447),
}
_LP = {
    45: (1.103, -0.362, 0.2767),
    32: (0.9559, -0.7823, 0.471),
    20: (0.2632, -0.14, 0.06841),
    16: (0.2139, -0.1187, 0.05639),
    14: (0.1556, -0.06472, 0.03066),
    10: (0.1261, -0.0518, 0.02769),
    7: (0.09365, -0.03409, 0.02043),
}
# Coefficients of V³, V², V and 1.
_DELAY = {
    130: (-76.65, 334.9, -493.4, 275.8),
    90: (-60.34, 262.5, -384.2, 210.9),
    65: (-53.3, 230.4, -333.9, 178.6),
    45: (-501.6, 1567.0, -1619.0, 566.1),
    32: (-1047.0, 2982.0, -2797.0, 873.5),
    20: (0.0, 34.63, -66.37, 41.15),
    16: (0.0, 24.8, -47.52, 28.87),
    14: (-40.66, 109.2, -100.6, 35.92),
    10: (-34.95, 93.65, -85.99, 30.4),
    7: (-28.58, 76.6, -70.26, 24.69),
}
_VOLTAGE = 0.8
NODES = (7e-9, 130e-9)


def _at_voltage(coefficients: tuple[float, ...]) -> float:
    value = 0.0
    for coefficient in coefficients:
        value = value * _VOLTAGE + coefficient
    return value


_ENERGIES = [
    {node: _at_voltage(row) for node, row in kind.items()}
    for kind in (_BULK | _HP | {45: _LP[45], 32: _LP[32]}, _BULK | _HP, _BULK | _LP)
]
_DELAYS = {node: _at_voltage(row) for node, row in _DELAY.items()}


def area_factor(old: float, new: float) -> Estimate:
    """Return by how much logic's area changes from one node (m) to another.

    Raises:
        TypeError, ValueError: if a node is no number, or out of 7 to 130 nm.
    """
    return Estimate.exact(_ratio(_AREA, old, new))


def energy_factor(old: float, new: float) -> Estimate:
    """Return by how much logic's energy changes from one node (m) to another, at 0.8 V in both.

    Raises:
        TypeError, ValueError: if a node is no number, or out of 7 to 130 nm.
    """
    return Estimate.covering(*(_ratio(kind, old, new) for kind in _ENERGIES))


def delay_factor(old: float, new: float) -> Estimate:
    """Return by how much logic's delay changes from one node (m) to another, at 0.8 V in both.

    Raises:
        TypeError, ValueError: if a node is no number, or out of 7 to 130 nm.
    """
    return Estimate.exact(_ratio(_DELAYS, old, new))


def _ratio(table: dict[int, float], old: float, new: float) -> float:
    return _interpolated(table, new) / _interpolated(table, old)


def _interpolated(table: dict[int, float], node: float) -> float:
    """Between two nodes linear in the node, as public estimators do."""
    check_node("node", node)
    nanometres = min(max(node * 1e9, min(table)), max(table))
    above = min(known for known in table if known >= nanometres)
    below = max(known for known in table if known <= nanometres)
    share = (nanometres - below) / (above - below) if above > below else 0.0
    return table[below] + share * (table[above] - table[below])


def check_node(name: str, node: float, least: float = NODES[0], most: float = NODES[1]) -> None:
    """Refuse a node out of range; say in nanometres which there are.

    Raises:
        TypeError, ValueError: if it is no number, or out of range.
    """
    checks.number(name, node)
    if not least * (1 - 1e-9) <= node <= most * (1 + 1e-9):
        unit = " (in metres: 32 nm is 32e-9)" if node >= 1.0 else ""
        raise ValueError(
            f"{name} must be in [{least * 1e9:g}, {most * 1e9:g}] nm, got {node * 1e9:g} nm{unit}"
        )


@dataclass(frozen=True)
class AtNode(Component):
    """A circuit carried to another node by what holds for logic: an assumption one makes.

    Meant for analog circuits and converters, which do not scale as logic does: the range is from
    logic's scaling to none, and typical is logic's. Latencies stay (they are set by what is driven
    and by clocks); leakage is not known.

    Attributes:
        part: as published, of one node.
        node: to which it is carried (m), 7 to 130 nm.

    Raises:
        TypeError: if ``part`` is no component, has no node, or scales by itself.
        ValueError: if the node is out of range.
    """

    part: Component
    node: float = 22e-9
    conditions = "scaled as if it were logic, which is an assumption; leakage not known"

    def __post_init__(self) -> None:
        checks.instance("part of AtNode", self.part, Component)
        if getattr(self.part, "node", None) is None:
            raise TypeError(f"part of AtNode must have a node; {self.part} has none")
        names = [field.name for field in dataclasses.fields(self.part)]  # type: ignore[arg-type]
        if "node" in names and not isinstance(self.part, Given):
            raise TypeError(
                f"part of AtNode must be of one node; {self.part} has a law for other nodes: "
                f"say {type(self.part).__name__}(node={self.node!r})"
            )
        check_node("node of AtNode", self.node)
        check_node(f"node of {self.part}", self._old)

    @property
    def source(self) -> str:  # type: ignore[override]
        """The part's, and the scaling's."""
        return f"{self.part.source}; scaled: {SOURCE}"

    @property
    def use(self) -> str:  # type: ignore[override]
        """The part's."""
        return self.part.use

    @property
    def leakage_in_energy(self) -> bool:  # type: ignore[override]
        """The part's."""
        return self.part.leakage_in_energy

    @property
    def energy(self) -> Estimate | None:
        """Of one use of the part, from logic's scaling to none (J)."""
        return self._carried(self.part.energy, energy_factor(self._old, self.node))

    @property
    def latency(self) -> Estimate | None:
        """Of one use of the part, as published (s)."""
        return self.part.latency

    @property
    def area(self) -> Estimate | None:
        """Of one part, from logic's scaling to none (m²)."""
        return self._carried(self.part.area, area_factor(self._old, self.node))

    @property
    def _old(self) -> float:
        return float(self.part.node)  # type: ignore[attr-defined]

    def _carried(self, value: Estimate | None, factor: Estimate) -> Estimate | None:
        if value is None:
            return None
        return value * Estimate.covering(factor.typical, factor.low, factor.high, 1.0)


class Logic(Component):
    """Base of digital circuits: what they cost at the node of their source, and how it scales.

    Subclasses have a field ``node`` (m) and say what holds at ``published`` (m).

    Class attributes:
        published: node of the source (m).
    """

    published = 45e-9
    node: float

    def _scaled(self, value: float | Estimate, factor: Estimate) -> Estimate:
        return (value if isinstance(value, Estimate) else Estimate.exact(value)) * factor

    def _energy(self, value: float | Estimate) -> Estimate:
        return self._scaled(value, energy_factor(self.published, self.node))

    def _area(self, value: float | Estimate) -> Estimate:
        return self._scaled(value, area_factor(self.published, self.node))

    def _delay(self, value: float | Estimate) -> Estimate:
        return self._scaled(value, delay_factor(self.published, self.node))

    def _leakage(self, value: float | Estimate) -> Estimate | None:
        here = math.isclose(self.node, self.published, rel_tol=1e-6)
        return self._scaled(value, Estimate.exact(1.0)) if here else None


__all__ = ["NODES", "SOURCE", "AtNode", "Logic", "area_factor", "delay_factor", "energy_factor"]
