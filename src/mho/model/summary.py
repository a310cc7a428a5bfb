"""What a converted model is: layers, tiles, cells, effects; and what was left digital, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from mho.core.text import duration, size, table
from mho.crossbar.tiling import Tiling
from mho.hardware import Hardware
from mho.model.crossbars import Entry, entries
from mho.model.inputs import call_of
from mho.model.report import (
    LeftDigital,
    Shares,
    attempt,
    grouped,
    left_digital,
    pattern,
    patterns,
    percent,
    shares,
    tables_aside,
)
from mho.model.tracer import Product
from mho.nn.base import AnalogLayer
from mho.periphery.characterise import says_of


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
        readers: further layers that read it: those with the same Parameter.
        programmed: whether it has cells yet; `mho.program` makes them.
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
    readers: tuple[str, ...] = ()
    programmed: bool = True


@dataclass(frozen=True, repr=False)
class Summary:
    """What `summary` returns; print it.

    Attributes:
        layers: one entry per crossbar.
        digital: modules with weights that stayed digital.
        effects: what each distinct hardware of the model is, in words.
        shares: how much of it is on crossbars.
        products: where inputs were given, the parameters outside of crossbar layers that the model
            multiplies with what it is given, with their operation and multiply–accumulates.
        untraced: why these are not known, though inputs were given.
        notes: what has been set on crossbars since they were made, and on which.
    """

    layers: tuple[LayerSummary, ...]
    digital: tuple[LeftDigital, ...]
    effects: tuple[str, ...]
    shares: Shares | None = None
    products: tuple[Product, ...] = ()
    untraced: str = ""
    notes: tuple[str, ...] = ()

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
        rows = _shortened([_row(group) for group in _alike(self.layers)])
        rows.append(("total", "", "", f"{self.tiles:,}", f"{self.cells:,}", "", "", "", "", ""))
        lines = [table(head, rows, left=3), "", *self.effects]
        bare = [layer.name or "it" for layer in self.layers if not layer.programmed]
        if bare:
            which = patterns(bare) if len(bare) < len(self.layers) else "all"
            lines += ["", f"not programmed: {which} (no cells yet; mho.program makes them)"]
        lines += ["", *self.notes] if self.notes else []
        worst = max(self.layers, key=lambda layer: layer.error, default=None)
        if worst is not None and worst.error > 0.0:
            lines += ["", f"error of read currents: at most {worst.error:.1e} ({worst.name})"]
        if self.shares is not None:
            lines += ["", f"{tables_aside(self.digital)}{self.shares}{self.untraced}"]
        if self.products:
            lines += ["", "products with parameters outside of crossbars:"]
            lines += [f"  {text}" for text in self._outside()]
        if self.digital:
            lines += ["", "left digital:"]
            lines += [f"  {_digital(group)}" for group in grouped(self.digital)]
        return "\n".join(lines)

    def _outside(self) -> list[str]:
        of = self.shares.of_macs if self.shares else None
        total = of or sum(p.macs for p in self.products)
        kinds: dict[tuple[str, str], list[Product]] = {}
        for product in self.products:
            kinds.setdefault((pattern(product.name), product.operation), []).append(product)
        return [
            f"{patterns([p.name for p in group])} ({operation}): "
            f"{percent(sum(p.macs for p in group), total)} of multiply–accumulates"
            for (_, operation), group in kinds.items()
        ]

    __repr__ = __str__


_ONE_BY_ONE = 24  # layers that are listed as they are
_MOST = 60  # lines


def _alike(layers: Sequence[LayerSummary]) -> list[list[LayerSummary]]:
    """Group layers that differ in a number of their name alone, where there are many."""
    if len(layers) <= _ONE_BY_ONE:
        return [[layer] for layer in layers]
    groups: dict[Any, list[LayerSummary]] = {}
    for layer in layers:
        same = (layer.kind, layer.rows, layer.cols, layer.groups, layer.tiles, layer.path)
        groups.setdefault((pattern(layer.name), layer.programmed, *same), []).append(layer)
    return list(groups.values())


def _shortened(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    if len(rows) <= _MOST:
        return rows
    left = len(rows) - _MOST
    return [*rows[: _MOST - 10], (f"… {left} more", *[""] * (len(rows[0]) - 1)), *rows[-10:]]


def _row(group: Sequence[LayerSummary]) -> tuple[str, ...]:
    """Describe layers that are alike: sums of tiles and cells, the worst of what differs."""
    one = group[0]
    ages = sorted({duration(layer.seconds) for layer in group})
    name = one.name if len(group) == 1 else f"{len(group)} × {pattern(one.name)}"
    told = (
        ", ".join((name, *one.readers)),
        one.kind,
        f"{one.groups} × " * (one.groups > 1) + f"{one.rows} × {one.cols}",
        f"{sum(layer.tiles for layer in group):,}",
        f"{sum(layer.cells for layer in group):,}",
        f"{one.utilisation:.0%}",
    )
    if not one.programmed:
        return (*told, "–", one.path, "–", "–")
    return (
        *told,
        "≤ " * (len({layer.stuck for layer in group}) > 1)
        + f"{max(layer.stuck for layer in group):.1%}",
        one.path,
        ages[0] if len(ages) == 1 else "various",
        f"≤ {max(layer.pulses for layer in group):,}",
    )


def _digital(group: Sequence[LeftDigital]) -> str:
    count = sum(item.parameters for item in group)
    names = patterns([item.name for item in group])
    kinds = ", ".join(dict.fromkeys(item.kind for item in group))
    many = f"{len(group)} × " if len(group) > 1 else ""
    return f"{names} ({many}{kinds}, {count:,} parameters): {group[0].reason}"


def summary(model: nn.Module, inputs: Any = None) -> Summary:
    """Describe a converted model.

    Args:
        model: any model; one without crossbars has only digital entries.
        inputs: of one call: a tensor, a tuple of arguments, or a mapping of keyword arguments. The
            model is then traced (on a copy without memory), which tells the share of
            multiply–accumulates on crossbars, and finds products with parameters wherever a module
            computes them.

    Returns:
        A record that prints as a table; many alike layers are one line.
    """
    inputs = call_of(inputs, model)
    found = entries(model)
    kinds = dict.fromkeys(_describe(entry.crossbar.hardware) for entry in found)
    layers = tuple(_layer(entry) for entry in found)
    traced, untraced = (None, "") if inputs is None else attempt(model, inputs)
    on_crossbars = {name for name, m in model.named_modules() if isinstance(m, AnalogLayer)}
    outside = () if traced is None else traced.products
    return Summary(
        layers,
        tuple(left_digital(model, traced)),
        tuple(kinds),
        shares(model, traced),
        tuple(p for p in outside if traced and not traced.belongs(p, on_crossbars)),
        untraced,
        _notes(found),
    )


def _notes(found: Sequence[Entry]) -> tuple[str, ...]:
    """Say which crossbars are kept, read or trained in another way than a new one."""
    groups: dict[str, list[str]] = {}
    for entry in found:
        for text in _set_on(entry):
            groups.setdefault(text, []).append(entry.name or "it")
    return tuple(
        f"{text}: {'all' if len(names) == len(found) else patterns(names)}"
        for text, names in groups.items()
    )


def _set_on(entry: Entry) -> Iterator[str]:
    crossbar = entry.crossbar
    if crossbar.kept_as is not None:
        yield f"cells kept in {str(crossbar.kept_as).removeprefix('torch.')}"
    if entry.layer is not None and entry.layer.read_as_stored:
        yield "frozen, read as stored in training too"
    if crossbar.learned_range is not None:
        yield "input range learned"
    if crossbar.quiet:
        yield "quiet, reads draw no noise"
    if crossbar.limited is not None:
        yield f"a read takes at most {size(crossbar.limited)}"


def _layer(entry: Entry) -> LayerSummary:
    crossbar = entry.crossbar
    tiling = Tiling.of(crossbar.cells.like, crossbar.groups, crossbar.hardware.array)
    broken = crossbar.cells.broken_at
    stuck = 0.0 if broken is None else len(broken) / crossbar.cells.like.numel()
    return LayerSummary(
        entry.name,
        entry.kind,
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
        int(crossbar.writes.max()) if crossbar.fabricated else 0,
        entry.readers,
        crossbar.fabricated,
    )


def _describe(hardware: Hardware) -> str:
    array, policy = hardware.array, hardware.policy
    adc = hardware.adc
    converters = "none (exact currents)" if adc is None else f"{adc}{says_of(adc)}"
    said = [f"tiles of {array.rows} × {array.cols}"]
    said += ["slices interleaved"] if array.interleaved else []
    said += ["lines as long as the array"] if array.whole_lines else []
    lines = [
        f"{', '.join(said)}, {hardware.device}",
        f"  {'encoding':<12}{hardware.encoding}",
        f"  {'written':<12}{policy}: {policy.says}",
        f"  {'dac':<12}{hardware.dac or 'ideal'}",
        f"  {'adc':<12}{converters}",
    ]
    lines += [] if array.wires.ideal else [f"  {'wires':<12}{array.wires}"]
    lines += [f"  {'amplifier':<12}{hardware.amplifier}"] if hardware.amplifier else []
    lines += [f"  {effect.stage:<12}{effect}" for effect in hardware.effects]
    return "\n".join(lines)
