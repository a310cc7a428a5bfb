"""How often a matrix on an architecture uses its circuits, and how many of them it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mho.analysis.architecture import ChipArchitecture, Part
from mho.analysis.components.base import Component, Estimate, total
from mho.analysis.estimates import NOTHING, combine
from mho.analysis.records import LayerCost, PartCost
from mho.analysis.timing import Sent, Slots
from mho.crossbar.crossbar import Crossbar
from mho.crossbar.tiling import Tiling
from mho.hardware import Hardware


@dataclass(frozen=True)
class Load:
    """A matrix on arrays, as its circuits see it.

    Attributes:
        name: of the crossbar.
        reads: of the whole matrix in one inference (vectors).
        sent: bits and planes.
        inputs: numbers that a vector has, ``groups · rows``.
        outputs: numbers that it becomes, ``groups · cols``.
        arrays: physical arrays.
        rows: word lines of one.
        cols: bit lines of one.
        driven: word lines driven for a vector, over all arrays.
        read: bit lines (of converters) read for a vector, over all arrays.
        lines: bit lines (of converters) that there are.
        busiest: bit lines in use at the busiest converter.
        converters: that there are.
        used: unit cells that hold weights.
        power: that drivers deliver into the cells, summed over the drives of an inference (W); None
            if it is not known.
        squares: Σ V² over lines and drives of an inference, for each array of a line (V²).
        across: arrays that a word line's voltage goes to.
        groups: matrices that lie side by side.
        taken: of a chip that is there (a mapping): arrays that are this matrix's, those that others
            share in part; with all their lines and converters. None: the chip is made for it.
        lies_on: of such a chip, arrays on which something of it lies.
        copies: of the matrix, on such a chip.
        compared: whether pairs are compared one by one, so that no currents flow together.
    """

    name: str
    reads: float
    sent: Sent
    inputs: int
    outputs: int
    arrays: int
    rows: int
    cols: int
    driven: int
    read: int
    lines: int
    busiest: int
    converters: int
    used: float
    power: float | None
    squares: float | None
    across: int

    groups: int = 1
    taken: float | None = None
    lies_on: int | None = None
    copies: int = 1
    compared: bool = False

    @property
    def here(self) -> int:
        """Physical arrays that it lies on, all copies together."""
        return self.arrays if self.lies_on is None else self.lies_on

    @property
    def macs(self) -> float:
        """Multiply–accumulates in one inference."""
        return self.reads * self.inputs * self.outputs / self.groups


def load(
    name: str,
    crossbar: Crossbar,
    architecture: ChipArchitecture,
    reads: float,
    power: float | None,
    squares: float | None,
    joined: tuple[int, ...] | None = None,
) -> Load:
    """Return how a crossbar lies on an architecture's arrays.

    Args:
        name: of the crossbar.
        crossbar: with its hardware.
        architecture: whose arrays and converters they are.
        reads: in one inference.
        power: see `Load`.
        squares: see `Load`.
        joined: how many slices lie together, set by set, each on arrays of its own; None: all.

    Raises:
        ValueError: if the hardware's tiles are larger than the architecture's arrays.
    """
    hardware = crossbar.hardware
    tiling = Tiling.of(crossbar.G, crossbar.groups, hardware.array)
    rows, cols = _size(hardware.array.rows, hardware.array.cols, architecture)
    bands = crossbar.groups * tiling.down * tiling.across
    per_array = architecture.slices_per_array
    each = sum(math.ceil(slices / per_array) for slices in joined or (tiling.arrays,))
    converters = hardware.encoding.converters
    # Slices that one converter takes the sum or difference of share it.
    outputs = cols * tiling.arrays // tiling.slices
    width = min(tiling.cols, tiling.outputs) * converters
    shared = architecture.columns_per_converter
    adc = hardware.adc
    if adc is not None and adc.columns_per_adc not in (1, shared):
        raise ValueError(
            f"the hardware's ADC columns_per_adc={adc.columns_per_adc} and the "
            f"columns_per_converter={shared} of {architecture.name} do not agree: "
            f"replace(columns_per_converter={adc.columns_per_adc}) of the chip, or "
            f"columns_per_adc={shared} of the ADC, makes them one"
        )
    per_cell = min(per_array, tiling.arrays)
    return Load(
        name=name,
        reads=reads,
        sent=sent_of(hardware),
        inputs=crossbar.groups * crossbar.rows,
        outputs=crossbar.groups * crossbar.cols,
        arrays=bands * each,
        rows=rows,
        cols=cols,
        driven=crossbar.rows * crossbar.groups * tiling.across * each,
        read=converters * tiling.cols * crossbar.groups * tiling.down,
        lines=bands * outputs * converters,
        busiest=min(shared, width),
        converters=bands * math.ceil(outputs * converters / shared),
        used=tiling.cells / per_cell,
        power=power,
        squares=squares,
        across=tiling.across * each,
        groups=crossbar.groups,
        compared=compares(crossbar),
    )


def compares(crossbar: Crossbar) -> bool:
    """Whether pairs of cells are compared and read as bits, with no product on the bit lines."""
    return bool(getattr(crossbar.hardware.encoding, "compared", False))


def sent_of(hardware: Hardware) -> Sent:
    """Return what a vector is to a tile of this hardware."""
    drive, adc = hardware.drive, hardware.adc
    planes = drive.planes_sent
    return Sent(
        drive.bits,
        None if adc is None else adc.bits,
        planes,
        1 if drive.converts_once else planes,
        None if drive.pulses is None else drive.pulses.t_pulse,
        None if drive.pulses is None else sum(drive.drive_times),
        None if adc is None else adc.conversion_time,
        drive.top.bit_length() if drive.pulses is not None and planes > 1 else None,
    )


def full(
    architecture: ChipArchitecture, sent: Sent, rows: int, cols: int, power: float | None
) -> Load:
    """Return one array, all of which is used, for one vector; arguments as of `Load`."""
    shared = architecture.columns_per_converter
    return Load(
        name="one array",
        reads=1.0,
        sent=sent,
        inputs=rows,
        outputs=cols,
        arrays=1,
        rows=rows,
        cols=cols,
        driven=rows,
        read=cols,
        lines=cols,
        busiest=min(shared, cols),
        converters=math.ceil(cols / shared),
        used=float(rows * cols),
        power=power,
        squares=None,
        across=1,
    )


def _size(rows: int, cols: int, architecture: ChipArchitecture) -> tuple[int, int]:
    high, wide = architecture.rows or rows, architecture.cols or cols
    if rows > high or cols > wide:
        raise ValueError(
            f"the hardware's tiles of {rows} × {cols} do not fit the arrays of "
            f"{architecture.name}, {high} × {wide}: use Array({min(rows, high)}, {min(cols, wide)})"
        )
    return high, wide


def layer_cost(load: Load, architecture: ChipArchitecture) -> LayerCost:
    """Return what a matrix costs on an architecture, without leakage (it goes by time).

    Raises:
        ValueError: if the architecture cannot work with these bits, or at this rate.
    """
    architecture.check_bits(load.sent)
    slots = architecture.timing.slots(load.sent)
    parts = [part_cost(p, load, slots, architecture) for p in architecture.parts]
    waits = {p.name: _waited(p, load.sent) for p in architecture.parts if p.in_path}
    untimed = [f"time of {name}" for name, wait in waits.items() if wait is None]
    converted = _converted(load, slots, architecture)
    if converted is None:
        untimed.append("time of the converters")
    latency = None
    if converted is not None and not untimed:
        path = total(waits.values())
        assert path is not None
        latency = _latency(load, slots, converted, path, overlapped=architecture.overlapped)
    driven = Estimate.exact(load.reads * slots.driven)
    return LayerCost(
        name=load.name,
        reads=load.reads,
        drives=load.reads * slots.drives * load.driven,
        conversions=_conversions(load, slots),
        arrays=load.here,
        macs=load.macs,
        utilisation=load.used * load.copies / (load.here * load.rows * load.cols),
        parts=(*_computed(load, slots, architecture), *parts),
        latency=latency,
        driven=driven,
        untimed=tuple(untimed),
    )


def _conversions(load: Load, slots: Slots) -> float:
    return 0.0 if load.sent.output_bits is None else load.reads * slots.conversions * load.read


def _converted(load: Load, slots: Slots, architecture: ChipArchitecture) -> Estimate | None:
    """Return for how long a vector is converted (s); None if that is not known."""
    if load.sent.output_bits is None:
        return None
    if slots.waited is not None:
        return Estimate.exact(slots.waited)
    time = architecture.conversion_time(load.sent)
    return None if time is None else time * (slots.conversions * load.busiest)


def _latency(
    load: Load, slots: Slots, converted: Estimate, path: Estimate, *, overlapped: bool
) -> Estimate:
    driven = Estimate.exact(slots.driven)
    if not overlapped:
        return (driven + converted + path) * load.reads
    last = combine(min, driven, converted) + path
    return combine(max, driven, converted) * load.reads + last


def _waited(part: Part, sent: Sent) -> Estimate | None:
    component = part.circuit(sent)
    return None if component is None else component.latency


def part_cost(part: Part, load: Load, slots: Slots, architecture: ChipArchitecture) -> PartCost:
    """Return what a part costs for a matrix; of cores its arrays' share, of chips nothing yet."""
    component = part.circuit(load.sent)
    uses = _uses(part, load, slots)
    if load.sent.output_bits is None and "converters" in part.roles:
        component = None  # the hardware reads currents exactly: what with is not said
    if load.compared and "drivers" in part.roles:
        component = None
    # Each chip has its own, whoever lies on it.
    instances = part.count * _instances(part.each, load, architecture)
    return of(part, component, instances, uses)


