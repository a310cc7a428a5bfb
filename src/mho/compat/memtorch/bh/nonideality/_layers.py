"""What non-idealities share: a crossbar's tensors, read and stored whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mho.cells.behaviour import Context
from mho.compat._common import require


def change(layer: Any, act: Callable[[Any, Tensor], Tensor]) -> Any:
    """Let ``act(crossbar, g)`` give every crossbar of a layer new conductances (S).

    Stuck cells keep theirs, and so does the padding of tiles, which no weight uses.

    Returns:
        The layer, changed in place.
    """
    for crossbar in crossbars(layer):
        with torch.no_grad():
            g = crossbar.conductance_matrix.detach().clone()
            free = crossbar.used if crossbar.stuck is None else crossbar.used & ~crossbar.stuck
            crossbar.conductance_matrix = torch.where(free, act(crossbar, g.clone()).to(g), g)
            crossbar.update(from_devices=False)
    return layer


def crossbars(layer: Any) -> list[Any]:
    """Return a layer's crossbars; a layer without them is `Refused`."""
    found, kind = getattr(layer, "crossbars", None), type(layer).__name__
    require(found is not None, f"layer must be a memristive layer, got {kind}")
    return list(found)  # type: ignore[arg-type]


def context(crossbar: Any, g: Tensor, r_on: float | None = None) -> Context:
    """Return what effects of mho need of cells: their (mean) window; no randomness."""
    low = crossbar.r_on_mean if r_on is None else r_on
    nothing = torch.zeros(2, dtype=torch.int64)
    return Context(like=g, rng=nothing, g_min=1 / crossbar.r_off_mean, g_max=1 / low)


def resistance(crossbar: Any, name: str) -> Tensor:
    """Return every cell's ``r_on`` or ``r_off`` (Ω); the mean where a cell's is 0 or infinite."""
    r: Tensor = crossbar.parameter(name)
    mean = r.new_full((), float(getattr(crossbar, f"{name}_mean")))
    return torch.where(torch.isfinite(r) & (r > 0), r, mean)


def window(crossbar: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return every cell's lowest and highest conductance (S), of the type of ``like``."""
    low, high = (1 / resistance(crossbar, name) for name in ("r_off", "r_on"))
    return low.to(like), high.to(like)
