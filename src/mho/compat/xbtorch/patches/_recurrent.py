"""Recurrent layers whose products are computed elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mho.recurrence.steps import STEPS

Product = Callable[[str, Tensor], Tensor]


def matrices_of(layer: nn.RNNBase) -> list[str]:
    """Return the names of a layer's weight matrices."""
    return [name for names in layer._all_weights for name in names if name.startswith("weight")]


def run(layer: nn.RNNBase, x: Any, hx: Any, product: Product) -> tuple[Tensor, Any]:
    """Compute what a torch layer does, with products of one's own.

    Args:
        layer: `torch.nn.RNN` or `torch.nn.LSTM`.
        x: sequences, as the layer takes them (not packed).
        hx: initial state, or None.
        product: from a matrix's name and inputs ``[batch, inputs]`` to ``[batch, outputs]``.

    Raises:
        TypeError: for packed sequences.
    """
    if not isinstance(x, Tensor):
        raise TypeError("a deployed recurrent layer takes padded sequences, got a packed one")
    batched = x.dim() == 3
    steps = x if batched else x.unsqueeze(1)
    if layer.batch_first and batched:
        steps = steps.transpose(0, 1)
    ends = _ends(layer)
    states = _initial(layer, hx, steps, batched)
    last: list[tuple[Tensor, ...]] = []
    directions = 2 if layer.bidirectional else 1
    for number in range(layer.num_layers):
        outputs = []
        for way in range(directions):
            index = number * directions + way
            found, state = _sweep(layer, ends[index], steps, states[index], product, way == 1)
            outputs.append(found)
            last.append(state)
        steps = torch.cat(outputs, dim=-1)
        if layer.dropout and number < layer.num_layers - 1:
            steps = F.dropout(steps, layer.dropout, layer.training)
    final = tuple(torch.stack(parts) for parts in zip(*last, strict=True))
    if not batched:
        steps, final = steps.squeeze(1), tuple(part.squeeze(1) for part in final)
    elif layer.batch_first:
        steps = steps.transpose(0, 1)
    return steps, final if layer.mode == "LSTM" else final[0]


def _ends(layer: nn.RNNBase) -> list[str]:
    ways = ("", "_reverse") if layer.bidirectional else ("",)
    return [f"_l{number}{way}" for number in range(layer.num_layers) for way in ways]


def _initial(layer: Any, hx: Any, steps: Tensor, batched: bool) -> list[tuple[Tensor, ...]]:
    count = layer.num_layers * (2 if layer.bidirectional else 1)
    if hx is None:
        sizes = [layer.proj_size or layer.hidden_size]
        if layer.mode == "LSTM":
            sizes.append(layer.hidden_size)
        hx = tuple(steps.new_zeros(count, steps.shape[1], size) for size in sizes)
    elif layer.mode != "LSTM":
        hx = (hx,)
    if not batched and hx[0].dim() == 2:
        hx = tuple(part.unsqueeze(1) for part in hx)
    return [tuple(part[i] for part in hx) for i in range(count)]


def _sweep(
    layer: Any, end: str, steps: Tensor, state: Any, product: Product, backwards: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    step = STEPS[layer.mode]
    inputs = product(f"weight_ih{end}", steps)
    if layer.bias:
        inputs = inputs + getattr(layer, f"bias_ih{end}")
    outputs: list[Tensor] = []
    for x in inputs.flip(0) if backwards else inputs:
        hidden = product(f"weight_hh{end}", state[0])
        if layer.bias:
            hidden = hidden + getattr(layer, f"bias_hh{end}")
        state = step(x, hidden, state)
        if layer.proj_size:
            state = (product(f"weight_hr{end}", state[0]), *state[1:])
        outputs.append(state[0])
    if backwards:
        outputs.reverse()
    return torch.stack(outputs), state
