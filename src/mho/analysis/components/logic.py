"""Digital circuits. Each holds at its source's node; others are scaled (`scaling`).

Aladdin's are of Y. S. Shao et al., "Aladdin", ISCA 2014, doi 10.1109/ISCA.2014.6853196: 40 nm at
1 GHz, as in Accelergy's library.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from mho.analysis.components.base import Estimate, between
from mho.analysis.components.scaling import Logic, check_node
from mho.core import checks

_ALADDIN = "Shao et al. (Aladdin) 2014, doi 10.1109/ISCA.2014.6853196"


@dataclass(frozen=True)
class _Aladdin(Logic):
    """Energy, area and leakage go with the bits; one use takes one cycle of 1 GHz at 40 nm."""

    bits: int = 32
    node: float = 40e-9

    published = 40e-9
    source = _ALADDIN
    conditions = "40 nm, 1 GHz; linear in the bits; leakage at 40 nm alone"
    _joules = 0.0  # of 32 bits, as are the next two
    _square_metres = 0.0
    _watts: ClassVar[float | None] = None

    def __post_init__(self) -> None:
        checks.integer(f"bits of {type(self).__name__}", self.bits)
        check_node(f"node of {type(self).__name__}", self.node)

    @property
    def energy(self) -> Estimate:
        """Of one use (J)."""
        return self._energy(self._joules * self.bits / 32)

    @property
    def latency(self) -> Estimate:
        """Of one use (s): a cycle."""
        return self._delay(1e-9)

    @property
    def area(self) -> Estimate:
        """Of one instance (m²)."""
        return self._area(self._square_metres * self.bits / 32)

    @property
    def leakage(self) -> Estimate | None:
        """Of one instance (W); None at another node."""
        return None if self._watts is None else self._leakage(self._watts * self.bits / 32)


@dataclass(frozen=True)
class Adder(_Aladdin):
    """Adder of Aladdin: 0.21 pJ and 278 µm² for 32 bits at 40 nm.

    Attributes:
        bits: width, >= 1.
        node: technology node (m), 7 to 130 nm.

    Raises:
        TypeError, ValueError: if a value is no number, or out of range.
    """

    use = "one addition"
    _joules = 0.21e-12
    _square_metres = 278e-12
    _watts = 2.4e-6


@dataclass(frozen=True)
class Comparator(_Aladdin):
    """Digital comparator of Aladdin: 0.02947 pJ and 71 µm² for 32 bits at 40 nm.

    Attributes:
        bits: width, >= 1.
        node: technology node (m), 7 to 130 nm.

    Raises:
        TypeError, ValueError: if a value is no number, or out of range.
    """

    use = "one comparison"
    _joules = 0.02947e-12
    _square_metres = 71e-12
    _watts = 2.51e-8


@dataclass(frozen=True)
class Counter(_Aladdin):
    """Counter of Aladdin: 0.25074 pJ and 495.5 µm² for 32 bits at 40 nm.

    Attributes:
        bits: width, >= 1.
        node: technology node (m), 7 to 130 nm.

    Raises:
        TypeError, ValueError: if a value is no number, or out of range.
    """

    use = "one count"
    _joules = 0.25074e-12
    _square_metres = 495.5e-12
    _watts = 3.21e-7


@dataclass(frozen=True)
class Register(_Aladdin):
    """Register of Aladdin: 0.009 pJ and 5.98 µm² a bit at 40 nm. Its leakage was not published.

    Attributes:
        bits: width, >= 1.
        node: technology node (m), 7 to 130 nm.

    Raises:
        TypeError, ValueError: if a value is no number, or out of range.
    """

    bits: int = 1

    use = "one read or write"
    _joules = 32 * 0.009e-12
    _square_metres = 32 * 5.98e-12


@dataclass(frozen=True)
class Multiplier(Logic):
    """Multiplier of Aladdin: 12.68 pJ and 6350 µm² for 32 × 32 bits at 40 nm.

    Energy, area and leakage go with the product of the widths.

    Attributes:
        bits: width of one factor, >= 1.
        by: width of the other, >= 1.
        node: technology node (m), 7 to 130 nm.

    Raises:
        TypeError, ValueError: if a value is no number, or out of range.
    """

    bits: int = 32
    by: int = 32
    node: float = 40e-9

    published = 40e-9
    source = _ALADDIN
    conditions = "40 nm, 1 GHz; with the product of the widths; leakage at 40 nm alone"
    use = "one product"

    def __post_init__(self) -> None:
        checks.integer("bits of Multiplier", self.bits)
        checks.integer("by of Multiplier", self.by)
        check_node("node of Multiplier", self.node)

    @property
    def _share(self) -> float:
        return self.bits * self.by / 1024

    @property
    def energy(self) -> Estimate:
        """Of one product (J)."""
        return self._energy(12.68e-12 * self._share)

    @property
    def latency(self) -> Estimate:
        """Of one product (s): a cycle."""
        return self._delay(1e-9)

    @property
    def area(self) -> Estimate:
        """Of one multiplier (m²)."""
        return self._area(6350e-12 * self._share)

    @property
    def leakage(self) -> Estimate | None:
        """Of one multiplier (W); None at another node."""
        return self._leakage(8e-5 * self._share)


@dataclass(frozen=True)
class ShiftAdd(Logic):
    """Shift-and-add of ISAAC, 16 bits: 0.2 mW for four behind converters of 9.6 GS/s together.

    Energy and area go with the bits. Leakage is in the energy, so that by itself it is not known.

    Source: A. Shafiee et al., "ISAAC", ISCA 2016, doi 10.1109/ISCA.2016.12, as in Accelergy's
    library.

    Attributes:
        bits: width, >= 1.
        node: technology node (m), 7 to 130 nm.

    Raises:
        TypeError, ValueError: if a value is no number, or out of range.
    """

    bits: int = 16
    node: float = 32e-9

    published = 32e-9
    source = "Shafiee et al. (ISAAC) 2016, doi 10.1109/ISCA.2016.12"
    conditions = "32 nm design, 1.2 GHz; linear in the bits; leakage included in the energy"
    use = "one shift and addition"
    leakage_in_energy = True

    def __post_init__(self) -> None:
        checks.integer("bits of ShiftAdd", self.bits)
        check_node("node of ShiftAdd", self.node)

    @property
    def energy(self) -> Estimate:
        """Of one shift and addition (J)."""
        return self._energy(0.021e-12 * self.bits / 16)

    @property
    def latency(self) -> Estimate:
        """Of one shift and addition (s): a cycle of the converter."""
        return self._delay(1e-9 / 1.2)

    @property
    def area(self) -> Estimate:
        """Of one unit (m²)."""
        return self._area(60e-12 * self.bits / 16)


@dataclass(frozen=True)
class AdderTree(Logic):
    """Sums several words at once by ripple-carry adders in a tree.

    Layer k of ⌈log₂ n⌉ pairs what is left, with adders of b + k − 1 bits. A full adder is three
    NANDs (0.7 fF, 0.614 µm², 47.8 ps) and two XORs (1.5, 2.4 and 1.5 times as much) at 28 nm; every
    gate is charged to V once.

    Source: ZigZag-IMC (github.com/KULeuven-MICAS/zigzag-imc), ``imc_unit.py``.

    Attributes:
        inputs: words summed, >= 2.
        bits: of a word, >= 1.
        voltage: supply (V), 0.5 to 1.2; delays are those at 0.9 V.
        node: technology node (m), 7 to 130 nm.

    Raises:
        TypeError, ValueError: if a value is no number, or out of range.
    """

    inputs: int = 8
    bits: int = 8
    voltage: float = 0.9
    node: float = 28e-9

    published = 28e-9
    source = "ZigZag-IMC, imc_unit.py"
    conditions = "28 nm, 0.9 V; every gate switches; leakage not known"
    use = "one sum of all inputs"

    def __post_init__(self) -> None:
        checks.integer("inputs of AdderTree", self.inputs, least=2)
        checks.integer("bits of AdderTree", self.bits)
        between(self, "voltage", 0.5, 1.2, "V")
        check_node("node of AdderTree", self.node)

    @property
    def full_adders(self) -> int:
        """How many full adders there are."""
        count, left, bits = 0, self.inputs, self.bits
        while left > 1:
            count += left // 2 * bits
            left, bits = left - left // 2, bits + 1
        return count

    @property
    def energy(self) -> Estimate:
        """Of one sum (J)."""
        return self._energy((3 + 2 * 1.5) * 0.7e-15 * self.voltage**2 * self.full_adders)

    @property
    def latency(self) -> Estimate:
        """Of one sum (s): sums down the tree, then the last carry along its word."""
        depth = math.ceil(math.log2(self.inputs))
        gates = (depth - 1) * 3.0 + 3.5 + (self.bits + depth - 1) * 2.0
        return self._delay(47.8e-12 * gates)

    @property
    def area(self) -> Estimate:
        """Of the tree (m²)."""
        return self._area((3 + 2 * 2.4) * 0.614e-12 * self.full_adders)