def of(part: Part, component: Component | None, instances: float, uses: float | None) -> PartCost:
    """Return what so many of a part cost, used so often (None: that is not known)."""
    energy = area = power = None
    if component is not None:
        area = component.area
        power = component.leakage
        if part.use is None:
            energy = NOTHING
        elif uses is not None and component.energy is not None:
            energy = component.energy * uses
    return PartCost(
        name=part.name,
        roles=part.roles,
        instances=instances,
        uses=uses or 0.0,
        dynamic=energy,
        leakage=None,
        power=None if power is None else power * instances,
        area=None if area is None else area * instances,
        leakage_in_dynamic=component is not None and component.leakage_in_energy,
    )


def _instances(each: str, load: Load, architecture: ChipArchitecture) -> float:
    if load.taken is not None:
        converters = math.ceil(load.cols / architecture.columns_per_converter)
        counts = {
            "row": load.taken * load.rows,
            "line": load.taken * load.cols,
            "converter": load.taken * converters,
            "array": load.taken,
            "core": load.taken / architecture.arrays_per_core,
            "chip": 0.0,
        }
        return counts[each]
    counts = {
        "row": float(load.arrays * load.rows),
        "line": float(load.lines),
        "converter": float(load.converters),
        "array": float(load.arrays),
        "core": load.arrays / architecture.arrays_per_core,
        "chip": 0.0,
    }
    return counts[each]


