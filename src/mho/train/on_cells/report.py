"""What an in-situ optimizer has where, as text."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mho.train.on_cells.weights import WeightCells


def table(names: Mapping[Tensor, str], held: Mapping[Tensor, WeightCells]) -> str:
    """Return a table of all parameters: where they live, and what was written.

    Args:
        names: of all parameters.
        held: the cells of those that live on some.
    """
    head = ("parameter", "shape", "lives on", "pulses", "most a cell", "worn out")
    rows = [head, *(_row(p, name, held.get(p)) for p, name in names.items())]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if i < 3 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join((lines[0], "─" * max(map(len, lines)), *lines[1:]))


def _row(parameter: Tensor, name: str, weights: WeightCells | None) -> tuple[str, ...]:
    shape = "×".join(map(str, parameter.shape)) or "1"
    if weights is None:
        return name, shape, "digital", "", "", ""
    writes, layout = weights.writes, weights.layout
    kind = getattr(weights.device, "device", weights.device)
    cells = f"{type(layout).__name__} of {type(kind).__name__}"
    worn = str(int(weights.worn.sum())) if weights.endurance is not None else "–"
    return name, shape, cells, f"{int(writes.sum()):,}", f"{int(writes.max()):,}", worn
