"""How many samples a classifier gets right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from mho.core import checks
from mho.core.digests import digest
from mho.model.inputs import Suiting, pair_of

_BATCH = 1000


def labelled(
    model: nn.Module, inputs: Any, labels: Any = None, *, name: str = "inputs"
) -> tuple[Tensor, Tensor]:
    """Return inputs to test a classifier with, and their classes.

    Args:
        model: that is to be given them.
        inputs: in any form (see `mho.calibrate`); without ``labels`` a pair of inputs and labels,
            or a Dataset or DataLoader of such pairs.
        labels: classes ``[samples]``, or ``[samples, 1]`` as the column of a table.
        name: of the argument, for errors.

    Raises:
        TypeError: if they are of another kind, or labels no numbers.
        ValueError: if they are not as many, there are none, or labels are no classes.
    """
    if labels is None:
        found, classes = pair_of(name, inputs, model)
    else:
        like = Suiting.of(model)
        found, classes = like.given(name, inputs), like.wanted("labels", labels)
    if classes.dim() == 2 and classes.shape[1] == 1:
        classes = classes[:, 0]
    if classes.dim() != 1:
        raise ValueError(f"labels must be classes, [samples], got shape {list(classes.shape)}")
    if not found.dim() or len(found) != len(classes) or not len(found):
        count = len(found) if found.dim() else 0
        raise ValueError(
            f"inputs and labels must be as many, at least one, got {count} and {len(classes)}"
        )
    return found, classes


def share_right(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Return the share of inputs whose largest output is that of their class, 0…1."""
    # In batches: what a read needs grows with them.
    right = [
        (model(x).argmax(1) == y).sum()
        for x, y in zip(inputs.split(_BATCH), labels.split(_BATCH), strict=True)
    ]
    return float(torch.stack(right).sum()) / len(inputs)


def evaluator(analog: nn.Module, evaluate: Any) -> Callable[[nn.Module], Any]:
    """Return what evaluates a chip: a function as it is, of labelled inputs the share right.

    Raises:
        TypeError: if it is neither.
    """
    if callable(evaluate):
        return evaluate
    if not isinstance(evaluate, tuple | list | Dataset | DataLoader):
        raise TypeError(
            "evaluate must be a function of a chip, or labelled inputs (a pair, a Dataset or a "
            f"DataLoader of pairs), got {checks.said(evaluate)}"
        )
    inputs, labels = labelled(analog, evaluate, name="evaluate")
    return ShareRight(inputs, labels)


class ShareRight:
    """The share of labelled inputs that a chip classifies rightly.

    Attributes:
        identity: what tells these inputs from others, for a store.
    """

    def __init__(self, inputs: Tensor, labels: Tensor) -> None:
        self._inputs, self._labels = inputs, labels
        self.identity = {"inputs": digest(inputs), "labels": digest(labels)}

    def __call__(self, chip: nn.Module) -> float:
        """Return the share, 0…1."""
        return share_right(chip, self._inputs, self._labels)
