"""Loops of the tutorials."""

# ruff: noqa: PT028
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from mho.compat._common import truth

__all__ = ["print_num_unique_values", "test_classifier", "train_classifier"]

Data = Iterable[tuple[Tensor, Tensor]]


def descend(
    batch: Any, model: Any, criterion: Any, optimizer: Any, device: Any, most: float | None = None
) -> tuple[float, Tensor, Tensor]:
    """Take a step down the loss of a batch; return the loss, the outputs and the labels.

    Args: see `train_classifier`; gradients are clipped to the norm ``most``, if there is one.
    """
    inputs, labels = (part.to(device) for part in batch)
    outputs = model(inputs)
    loss = criterion(outputs, labels)
    optimizer.zero_grad()
    loss.backward()
    if most is not None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), most)
    optimizer.step()
    return loss.item(), outputs.detach(), labels


def train_classifier(
    data_loader: Data,
    model: Any,
    criterion: Any,
    optimizer: Any,
    epoch: int,
    num_epochs: int = 0,
    device: Any = "cpu",
    lr_decay_rate: float = 1.0,
    log: bool = False,
    fast: bool = False,
) -> float:
    """Train a classifier for one epoch.

    Args:
        data_loader: inputs and labels.
        model: the classifier.
        criterion: loss of outputs and labels.
        optimizer: of the model's parameters.
        epoch: number of this epoch, for the log.
        num_epochs: of all, for the log.
        device: where to compute.
        lr_decay_rate: what the learning rate is multiplied by afterwards.
        log: print the loss of every batch.
        fast: stop after the first batch.

    Returns:
        The mean loss of the batches.
    """
    log = truth("log", log)
    fast = truth("fast", fast)
    losses = []
    for batch in data_loader:
        losses.append(descend(batch, model, criterion, optimizer, device)[0])
        if log:
            print(f"epoch {epoch + 1}/{num_epochs}, batch {len(losses)}: loss {losses[-1]:.4f}")
        if fast:
            break
    if lr_decay_rate != 1.0:
        for group in optimizer.param_groups:
            group["lr"] *= lr_decay_rate
    return sum(losses) / max(len(losses), 1)


@torch.no_grad()
def test_classifier(
    data_loader: Data, model: Any, device: Any, compute_cm: bool = False, log: bool = False
) -> tuple[float, Any]:
    """Return the accuracy of a classifier.

    Args: see `train_classifier`; ``compute_cm`` counts how often each class was taken for each,
        ``log`` prints the accuracy.

    Returns:
        Accuracy (%), and the confusion matrix ``[labels, found]``, or None.
    """
    compute_cm = truth("compute_cm", compute_cm)
    log = truth("log", log)
    pairs = []
    for inputs, labels in data_loader:
        found = model(inputs.to(device)).argmax(1).cpu()
        pairs.append(torch.stack((labels.cpu().long(), found)))
    label, found = both = torch.cat(pairs, dim=1)
    accuracy = 100.0 * float((label == found).double().mean())
    if log:
        print(f"accuracy: {accuracy:.2f} %")
    if not compute_cm:
        return accuracy, None
    classes, (label, found) = torch.unique(both, return_inverse=True)
    counts = torch.bincount(label * len(classes) + found, minlength=len(classes) ** 2)
    return accuracy, counts.view(len(classes), -1).numpy()


test_classifier.__test__ = False  # type: ignore[attr-defined]  # pytest takes it for a test


def print_num_unique_values(tensor: Tensor) -> None:
    """Print how many different values a tensor has, and the largest and smallest."""
    print(f"different values: {tensor.unique().numel()}, from {tensor.min():g} to {tensor.max():g}")
