"""A network on the cores of a chip that is there: what it takes by where it lies.

A core of a mapping is what is read with one vector at a time: an array of the architecture, or
several where the currents of more slices are joined than lie on one. All cores of the chip are
counted, with all their lines and converters, whether anything lies there or not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mho.analysis.architecture import ChipArchitecture
from mho.analysis.components.base import Estimate, total
from mho.analysis.counting import Load, layer_cost, sent_of
from mho.analysis.estimates import NOTHING, combine
from mho.analysis.records import LayerCost, PartCost
from mho.analysis.timing import Sent
from mho.chip.cores import Cores
from mho.chip.mapping import CoreMapping
from mho.chip.tiles import joined, shape_of
from mho.core import checks
from mho.core.text import quantity
from mho.crossbar.crossbar import Crossbar
from mho.crossbar.tiling import Tiling
from mho.hardware import Hardware

_SAME = 1e-3  # reads and times that are alike


@dataclass(frozen=True)
class Mapped:
    """What a cost takes from a mapping.

    Attributes:
        mapping: of all layers on the chip's cores.
        latency: of an inference, in turns of a whole batch (s); None: not known.
        interval: between inferences (s); None: not known.
    """

    mapping: CoreMapping
    latency: Estimate | None
    interval: Estimate | None


# ── from an architecture to cores ────────────────────────────────────────────────────────────


def cores_for(
    architecture: ChipArchitecture,
    hardware: Hardware,
    count: int | None = None,
    read_time: float | None = None,
) -> Cores:
    """Return the cores of an architecture; see `ChipArchitecture.cores_for`."""
    checks.instance("hardware", hardware, Hardware)
    sent = sent_of(hardware)
    architecture.check_bits(sent)
    if read_time is not None:
        checks.number("read_time", read_time, above=0.0)
    arrays = max(map(len, joined(hardware.encoding, hardware.array.interleaved)))
    there = _count(architecture, arrays)
    if count is not None:
        count = checks.integer("count", count)
        if there is not None and count != there:
            raise ValueError(
                f"count must be {there}, the cores of {architecture.name} that take {arrays} "
                f"joined arrays each, got {count}: architecture.replace(cores=…) makes it another "
                "chip"
            )
    elif there is None:
        raise ValueError(f"{architecture.name} does not say how many cores it has: give count")
    rows = architecture.rows or hardware.array.rows
    cols = architecture.cols or hardware.array.cols
    found = Cores(count or there or 1, rows, cols, arrays)
    if read_time is not None:
        return found.replace(read_time=read_time)
    timed = _timed(architecture, sent, cols)
    if timed is None:
        raise ValueError(
            f"{architecture.name} does not say how long a read takes with this hardware "
            f"({'it has no ADC' if hardware.adc is None else 'time of a part is None'}): give "
            "read_time"
        )
    read, each = timed
    if not each.typical:
        return found.replace(read_time=read.typical)
    shared = min(architecture.columns_per_converter, cols)
    return found.replace(
        read_time=read.typical, columns_per_converter=shared, conversion_time=each.typical
    )


def _count(architecture: ChipArchitecture, arrays: int) -> int | None:
    """Return how many cores a mapping has; None where the architecture leaves it open."""
    each = _each(architecture, arrays)
    return (
        None if architecture.cores is None else architecture.cores * _in_a_core(each, architecture)
    )


def _each(architecture: ChipArchitecture, arrays: int) -> int:
    """Return the architecture's arrays that one core of a mapping takes.

    Raises:
        ValueError: if currents would be joined over several cores.
    """
    each = math.ceil(arrays / architecture.slices_per_array)
    told = architecture.cores is not None or architecture.arrays_per_core > 1
    if told and each > architecture.arrays_per_core:  # else nothing is said of cores
        raise ValueError(
            f"{arrays} arrays are joined before they are converted; a core of {architecture.name} "
            f"holds {architecture.slices_per_array * architecture.arrays_per_core} slices: take an "
            "encoding that adds digitally"
        )
    return each


def _in_a_core(each: int, architecture: ChipArchitecture) -> int:
    return max(architecture.arrays_per_core // each, 1)


def _timed(
    architecture: ChipArchitecture, sent: Sent, cols: int
) -> tuple[Estimate, Estimate] | None:
    """Return the time of a read without waiting for shared converters, and of each conversion.

    Where converting overlaps with driving the next vector, a read takes as long as the longer one
    for whole lines.
    """
    slots = architecture.timing.slots(sent)
    path = total(
        None if (circuit := part.circuit(sent)) is None else circuit.latency
        for part in architecture.parts
        if part.in_path
    )
    if sent.output_bits is None or path is None:
        return None
    driven = Estimate.exact(slots.driven)
    if slots.waited is not None:
        waited = Estimate.exact(slots.waited)
        if architecture.overlapped:
            return combine(max, driven, waited), NOTHING
        return driven + waited + path, NOTHING
    time = architecture.conversion_time(sent)
    if time is None:
        return None
    each = time * slots.conversions
    if not architecture.overlapped:
        return driven + path, each
    whole = each * min(architecture.columns_per_converter, cols)
    return combine(max, driven, whole), NOTHING


# ── what does not belong together ────────────────────────────────────────────────────────────


def check(
    mapping: CoreMapping, crossbars: dict[str, Crossbar], architecture: ChipArchitecture
) -> None:
    """Refuse a mapping of another model, or of another chip (ValueError)."""
    checks.instance("mapping", mapping, CoreMapping)
    own = {shape.name: shape for shape in mapping.shapes}
    for few, many, text in (
        (own, crossbars, "lacks"),
        (crossbars, own, "has, beside those of the model,"),
    ):
        lacking = [repr(name) for name in many if name not in few]
        if lacking:
            shown = ", ".join(lacking[:3]) + ", …" * (len(lacking) > 3)
            raise ValueError(f"mapping must be of this model: it {text} {shown}")
    for name, crossbar in crossbars.items():
        tiling = Tiling.of(crossbar.G, crossbar.groups, crossbar.hardware.array)
        shape = shape_of(name, tiling, crossbar.hardware)
        if shape.pieces(mapping.cores) != own[name].pieces(mapping.cores):
            raise ValueError(
                f"mapping must be of this model: {name!r} is {_told(own[name])} there, "
                f"{_told(shape)} here"
            )
    _check_chip(mapping.cores, architecture)


def _told(shape: object) -> str:
    values = (getattr(shape, n) for n in ("groups", "rows", "cols", "arrays", "tile"))
    groups, rows, cols, arrays, tile = values
    return f"{groups} × {rows} × {cols} cells on arrays {arrays} in tiles of {tile}"


def _check_chip(cores: Cores, architecture: ChipArchitecture) -> None:
    name = architecture.name
    for what in ("rows", "cols"):
        there, here = getattr(architecture, what), getattr(cores, what)
        if there is not None and there != here:
            raise ValueError(
                f"mapping must be on cores of {name}: these have {here} {what}, its arrays {there} "
                "(architecture.cores_for(hardware) returns them)"
            )
    count = _count(architecture, cores.arrays)
    if count is not None and count != cores.count:
        raise ValueError(
            f"mapping must be on all cores of {name}: it is on {cores.count} cores of "
            f"{cores.arrays} arrays, there are {count} (architecture.cores_for(hardware) returns "
            "them; architecture.replace(cores=…) is a chip of another size)"
        )


def check_reads(mapping: CoreMapping, loads: Sequence[Load]) -> None:
    """Refuse a mapping for which layers are read more or less often (ValueError)."""
    own = {shape.name: shape.reads for shape in mapping.shapes}
    for load in loads:
        if abs(load.reads - own[load.name]) > _SAME * max(load.reads, own[load.name]):
            raise ValueError(
                f"mapping must be for these inputs: {load.name!r} is read {own[load.name]:,.6g} "
                f"times an inference there, {load.reads:,.6g} times here (mho.chip.place counts "
                "them with inputs=…)"
            )


# ── what layers take of the chip ─────────────────────────────────────────────────────────────


def laid(mapping: CoreMapping, loads: Sequence[Load], architecture: ChipArchitecture) -> list[Load]:
    """Return loads with the arrays of the chip that are theirs.

    Several layers on one core share its arrays by the cells they have there.
    """
    each = _each(architecture, mapping.cores.arrays)
    index = {shape.name: i for i, shape in enumerate(mapping.shapes)}
    shares = _shares(mapping)
    found = []
    for load in loads:
        layer = mapping.layers[index[load.name]]
        found.append(
            replace(
                load,
                rows=mapping.cores.rows,
                cols=mapping.cores.cols,
                taken=each * shares[index[load.name]],
                lies_on=each * layer.cores,
                copies=layer.copies,
            )
        )
    return found


def _shares(mapping: CoreMapping) -> list[float]:
    """Return how many cores are each layer's, in the mean over turns."""
    cells: dict[tuple[int, int], dict[int, int]] = {}
    for tile in mapping.tiles:
        on_core = cells.setdefault((tile.turn, tile.core), {})
        on_core[tile.layer] = on_core.get(tile.layer, 0) + tile.cells
    shares = [0.0] * len(mapping.shapes)
    for on_core in cells.values():
        whole = sum(on_core.values()) * mapping.turns
        for layer, own in on_core.items():
            shares[layer] += own / whole
    return shares


