"""What a converted model is: layers, tiles, cells, effects; and what was left digital, and why."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

from mho.core.text import duration, table
from mho.crossbar import Crossbar
from mho.crossbar.tiling import Tiling
from mho.hardware import Hardware
from mho.model.crossbars import entries
from mho.nn.base import AnalogLayer
from mho.nn.registry import closed, crossbar_layer


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
        error: of its read currents, `mho.Crossbar.expansion_error`.
        pulses: most that one of its cells has received in its life.
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
    error: float = 0.0
    pulses: int = 0


@dataclass(frozen=True)
class LeftDigital:
    """A module with parameters of its own that is not on crossbars."""

    name: str
    kind: str
    parameters: int
    reason: str


@dataclass(frozen=True, repr=False)
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
        head = (
            *("crossbar", "layer", "matrix", "tiles", "cells", "used", "stuck", "read", "age"),
            "pulses a cell",
        )
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
                f"≤ {layer.pulses:,}",
            )
            for layer in self.layers
        ]
        rows.append(("total", "", "", f"{self.tiles:,}", f"{self.cells:,}", "", "", "", "", ""))
        lines = [table(head, rows, left=3), "", *self.effects]
        worst = max(self.layers, key=lambda layer: layer.error, default=None)
        if worst is not None and worst.error > 0.0:
            lines += ["", f"error of read currents: at most {worst.error:.1e} ({worst.name})"]
        if self.digital:
            lines += ["", "left digital:"]
            lines += [
                f"  {d.name} ({d.kind}, {d.parameters:,} parameters): {d.reason}"
                for d in self.digital
            ]
        return "\n".join(lines)

    __repr__ = __str__


def summary(model: nn.Module) -> Summary:
    """Describe a converted model.

    Args:
        model: any model; one without crossbars has only digital entries.

    Returns:
        A record that prints as a table.
    """
    found = entries(model)
    kinds = dict.fromkeys(_describe(entry.crossbar.hardware) for entry in found)
    layers = tuple(_layer(entry.name, entry.kind, entry.crossbar) for entry in found)
    return Summary(layers, tuple(left_digital(model)), tuple(kinds))


def _layer(name: str, kind: str, crossbar: Crossbar) -> LayerSummary:
    tiling = Tiling.of(crossbar.cells.like, crossbar.groups, crossbar.hardware.array)
    broken = crossbar.cells.broken_at
    stuck = 0.0 if broken is None else len(broken) / crossbar.cells.like.numel()
    return LayerSummary(
        name,
        kind,
        crossbar.rows,
        crossbar.cols,
        crossbar.groups,
        tiling.tiles,
        tiling.cells,
        tiling.utilisation,
        stuck,
        "collapsed" if crossbar.collapsed else "tiled",
        crossbar.seconds,
        crossbar.expansion_error,
        int(crossbar.writes.max()),
    )


def _describe(hardware: Hardware) -> str:
    array, policy = hardware.array, hardware.policy
    lines = [
        f"tiles of {array.rows} × {array.cols}, {hardware.device}",
        f"  {'encoding':<12}{hardware.encoding}",
        f"  {'written':<12}{policy}: {policy.says}",
        f"  {'dac':<12}{hardware.dac or 'ideal'}",
        f"  {'adc':<12}{hardware.adc or 'none (exact currents)'}",
    ]
    lines += [f"  {'amplifier':<12}{hardware.amplifier}"] if hardware.amplifier else []
    lines += [f"  {effect.stage:<12}{effect}" for effect in hardware.effects]
    return "\n".join(lines)


def left_digital(model: nn.Module) -> list[LeftDigital]:
    """List the modules with parameters of their own that are not on crossbars, and why.

    What a parametrization holds counts as its module's own.
    """
    found = []
    inside: set[int] = set()  # parts of a module that is listed as a whole
    for name, module in model.named_modules():
        if id(module) in inside:
            continue
        whole = isinstance(module, closed())
        parts = module if whole else module._modules.get("parametrizations")
        if parts is not None:
            inside.update(id(part) for part in parts.modules())
        if isinstance(module, (AnalogLayer, Crossbar)):
            continue
        own = dict.fromkeys(module.parameters(recurse=whole))
        if parts is not None:
            own.update(dict.fromkeys(parts.parameters()))
        if own:
            count = sum(p.numel() for p in own)
            found.append(LeftDigital(name or "the model", _kind(module), count, _reason(module)))
    return found


def _kind(module: nn.Module) -> str:
    return type_before_parametrizations(module).__name__


def _reason(module: nn.Module) -> str:
    if crossbar_layer(module) is not None:
        return "excluded by the caller"
    held = (*module.children(), module) if "parametrizations" in module._modules else (module,)
    if any(p.dim() > 1 for part in held for p in part.parameters(recurse=part is not module)):
        return "no crossbar layer for this type"
    return "no matrix to store"
