"""Multi-head attention: its four projections on crossbars, the attention between them digital."""

from __future__ import annotations

import inspect
import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from mho.core import checks, random
from mho.crossbar.report import ProgramReport
from mho.crossbar.undo import all_or_nothing
from mho.hardware import Hardware
from mho.nn.base import AnalogLayer, blank
from mho.nn.columns import as_stored, in_its_dtype, readers, with_row
from mho.nn.linear import Linear

_PARTS = ("q", "k", "v")


_PLACES = tuple(inspect.signature(nn.MultiheadAttention).parameters)
"""Names of what torch's layer takes, in their order."""


class MultiheadAttention(AnalogLayer):
    """A `torch.nn.MultiheadAttention` whose projections are on crossbars.

        q, k, v = query W_qᵀ + b_q, key W_kᵀ + b_k, value W_vᵀ + b_v
        y = concat_h( softmax(q_h k_hᵀ / √d + mask) v_h ) W_oᵀ + b_o

    ``W_q``, ``W_k`` and ``W_v`` lie on a crossbar each, though torch keeps them as one parameter
    where their inputs are alike: the three may be given different inputs (attention between two
    sequences), of different sizes (``kdim``, ``vdim``); one layout serves all cases, and each has
    a scale and converter ranges of its own. ``W_o`` is a crossbar `Linear`, the layer's
    ``out_proj``, on the same hardware; it comes and goes with the layer. Products of activations
    with activations (``q kᵀ`` and the weighted sum of ``v``) have no stored matrix and are digital,
    through `torch.nn.functional.scaled_dot_product_attention` unless the weights are asked for.
    So are ``bias_k`` and ``bias_v``.

    Torch's fused inference kernels are not used: they read the digital weights.

    Args:
        *args: of the torch layer.
        hardware: what the crossbars are made of.
        seed: of the crossbars.
        **kwargs: of the torch layer.

    Attributes:
        in_proj_weight: digital weights ``[3 · embed_dim, embed_dim]``; or None, and then
            ``q_proj_weight``, ``k_proj_weight`` and ``v_proj_weight``, as torch keeps them.
        in_proj_bias: digital biases ``[3 · embed_dim]`` or None.
        crossbar_q, crossbar_k, crossbar_v: the cells of the three projections.
        out_proj: the output projection, with its cells.
    """

    kind = nn.MultiheadAttention
    left_behind = (*AnalogLayer.left_behind, "_qkv_same_embed_dim")
    embed_dim: int
    kdim: int
    vdim: int
    num_heads: int
    head_dim: int
    dropout: float
    batch_first: bool
    add_zero_attn: bool
    in_proj_weight: nn.Parameter | None
    in_proj_bias: nn.Parameter | None
    bias_k: nn.Parameter | None
    bias_v: nn.Parameter | None
    out_proj: Linear
    _out_is_ours: bool

    def __init__(self, *args: Any, hardware: Hardware, seed: int = 0, **kwargs: Any) -> None:
        super().__init__()
        args = tuple(map(checks.plain, args))
        given = {name: checks.plain(value) for name, value in kwargs.items()}
        named = {**dict(zip(_PLACES, args, strict=False)), **given}
        for name in ("embed_dim", "num_heads", "kdim", "vdim"):
            if named.get(name) is not None:
                checks.integer(name, named[name])
        checks.probability("dropout", named.get("dropout", 0.0))
        for name in ("bias", "add_bias_kv", "add_zero_attn", "batch_first"):
            checks.truth(name, named.get(name, False))
        self._build(nn.MultiheadAttention(*args, **given), hardware, seed)

    @property
    def _qkv_same_embed_dim(self) -> bool:
        """What `torch.nn.TransformerEncoderLayer` asks before it reads weights by itself: no."""
        return False

    def take_over(self, digital: nn.Module, memo: dict[int, Any]) -> None:
        """As the base's; the output projection comes along."""
        checks.instance("layer", digital, (self.kind, type(self)))
        given: Any = digital.out_proj
        known = isinstance(given, Linear) or (
            isinstance(given, nn.Linear) and type(given).forward is nn.Linear.forward
        )
        if not known or "forward" in vars(given):
            raise ValueError(
                f"its out_proj is a {type(given).__name__} that computes something else than "
                "torch.nn.Linear: no crossbar layer stands for that"
            )
        ours = id(given) not in memo  # else it is used elsewhere in the model, and made there
        if ours:
            kind = type_before_parametrizations(given) if isinstance(given, Linear) else Linear
            memo[id(given)] = blank(kind)
        super().take_over(digital, memo)
        self._out_is_ours = ours
        if ours:
            self.out_proj.take_over(given, memo)

    def put_on(self, hardware: Hardware, seed: int, **how: Any) -> None:
        """As the base's; the output projection is put on the same hardware."""
        super().put_on(hardware, seed, **how)
        if self._out_is_ours:
            self.out_proj.put_on(hardware, random.derive(seed, "out_proj"), **how)

    @torch.no_grad()
    def program(self) -> dict[str, ProgramReport]:
        """Write the digital weights of all four projections; see the base."""
        parts = [*self.crossbars.values(), *self.out_proj.crossbars.values()]
        with all_or_nothing(parts):
            reports = super().program()
            if self.out_proj.crossbars:
                reports["out_proj"] = self.out_proj.program()["crossbar"]
        return reports

    def _tensors(self, digital: nn.Module) -> list[str]:
        joint = ["in_proj_weight", "in_proj_bias", "bias_k", "bias_v"]
        return [*joint, *(f"{part}_proj_weight" for part in _PARTS)]

    @property
    def _bias_on_array(self) -> bool:
        return self.hardware.bias == "array" and self.holds("in_proj_bias")

    def _versions(self) -> dict[str, tuple[int, int]]:
        found = super()._versions()
        return {path: v for path, v in found.items() if path not in ("bias_k", "bias_v")}

    def matrices(self) -> dict[str, Tensor]:
        """``W_qᵀ``, ``W_kᵀ`` and ``W_vᵀ``; a bias on the array is the last row."""
        if self.holds("in_proj_weight"):
            weights = list(cast(Tensor, self.in_proj_weight).chunk(3))
        else:
            weights = [getattr(self, f"{part}_proj_weight") for part in _PARTS]
        found = [weight.T for weight in weights]
        if self._bias_on_array:
            biases = cast(Tensor, self.in_proj_bias).view(3, 1, -1)
            found = [torch.cat(both) for both in zip(found, biases, strict=True)]
        return {f"crossbar_{part}": matrix for part, matrix in zip(_PARTS, found, strict=True)}

    # ── forward ──────────────────────────────────────────────────────────────────────────────

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend, as `torch.nn.MultiheadAttention.forward` does.

        Args:
            query: ``[targets, batch, embed_dim]``, batch first if the layer is so; or without a
                batch.
            key: ``[sources, batch, kdim]`` likewise.
            value: ``[sources, batch, vdim]`` likewise.
            key_padding_mask: ``[batch, sources]``, True where a key is to be ignored, or numbers
                that are added to the scores.
            need_weights: whether the attention weights are returned.
            attn_mask: ``[targets, sources]`` or ``[batch · heads, targets, sources]``, likewise.
            average_attn_weights: whether weights are averaged over the heads.
            is_causal: says that ``attn_mask`` is the causal one, which must be given.

        Returns:
            Outputs in the form of ``query``, and weights ``[batch, targets, sources]``, with the
            heads after the batch if they are not averaged; or None.

        Raises:
            TypeError, ValueError: if an argument is of another kind or shape.
        """
        batched = self._check(query, key, value)
        first = self.batch_first or not batched
        if not batched:
            query, key, value = (x.unsqueeze(0) for x in (query, key, value))
            key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
        q, k, v = self._projected(query, key, value, first)
        if is_causal and attn_mask is None:
            raise ValueError("is_causal says that attn_mask is causal: attn_mask must be given")
        if not need_weights and is_causal and key_padding_mask is None:
            mask = None
        else:
            mask, is_causal = self._mask(attn_mask, key_padding_mask, q, k), False
        k, v = self._lengthened(k, v)
        if mask is not None and mask.shape[-1] < k.shape[-2]:
            mask = F.pad(mask, (0, k.shape[-2] - mask.shape[-1]))
        dropped = self.dropout if self.training else 0.0
        weights: Tensor | None = None
        if need_weights:
            scores = (q * math.sqrt(1.0 / self.head_dim)) @ k.mT
            scores = scores if mask is None else scores + mask
            weights = F.dropout(scores.softmax(-1), dropped)
            heads = weights @ v
        else:
            heads = F.scaled_dot_product_attention(q, k, v, mask, dropped, is_causal)
        # Laid out in memory as torch's, targets first: a dropout that follows draws the same.
        y = self.out_proj(heads.permute(2, 0, 1, 3).flatten(2))
        y = y.transpose(0, 1) if first else y
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if not batched:
            y, weights = y.squeeze(0), None if weights is None else weights.squeeze(0)
        return y, weights

    def _check(self, query: Tensor, key: Tensor, value: Tensor) -> bool:
        """Return whether inputs have a batch; refuse those that fit neither layer nor each other.

        Raises:
            TypeError, ValueError: and why.
        """
        sizes = {"query": self.embed_dim, "key": self.kdim, "value": self.vdim}
        for (name, width), x in zip(sizes.items(), (query, key, value), strict=True):
            checks.instance(name, x, Tensor)
            if x.is_nested:
                raise TypeError(
                    f"{name} is a nested tensor, which attention on crossbars does not take: "
                    "pad it (torch.nested.to_padded_tensor) and give key_padding_mask"
                )
            checks.columns(name, x, width)
            if x.dim() not in (2, 3) or x.dim() != query.dim():
                raise ValueError(
                    f"query, key and value must all have 3 dimensions, or 2 without a batch; "
                    f"{name} has shape {list(x.shape)}, query {list(query.shape)}"
                )
        if key.shape[:-1] != value.shape[:-1]:
            raise ValueError(
                f"value must have as many vectors as key, {list(key.shape[:-1])}, "
                f"got {list(value.shape[:-1])}"
            )
        batch = 0 if self.batch_first else 1
        if query.dim() == 3 and key.shape[batch] != query.shape[batch]:
            raise ValueError(
                f"key must have the batch of query, {query.shape[batch]}, got {key.shape[batch]}"
            )
        return query.dim() == 3

    def _projected(self, query: Tensor, key: Tensor, value: Tensor, first: bool) -> list[Tensor]:
        """Read the three crossbars: ``[batch, heads, length, head_dim]`` each."""
        read = readers(self)
        biases: Any = [None] * 3
        if self.holds("in_proj_bias") and not self._bias_on_array:
            biases = cast(Tensor, self.in_proj_bias).chunk(3)
        found = []
        for part, x, bias in zip(_PARTS, (query, key, value), biases, strict=True):
            one = read[f"crossbar_{part}"]
            y = with_row(one, x) if self._bias_on_array else one(x, bias)
            y = y.unflatten(-1, (self.num_heads, self.head_dim))
            found.append(y.permute(0, 2, 1, 3) if first else y.permute(1, 2, 0, 3))
        return found

    def _lengthened(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append what torch calls ``bias_k`` and ``bias_v``, then zeros, if the layer has them."""
        batch, heads, _, width = k.shape
        if self.holds("bias_k"):
            more = (
                cast(Tensor, bias).view(1, heads, 1, width).expand(batch, -1, -1, -1)
                for bias in (self.bias_k, self.bias_v)
            )
            k, v = (torch.cat((x, m.to(x.dtype)), dim=2) for x, m in zip((k, v), more, strict=True))
        if self.add_zero_attn:
            k, v = (F.pad(x, (0, 0, 0, 1)) for x in (k, v))
        return k, v

    def _mask(
        self, attn_mask: Tensor | None, padding: Tensor | None, q: Tensor, k: Tensor
    ) -> Tensor | None:
        """Return what is added to the scores, ``[batch or 1, heads or 1, targets, sources]``."""
        batch, heads, targets, _ = q.shape
        sources = k.shape[-2]
        total: Tensor | None = None
        if attn_mask is not None:
            joint, each = (targets, sources), (batch * heads, targets, sources)
            if tuple(attn_mask.shape) not in (joint, each):
                raise ValueError(
                    f"attn_mask must have shape {list(joint)} or {list(each)}, "
                    f"got {list(attn_mask.shape)}"
                )
            total = _added("attn_mask", attn_mask, q)
            total = total[None, None] if total.dim() == 2 else total.view(batch, heads, *joint)
        if padding is not None:
            checks.shape("key_padding_mask", padding, (batch, sources))
            ignored = _added("key_padding_mask", padding, q)[:, None, None]
            total = ignored if total is None else total + ignored
        return total

    # ── back to torch ────────────────────────────────────────────────────────────────────────

    def to_digital(self) -> nn.MultiheadAttention:
        """Return a `torch.nn.MultiheadAttention` with the weights as now stored.

        Output corrections are included. The weights are plain parameters, whatever computed the
        digital ones.
        """
        with self.at_rest():
            digital: Any = self.in_proj_bias if self.holds("in_proj_bias") else None
            extra = [
                getattr(self, n).detach().clone() for n in ("bias_k", "bias_v") if self.holds(n)
            ]
        biases = [None] * 3 if digital is None else digital.chunk(3)
        stored = [
            as_stored(crossbar, bias, on_array=self._bias_on_array)
            for crossbar, bias in zip(self.crossbars.values(), biases, strict=True)
        ]
        layer: Any = nn.MultiheadAttention(
            self.embed_dim,
            self.num_heads,
            self.dropout,
            add_zero_attn=self.add_zero_attn,
            kdim=self.kdim,
            vdim=self.vdim,
            batch_first=self.batch_first,
            device="meta",
            dtype=stored[0][0].dtype,
        )
        weights = [matrix.T for matrix, _, _ in stored]
        if layer.in_proj_weight is not None:
            layer.in_proj_weight = nn.Parameter(torch.cat(weights))
        else:
            for part, weight in zip(_PARTS, weights, strict=True):
                setattr(layer, f"{part}_proj_weight", nn.Parameter(weight.contiguous()))
        needed = any(used for _, _, used in stored)
        layer.in_proj_bias = nn.Parameter(torch.cat([b for _, b, _ in stored])) if needed else None
        for name, value in zip(("bias_k", "bias_v"), extra, strict=False):
            setattr(layer, name, nn.Parameter(value))
        out = self.out_proj.to_digital()
        layer.out_proj.weight, layer.out_proj.bias = out.weight, out.bias
        return cast(nn.MultiheadAttention, in_its_dtype(self, layer))

    def extra_repr(self) -> str:
        """Sizes, and what differs from torch's defaults."""
        defaults = {"kdim": self.embed_dim, "vdim": self.embed_dim, "dropout": 0.0}
        defaults |= {"batch_first": False, "add_zero_attn": False}
        changed = [f"{k}={getattr(self, k)}" for k, v in defaults.items() if getattr(self, k) != v]
        return ", ".join((f"embed_dim={self.embed_dim}, num_heads={self.num_heads}", *changed))


def _added(name: str, mask: Tensor, scores: Tensor) -> Tensor:
    """Return a mask as numbers that are added to scores.

    Raises:
        TypeError: if it holds neither truth values nor floating numbers.
    """
    if mask.dtype == torch.bool:
        zeros = torch.zeros_like(mask, dtype=scores.dtype)
        return zeros.masked_fill_(mask, -math.inf)
    if not mask.is_floating_point():
        raise TypeError(f"{name} must be of bool or floating numbers, got {mask.dtype}")
    return mask.to(scores.dtype)
