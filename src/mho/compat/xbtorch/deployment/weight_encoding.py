"""Encodings: from weights to the conductances of a positive and a negative array.

Matrices are ``[outputs, inputs]`` here. Encodings look at the broken cells under the places a
matrix will take, which are taken to be known exactly; without places there is one copy, on cells
none of which is broken.
"""

# ruff: noqa: N802
from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.compat._common import truth
from mho.compat.xbtorch._numbers import whole
from mho.compat.xbtorch.deployment._given import NO_ARGS, NOWHERE, call, floats, listed
from mho.compat.xbtorch.deployment.metrics import error_mapping
from mho.core import checks
from mho.encoding.make_up import make_up
from mho.periphery.quantize import magnitude

__all__ = [
    "encode_LEA1",
    "encode_LEA2",
    "encode_MAO",
    "encode_multilevel_differential",
    "encode_simple_binary",
    "error_mapping",
    "quantize_to_nearest",
]

Places = Sequence[tuple[int, int]]

ZERO_TOL = 1e-3
_LOST = 0.25  # how far signs may be from weights, relative to these, before a word is said
_LOOKED_AT = 4096  # weights, for this


# ── one copy like another ────────────────────────────────────────────────────────────────────


def encode_simple_binary(
    accelerator: Any,
    sw_weight: Tensor,
    pos_idxs: Places = NOWHERE,
    neg_idxs: Places = NOWHERE,
    additional_args: Mapping[str, Any] = NO_ARGS,
) -> tuple[list[Tensor], list[Tensor]]:
    """Encode the sign: ``g_max`` for positive weights on the one array, negative on the other.

    Args:
        accelerator: with ``g_min`` and ``g_max``.
        sw_weight: ``[outputs, inputs]``.
        pos_idxs: places on the positive array; one matrix for each, at least one.
        neg_idxs: places on the negative array.
        additional_args: ``zero_tol``: weights up to it are zero (0.001).

    Returns:
        Conductances of the positive and of the negative array.
    """
    tolerance = additional_args.get("zero_tol", ZERO_TOL)
    low, high = float(accelerator.g_min), float(accelerator.g_max)
    weight = floats(sw_weight)
    rest = torch.full_like(weight, low)
    positive, negative = (torch.where(w > tolerance, high, rest) for w in (weight, -weight))
    return _copies(positive, pos_idxs), _copies(negative, neg_idxs)


def encode_multilevel_differential(
    accelerator: Any,
    sw_weight: Tensor,
    pos_idxs: Places = NOWHERE,
    neg_idxs: Places = NOWHERE,
    additional_args: Mapping[str, Any] = NO_ARGS,
) -> tuple[list[Tensor], list[Tensor]]:
    """Encode magnitudes in ``2^bits`` evenly spaced conductances.

    Arguments and result are those of `encode_simple_binary`; ``additional_args`` may also have
    ``bits``, of a cell (8).
    """
    steps = 2 ** whole("bits", additional_args.get("bits", 8), most=16) - 1
    tolerance = additional_args.get("zero_tol", ZERO_TOL)
    low, high = float(accelerator.g_min), float(accelerator.g_max)
    weight = floats(sw_weight)
    level = (weight / magnitude(weight) * steps).round() * ((high - low) / steps)
    level = torch.where(weight.abs() > tolerance, level, 0.0)
    positive, negative = (side.clamp(min=0.0) + low for side in (level, -level))
    return _copies(positive, pos_idxs), _copies(negative, neg_idxs)


def _copies(matrix: Tensor, places: Places) -> list[Tensor]:
    return [matrix.clone() for _ in range(max(1, len(places)))]


# ── copies that know of broken cells ─────────────────────────────────────────────────────────


