"""Loops of the tutorials."""

# ruff: noqa: PT028
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

__all__ = ["print_num_unique_values", "test_classifier", "train_classifier"]

Data = Iterable[tuple[Tensor, Tensor]]


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
    total, count = 0.0, 0
    for number, (inputs, labels) in enumerate(data_loader):
        loss = criterion(model(inputs.to(device)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total, count = total + loss.item(), count + 1
        if log:
            print(f"epoch {epoch + 1}/{num_epochs}, batch {number + 1}: loss {loss.item():.4f}")
        if fast:
            break
    if lr_decay_rate != 1.0:
        for group in optimizer.param_groups:
            group["lr"] *= lr_decay_rate
    return total / max(count, 1)


@torch.no_grad()
def test_classifier(
    data_loader: Data, model: Any, device: Any, compute_cm: bool = False, log: bool = False
) -> tuple[float, Any]:
    """Return the accuracy of a classifier.

    Args:
        data_loader: inputs and labels.
        model: the classifier.
        device: where to compute.
        compute_cm: count how often each class was taken for each.
        log: print the accuracy.

    Returns:
        Accuracy (%), and the confusion matrix ``[labels, found]``, or None.
    """
    pairs = []
    for inputs, labels in data_loader:
        found = model(inputs.to(device)).argmax(1).cpu()
        pairs.append(torch.stack((labels.cpu().long(), found)))
    label, found = torch.cat(pairs, dim=1)
    accuracy = 100.0 * float((label == found).double().mean())
    if log:
        print(f"accuracy: {accuracy:.2f} %")
    if not compute_cm:
        return accuracy, None
    classes, index = torch.unique(torch.cat((label, found)), return_inverse=True)
    one, other = index[: len(label)], index[len(label) :]
    counts = torch.bincount(one * len(classes) + other, minlength=len(classes) ** 2)
    return accuracy, counts.view(len(classes), -1).numpy()


test_classifier.__test__ = False  # type: ignore[attr-defined]  # pytest takes it for a test


def print_num_unique_values(tensor: Tensor) -> None:
    """Print how many different values a tensor has, and the largest and smallest."""
    print(f"different values: {tensor.unique().numel()}, from {tensor.min():g} to {tensor.max():g}")
