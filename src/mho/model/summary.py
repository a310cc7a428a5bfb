"""What a converted model is: layers, tiles, cells, effects; and what was left digital, and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from mho.core import checks
from mho.crossbar.crossbar import Crossbar
from mho.nn.base import AnalogLayer
from mho.nn.registry import crossbar_layer


@dataclass(frozen=True)
class LayerSummary:
    """One crossbar of a model.

    Attributes:
        name: in the model.
        kind: of the layer.
        rows: inputs, of one group.
        cols: outputs, of one group.
        groups: equal matrices side by side.
        tiles: physical tiles over all slices.
        cells: cells used.
        utilisation: cells used over cells in those tiles.
        stuck: fraction of broken cells.
        path: ``"collapsed"`` or ``"tiled"``.
        seconds: since programming (s).
    """

    name: str
    kind: str
    rows: int
    cols: int
    groups: int
    tiles: int
    cells: int
    utilisation: float
    stuck: float
    path: str
    seconds: float


@dataclass(frozen=True)
class LeftDigital:
    """A module with parameters of its own that is not on crossbars."""

    name: str
    kind: str
    parameters: int
    reason: str


@dataclass(frozen=True)
class Summary:
    """What `summary` returns; print it.

    Attributes:
        layers: one entry per crossbar.
        digital: modules with weights that stayed digital.
        effects: what each distinct hardware of the model is, in words.
    """

    layers: tuple[LayerSummary, ...]
    digital: tuple[LeftDigital, ...]
    effects: tuple[str, ...]

    @property
    def tiles(self) -> int:
        """All tiles."""
        return sum(layer.tiles for layer in self.layers)

    @property
    def cells(self) -> int:
        """All cells used."""
        return sum(layer.cells for layer in self.layers)

    def __str__(self) -> str:
        head = ("crossbar", "layer", "matrix", "tiles", "cells", "used", "stuck", "read", "age")
        rows = [
            (
                layer.name,
                layer.kind,
                f"{layer.groups} × " * (layer.groups > 1) + f"{layer.rows} × {layer.cols}",
                f"{layer.tiles:,}",
                f"{layer.cells:,}",
                f"{layer.utilisation:.0%}",
                f"{layer.stuck:.1%}",
                layer.path,
                duration(layer.seconds),
            )
            for layer in self.layers
        ]
        rows.append(("total", "", "", f"{self.tiles:,}", f"{self.cells:,}", "", "", "", ""))
        lines = [table(head, rows, left=3), "", *self.effects]
        if self.digital:
            lines += ["", "left digital:"]
            lines += [
                f"  {d.name} ({d.kind}, {d.parameters:,} parameters): {d.reason}"
                for d in self.digital
            ]
        return "\n".join(lines)


def summary(model: nn.Module) -> Summary:
    """Describe a converted model.

    Args:
        model: any model; one without crossbars has only digital entries.

    Returns:
        A record that prints as a table.
    """
    checks.instance("model", model, nn.Module)
    layers = []
    kinds: dict[str, None] = {}
    for name, module in model.named_modules():
        if isinstance(module, AnalogLayer):
            kinds[_describe(module)] = None
            for part, crossbar in module.crossbars.items():
                label = crossbar_name(name, part, module)
                layers.append(_layer(label, type(module).__name__, crossbar))
    return Summary(tuple(layers), tuple(left_digital(model)), tuple(kinds))


def crossbar_name(layer_name: str, part: str, layer: AnalogLayer) -> str:
    """Name a crossbar for people: by its layer, and by its own name where the layer has several."""
    if len(layer.crossbars) == 1:
        return layer_name or part
    return f"{layer_name}.{part}" if layer_name else part


def _layer(name: str, kind: str, crossbar: Crossbar) -> LayerSummary:
    array = crossbar.hardware.array
    slices, _, physical = crossbar.G.shape
    arrays = 1 if array.interleaved else slices
    across = math.ceil(physical / crossbar.hardware.tile_outputs)
    per_array = math.ceil(crossbar.rows / array.rows) * across
    tiles = arrays * crossbar.groups * per_array
    stuck = 0.0 if crossbar.stuck is None else float(crossbar.stuck.float().mean())
    return LayerSummary(
        name,
        kind,
        crossbar.rows,
        crossbar.cols,
        crossbar.groups,
        tiles,
        crossbar.G.numel(),
        crossbar.G.numel() / (tiles * array.rows * array.cols),
        stuck,
        "collapsed" if crossbar.collapsed else "tiled",
        crossbar.seconds,
    )


def _describe(layer: AnalogLayer) -> str:
    hardware = layer.hardware
    array = hardware.array
    lines = [
        f"tiles of {array.rows} × {array.cols}, {hardware.device}",
        f"  {'encoding':<12}{hardware.encoding}",
        f"  {'dac':<12}{hardware.dac or 'ideal'}",
        f"  {'adc':<12}{hardware.adc or 'none (exact currents)'}",
    ]
    lines += [f"  {effect.stage:<12}{effect}" for effect in hardware.effects]
    return "\n".join(lines)


def left_digital(model: nn.Module) -> list[LeftDigital]:
    """List the modules with parameters of their own that are not on crossbars, and why."""
    found = []
    inside: set[int] = set()  # parts of a module that is listed as a whole
    for name, module in model.named_modules():
        if id(module) in inside or isinstance(module, (AnalogLayer, Crossbar)):
            continue
        whole = isinstance(module, nn.MultiheadAttention)
        own = list(module.parameters(recurse=whole))
        if whole:
            inside.update(id(part) for part in module.modules())
        if own:
            count = sum(p.numel() for p in own)
            kind = type(module).__name__
            found.append(LeftDigital(name or "the model", kind, count, _reason(module)))
    return found


def _reason(module: nn.Module) -> str:
    if crossbar_layer(module) is not None:
        return "excluded by the caller"
    if any(p.dim() > 1 for p in module.parameters(recurse=False)):
        return "no crossbar layer for this type"
    return "no matrix to store"


def duration(seconds: float) -> str:
    """Say a time span in its natural unit."""
    for unit, size in (("y", 31_557_600.0), ("d", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Lay out a plain text table; the first ``left`` columns are flush left, the others right."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = [
            text.ljust(width) if i < left else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    rule = "  ".join("─" * width for width in widths)
    return "\n".join([line(head), rule, *map(line, rows)])
