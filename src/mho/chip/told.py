"""What a mapping on cores says of itself, as people read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mho.core.text import duration, quantity, table
from mho.model.report import patterns

if TYPE_CHECKING:
    from mho.chip.mapping import CoreMapping, MappedLayer


def rate(number: float) -> str:
    """Say how many a second."""
    return f"{number:,.0f}" if number >= 1000 else f"{number:.4g}"


def told(mapping: CoreMapping) -> str:
    """Return a table of the layers, and a summary."""
    head: tuple[str, ...] = (
        "layer",
        "matrix",
        "tiles",
        "cores",
        "copies",
        "reads",
        "stage",
        "stalled",
    )
    if mapping.turns > 1:
        head = (*head, "turn")
    rows = [_row(mapping, index, layer) for index, layer in enumerate(mapping.layers)]
    return "\n".join([table(head, rows, left=2), "", *_summary(mapping)])


def _row(mapping: CoreMapping, index: int, layer: MappedLayer) -> tuple[str, ...]:
    shape = layer.shape
    tiles = sum(t.layer == index and t.copy == 0 for t in mapping.tiles)
    waits = [1.0 - _share(mapping, turn, index) for turn in layer.turns]
    row = (
        layer.name,
        f"{shape.groups} × " * (shape.groups > 1) + f"{shape.rows} × {shape.cols}",
        f"{tiles:,}",
        f"{layer.cores:,}" + "*" * layer.shared,
        f"{layer.copies}",
        f"{shape.reads:,.6g}",
        quantity(layer.stage, "s"),
        f"{min(waits):.0%}",
    )
    first, last = layer.turns[0] + 1, layer.turns[-1] + 1
    turn = f"{first}" if first == last else f"{first}–{last}"
    return row if mapping.turns == 1 else (*row, turn)


def _share(mapping: CoreMapping, turn: int, layer: int) -> float:
    """Of an interval that the layer's busiest core works for it."""
    interval = mapping.pipelines[turn].interval
    return max(mapping.work[turn][layer].values()) / interval if interval else 0.0


def _summary(mapping: CoreMapping) -> list[str]:
    chip = mapping.cores
    mean = ", in the mean over turns" if mapping.turns > 1 else ""
    lines = [
        f"{mapping.cores_used} of {chip.count} cores in use, {mapping.filling:.1%} of their cells "
        f"filled ({mapping.utilisation:.1%} of the chip{mean}); policy {mapping.policy!r}"
    ]
    if any(layer.shared for layer in mapping.layers):
        lines.append("* shared with other layers, which are read one after the other")
    if mapping.turns > 1:
        lines += _in_turns(mapping)
    if mapping.interval is None or mapping.latency is None:
        lines.append("latency and throughput are not known: Rewriting has no row_time")
        return lines
    of = "" if mapping.turns == 1 else f" of a batch of {mapping.batch}"
    lines += [
        f"latency {quantity(mapping.latency, 's')}{of}, {rate(1.0 / mapping.interval)} "
        f"inferences/s (one every {quantity(mapping.interval, 's')})",
        f"slowest: {patterns(mapping.bottleneck)}; cores are read {mapping.busy or 0.0:.1%} of the "
        f"time, bit lines converted {mapping.converting or 0.0:.1%}",
    ]
    return lines


def _in_turns(mapping: CoreMapping) -> list[str]:
    known = [f"in {mapping.turns} turns, {mapping.cells_written:,} cells written for each batch"]
    writing = (("time", mapping.rewriting_time, "s"), ("energy", mapping.rewriting_energy, "J"))
    for name, value, unit in writing:
        said = f"{name} not known"
        known.append(said if value is None else quantity(value, unit, zero=f"0 {unit}"))
    if mapping.wear is not None:
        known.append(f"{mapping.wear:.4g} pulses a cell")
    line = f"{known[0]}; for one inference {', '.join(known[1:])}"
    if mapping.lifetime is None or mapping.interval is None:
        return [line]
    lasts = duration(mapping.lifetime * mapping.interval)
    return [line, f"cells last {mapping.lifetime:,.4g} inferences, {lasts} at that pace"]