def encode_LEA1(
    accelerator: Any,
    sw_weight: Tensor,
    pos_idxs: Places = NOWHERE,
    neg_idxs: Places = NOWHERE,
    additional_args: Mapping[str, Any] = NO_ARGS,
) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
    """Layer-ensemble averaging: of ``beta`` copies, every output keeps its ``alpha`` best rows.

    As `mho.encoding.LEA`, which calls kept copies ``best``, but either array has its own: those
    whose broken cells miss least, in squares. Arguments are those of `encode_simple_binary`, with
    ``alpha`` and ``beta``, the number of places on either array, in ``additional_args``.

    Returns:
        Conductances of both arrays, and masks of the rows kept, ``[beta, outputs]``.

    Raises:
        ValueError: if ``alpha`` or ``beta`` is missing, ``alpha`` is not 1…``beta``, or there are
            not as many places.
    """
    missing = [name for name in ("alpha", "beta") if name not in additional_args]
    if missing:
        raise ValueError(f"additional_args must have {' and '.join(missing)}")
    beta = whole("beta", additional_args["beta"])
    alpha = whole("alpha", additional_args["alpha"], most=beta)
    for name, places in (("pos_idxs", pos_idxs), ("neg_idxs", neg_idxs)):
        if len(places) != beta:
            raise ValueError(
                f"{name} must have beta = {beta} places, got {len(places)}: give the accelerator "
                f"xb_mapping_scheme=partial(map_random, beta={beta})"
            )
    pair = encode_simple_binary(accelerator, sw_weight, pos_idxs, neg_idxs, additional_args)
    masks = [torch.ones_like(torch.stack(matrices)[:, :, 0]) for matrices in pair]
    for mask, matrices, places in zip(masks, pair, (pos_idxs, neg_idxs), strict=True):
        if alpha < beta:
            target = torch.stack(matrices)
            stuck, value = _broken(accelerator, places, target)
            missed = torch.where(stuck, value - target, 0.0).square().sum(2)
            mask.scatter_(0, missed.argsort(dim=0, stable=True)[alpha:], 0.0)
    return *pair, masks[0], masks[1]


