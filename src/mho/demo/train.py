"""Training and testing: a loop that knows nothing of crossbars.

The same loop trains a converted model for its hardware: in ``train()`` mode its layers read
through the weights, with all effects drawn afresh at every step.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from mho.demo.data import Samples
from mho.train.loop import fit

_BATCH = 64


def train(
    model: nn.Module, data: Samples, *, epochs: int, seed: int, rate: float = 1e-2, label: str = ""
) -> None:
    """Train in place and leave the model in ``eval()`` mode.

    Args:
        model: any classifier.
        data: what to learn.
        epochs: passes over it.
        seed: of the order of the samples.
        rate: largest learning rate (one cycle, AdamW).
        label: of the progress bar.
    """
    steps = epochs * -(-len(data.train_x) // _BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    fit(
        model,
        optimizer,
        (data.train_x, data.train_y),
        F.cross_entropy,
        epochs=epochs,
        batch=_BATCH,
        seed=seed,
        schedule=torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps),
        label=label or None,
    )


@torch.no_grad()
def accuracy(model: nn.Module, data: Samples) -> float:
    """Return the fraction of test digits the model reads rightly."""
    return float((model(data.test_x).argmax(1) == data.test_y).float().mean())
