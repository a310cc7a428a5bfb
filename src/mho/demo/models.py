"""The two networks of the demo. Both take images ``[batch, 64]`` and give ten logits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


def mlp() -> nn.Module:
    """One hidden layer."""
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))


def cnn() -> nn.Module:
    """Two convolutions, then a linear layer."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 10),
    )


MODELS: dict[str, Callable[[], nn.Module]] = {"MLP": mlp, "CNN": cnn}


def build(name: str, seed: int) -> nn.Module:
    """Make a model with initial weights of its own seed; torch's global generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MODELS[name]()


def size(model: nn.Module) -> int:
    """How many parameters a model has."""
    return sum(p.numel() for p in model.parameters())