def _broken(accelerator: Any, places: Places, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return which cells under the places are broken and what they read, ``[places, out, in]``."""
    if not len(places):
        return torch.zeros_like(like, dtype=torch.bool), like
    rows, cols = like.shape[1:]
    masks, values = (
        torch.stack([chip[r : r + rows, c : c + cols] for r, c in places])
        for chip in accelerator.stuck_cells()
    )
    return masks, values.to(like)


def encode_LEA2(
    accelerator: Any,
    sw_weight: Tensor,
    pos_idxs: Places = NOWHERE,
    neg_idxs: Places = NOWHERE,
    states: int = 2**1,
    additional_args: Mapping[str, Any] = NO_ARGS,
    log: bool = False,
) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
    """Layer-ensemble averaging in which healthy cells make up for broken ones of the same weight.

    The mean over all copies is brought as near to the weight as the states of the healthy cells
    allow; see `mho.encoding.make_up.make_up`. All rows are kept. Arguments are those of
    `encode_simple_binary`, with as many places on either array; ``states``, at least 2, are the
    evenly spaced conductances of a cell; ``log`` prints how far the mean of all copies is from the
    weights, before and after.

    Returns:
        Conductances of both arrays, and masks (of ones), ``[copies, outputs]``.
    """
    places = pos_idxs, neg_idxs
    positive, negative = _made_up(accelerator, sw_weight, places, states, log, add=False)
    ones = torch.ones_like(torch.stack(positive)[:, :, 0])
    return positive, negative, ones, ones.clone()


def encode_MAO(
    accelerator: Any,
    sw_weight: Tensor,
    pos_idxs: Places = NOWHERE,
    neg_idxs: Places = NOWHERE,
    states: int = 2**1,
    additional_args: Mapping[str, Any] = NO_ARGS,
    log: bool = False,
) -> tuple[list[Tensor], list[Tensor]]:
    """Mapping with inner fault tolerance: the *sum* over all copies meets the weight.

    One copy carries it, the others rest in reserve; healthy cells of all make up for the broken
    ones; see `mho.encoding.InnerFaultTolerance`. Read it with ``output_polling_mode="sum"``.
    Arguments are those of `encode_LEA2`; there are no masks.
    """
    return _made_up(accelerator, sw_weight, (pos_idxs, neg_idxs), states, log, add=True)


def _made_up(
    accelerator: Any,
    weight: Tensor,
    places: tuple[Places, Places],
    states: int,
    log: bool,
    add: bool,
) -> tuple[list[Tensor], list[Tensor]]:
    log = truth("log", log)
    if len(places[0]) != len(places[1]):
        counts = f"{len(places[0])} and {len(places[1])}"
        raise ValueError(f"pos_idxs and neg_idxs must be as many, got {counts}")
    copies, states = max(1, len(places[0])), whole("states", states, least=2)
    low, high = float(accelerator.g_min), float(accelerator.g_max)
    weight = floats(weight)
    signed = weight / magnitude(weight) * (high - low)
    step = (high - low) / (states - 1)
    pair = torch.stack((signed, -signed)).clamp(min=0.0).div(step).round().mul(step) + low
    target = pair.repeat_interleave(copies, 0)  # all positive arrays, then all negative ones
    if add:
        target[1:copies] = target[copies + 1 :] = low
    share = 1.0 if add else 1.0 / copies
    combination = (share,) * copies + (-share,) * copies
    stuck, value = _broken(accelerator, [*places[0], *places[1]], target)
    c = torch.tensor(combination, dtype=target.dtype, device=target.device)
    # What rounding to states loses is made up for, too: as a cell that is broken everywhere.
    lost = (signed - torch.tensordot(c, target, dims=1)).unsqueeze(0)
    new = make_up(
        torch.cat((target, lost)),
        torch.cat((stuck, torch.ones_like(lost, dtype=torch.bool))),
        torch.cat((value, torch.zeros_like(lost))),
        (*combination, 1.0),
        (low, high),
        states,
    )[:-1]
    for name, planned in (("before", target), ("after", new)) if log else ():
        error = torch.tensordot(c, torch.where(stuck, value, planned), dims=1) - signed
        print(f"{name} adjustment: root mean square error {float(error.square().mean().sqrt()):g}")
    return list(new[:copies].unbind()), list(new[copies:].unbind())


def quantize_to_nearest(x: Any, G_min: float, d: float, n: int) -> Any:
    """Return the nearest to ``x`` (a number, an array or a tensor) of ``G_min, G_min + d, …``.

    There are ``n`` of them.
    """
    level = (x - G_min) / d
    tensor = isinstance(level, Tensor)
    level = level.round().clamp(0, n - 1) if tensor else np.clip(np.round(level), 0, n - 1)
    return G_min + level * d


# ── as an accelerator says ───────────────────────────────────────────────────────────────────


def encode(
    accelerator: Any,
    weight: Any,
    args: Mapping[str, Any],
    pos_idxs: Places = NOWHERE,
    neg_idxs: Places = NOWHERE,
) -> tuple[list[Tensor], list[Tensor], tuple[Tensor | None, Tensor | None]]:
    """Encode by an accelerator's scheme, with its arguments and these: both arrays, and masks."""
    weight = floats(weight)
    checks.finite("sw_weight", weight)
    args = {**accelerator.weight_encoding_args, **args}
    scheme = accelerator.weight_encoding_scheme
    if scheme is encode_simple_binary and "bits" in args:
        scheme = encode_multilevel_differential
    _warn_of_lost_values(scheme, weight)
    offered = {"pos_idxs": pos_idxs, "neg_idxs": neg_idxs, "additional_args": args}
    found = call(scheme, accelerator, weight, **offered)
    positive, negative = ([G.to(weight) for G in listed(side)] for side in found[:2])
    masks = tuple(map(torch.as_tensor, found[2:4])) if len(found) > 2 else (None, None)
    return positive, negative, (masks[0], masks[1])


def known(scheme: Any) -> Any:
    """Return which of these an encoding is, perhaps with arguments fixed by `partial`; or None."""
    while isinstance(scheme, partial):
        scheme = scheme.func
    signs = (encode_simple_binary, encode_multilevel_differential)
    return scheme if scheme in (*signs, encode_LEA1, encode_LEA2, encode_MAO) else None


def _warn_of_lost_values(scheme: Any, weight: Tensor) -> None:
    """Warn where an encoding keeps nothing but the signs of weights that are more than these."""
    if known(scheme) not in (encode_simple_binary, encode_LEA1) or not weight.numel():
        return
    some = weight.flatten()[:: weight.numel() // _LOOKED_AT | 1].abs()
    lost = (some - magnitude(some)) * (some > ZERO_TOL)
    if float(lost.norm() / some.norm()) > _LOST:
        warnings.warn(
            "weights of many values are mapped by their signs, which loses more than "
            f"{_LOST:.0%} of them: train ternary weights (wage_quantize=True), give the "
            'accelerator weight_encoding_args={"bits": 8}, or spread weights over copies with '
            "encode_LEA2",
            stacklevel=2,
        )