def unused(
    mapping: CoreMapping, loads: Sequence[Load], architecture: ChipArchitecture
) -> list[PartCost]:
    """Return what belongs to no layer: the chip's other arrays, and writing in turns."""
    cores = chip_cores(mapping, architecture)
    taken = sum(load.taken or 0.0 for load in loads)
    rest = max(cores * architecture.arrays_per_core - taken, 0.0)
    idle = replace(
        loads[0], reads=0.0, power=0.0, squares=0.0, used=0.0, taken=rest, groups=1, copies=1
    )
    found = list(layer_cost(idle, architecture).parts)
    return [*found, *([_writing(mapping)] if mapping.turns > 1 else [])]


def chip_cores(mapping: CoreMapping, architecture: ChipArchitecture) -> int:
    """Return how many cores of the architecture the chip has."""
    if architecture.cores is not None:
        return architecture.cores
    each = _each(architecture, mapping.cores.arrays)
    if each > architecture.arrays_per_core:
        return each * mapping.cores.count
    return math.ceil(mapping.cores.count / _in_a_core(each, architecture))


def _writing(mapping: CoreMapping) -> PartCost:
    energy = mapping.rewriting_energy
    return PartCost(
        name="rewriting",
        roles=("programming",),
        instances=0.0,
        uses=mapping.cells_written / mapping.batch,
        dynamic=None if energy is None else Estimate.exact(energy),
        leakage=None,
        power=NOTHING,
        area=NOTHING,
    )


