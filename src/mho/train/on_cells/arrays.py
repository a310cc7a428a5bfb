"""What optimizers of pulses ask of what holds a weight, and of processes that learn together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from mho.train.on_cells.coincidence import PulsedUpdate
from mho.train.on_cells.weights import WeightCells


class Arrays(Protocol):
    """What holds one weight: a module that is read, written and moved by pulses."""

    def read(self) -> Tensor:
        """Return the weights ``[out, in]``."""

    def write(self, weight: Tensor) -> Any:
        """Put the cells at weights."""

    def descend(self, x: Tensor, delta: Tensor, lr: float, update: PulsedUpdate) -> Tensor | None:
        """Move by ``−lr·Σ δ xᵀ``; return which weights moved (flat), None where any may have."""

    def named_modules(self) -> Any:
        """As of `torch.nn.Module`."""

    def state_dict(self) -> dict[str, Any]:
        """As of `torch.nn.Module`."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """As of `torch.nn.Module`."""


class Exchange(Protocol):
    """What processes that learn together do before they step."""

    def agreed(self, fit: Sequence[bool], like: Tensor) -> list[bool]:
        """Return which gradients are there and finite in all processes."""

    def samples(self, input: Tensor, delta: Tensor, key: str) -> tuple[Tensor, Tensor]:
        """Return the inputs and errors whose products add up to the mean gradient."""

    def mean(self, gradient: Tensor) -> Tensor:
        """Return the mean of all processes' gradients."""


def parts(array: Arrays) -> dict[str, WeightCells]:
    """Return the cells of a weight, by what they are for; ``""`` where there is one kind."""
    if isinstance(array, WeightCells):
        return {"": array}
    return {name: part for name, part in array.named_modules() if isinstance(part, WeightCells)}
