"""Training and testing: a plain PyTorch loop that knows nothing of crossbars.

The same loop trains a converted model for its hardware: in ``train()`` mode its layers read
through the weights, with all effects drawn afresh at every step.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from mho import random
from mho.demo.data import Digits

_BATCH = 64


def train(
    model: nn.Module, data: Digits, *, epochs: int, seed: int, rate: float = 1e-2, label: str = ""
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
    shuffle = random.generator(seed)
    batches = -(-len(data.train_x) // _BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * batches)
    model.train()
    for _ in tqdm(range(epochs), label, disable=None, unit="epoch", leave=False):
        for batch in torch.randperm(len(data.train_x), generator=shuffle).split(_BATCH):
            optimizer.zero_grad()
            F.cross_entropy(model(data.train_x[batch]), data.train_y[batch]).backward()
            optimizer.step()
            schedule.step()
    model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, data: Digits) -> float:
    """Return the fraction of test digits the model reads rightly."""
    return float((model(data.test_x).argmax(1) == data.test_y).float().mean())
