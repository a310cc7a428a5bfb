"""Energy, latency and area of one inference: the least model that is honest.

    array     Σ over drives of the power the drivers deliver, times the read time
              (Σ_i V_i² Σ_j G_ij · t without wires; the solved circuit with them)
    lines     C V² for every cell that a driven word line passes
    ADC       conversions · energy of one        DAC   drives · energy of one
    latency   (t_read + ⌈bit lines of a tile / ADCs of a tile⌉ / f_ADC) for every plane and read
    area      tiles · rows · cols · k F² + converters

Voltages and conductances are the model's own, measured while it works on real inputs.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mho.analysis.power import array_power
from mho.analysis.technology import Technology
from mho.core import checks
from mho.core.text import quantity, table
from mho.crossbar.crossbar import Crossbar
from mho.crossbar.tiling import Tiling
from mho.model.crossbars import crossbars
from mho.model.observe import batches_of, observed, watch


@dataclass(frozen=True)
class LayerCost:
    """Cost of one crossbar in one inference.

    Energies are ``(low, high)``.

    Attributes:
        name: as `mho.summary` shows it.
        reads: of the whole matrix in one inference.
        conversions: by ADCs in one inference.
        drives: of word lines in one inference.
        array: energy that the drivers deliver into the cells (J).
        lines: energy that charges the lines (J).
        adc: energy of the conversions (J).
        dac: energy of the drives (J).
        latency: of one inference (s).
        area: of its tiles and converters (m²).
    """

    name: str
    reads: float
    conversions: float
    drives: float
    array: float
    lines: float
    adc: tuple[float, float]
    dac: tuple[float, float]
    latency: float
    area: float

    @property
    def energy(self) -> tuple[float, float]:
        """All energy of one inference (J), low and high."""
        fixed = self.array + self.lines
        return fixed + self.adc[0] + self.dac[0], fixed + self.adc[1] + self.dac[1]


@dataclass(frozen=True)
class Cost:
    """What `cost` returns; print it.

    Attributes:
        layers: one entry a crossbar.
        assumptions: what the numbers stand on.
        excluded: what they leave out.
    """

    layers: tuple[LayerCost, ...]
    assumptions: tuple[str, ...]
    excluded: tuple[str, ...]

    @property
    def energy(self) -> tuple[float, float]:
        """Of one inference (J), low and high."""
        return sum(x.energy[0] for x in self.layers), sum(x.energy[1] for x in self.layers)

    @property
    def latency(self) -> float:
        """Of one inference, layer after layer (s)."""
        return sum(layer.latency for layer in self.layers)

    @property
    def area(self) -> float:
        """Of all tiles and converters (m²)."""
        return sum(layer.area for layer in self.layers)

    def __str__(self) -> str:
        parts = ("reads", "conversions", "array", "lines", "DAC", "ADC")
        head = ("crossbar", *parts, "energy", "latency", "area")
        rows = [_row(layer) for layer in self.layers]
        total = ("all", "", "", "", "", "", "", span(self.energy, "J"))
        rows.append((*total, quantity(self.latency, "s"), _area(self.area)))
        lines = ["one inference", "", table(head, rows), "", "assumed:"]
        lines += [f"  {text}" for text in self.assumptions]
        lines += ["not counted:", *(f"  {text}" for text in self.excluded)]
        return "\n".join(lines)


def _row(layer: LayerCost) -> tuple[str, ...]:
    return (
        layer.name,
        f"{layer.reads:,.4g}",
        f"{layer.conversions:,.6g}",
        quantity(layer.array, "J"),
        quantity(layer.lines, "J"),
        span(layer.dac, "J"),
        span(layer.adc, "J"),
        span(layer.energy, "J"),
        quantity(layer.latency, "s"),
        _area(layer.area),
    )


@torch.inference_mode(False)
@torch.no_grad()
def cost(
    model: nn.Module,
    inputs: Tensor | Iterable[Any],
    technology: Technology | None = None,
) -> Cost:
    """Estimate energy, latency and area of one inference.

    Args:
        model: a converted model; it is not changed. Uncalibrated drivers take each call's range.
        inputs: real ones, as `mho.calibrate` takes them; energies are means over their samples.
        technology: of the circuits around the cells.

    Returns:
        A record that prints as a table, with its assumptions and what it leaves out.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if the model has no crossbars or there are no inputs.
    """
    checks.instance("model", model, nn.Module)
    technology = Technology() if technology is None else technology
    checks.instance("technology", technology, Technology)
    batches = batches_of(inputs)
    twin = copy.deepcopy(model)
    names = {crossbar: name for name, crossbar in crossbars(twin).items()}
    corrections = {crossbar: crossbar.correction for crossbar in names}
    seen = {crossbar: _Seen() for crossbar in names}
    with observed(twin, list(names)):
        for crossbar, correction in corrections.items():
            crossbar.commit(correction=correction)
        watch(twin, list(names), batches, lambda c, x, _: seen[c].add(c, x))
    samples = sum(_samples(batch) for batch in batches)
    found = [_layer(names[c], c, s, samples, technology) for c, s in seen.items()]
    adcs = {c.hardware.adc.bits for c in names if c.hardware.adc is not None}
    excluded = technology.excluded
    if any(c.hardware.adc is None for c in names):
        excluded = ("converters of crossbars whose hardware has no ADC", *excluded)
    if any(getattr(module, "turned", False) for module in twin.modules()):
        excluded = ("lookups of embeddings from the crossbar of a tied layer", *excluded)
    return Cost(tuple(found), technology.assumptions(sorted(adcs)), excluded)


class _Seen:
    """What one crossbar was given: vectors, squared voltages, and power into the cells."""

    def __init__(self) -> None:
        self.vectors = 0
        self.squares = 0.0  # Σ V² over all lines and drives (V²)
        self.power = 0.0  # Σ over drives of what the drivers deliver (W)

    def add(self, crossbar: Crossbar, x: Tensor) -> None:
        voltages = crossbar.reader.ranges.voltages(x)
        self.vectors += len(x)
        self.squares += float(voltages.double().square().sum())
        self.power += array_power(crossbar, voltages)


def _layer(
    name: str, crossbar: Crossbar, seen: _Seen, samples: int, technology: Technology
) -> LayerCost:
    hardware = crossbar.hardware
    encoding, adc = hardware.encoding, hardware.adc
    tiling = Tiling.of(crossbar.G, crossbar.groups, hardware.array)
    reads = seen.vectors / samples
    planes = hardware.drive.planes_sent
    converted = 1 if hardware.drive.converts_once else planes
    lines = encoding.converters * tiling.cols * crossbar.groups
    conversions = 0.0 if adc is None else reads * converted * lines * tiling.down
    # Every array has drivers and lines of its own.
    drives = reads * planes * crossbar.rows * crossbar.groups * tiling.across * tiling.arrays
    low, high = (0.0, 0.0) if adc is None else technology.conversion(adc.bits)
    width = min(tiling.cols, tiling.outputs) * encoding.converters
    shared = min(technology.columns_per_adc, width)
    wait = 0.0 if adc is None else converted * shared / technology.conversion_rate
    each = tiling.tiles // tiling.arrays  # slices share their converters
    converters = 0 if adc is None else each * math.ceil(width / shared)
    charged = tiling.slices * tiling.cols * (technology.line_capacitance or 0.0)
    return LayerCost(
        name,
        reads,
        conversions,
        drives,
        seen.power / samples * technology.read_time,
        seen.squares / samples * charged,
        (conversions * low, conversions * high),
        (drives * technology.drive[0], drives * technology.drive[1]),
        reads * (planes * technology.read_time + wait),
        _area_of(tiling.tiles, converters, crossbar, technology),
    )


def _area_of(tiles: int, converters: int, crossbar: Crossbar, technology: Technology) -> float:
    array = crossbar.hardware.array
    cell = technology.cell_factor * (technology.feature_size or 0.0) ** 2
    cells = tiles * array.rows * array.cols * cell
    drivers = tiles * array.rows * (technology.dac_area or 0.0)
    return cells + drivers + converters * (technology.adc_area or 0.0)


def _samples(batch: Any) -> int:
    if isinstance(batch, dict):
        batch = next(iter(batch.values()))
    return len(batch)


def span(value: tuple[float, float], unit: str) -> str:
    """Say a range; one number where its ends agree."""
    low, high = (quantity(v, unit) for v in value)
    return low if low == high else f"{low} … {high}"


def _area(value: float) -> str:
    return "–" if value == 0.0 else f"{value * 1e6:.3g} mm²"
