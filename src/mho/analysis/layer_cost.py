"""Energy, latency and area of one inference on a chip's architecture.

    cells     Σ over drives of the power the drivers deliver, times the time they are driven
              (Σ_i V_i² Σ_j G_ij · t without wires; the solved circuit with them)
    lines     C V² for every cell that a driven word line passes
    circuits  uses · energy of one use + instances · leakage · time of an inference
    latency   for every vector the lines' time and the conversions of the busiest converter
    area      cells and instances of every circuit

Voltages and conductances are the model's own, measured while it works on real inputs. What has no
figure is None, and so is every sum that it is in.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mho.analysis import mapped
from mho.analysis.architecture import ChipArchitecture
from mho.analysis.components.base import Estimate
from mho.analysis.counting import Load, compares, layer_cost, load, of, sent_of
from mho.analysis.estimates import NOTHING
from mho.analysis.power import array_power, pulse_power
from mho.analysis.records import Cost, LayerCost, PartCost, Programming
from mho.analysis.technology import Technology
from mho.chip.mapping import CoreMapping
from mho.core import checks
from mho.core.text import quantity
from mho.crossbar.crossbar import Crossbar
from mho.crossbar.report import ProgramReport
from mho.model.crossbars import crossbars
from mho.model.inputs import batches_of
from mho.model.lifecycle import ModelReport
from mho.model.observe import observed, watch
from mho.model.samples import Samples


@torch.inference_mode(False)
@torch.no_grad()
def cost(
    model: nn.Module,
    inputs: Tensor | Iterable[Any],
    architecture: ChipArchitecture | Technology | None = None,
    *,
    programming: ModelReport | None = None,
    samples: int | None = None,
    mapping: CoreMapping | None = None,
) -> Cost:
    """Estimate energy, latency and area of one inference.

    Args:
        model: a converted model; it is not changed. Uncalibrated drivers take each call's range.
        inputs: real ones, as `mho.calibrate` takes them; energies are means over their samples.
        architecture: what is around the cells, from `mho.analysis.chips` or one's own; a
            `Technology` says the least; None is ``Technology()``.
        programming: the report of `mho.program`, for what writing takes.
        samples: how many inferences the inputs are, where it is not their first dimension.
            Otherwise a sample is one sequence where there are recurrent and attention layers:
            packed ones, and those with time first, too.
        mapping: where the layers lie on the cores of the chip, from `mho.chip.place` on
            ``architecture.cores_for(hardware)``. Latency and interval are the mapping's; all cores
            of the chip count, used or not, with all their converters; writing in turns counts.
            None: there are as many arrays as it takes, each layer's its own.

    Returns:
        A record that prints as tables, with its assumptions and what it leaves out.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if the model has no crossbars, there are no inputs, or the architecture does
            not suit the hardware: arrays too small, bits or rates that it cannot do; the mapping
            is of another model, chip or inputs; or cells conduct 1 S and more.
    """
    checks.instance("model", model, nn.Module)
    found = Technology() if architecture is None else architecture
    checks.instance("architecture", found, (ChipArchitecture, Technology))
    if programming is not None:
        checks.instance("programming", programming, ModelReport)
    chip = found.architecture() if isinstance(found, Technology) else found
    if samples is not None:
        checks.integer("samples", samples)
    batches = batches_of(inputs, model)
    twin = copy.deepcopy(model)
    names = {crossbar: name for name, crossbar in crossbars(twin).items()}
    for crossbar in names:  # conductances in units of their own are fine for all but power
        checks.circuit("a cell's conductance", crossbar.hardware.device.window[1], "S")
    corrections = {crossbar: crossbar.correction for crossbar in names}
    if mapping is not None:
        mapped.check(mapping, {name: c for c, name in names.items()}, chip)
    seen = {crossbar: _Seen(duty=chip.timing.duty) for crossbar in names}
    counter = Samples(twin, batches)
    with observed(twin, list(names)), counter:
        for crossbar, correction in corrections.items():
            crossbar.commit(correction=correction)
        watch(twin, list(names), batches, lambda c, x, _: seen[c].add(c, x))
    count = counter.count if samples is None else samples
    sets = {} if mapping is None else {shape.name: shape.arrays for shape in mapping.shapes}
    loads = [seen[c].load(name, c, chip, count, sets.get(name)) for c, name in names.items()]
    if mapping is not None:
        mapped.check_reads(mapping, loads)
        loads = mapped.laid(mapping, loads, chip)
    layers = [layer_cost(one, chip) for one in loads]
    return _cost(chip, found, twin, loads, layers, programming, mapping)


class _Seen:
    """What one crossbar was given: vectors, squared voltages, and power into the cells."""

    def __init__(self, *, duty: bool) -> None:
        self.duty = duty
        self.vectors = 0
        self.squares = 0.0  # Σ V² over all lines and drives (V²)
        self.power = 0.0  # Σ over drives of what the drivers deliver (W)

    def add(self, crossbar: Crossbar, x: Tensor) -> None:
        ranges = crossbar.reader.ranges
        voltages, lasting = ranges.voltages(x), ranges.lasting(x)
        self.vectors += len(x)
        if lasting is not None:  # each pulse at full voltage, for its share of the longest
            self.squares += float(voltages.double().square().sum())
            self.power += pulse_power(crossbar, voltages, lasting)
            return
        if self.duty:  # full voltage for a part of the time: its square is their product
            most = crossbar.hardware.drive.v_max
            self.squares += most**2 * float((voltages != 0).sum())
            voltages = (voltages.abs() * most).sqrt() * voltages.sign()
        else:
            self.squares += float(voltages.double().square().sum())
        self.power += array_power(crossbar, voltages)

    def load(
        self,
        name: str,
        crossbar: Crossbar,
        chip: ChipArchitecture,
        samples: int,
        joined: tuple[int, ...] | None,
    ) -> Load:
        reads, power, squares = (x / samples for x in (self.vectors, self.power, self.squares))
        if compares(crossbar):  # bits are read from cells; inputs never are on lines
            return load(name, crossbar, chip, reads, None, None, joined)
        return load(name, crossbar, chip, reads, power, squares, joined)


def _cost(
    chip: ChipArchitecture,
    given: ChipArchitecture | Technology,
    twin: nn.Module,
    loads: list[Load],
    layers: list[LayerCost],
    programming: ModelReport | None,
    mapping: CoreMapping | None,
) -> Cost:
    on: mapped.Mapped | None = None
    told: tuple[str, ...] = ()
    if mapping is None:
        arrays = sum(layer.arrays for layer in layers)
        cores = math.ceil(arrays / chip.arrays_per_core)
        chips = 1 if chip.cores is None else math.ceil(cores / chip.cores)
        shared = _shared(chip, loads, cores - arrays / chip.arrays_per_core, chips)
    else:
        cores, chips = mapped.chip_cores(mapping, chip), 1
        shared = [*_shared(chip, loads, 0.0, chips), *mapped.unused(mapping, loads, chip)]
        layers = mapped.stages(mapping, layers)
        on, told = mapped.timed(mapping, loads, chip)
    amplified = any(c.hardware.amplifier is not None for c in crossbars(twin).values())
    missing = chip.missing(amplified=amplified)
    bits = sorted({x.sent.output_bits for x in loads if x.sent.output_bits is not None})
    if isinstance(given, Technology):
        said = given.assumptions(bits, mapped=mapping is not None)
    else:
        said = chip.assumptions(mapped=mapping is not None)
    said = (*said, *_tiles(chip, twin), *_clocks(chip, twin), *told)
    without_time = Cost(
        architecture=chip.name,
        layers=tuple(layers),
        shared=tuple(shared),
        pipelined=chip.pipelined,
        cores=cores,
        chips=chips,
        missing=missing,
        programming=None if programming is None else _programming(programming, chip),
        assumptions=said,
        excluded=(),
        mapped=on,
    )
    time = without_time.interval
    found = replace(
        without_time,
        layers=tuple(replace(x, parts=_leaking(x.parts, time)) for x in layers),
        shared=_leaking(shared, time),
    )
    return replace(found, excluded=_excluded(found, twin))


def _tiles(chip: ChipArchitecture, twin: nn.Module) -> tuple[str, ...]:
    """Say which tiles leave a part of the chip's arrays idle."""
    sizes = {(c.hardware.array.rows, c.hardware.array.cols) for c in crossbars(twin).values()}
    texts = []
    for rows, cols in sorted(sizes):
        high, wide = chip.rows or rows, chip.cols or cols
        if (rows, cols) != (high, wide):
            texts.append(
                f"the hardware's tiles of {rows} × {cols} lie on arrays of {high} × {wide}, one "
                f"each: Array({high}, {wide}) would fill them"
            )
    return tuple(texts)


