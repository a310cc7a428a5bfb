"""Committee machines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
    return 100.0 * right(dataloader, device, lambda x: committee(flattened(x, committee)).argmax(1))


test_committee.__test__ = False  # type: ignore[attr-defined]  # pytest takes it for a test


def right(
    loader: Iterable[tuple[Tensor, Tensor]], device: Any, predict: Callable[[Tensor], Tensor]
) -> float:
    """Return the fraction of labels that are predicted; ValueError without any."""
    found = [predict(inputs.to(device)).cpu() == labels.cpu() for inputs, labels in loader]
    if not found:
        raise ValueError("dataloader has no data")
    return float(torch.cat(found).double().mean())


def flattened(x: Tensor, model: nn.Module) -> Tensor:
    """Return inputs, flattened for a model that begins with a matrix."""
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, (nn.RNNBase, nn.Embedding)):
            return x
        if isinstance(weight, Tensor) and weight.dim() > 1:
            return x.flatten(1) if weight.dim() == 2 else x
    return x
