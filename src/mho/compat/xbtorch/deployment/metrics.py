"""How far conductances are from the weights they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mho.chip.metrics import MappingError
from mho.compat.xbtorch.deployment._given import NOWHERE, floats
from mho.periphery.quantize import magnitude

Found = tuple[list[float], list[list[Any]]]


def compute_error(model: Any) -> tuple[list[list[float]], list[list[list[Any]]]]:
    """Compare what all deployed layers of a model read as with their weights.

    Returns:
        For every matrix what `error_mapping` returns.
    """
    found = []
    for module in model.modules():
        for name, mapping in getattr(module, "_xb_mappings", {}).items():
            accelerator = module.inference_accelerator
            if accelerator is None or (accelerator.stateful and not mapping):
                continue
            weight = getattr(module, name).detach().flatten(1)
            full = mapping["gamma"] if mapping else magnitude(weight)
            read = module._xb_read(name, by_cell=True)
            mapped = read * (full / (accelerator.g_max - accelerator.g_min))
            found.append(_compared(mapped, weight))
    return [error for error, _ in found], [pair for _, pair in found]


def error_mapping(
    accelerator: Any,
    sw_weight: Tensor,
    pos_idxs: Sequence[tuple[int, int]] = NOWHERE,
    neg_idxs: Sequence[tuple[int, int]] = NOWHERE,
    pos_matrices: Any = None,
    neg_matrices: Any = None,
    polling_mode: str = "avg",
) -> Found:
    """Compare what conductances stand for with weights.

    Args:
        accelerator: whose chip is read,
        sw_weight: ``[outputs, inputs]``.
        pos_idxs: at these places of the positive arrays,
        neg_idxs: and of the negative ones;
        pos_matrices: or conductances of the positive arrays,
        neg_matrices: and of the negative ones.
        polling_mode: ``"avg"``: copies are averaged; ``"sum"``: added.

    Returns:
        The relative error (%), in a list of one; and ``[[mapped, ideal]]``.
    """
    weight = floats(sw_weight).flatten(1)
    rows, cols = weight.shape

    def read(matrices: Any, places: Sequence[tuple[int, int]]) -> Tensor:
        if matrices is None:
            matrices = [accelerator.read_chip(r, rows, c, cols) for r, c in places]
        stack = torch.stack([torch.as_tensor(m) for m in matrices]).to(weight)
        return stack.sum(0) if polling_mode == "sum" else stack.mean(0)

    difference = read(pos_matrices, pos_idxs) - read(neg_matrices, neg_idxs)
    mapped = difference / (accelerator.g_max - accelerator.g_min) * magnitude(weight)
    return _compared(mapped, weight)


def _compared(mapped: Tensor, ideal: Tensor) -> Found:
    error = 100.0 * MappingError.between(mapped, ideal).relative
    return [error], [[mapped.detach().cpu().numpy(), ideal.detach().cpu().numpy()]]
