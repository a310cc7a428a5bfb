"""What digital processors beside the arrays do: activations, vectors, single sums and products.

PUMA's are of A. Ankit et al., "PUMA", ASPLOS 2019, doi 10.1145/3297858.3304049, and its public
simulator (github.com/Aayush-Ankit/puma-simulator, ``constants.py``): 32 nm at 1 GHz, where power
times a cycle is the energy of one use.
"""

from __future__ import annotations

from dataclasses import dataclass

from mho.analysis.components.base import Estimate
from mho.analysis.components.scaling import Logic, check_node
from mho.core import checks


@dataclass(frozen=True)
class ActivationUnit(Logic):
    """Sigmoid unit of ISAAC, one value a cycle: 0.26 mW, a tenth of which leaks, and 300 µm².

    Source: A. Shafiee et al., "ISAAC", ISCA 2016, doi 10.1109/ISCA.2016.12, and PUMA's simulator.

    Attributes:
        node: technology node (m), 7 to 130 nm.

    Raises:
        TypeError, ValueError: if it is no number, or out of range.
    """

    node: float = 32e-9

    published = 32e-9
    source = "Shafiee et al. (ISAAC) 2016, doi 10.1109/ISCA.2016.12, and PUMA's constants"
    conditions = "32 nm design, 16 bits, 1 GHz; a tenth of the power leaks"
    use = "one value"

    def __post_init__(self) -> None:
        check_node("node of ActivationUnit", self.node)

    @property
    def energy(self) -> Estimate:
        """Of one value (J)."""
        return self._energy(0.234e-3 * 1e-9)

    @property
    def latency(self) -> Estimate:
        """Of one value (s): a cycle."""
        return self._delay(1e-9)

    @property
    def area(self) -> Estimate:
        """Of one unit (m²)."""
        return self._area(300e-12)

    @property
    def leakage(self) -> Estimate | None:
        """Of one unit (W); None at another node."""
        return self._leakage(0.026e-3)


# Dynamic power (mW) at 45 nm by operation.
_VECTOR = {"add": 0.373, "multiply": 0.795, "divide": 1.52}


@dataclass(frozen=True)
class VectorUnit(Logic):
    """Arithmetic unit of PUMA, 16 bits: sums, comparisons, shifts and ReLU as ``"add"``.

    Source: A. Ankit et al., "PUMA", ASPLOS 2019, doi 10.1145/3297858.3304049, and its public
    simulator, which takes its 45 nm powers and area times 32/45.

    Attributes:
        operation: ``"add"``, ``"multiply"`` or ``"divide"``.
        node: technology node (m), 7 to 130 nm.

    Raises:
        TypeError, ValueError: if a value is unknown, no number, or out of range.
    """

    operation: str = "add"
    node: float = 32e-9

    published = 32e-9
    source = "Ankit et al. (PUMA) 2019, doi 10.1145/3297858.3304049, simulator's constants"
    conditions = "32 nm design, 16 bits, 1 GHz; from 45 nm by 32/45"
    use = "one operation"

    def __post_init__(self) -> None:
        checks.instance("operation of VectorUnit", self.operation, str)
        checks.one_of("operation of VectorUnit", self.operation, _VECTOR)
        check_node("node of VectorUnit", self.node)

    @property
    def energy(self) -> Estimate:
        """Of one operation (J)."""
        return self._energy(1e-12 * _VECTOR[self.operation] * 32 / 45)

    @property
    def latency(self) -> Estimate:
        """Of one operation (s): a cycle."""
        return self._delay(1e-9)

    @property
    def area(self) -> Estimate:
        """Of the unit, all operations (m²)."""
        return self._area(5670e-12 * 32 / 45)

    @property
    def leakage(self) -> Estimate | None:
        """Of the unit (W); None at another node."""
        return self._leakage(0.27e-3 * 32 / 45)


# Energy (pJ) by operation and format.
_HOROWITZ = {
    "add": {"int8": 0.03, "int16": 0.05, "int32": 0.1, "fp16": 0.4, "fp32": 0.9},
    "multiply": {"int8": 0.2, "int32": 3.1, "fp16": 1.1, "fp32": 3.7},
}


@dataclass(frozen=True)
class Arithmetic(Logic):
    """Sums and products in a digital processor: energies alone.

    Source: M. Horowitz, "Computing's energy problem", ISSCC 2014, 45 nm and 0.9 V, as in stillwater
    universal's tables.

    Attributes:
        operation: ``"add"`` or ``"multiply"``.
        format: ``"int8"``, ``"int16"`` (sums alone), ``"int32"``, ``"fp16"`` or ``"fp32"``.
        node: technology node (m), 7 to 130 nm.

    Raises:
        TypeError, ValueError: if a value is unknown, no number, or out of range.
    """

    operation: str = "multiply"
    format: str = "int8"
    node: float = 45e-9

    published = 45e-9
    source = "Horowitz, ISSCC 2014"
    conditions = "45 nm, 0.9 V; energies alone"
    use = "one operation"

    def __post_init__(self) -> None:
        checks.instance("operation of Arithmetic", self.operation, str)
        checks.instance("format of Arithmetic", self.format, str)
        checks.one_of("operation of Arithmetic", self.operation, _HOROWITZ)
        checks.one_of("format of Arithmetic", self.format, _HOROWITZ[self.operation])
        check_node("node of Arithmetic", self.node)

    @property
    def energy(self) -> Estimate:
        """Of one operation (J)."""
        return self._energy(1e-12 * _HOROWITZ[self.operation][self.format])
