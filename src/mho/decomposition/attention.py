"""Samples of attention: its equations run again, so that every product of a weight is seen."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PARTS = ("q", "k", "v")

_ARGUMENTS = inspect.signature(nn.MultiheadAttention.forward)


def unsupported(layer: nn.MultiheadAttention) -> str | None:
    """Return why the samples of attention cannot be had, or None if they can."""
    if layer.dropout:
        return "the dropout of attention's weights is drawn inside of torch's kernel"
    names = {name for name, _ in layer.named_parameters(recurse=False)}
    joint = "in_proj_weight" in names
    if not joint and not {f"{part}_proj_weight" for part in PARTS} <= names:
        return "a parametrisation makes its weights"
    out: Any = layer.out_proj
    if not isinstance(out, nn.Linear) or "weight" not in dict(out.named_parameters(recurse=False)):
        return "its out_proj is no plain linear layer"
    return None


@dataclass(frozen=True)
class Call:
    """One call of `torch.nn.MultiheadAttention`.

    Attributes:
        layer: the layer.
        inputs: query, key and value, ``[batch, length, size]`` each.
        alike: which of the three are one and the same tensor, as the numbers of the first.
        mask: what is added to the scores, ``[batch or 1, heads or 1, targets, sources]``, or None.
        weighs: whether it returned the weights of the attention, too; and their mean.
        turned: whether outputs were ``[targets, batch, size]``, else batch first.
        batched: whether there was a batch.
    """

    layer: nn.MultiheadAttention
    inputs: tuple[Tensor, Tensor, Tensor]
    alike: tuple[int, int, int]
    mask: Tensor | None
    weighs: tuple[bool, bool]
    turned: bool
    batched: bool

    def samples(
        self, grads: Sequence[Tensor | None]
    ) -> Iterator[tuple[nn.Parameter, Tensor, Tensor]]:
        """Yield every weight, its inputs ``[samples, in]`` and its errors ``[samples, out]``.

        Args:
            grads: derivatives of the loss by the output, and by the weights of the attention.
        """
        layer = self.layer
        weights, biases = _projections(layer)
        projected = [
            F.linear(x, w, b).requires_grad_()
            for x, w, b in zip(self.inputs, weights, biases, strict=True)
        ]
        with torch.enable_grad():
            heads, shares = self._attend(*projected)
        asked: list[Tensor] = []
        given: list[Tensor] = []
        if grads[0] is not None:
            delta = grads[0] if self.batched else grads[0].unsqueeze(1 if self.turned else 0)
            delta = delta.transpose(0, 1) if self.turned else delta
            weight: Any = layer.out_proj.weight
            yield weight, heads.detach().flatten(0, 1), delta.flatten(0, 1)
            asked.append(heads)
            given.append(delta.to(heads) @ layer.out_proj.weight.detach().to(heads))
        if len(grads) > 1 and grads[1] is not None and shares is not None:
            asked.append(shares)
            given.append(grads[1].view_as(shares))
        errors = torch.autograd.grad(asked, projected, given, allow_unused=True)
        known = [
            torch.zeros_like(y) if e is None else e for y, e in zip(projected, errors, strict=True)
        ]
        yield from self._of_projections(known)

    def _of_projections(
        self, errors: Sequence[Tensor]
    ) -> Iterator[tuple[nn.Parameter, Tensor, Tensor]]:
        layer: Any = self.layer
        rows = [
            (x.flatten(0, 1), d.flatten(0, 1)) for x, d in zip(self.inputs, errors, strict=True)
        ]
        if layer.in_proj_weight is None:
            for name, (x, delta) in zip(PARTS, rows, strict=True):
                yield getattr(layer, f"{name}_proj_weight"), x, delta
            return
        size = layer.embed_dim
        for first in sorted(set(self.alike)):
            # One parameter of three projections: those of one input have their samples together.
            x = rows[first][0]
            delta = x.new_zeros(len(x), 3, size)
            for part, same in enumerate(self.alike):
                if same == first:
                    delta[:, part] = rows[part][1]
            yield layer.in_proj_weight, x, delta.flatten(1)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor | None]:
        # The heads' outputs side by side [batch, targets, size], and the attention's weights.
        layer: Any = self.layer
        mask = self.mask
        if layer.bias_k is not None:
            more = (b.detach().expand(len(k), 1, -1) for b in (layer.bias_k, layer.bias_v))
            k, v = (torch.cat((x, b), 1) for x, b in zip((k, v), more, strict=True))
        if layer.add_zero_attn:
            k, v = (F.pad(x, (0, 0, 0, 1)) for x in (k, v))
        if mask is not None and mask.shape[-1] < k.shape[1]:
            mask = F.pad(mask, (0, k.shape[1] - mask.shape[-1]))
        q, k, v = (x.unflatten(-1, (layer.num_heads, -1)).transpose(1, 2) for x in (q, k, v))
        needed, averaged = self.weighs
        if not needed:
            heads = F.scaled_dot_product_attention(q, k, v, mask)
            return heads.transpose(1, 2).flatten(2), None
        scores = q * q.shape[-1] ** -0.5 @ k.mT
        shares = (scores if mask is None else scores + mask).softmax(-1)
        heads = shares @ v
        return heads.transpose(1, 2).flatten(2), shares.mean(1) if averaged else shares


def recorded_call(layer: nn.MultiheadAttention, args: Any, kwargs: Any) -> Call:
    """Gather what a forward hook of attention is given."""
    bound = _ARGUMENTS.bind(layer, *args, **kwargs)
    bound.apply_defaults()
    given = bound.arguments
    query: Tensor = given["query"]
    seen = [query, given["key"], given["value"]]
    alike = tuple(next(i for i, y in enumerate(seen) if y is x) for x in seen)
    batched = query.dim() == 3
    turned = batched and not layer.batch_first
    inputs = [x.detach() if batched else x.detach().unsqueeze(0) for x in seen]
    inputs = [x.transpose(0, 1) for x in inputs] if turned else inputs
    padding = given["key_padding_mask"]
    if padding is not None and not batched:
        padding = padding.unsqueeze(0)
    mask = _mask(layer, given["attn_mask"], padding, inputs[0], inputs[1])
    weighs = (bool(given["need_weights"]), bool(given["average_attn_weights"]))
    return Call(layer, tuple(inputs), alike, mask, weighs, turned, batched)  # type: ignore[arg-type]


def _mask(
    layer: nn.MultiheadAttention, mask: Tensor | None, padding: Tensor | None, q: Tensor, k: Tensor
) -> Tensor | None:
    total = None
    if mask is not None:
        total = _added(mask.detach(), q)
        sides = (len(q), layer.num_heads) if total.dim() == 3 else (1, 1)
        total = total.view(*sides, q.shape[1], k.shape[1])
    if padding is not None:
        ignored = _added(padding.detach(), q)[:, None, None]
        total = ignored if total is None else total + ignored
    return total


def _added(mask: Tensor, like: Tensor) -> Tensor:
    # As numbers that are added to scores.
    if mask.dtype != torch.bool:
        return mask.to(like)
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill_(mask, -torch.inf)


def _projections(layer: Any) -> tuple[list[Tensor], list[Tensor | None]]:
    if layer.in_proj_weight is not None:
        weights = list(layer.in_proj_weight.detach().chunk(3))
    else:
        weights = [getattr(layer, f"{part}_proj_weight").detach() for part in PARTS]
    bias = layer.in_proj_bias
    return weights, [None] * 3 if bias is None else list(bias.detach().chunk(3))