def _clocks(chip: ChipArchitecture, twin: nn.Module) -> tuple[str, ...]:
    """Say where the hardware's own times and converters are not the chip's."""
    found: dict[str, None] = {}
    for crossbar in crossbars(twin).values():
        hardware = crossbar.hardware
        sent, adc = sent_of(hardware), hardware.adc
        slots = chip.timing.slots(sent)
        if sent.pulse is not None and abs(sent.pulse - slots.window) > 1e-6 * slots.window:
            found[
                f"the hardware's pulses last up to {quantity(sent.pulse, 's')}, those of "
                f"{chip.name} {quantity(slots.window, 's')}: the chip's count"
            ] = None
        if sent.conversion_time is not None and slots.waited is not None:
            found[
                f"the hardware's converters take {quantity(sent.conversion_time, 's')} each time; "
                f"{chip.name} says the time itself, and that counts"
            ] = None
        drawn = adc is not None and adc.architecture is not None and adc.architecture.drawn
        shared = chip.columns_per_converter
        if drawn and adc is not None and adc.columns_per_adc == 1 < shared:
            found[
                f"errors of converters are drawn for every bit line, while {shared} of them share "
                f"one here: ADC(columns_per_adc={shared}) would draw them so"
            ] = None
    return tuple(found)


def _leaking(parts: Iterable[PartCost], time: Estimate | None) -> tuple[PartCost, ...]:
    def lost(power: Estimate | None) -> Estimate | None:
        if power is None or (time is None and power.high > 0.0):
            return None
        return NOTHING if time is None else power * time

    return tuple(replace(part, leakage=lost(part.power)) for part in parts)


