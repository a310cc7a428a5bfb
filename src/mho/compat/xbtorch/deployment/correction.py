"""Collaborative logistic classifiers: a last layer that corrects its own errors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mho.chip.codes import search_code
from mho.compat.xbtorch.deployment.committee import flattened, right


class CollaborativeLogisticClassifier(nn.Module):
    """A logistic classifier for each of ``num_classifiers`` bits of a codeword.

    Attributes:
        classifiers: the linear layer.
        significance: of every classifier; a parameter for losses of one's own.
    """

    def __init__(self, input_size: int, num_classifiers: int) -> None:
        super().__init__()
        self.classifiers = nn.Linear(input_size, num_classifiers, bias=False)
        self.significance = nn.Parameter(torch.ones(num_classifiers))

    def forward(self, x: Tensor) -> Tensor:
        """Return the probabilities of the bits, ``[batch, bits]``."""
        return torch.sigmoid(self.classifiers(x))


class CollaborativeLoss(nn.Module):
    """Cross-entropy of the bits, and a penalty for the Hamming distance from the right codeword.

    ``(1 - λ) · BCE + λ · d``; the distance has no gradient.

    Args:
        codewords: ``[classes, bits]``.
        model: with the classifiers.

    Attributes:
        reg_lambda: λ, 0.1.
    """

    def __init__(self, codewords: Tensor, model: nn.Module) -> None:
        super().__init__()
        self.codewords = codewords
        self.model = model
        self.reg_lambda = 0.1

    def forward(self, output: Tensor, target: Tensor, threshold: float = 0.5) -> Tensor:
        """Return the mean loss of probabilities ``[batch, bits]``, bits from ``threshold`` on."""
        wanted = self.codewords.to(output)[target]
        entropy = F.binary_cross_entropy(output, wanted, reduction="none")
        apart = ((output.detach() > threshold) != (wanted > 0.5)).sum(1, keepdim=True)
        return ((1 - self.reg_lambda) * entropy + self.reg_lambda * apart).mean()


def dnn_favorable_searching_code(
    conf_matrix: Any, num_classifiers: int, hamming_distance: int = 3
) -> tuple[dict[int, int], Tensor]:
    """Search codewords: those of classes that a network confuses lie far apart.

    Where no code of the distance is found, smaller distances are tried; see
    `mho.chip.search_code`. ``conf_matrix[i, j]`` is how often class ``i`` was taken for ``j``.

    Returns:
        Codewords as integers, by class; and as rows of bits, ``[classes, bits]``.
    """
    confusion = torch.as_tensor(conf_matrix, dtype=torch.float64).clamp(min=0.0)
    for distance in range(hamming_distance, 0, -1):
        try:
            code = search_code(confusion, num_classifiers, distance=distance)
            break
        except ValueError:
            if distance == 1:
                raise
    bits = 2 ** torch.arange(num_classifiers - 1, -1, -1)
    numbers = (code.long() * bits).sum(1).tolist()
    return dict(enumerate(numbers)), code.float()


def variable_length_decode(output: Tensor, codewords: Tensor, threshold: float = 0.5) -> Tensor:
    """Return the classes ``[batch]`` whose codewords ``[classes, bits]`` are nearest."""
    found = (output > threshold).unsqueeze(1) != (codewords.to(output) > threshold)
    return found.sum(-1).argmin(1)


def train_collaborative(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    optimizer: Any,
    loss_fn: Any,
    codewords: Tensor,
    device: Any,
) -> None:
    """Train a model, whose last layer are the classifiers, for one epoch."""
    model.train()
    for inputs, labels in loader:
        optimizer.zero_grad()
        output = model(flattened(inputs.to(device), model))
        loss_fn(output, labels.to(device)).backward()
        optimizer.step()


@torch.no_grad()
def test_collaborative(
    model: nn.Module, loader: Iterable[tuple[Tensor, Tensor]], codewords: Tensor, device: Any
) -> float:
    """Return the accuracy (0 … 1) of a model whose last layer are the classifiers."""
    model.eval()
    return right(
        loader, device, lambda x: variable_length_decode(model(flattened(x, model)), codewords)
    )


test_collaborative.__test__ = False  # type: ignore[attr-defined]  # pytest takes it for a test


def add_collaborative_logistic_classifiers(model: Any, num_classifiers: int, idx: int = -2) -> None:
    """Put the classifiers in the place of layer ``idx`` of ``model.model``.

    The model also gets them as ``collaborative_classifier``.

    Raises:
        ValueError: if there is no such layer.
    """
    layers = getattr(model, "model", None)
    if layers is None or len(layers) < 2 or not -len(layers) <= idx < len(layers):
        raise ValueError(f"the model must have a list of layers, model.model, with one at {idx}")
    weight = getattr(layers[idx], "weight", None)
    if weight is None or weight.dim() != 2:
        raise ValueError(f"layer {idx} must be linear, got {layers[idx]}")
    made = CollaborativeLogisticClassifier(weight.shape[1], num_classifiers).to(weight.device)
    model.collaborative_classifier = made
    layers[idx] = made
