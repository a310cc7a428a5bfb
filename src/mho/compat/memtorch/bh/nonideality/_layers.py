"""What non-idealities share: a crossbar's tensors, read and stored whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mho.cells.behaviour import Context
from mho.compat.memtorch._require import require

Model = Callable[..., Any]


def change(layer: Any, act: Callable[[Any, Tensor], Tensor]) -> Any:
    """Let ``act(crossbar, g)`` give every crossbar of a layer new conductances.

    Stuck cells keep theirs, and so does the padding of tiles, which no weight uses.

    Args:
        layer: a memristive layer.
        act: takes a crossbar and its conductances (S), returns new ones.

    Returns:
        The layer, changed in place.
    """
    for crossbar in crossbars(layer):
        with torch.no_grad():
            g = crossbar.conductance_matrix.detach().clone()
            store(crossbar, torch.where(free(crossbar), act(crossbar, g.clone()).to(g), g))
    return layer


def crossbars(layer: Any) -> list[Any]:
    """Return a layer's crossbars.

    Raises:
        ValueError: if it has none.
    """
    require(
        getattr(layer, "crossbars", None) is not None,
        f"layer must be a memristive layer, got {type(layer).__name__}",
    )
    return list(layer.crossbars)


def apply_model(
    layer: Any, x: Any, name: str, model: Model, known: list[Model], kwargs: Mapping[str, Any]
) -> Any:
    """Call ``model(layer=layer, x=x, **kwargs)`` if it is known by a list ``valid_{name}s``."""
    require(model in known, f"{name} must be one of valid_{name}s, got {model!r}")
    return model(layer=layer, x=x, **kwargs)


def context(crossbar: Any, g: Tensor, r_on: float | None = None) -> Context:
    """Return what effects of mho need of cells: their (mean) window; no randomness."""
    low = crossbar.r_on_mean if r_on is None else r_on
    nothing = torch.zeros(2, dtype=torch.int64)
    return Context(like=g, rng=nothing, g_min=1 / crossbar.r_off_mean, g_max=1 / low)


def free(crossbar: Any) -> Tensor:
    """Return which cells follow what is done to them."""
    used: Tensor = crossbar.used
    return used if crossbar.stuck is None else used & ~crossbar.stuck


def store(crossbar: Any, g: Tensor) -> None:
    """Store conductances (S), in the devices of a user's own model, too."""
    crossbar.conductance_matrix = g.to(crossbar.conductance_matrix)
    if crossbar.per_device:
        crossbar.update(from_devices=False)


def resistance(crossbar: Any, name: str) -> Tensor:
    """Return every cell's ``r_on`` or ``r_off`` (Ω); the mean where a cell has none that counts."""
    values: Tensor = crossbar.parameter(name)
    counts = torch.isfinite(values) & (values > 0)
    mean = values.new_full((), float(getattr(crossbar, f"{name}_mean")))
    return torch.where(counts, values, mean)


def set_resistance(crossbar: Any, name: str, values: Tensor) -> None:
    """Give every cell a new ``r_on`` or ``r_off`` (Ω)."""
    if not crossbar.per_device:
        crossbar.parameters[name] = values.to(crossbar.conductance_matrix)
        return
    for device, value in zip(crossbar.devices.flat, values.flatten().tolist(), strict=True):
        setattr(device, name, value)
