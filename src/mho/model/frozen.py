"""Layers whose cells stay as they are while others are trained."""

from __future__ import annotations

from torch import nn

from mho.core.selection import Selectors, selected, selectors
from mho.model.crossbars import layers
from mho.nn.base import AnalogLayer


def freeze(model: nn.Module, only: Selectors | None = None) -> None:
    """Let layers be read as they are stored in training too, and their weights stay, in place.

    Such a layer stays in ``eval()`` mode whatever ``model.train()`` says: each read, also those of
    a training step, is one of the cells as they are, with their errors, their drift and what is
    broken. Gradients pass through it to what comes before; its own parameters take none. So
    adapters, norms or a last layer are trained *for this very chip*.

    Args:
        model: a converted model.
        only: freeze only the crossbar layers that one of these selects (as in `mho.convert`).

    Raises:
        TypeError, ValueError: if the model has no crossbars or a pattern matches none of its
            layers.
    """
    for layer in _chosen(model, only):
        layer.read_as_stored = True
        layer.requires_grad_(False)
        layer.eval()


def unfreeze(model: nn.Module, only: Selectors | None = None) -> None:
    """Undo `freeze`: parameters take gradients, and reads follow the mode of the model.

    Args:
        model: a converted model.
        only: as in `freeze`.
    """
    for layer in _chosen(model, only):
        if not layer.read_as_stored:
            continue
        layer.read_as_stored = False
        layer.requires_grad_(True)
        layer.train(model.training)


def _chosen(model: nn.Module, only: Selectors | None) -> list[AnalogLayer]:
    found = layers(model)
    if only is None:
        return list(found.values())
    names = selected("only", selectors(only) or (), found)
    return [layer for name, layer in found.items() if name in names]
