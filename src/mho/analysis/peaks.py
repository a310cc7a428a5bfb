"""What arrays of an architecture do when all their cells work: the figures that papers state."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mho.analysis.architecture import ChipArchitecture
from mho.analysis.components.base import Estimate, total
from mho.analysis.counting import full, layer_cost, of
from mho.analysis.estimates import NOTHING, combine, number, said
from mho.analysis.records import PartCost
from mho.analysis.timing import Sent
from mho.core import checks


@dataclass(frozen=True)
class Peak:
    """Throughput and efficiency of a whole chip, all arrays busy. None is: not known.

    Operations are two a multiply–accumulate of the inputs' and outputs' bits; what is not counted
    makes rates upper bounds.

    Attributes:
        architecture: its name.
        time: one array takes for one vector (s).
        energy: one array takes for one vector, of what is counted (J).
        operations: of one array for one vector.
        arrays: that work at the same time.
        area: of all of them with their circuits, of what is counted (m²).
        parts: of one array, for one vector.
        uncounted: what energy and area leave out, by name.
    """

    architecture: str
    time: Estimate | None
    energy: Estimate
    operations: float
    arrays: int
    area: Estimate
    parts: tuple[PartCost, ...]
    uncounted: tuple[str, ...]

    @property
    def tops(self) -> Estimate | None:
        """Operations per time (10¹²/s)."""
        if self.time is None:
            return None
        count = 1e-12 * self.operations * self.arrays
        return Estimate(count / self.time.high, count / self.time.typical, count / self.time.low)

    @property
    def tops_per_watt(self) -> Estimate | None:
        """Operations per energy that is counted (10¹²/J)."""
        count, energy = 1e-12 * self.operations, self.energy
        if energy.low == 0.0:
            return None
        return Estimate(count / energy.high, count / energy.typical, count / energy.low)

    @property
    def tops_per_area(self) -> Estimate | None:
        """Operations per time and area that is counted (10¹²/s/mm²)."""
        speed, area = self.tops, self.area
        if speed is None or area.low == 0.0:
            return None
        ends = (speed.low / area.high, speed.typical / area.typical, speed.high / area.low)
        return Estimate(*(1e-6 * end for end in ends))

    def __str__(self) -> str:
        least = "≤ " if self.uncounted else ""
        rates = (("TOPS", self.tops, ""), ("TOPS/W", self.tops_per_watt, least))
        lines = [f"{self.architecture}, all of {self.arrays:,} arrays at work"]
        lines.append(
            f"{'one vector':<12}{'not known' if self.time is None else said(self.time, 's')}, "
            f"{said(self.energy, 'J')} an array"
        )
        for label, value, sign in (*rates, ("TOPS/mm²", self.tops_per_area, least)):
            lines.append(f"{label:<12}{'not known' if value is None else sign + number(value)}")
        lines.append(f"{'area':<12}{said(self.area, 'm²')}")
        if self.uncounted:
            lines.append(f"not counted: {', '.join(self.uncounted)}")
        return "\n".join(lines)


def peak(
    architecture: ChipArchitecture,
    input_bits: int | None = 8,
    output_bits: int | None = 8,
    *,
    planes: int = 1,
    cells_per_weight: int = 1,
    rows: int | None = None,
    cols: int | None = None,
    cell_energy: float | None = None,
) -> Peak:
    """Return what a chip does when all its arrays work, from the architecture alone.

    Args:
        architecture: of the chip.
        input_bits: of the drivers.
        output_bits: of the converters.
        planes: how often lines are driven for one vector (bit-serial drivers), >= 1.
        cells_per_weight: neighbouring columns that one weight takes, >= 1.
        rows: word lines of an array, where the architecture leaves them open.
        cols: bit lines of an array, likewise.
        cell_energy: that currents take in the cells of an array for one vector (J), where the
            architecture does not say it; None: not counted.

    Raises:
        TypeError, ValueError: if a value is refused, or the array has no size.
    """
    checks.instance("architecture", architecture, ChipArchitecture)
    for name, bits in (("input_bits", input_bits), ("output_bits", output_bits)):
        if bits is not None:
            checks.integer(name, bits, most=24)
    checks.integer("planes", planes)
    checks.integer("cells_per_weight", cells_per_weight)
    high, wide = architecture.rows or rows, architecture.cols or cols
    if high is None or wide is None:
        raise ValueError(f"{architecture.name} leaves its arrays' size open: give rows and cols")
    checks.integer("rows", high)
    checks.integer("cols", wide)
    sent = Sent(input_bits, output_bits, planes, planes)
    architecture.check_bits(sent)
    window = architecture.timing.slots(sent).window
    power = None
    if cell_energy is not None:
        power = checks.number("cell_energy", cell_energy, least=0.0) / window
    layer = layer_cost(full(architecture, sent, high, wide, power), architecture)
    arrays = architecture.arrays_per_core * (architecture.cores or 1)
    chip = [
        of(part, part.circuit(sent), part.count / arrays, 0.0)
        for part in architecture.parts
        if part.each == "chip"
    ]
    time = layer.latency
    if time is not None and architecture.overlapped:
        # Driving and converting follow each other in the first vector alone.
        driven = layer.driven.typical
        time = combine(lambda t: max(driven, t - driven), time)
    found = {part.name: part for part in layer.parts}
    found |= {part.name: part for part in chip}  # which the layer's list has none of
    parts = tuple(_leaking(part, time) for part in found.values())
    lacking = [p.name for p in parts if p.energy is None or p.area is None]
    energies = [e for p in parts for e in (p.dynamic, p.leakage) if e is not None]
    areas = [p.area for p in parts if p.area is not None]
    return Peak(
        architecture=architecture.name,
        time=time,
        energy=total(energies) or NOTHING,
        operations=2.0 * high * wide / cells_per_weight,
        arrays=arrays,
        area=(total(areas) or NOTHING) * arrays,
        parts=parts,
        uncounted=(*lacking, *architecture.missing()),
    )


def _leaking(part: PartCost, time: Estimate | None) -> PartCost:
    if part.power is None or (time is None and part.power.high > 0.0):
        return part
    return replace(part, leakage=NOTHING if time is None else part.power * time)