def _shared(chip: ChipArchitecture, loads: list[Load], idle: float, chips: int) -> list[PartCost]:
    """What belongs to no layer: the last core's rest, circuits of chips, uses by an inference."""
    found = []
    for part in chip.parts:
        instances = part.count * {"core": idle, "chip": float(chips)}.get(part.each, 0.0)
        uses = part.uses if part.use == "inference" else 0.0
        if instances > 0.0 or uses > 0.0:
            found.append(of(part, part.circuit(loads[0].sent), instances, uses))
    return found


def _programming(report: ModelReport, chip: ChipArchitecture) -> Programming:
    """What writing took: as reported, else by the chip's pulses, row after row of an array."""
    seconds = None if report.seconds is None else Estimate.exact(report.seconds)
    joules = None if report.energy is None else Estimate.exact(report.energy)
    pulse = chip.pulse
    if joules is None and pulse is not None and pulse.energy is not None:
        joules = pulse.energy * report.pulses
    if seconds is None and pulse is not None and pulse.latency is not None:
        seconds = pulse.latency * sum(_in_turn(one) for one in report.values())
    return Programming(report.pulses, seconds, joules)


def _in_turn(report: ProgramReport) -> float:
    """Pulses one after the other: those of a mean cell for every row of the fullest array."""
    rows = report.cells.shape[1] if report.tiling is None else report.tiling.height
    return report.pulses / report.cells.like.numel() * rows


def _excluded(found: Cost, twin: nn.Module) -> tuple[str, ...]:
    """Say what is not counted."""
    texts = []
    if any(module for module in twin.modules() if getattr(module, "turned", False)):
        texts.append("lookups of embeddings from the crossbar of a tied layer")
    if any(c.hardware.adc is None for c in crossbars(twin).values()):
        texts.append("converters of crossbars whose hardware has no ADC")
    if any(compares(c) for c in crossbars(twin).values()):
        texts.append(
            "reading and adding bits where sense amplifiers compare pairs (compared=True): cells, "
            "lines and drivers there are not those of a product on bit lines"
        )
    for name in ("dynamic", "leakage", "area"):
        within = name == "leakage"  # what leaks is counted where it is in the energy of the uses
        lacking = [
            part.name
            for part in found.parts
            if getattr(part, name) is None and not (within and part.leakage_in_dynamic)
        ]
        if lacking:
            kind = {"dynamic": "energy", "leakage": "leakage", "area": "area"}[name]
            texts.append(f"{kind} of: {', '.join(lacking)}")
    if found.missing:
        texts.append(f"all of: {', '.join(found.missing)}")
    texts.append("what layers that stay digital compute")
    if found.programming is None:
        texts.append("programming (give the report of mho.program)")
    return tuple(texts)