def _uses(part: Part, load: Load, slots: Slots) -> float | None:
    """Return the uses of a part in one inference; None if they go by bits nobody knows."""
    sent = load.sent
    if part.use is None or part.use == "inference":
        return 0.0
    if part.use in ("input bit", "output bit"):
        bits = sent.input_bits if part.use == "input bit" else sent.output_bits
        numbers = load.inputs if part.use == "input bit" else load.outputs
        return None if bits is None else part.uses * load.reads * numbers * bits
    if part.use == "conversion":
        return part.uses * _conversions(load, slots)
    counts = {
        "drive": slots.drives * load.driven,
        "phase": slots.phases * load.read,
        "sample": slots.samples * load.read,
        "pulse": slots.pulses * load.read,
        "step": slots.steps * load.read,
        "read": float(load.arrays),
        "input": float(load.inputs),
        "output": float(load.outputs),
    }
    return part.uses * load.reads * counts[part.use]


def _computed(load: Load, slots: Slots, architecture: ChipArchitecture) -> list[PartCost]:
    """Cells and lines, whose energy follows from voltages and conductances."""
    found = []
    drives = load.reads * slots.drives * load.driven
    there = float(load.arrays) if load.taken is None else load.taken
    within = architecture.covered("cells")
    area = architecture.cell_area
    if not within or area is not None:
        cells = there * load.rows * load.cols
        energy = None if load.power is None else Estimate.exact(load.power * slots.window)
        found.append(
            PartCost(
                name="cells",
                roles=("cells",),
                instances=cells,
                uses=drives,
                dynamic=NOTHING if within else energy,
                leakage=None,
                power=NOTHING,  # undriven ones draw nothing
                area=None if area is None else Estimate.exact(cells * area),
            )
        )
    if not architecture.covered("lines"):
        each = architecture.line_capacitance
        charge = None
        if each is not None and load.squares is not None:
            charge = Estimate.exact(load.squares * load.across * load.cols * each)
        found.append(
            PartCost(
                name="lines",
                roles=("lines",),
                instances=there * load.rows,
                uses=drives,
                dynamic=charge,
                leakage=None,
                power=NOTHING,
                area=NOTHING,  # they run above the cells
            )
        )
    return found
