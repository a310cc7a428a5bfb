"""Buffers and memories. One use is one access."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from mho.analysis.components.base import Component, Estimate, between
from mho.analysis.components.scaling import Logic, check_node
from mho.core import checks

# By size (bytes): energy of an access (pJ), leakage (mW), area (µm²).
_PUMA_SRAM = {
    256: (0.16, 0.044, 560.0),
    512: (0.24, 0.078, 1080.0),
    1024: (0.33, 0.147, 1920.0),
    2048: (0.57, 0.33, 3920.0),
}


def _between_sizes(table: Mapping[int, float], size: int) -> float:
    """Between two sizes of a table along a power law."""
    sizes = sorted(table)
    above = next(known for known in sizes if known >= size)
    if above == size:
        return table[size]
    below = sizes[sizes.index(above) - 1]
    share = math.log(size / below) / math.log(above / below)
    return table[below] * (table[above] / table[below]) ** share


@dataclass(frozen=True)
class SRAM(Logic):
    """Small SRAM of PUMA's cores: four sizes, a power law between them.

    Source: A. Ankit et al., "PUMA", ASPLOS 2019, doi 10.1145/3297858.3304049, and its public
    simulator (``dataMem``): a 16-bit word a cycle of 1 GHz, 32 nm.

    Attributes:
        size: bytes, 256 to 2048.
        node: technology node (m), 7 to 130 nm; memories scale worse than logic below 20 nm, which
            is not in the range.

    Raises:
        TypeError, ValueError: if a value is no number, or out of range.
    """

    size: int = 2048
    node: float = 32e-9

    published = 32e-9
    source = "Ankit et al. (PUMA) 2019, doi 10.1145/3297858.3304049, simulator's constants"
    conditions = "32 nm design, 1 GHz; a power law between sizes"
    use = "access of 16 bits"

    def __post_init__(self) -> None:
        checks.integer("size of SRAM", self.size)
        between(self, "size", 256, 2048, "bytes")
        check_node("node of SRAM", self.node)

    def _of(self, column: int) -> float:
        return _between_sizes({s: row[column] for s, row in _PUMA_SRAM.items()}, self.size)

    @property
    def energy(self) -> Estimate:
        """Of one access (J)."""
        return self._energy(1e-12 * self._of(0))

    @property
    def latency(self) -> Estimate:
        """Of one access (s): a cycle."""
        return self._delay(1e-9)

    @property
    def area(self) -> Estimate:
        """Of the memory (m²)."""
        return self._area(1e-12 * self._of(2))

    @property
    def leakage(self) -> Estimate | None:
        """Of the memory (W); None at another node."""
        return self._leakage(1e-3 * self._of(1))


_HOROWITZ = {8 * 1024: 10.0, 32 * 1024: 20.0, 1024 * 1024: 100.0}


@dataclass(frozen=True)
class CacheSRAM(Logic):
    """SRAM of a processor, 64 bits an access: 10, 20 and 100 pJ for 8 kB, 32 kB and 1 MB.

    Energies alone, a power law between the sizes. The two larger ones are quoted from memory.

    Source: M. Horowitz, "Computing's energy problem", ISSCC 2014, 45 nm and 0.9 V.

    Attributes:
        size: bytes, 8192 to 1048576.
        node: technology node (m), 7 to 130 nm.

    Raises:
        TypeError, ValueError: if a value is no number, or out of range.
    """

    size: int = 8192
    node: float = 45e-9

    published = 45e-9
    source = "Horowitz, ISSCC 2014"
    conditions = "45 nm, 0.9 V; 32 kB and 1 MB unconfirmed; energies alone"
    use = "access of 64 bits"

    def __post_init__(self) -> None:
        checks.integer("size of CacheSRAM", self.size)
        between(self, "size", 8192, 1048576, "bytes")
        check_node("node of CacheSRAM", self.node)

    @property
    def energy(self) -> Estimate:
        """Of one access (J)."""
        return self._energy(1e-12 * _between_sizes(_HOROWITZ, self.size))


# By size (kB): energies (pJ), leakage (mW), areas (µm²).
_EDRAM = {
    64: ((17.2, 20.45), 0.46, (86000.0, 83000.0)),
    128: ((25.35,), 0.77, (121000.0,)),
}


@dataclass(frozen=True)
class EDRAM(Logic):
    """Embedded DRAM of PUMA's and ISAAC's tiles, 256 bits an access in two cycles of 1 GHz.

    64 kB is typically PUMA's; the range covers ISAAC's (20.45 pJ, leakage included, 83000 µm²).

    Source: A. Ankit et al., "PUMA", ASPLOS 2019, doi 10.1145/3297858.3304049, and its public
    simulator; A. Shafiee et al., "ISAAC", ISCA 2016, doi 10.1109/ISCA.2016.12, as in Accelergy's
    library.

    Attributes:
        size: bytes, 65536 or 131072.
        node: technology node (m), 7 to 130 nm.

    Raises:
        TypeError, ValueError: if a value is unknown, no number, or out of range.
    """

    size: int = 65536
    node: float = 32e-9

    published = 32e-9
    source = "Ankit et al. (PUMA) 2019, doi 10.1145/3297858.3304049; range: ISAAC"
    conditions = "32 nm design, two cycles of 1 GHz"
    use = "access of 256 bits"

    def __post_init__(self) -> None:
        checks.integer("size of EDRAM", self.size)
        checks.one_of("size of EDRAM", self.size, [1024 * size for size in _EDRAM])
        check_node("node of EDRAM", self.node)

    @property
    def energy(self) -> Estimate:
        """Of one access (J)."""
        return self._energy(Estimate.covering(*_EDRAM[self.size // 1024][0]) * 1e-12)

    @property
    def latency(self) -> Estimate:
        """Of one access (s): two cycles."""
        return self._delay(2e-9)

    @property
    def area(self) -> Estimate:
        """Of the memory (m²)."""
        return self._area(Estimate.covering(*_EDRAM[self.size // 1024][2]) * 1e-12)

    @property
    def leakage(self) -> Estimate | None:
        """Of the memory (W); None at another node."""
        return self._leakage(1e-3 * _EDRAM[self.size // 1024][1])


@dataclass(frozen=True)
class DRAM(Component):
    """Memory of another chip, 64 bits an access: 1.3 to 2.6 nJ. Nothing else is known.

    Source: M. Horowitz, "Computing's energy problem", ISSCC 2014.
    """

    source = "Horowitz, ISSCC 2014"
    conditions = "off the chip; the mean of the range is typical"
    use = "access of 64 bits"

    @property
    def energy(self) -> Estimate:
        """Of one access (J)."""
        return Estimate(1.3e-9, 1.95e-9, 2.6e-9)
