"""Weights kept within their own spread: of a layer, or of each column of its matrices."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from mho.core.sharded import is_sharded
from mho.nn.base import AnalogLayer

LAYER, COLUMN = CLIP_OF = ("layer", "column")


def clip(layer: AnalogLayer, limit: float, of: str, done: set[int]) -> None:
    """Clip what a layer has on crossbars, in place.

    Args:
        layer: whose parameters are clipped; digital ones (biases, ``bias_k``) are not, nor those
            that training leaves alone (``requires_grad`` False).
        limit: in standard deviations of the layer's parameter or the matrix's column.
        of: one of `CLIP_OF`.
        done: identities of the parameters that were clipped before, as they are shared.
    """
    fresh = {
        name: p
        for name, p in layer.named_parameters(recurse=False)
        if p.requires_grad
        and p.dim() > 1
        and p.numel() > 1
        and "bias" not in name
        and id(p) not in done
    }
    done.update(id(p) for p in fresh.values())
    if of == COLUMN:
        _clip_columns(layer, fresh, limit)
        return
    for parameter in fresh.values():
        if is_sharded(parameter):
            bound = limit * parameter.std()
            parameter.clamp_(-bound, bound)
        else:
            _clip_along(parameter, tuple(range(parameter.dim())), limit)


def _clip_columns(layer: AnalogLayer, fresh: dict[str, nn.Parameter], limit: float) -> None:
    # A shard's storage cannot be looked at; it is clipped below.
    plain = (p for p in fresh.values() if type(p) is nn.Parameter and not p.is_meta)
    at = {p.untyped_storage().data_ptr(): p for p in plain}
    clipped = set()
    for name, matrix in layer.wanted().items() if at else ():
        if type(matrix) not in (Tensor, nn.Parameter):
            continue
        parameter = at.get(matrix.untyped_storage().data_ptr())
        if parameter is not None:  # several may share it
            clipped.add(id(parameter))
            _clip_along(matrix.unflatten(0, (layer.crossbars[name].groups, -1)), (1,), limit)
    for parameter in fresh.values():  # whose matrix is a copy: a bias beside it, groups, a mask
        if id(parameter) not in clipped:
            _clip_along(*_columns(layer, parameter), limit)


def _columns(layer: Any, weight: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    """Return a view of a weight, and the dimensions that its columns run along."""
    if getattr(layer, "transposed", False):  # [inputs, outputs / groups, *kernel]
        return weight.unflatten(0, (getattr(layer, "groups", 1), -1)), (1,)
    if hasattr(layer, "in1_features"):  # [outputs, inputs 1, inputs 2]; a column for each input 2
        return weight, (1,)
    table = hasattr(layer, "num_embeddings") and not getattr(layer, "turned", False)
    if table or hasattr(layer, "nx"):  # stored [inputs, outputs]
        return weight, (0,)
    return weight, tuple(range(1, weight.dim()))


def _clip_along(weight: Tensor, dims: tuple[int, ...], limit: float) -> None:
    """Clip a view of a parameter, in place, to its deviation over some dimensions."""
    count = math.prod(weight.shape[d] for d in dims)
    if count < 2 or not weight.numel():
        return
    # In two passes, which is several times as fast as torch.std along rows.
    centred = weight - weight.mean(dims, keepdim=True)
    bound = torch.linalg.vector_norm(centred, dim=dims, keepdim=True)
    bound *= limit / math.sqrt(count - 1)
    if is_sharded(weight):
        weight.copy_(weight.clamp(-bound, bound))
        return
    # As clamp, which is three times as slow with bounds that are tensors.
    torch.minimum(weight, bound, out=weight)
    torch.maximum(weight, bound.neg_(), out=weight)