# ── time ─────────────────────────────────────────────────────────────────────────────────────


def timed(
    mapping: CoreMapping, loads: Sequence[Load], architecture: ChipArchitecture
) -> tuple[Mapped, tuple[str, ...]]:
    """Return latency and interval, and what is to be said of them.

    Where reads take what the architecture says, its range is theirs; else they are the mapping's,
    and that is said.
    """
    index = {shape.name: i for i, shape in enumerate(mapping.shapes)}
    low, high = list(mapping.times), list(mapping.times)
    differ: list[str] = []
    for load in loads:
        i = index[load.name]
        layer = mapping.layers[i]
        width = max(tile.piece.width for tile in mapping.tiles if tile.layer == i)
        times = _read(architecture, load.sent, mapping.cores.cols, width)
        if times is None:
            continue
        if abs(times.typical - layer.time) > _SAME * layer.time:
            differ.append(
                f"{load.name} {quantity(layer.time, 's')} (here {quantity(times.typical, 's')})"
            )
        elif times.low < times.high:
            low[i], high[i] = times.low, times.high
    said = []
    if differ:
        shown = ", ".join(differ[:3]) + ", …" * (len(differ) > 3)
        said.append(f"reads take what the mapping says, not this architecture: {shown}")
    ends = [_ends(mapping, tuple(times)) for times in (low, high)]
    here = (mapping.latency, mapping.interval)
    spans = [
        None
        if middle is None or least is None or most is None
        else Estimate(min(least, middle), middle, max(most, middle))
        for least, middle, most in zip(ends[0], here, ends[1], strict=True)
    ]
    return Mapped(mapping, *spans), tuple(said)


def _ends(
    mapping: CoreMapping, times: tuple[float | None, ...]
) -> tuple[float | None, float | None]:
    if times == mapping.times:
        return mapping.latency, mapping.interval
    found = replace(mapping, times=times)
    return found.latency, found.interval


def _read(architecture: ChipArchitecture, sent: Sent, cols: int, width: int) -> Estimate | None:
    found = _timed(architecture, sent, cols)
    if found is None:
        return None
    read, each = found
    return read + each * min(architecture.columns_per_converter, width)


def stages(mapping: CoreMapping, layers: Sequence[LayerCost]) -> list[LayerCost]:
    """Return layers with the times for which they work on the chip."""
    times = {layer.name: layer.stage for layer in mapping.layers}
    return [replace(x, latency=Estimate.exact(times[x.name]), untimed=()) for x in layers]
