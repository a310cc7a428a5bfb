"""What an in-situ optimizer has where, as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from mho.core import text
from mho.train.on_cells.weights import WeightCells


def table(names: Mapping[Tensor, str], held: Mapping[Tensor, WeightCells]) -> str:
    """Return a table of all parameters: where they live, and what was written.

    Args:
        names: of all parameters.
        held: the cells of those that live on some.
    """
    return rows((name, p.shape, held.get(p)) for p, name in names.items())


def rows(found: Iterable[tuple[str, Sequence[int], WeightCells | None]]) -> str:
    """Return a table of weights.

    Args:
        found: the name, the shape and the cells of each; None where there are none.
    """
    head = ("parameter", "shape", "lives on", "pulses", "most a cell", "worn out")
    return text.table(head, [_row(*each) for each in found], left=3)


def _row(name: str, size: Sequence[int], weights: WeightCells | None) -> tuple[str, ...]:
    shape = "×".join(map(str, size)) or "1"
    if weights is None:
        return name, shape, "digital", "", "", ""
    writes, layout = weights.writes, weights.layout
    kind = getattr(weights.device, "device", weights.device)
    cells = f"{type(layout).__name__} of {type(kind).__name__}"
    worn = str(int(weights.worn.sum())) if weights.endurance is not None else "–"
    return name, shape, cells, f"{int(writes.sum()):,}", f"{int(writes.max()):,}", worn
