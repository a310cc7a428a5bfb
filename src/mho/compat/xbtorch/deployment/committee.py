"""Committee machines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mho.chip.committee import Committee


@torch.no_grad()
def test_committee(
    dataloader: Iterable[tuple[Tensor, Tensor]],
    all_models: Sequence[nn.Module] | nn.Module,
    device: Any,
) -> float:
    """Return the accuracy (%) of models whose outputs are averaged; one is a committee of one.

    Images are flattened where the models begin with a matrix.

    Raises:
        ValueError: if there are no members, or no data.
    """
    members = [all_models] if isinstance(all_models, nn.Module) else list(all_models)
    committee = Committee(members)
    flat = _begins_with_matrix(committee)
    right = total = 0
    for inputs, labels in dataloader:
        x, wanted = inputs.to(device), labels.to(device)
        found = committee(x.flatten(1) if flat else x).argmax(1)
        right += int((found == wanted).sum())
        total += len(wanted)
    if not total:
        raise ValueError("dataloader has no data")
    return 100.0 * right / total


test_committee.__test__ = False  # type: ignore[attr-defined]  # pytest takes it for a test


def _begins_with_matrix(model: nn.Module) -> bool:
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, (nn.RNNBase, nn.Embedding)):
            return False
        if isinstance(weight, Tensor) and weight.dim() > 1:
            return weight.dim() == 2
    return False
