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
_TRIED = 2


def paired(
    model: nn.Module, inputs: Any, labels: Any = None, *, name: str = "inputs"
) -> tuple[Tensor, Tensor]:
    """Return inputs for a model, and what belongs to each of them.

    Args:
        model: that is to be given them.
        inputs: in any form (see `mho.calibrate`); without ``labels`` a pair of inputs and labels,
            or a Dataset or DataLoader of such pairs.
        labels: in any form, ``[samples, ...]``.
        name: of the argument, for errors.

    Raises:
        TypeError: if they are of another kind, or labels no numbers.
        ValueError: if they are not as many, there are none, or inputs are not finite.
    """
    if labels is None:
        found, wanted = pair_of(name, inputs, model)
    else:
        like = Suiting.of(model)
        found, wanted = like.given(name, inputs), like.wanted("labels", labels)
    counts = [len(part) if part.dim() else 0 for part in (found, wanted)]
    if counts[0] != counts[1] or not counts[0]:
        raise ValueError(
            f"inputs and labels must be as many, at least one, got {counts[0]} and {counts[1]}"
        )
    if found.is_floating_point():
        checks.finite("inputs", found)
    return found, wanted


def labelled(
    model: nn.Module, inputs: Any, labels: Any = None, *, name: str = "inputs"
) -> tuple[Tensor, Tensor]:
    """Return inputs to test a classifier with, and their classes.

    Args:
        model: that is to be given them.
        inputs: in any form, as `paired` takes them; without ``labels`` pairs.
        labels: classes ``[samples]``, or ``[samples, 1]`` as the column of a table.
        name: of the argument, for errors.

    Raises:
        TypeError: as `paired`.
        ValueError: as `paired`, or if labels are no classes (whole numbers from 0 on).
    """
    found, classes = paired(model, inputs, labels, name=name)
    if classes.dim() == 2 and classes.shape[1] == 1:
        classes = classes[:, 0]
    if classes.dim() != 1:
        raise ValueError(f"labels must be classes, [samples], got shape {list(classes.shape)}")
    odd = classes[(classes < 0) | (classes != classes.round())]
    if len(odd):
        raise ValueError(f"labels must be classes, whole numbers from 0 on, got {odd[0].item():g}")
    return found, classes


def share_right(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Return the share of inputs whose largest output is that of their class, 0…1.

    Raises:
        TypeError, ValueError: if the model is no classifier of these labels.
    """
    largest = int(labels.max())
    # In batches: what a read needs grows with them.
    right = [
        (_scores(model(x), len(x), largest).argmax(1) == y).sum()
        for x, y in zip(inputs.split(_BATCH), labels.split(_BATCH), strict=True)
    ]
    return float(torch.stack(right).sum()) / len(inputs)


def check_classifier(model: nn.Module, inputs: Tensor, labels: Tensor) -> None:
    """Refuse inputs that a model does not take, and a model that is no classifier of their labels.

    Args:
        model: digital, in ``eval()`` mode; it is called with a few of the inputs.
        inputs: ``[samples, ...]``.
        labels: ``[samples]``.

    Raises:
        TypeError, ValueError: if that is so.
    """
    few = inputs[:_TRIED]
    _scores(outputs_of(model, few), len(few), int(labels.max()))


@torch.no_grad()
def outputs_of(model: nn.Module, inputs: Tensor) -> Any:
    """Return what a digital model makes of inputs.

    Raises:
        ValueError: if it does not take them: whatever it raises is said.
    """
    try:
        return model(inputs)
    except MemoryError:
        raise
    except Exception as error:  # of the user's model, whatever it is
        raise ValueError(
            f"the model does not take inputs of shape {list(inputs.shape)} and "
            f"{str(inputs.dtype).removeprefix('torch.')}: {error}"
        ) from error


def _scores(outputs: Any, samples: int, largest: int) -> Tensor:
    """Refuse outputs that are no scores of classes, or of fewer than there are labels."""
    if not isinstance(outputs, Tensor):
        raise TypeError(f"the model must return a tensor of scores, got {type(outputs).__name__}")
    if outputs.dim() != 2 or len(outputs) != samples or outputs.shape[1] < 2:
        raise ValueError(
            f"the model must return a score for each of two or more classes, [{samples}, classes], "
            f"got shape {list(outputs.shape)}"
        )
    if largest >= outputs.shape[1]:
        raise ValueError(
            f"labels must be classes that the model has scores of, 0…{outputs.shape[1] - 1}, got "
            f"{largest}"
        )
    return outputs


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
