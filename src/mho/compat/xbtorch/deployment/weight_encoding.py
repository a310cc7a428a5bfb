"""Encodings: from weights to the conductances of a positive and a negative array.

Matrices are ``[outputs, inputs]`` here. Encodings look at the broken cells under the places a
matrix will take, which are taken to be known exactly.
"""

# ruff: noqa: N802
from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mho.compat.xbtorch.deployment._given import call, gamma
from mho.compat.xbtorch.deployment.metrics import error_mapping
from mho.core import checks
from mho.encoding.base import Encoding
from mho.encoding.redundant import LEA, make_up

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

_NOWHERE: list[tuple[int, int]] = []
_NO_ARGS: dict[str, Any] = {}
ZERO_TOL = 1e-3
_LOST = 0.25  # how far signs may be from weights, relative to these, before a word is said


@dataclass(frozen=True)
class _OneCell(Encoding):
    """A value on one cell: each polarity chooses its copies by itself."""

    @property
    def analog(self) -> tuple[tuple[float, ...], ...]:
        return ((1.0,),)


def encode_simple_binary(
    accelerator: Any,
    sw_weight: Tensor,
    pos_idxs: Places = _NOWHERE,
    neg_idxs: Places = _NOWHERE,
    additional_args: Mapping[str, Any] = _NO_ARGS,
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
    weight = sw_weight.detach()
    rest = torch.full_like(weight, low)
    positive = torch.where(weight > tolerance, high, rest)
    return _copies(positive, pos_idxs), _copies(
        torch.where(weight < -tolerance, high, rest), neg_idxs
    )


def _copies(matrix: Tensor, places: Places) -> list[Tensor]:
    return [matrix.clone() for _ in range(max(1, len(places)))]


def encode_multilevel_differential(
    accelerator: Any,
    sw_weight: Tensor,
    pos_idxs: Places = _NOWHERE,
    neg_idxs: Places = _NOWHERE,
    additional_args: Mapping[str, Any] = _NO_ARGS,
) -> tuple[list[Tensor], list[Tensor]]:
    """Encode magnitudes in ``2^bits`` evenly spaced conductances.

    Arguments and result are those of `encode_simple_binary`; ``additional_args`` may also have
    ``bits``, of a cell (8).
    """
    bits = int(additional_args.get("bits", 8))
    checks.integer("bits", bits, most=16)
    tolerance = additional_args.get("zero_tol", ZERO_TOL)
    low, high = float(accelerator.g_min), float(accelerator.g_max)
    steps = 2**bits - 1
    weight = sw_weight.detach()
    level = (weight.abs() / gamma(weight) * steps).round() * ((high - low) / steps)
    level = torch.where(weight.abs() > tolerance, level, 0.0) + low
    rest = torch.full_like(weight, low)
    positive = torch.where(weight > 0, level, rest)
    return _copies(positive, pos_idxs), _copies(torch.where(weight < 0, level, rest), neg_idxs)


def encode_LEA1(
    accelerator: Any,
    sw_weight: Tensor,
    pos_idxs: Places = _NOWHERE,
    neg_idxs: Places = _NOWHERE,
    additional_args: Mapping[str, Any] = _NO_ARGS,
) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
    """Layer-ensemble averaging: of ``beta`` copies, every output keeps its ``alpha`` best rows.

    See `mho.encoding.LEA`, which calls kept copies ``best``. Arguments are those of
    `encode_simple_binary`; ``additional_args`` must have ``alpha`` and ``beta``, the number of
    places on either array.

    Returns:
        Conductances of both arrays, and masks of the rows kept, ``[beta, outputs]``.

    Raises:
        ValueError: if ``alpha`` or ``beta`` is missing, ``alpha`` is not 1…``beta``, or there are
            not as many places.
    """
    missing = [name for name in ("alpha", "beta") if name not in additional_args]
    if missing:
        raise ValueError(f"additional_args must have {' and '.join(missing)}")
    alpha, beta = int(additional_args["alpha"]), int(additional_args["beta"])
    checks.integer("beta", beta)
    checks.integer("alpha", alpha, most=beta)
    for name, places in (("pos_idxs", pos_idxs), ("neg_idxs", neg_idxs)):
        if len(places) != beta:
            raise ValueError(f"{name} must have beta = {beta} places, got {len(places)}")
    args = {key: value for key, value in additional_args.items() if key not in ("alpha", "beta")}
    positive, negative = encode_simple_binary(accelerator, sw_weight, pos_idxs, neg_idxs, args)
    masks = [
        _best(accelerator, matrices, places, alpha)
        for matrices, places in ((positive, pos_idxs), (negative, neg_idxs))
    ]
    return positive, negative, masks[0], masks[1]


def _best(accelerator: Any, matrices: list[Tensor], places: Places, alpha: int) -> Tensor:
    target = torch.stack(matrices)
    if alpha == len(target):
        return torch.ones_like(target[:, :, 0])
    stuck, value = _broken(accelerator, places, target)
    lea = LEA(base=_OneCell(), copies=len(target), best=alpha)
    # mho's arrays are [inputs, outputs].
    aim, mask, read = (x.transpose(1, 2) for x in (target, stuck, value))
    _, shares = lea.suit(aim, mask, read, 1, float(accelerator.g_min), float(accelerator.g_max))
    assert shares is not None
    return (shares[0] > 0).to(target)


def _broken(accelerator: Any, places: Places, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return which cells under the places are broken and what they read, ``[places, out, in]``."""
    rows, cols = like.shape[1:]
    stuck, value = accelerator.stuck_cells()
    masks = [stuck[r : r + rows, c : c + cols] for r, c in places]
    values = [value[r : r + rows, c : c + cols] for r, c in places]
    return torch.stack(masks), torch.stack(values).to(like)


def encode_LEA2(
    accelerator: Any,
    sw_weight: Tensor,
    pos_idxs: Places = _NOWHERE,
    neg_idxs: Places = _NOWHERE,
    states: int = 2**1,
    additional_args: Mapping[str, Any] = _NO_ARGS,
    log: bool = False,
) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
    """Layer-ensemble averaging in which healthy cells make up for broken ones of the same weight.

    The mean over all copies is brought as near to the weight as the states of the healthy cells
    allow; see `mho.encoding.redundant.make_up`. All rows are kept.

    Args:
        accelerator: whose broken cells are looked at.
        sw_weight: ``[outputs, inputs]``.
        pos_idxs: places of the copies on the positive array, at least one.
        neg_idxs: places of the copies on the negative array, as many.
        states: evenly spaced conductances of a cell, >= 2.
        additional_args: not needed.
        log: print how far the mean of all copies is from the weights, before and after.

    Returns:
        Conductances of both arrays, and masks (of ones), ``[copies, outputs]``.
    """
    positive, negative = _made_up(accelerator, sw_weight, pos_idxs, neg_idxs, states, False, log)
    ones = torch.ones_like(torch.stack(positive)[:, :, 0])
    return positive, negative, ones, ones.clone()


def encode_MAO(
    accelerator: Any,
    sw_weight: Tensor,
    pos_idxs: Places = _NOWHERE,
    neg_idxs: Places = _NOWHERE,
    states: int = 2**1,
    additional_args: Mapping[str, Any] = _NO_ARGS,
    log: bool = False,
) -> tuple[list[Tensor], list[Tensor]]:
    """Mapping with inner fault tolerance: the *sum* over all copies meets the weight.

    One copy carries it, the others rest in reserve; healthy cells of all make up for the broken
    ones; see `mho.encoding.InnerFaultTolerance`. Read it with ``output_polling_mode="sum"``.
    Arguments are those of `encode_LEA2`; there are no masks.
    """
    return _made_up(accelerator, sw_weight, pos_idxs, neg_idxs, states, True, log)


def _made_up(
    accelerator: Any,
    weight: Tensor,
    pos_idxs: Places,
    neg_idxs: Places,
    states: int,
    add: bool,
    log: bool,
) -> tuple[list[Tensor], list[Tensor]]:
    if len(pos_idxs) != len(neg_idxs) or not len(pos_idxs):
        raise ValueError(
            "pos_idxs and neg_idxs must be as many, at least one; got "
            f"{len(pos_idxs)} and {len(neg_idxs)}"
        )
    states = int(states)
    checks.integer("states", states, least=2)
    copies = len(pos_idxs)
    low, high = float(accelerator.g_min), float(accelerator.g_max)
    signed = weight.detach() / gamma(weight) * (high - low)
    step = (high - low) / (states - 1)
    pair = torch.stack((signed, -signed)).clamp(min=0.0).div(step).round().mul(step) + low
    target = pair.repeat_interleave(copies, 0)  # all positive arrays, then all negative ones
    if add:
        target[1:copies] = target[copies + 1 :] = low
    share = 1.0 if add else 1.0 / copies
    combination = (share,) * copies + (-share,) * copies
    stuck, value = _broken(accelerator, [*pos_idxs, *neg_idxs], target)
    # What rounding to states loses is made up for, too: as a cell that is broken everywhere.
    c = torch.tensor(combination, dtype=target.dtype, device=target.device)
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


def encode(
    accelerator: Any,
    weight: Tensor,
    args: Mapping[str, Any],
    places: Mapping[str, Places] = _NO_ARGS,
) -> Any:
    """Encode as the accelerator says, by its scheme and arguments and these more."""
    checks.finite("sw_weight", weight)
    args = {**accelerator.weight_encoding_args, **args}
    scheme = accelerator.weight_encoding_scheme
    if scheme is encode_simple_binary and "bits" in args:
        scheme = encode_multilevel_differential
    warn_of_lost_values(scheme, weight)
    offered = {"pos_idxs": [], "neg_idxs": [], **places, "additional_args": args}
    return call(scheme, accelerator, weight, **offered)


def known(scheme: Any) -> bool:
    """Whether an encoding, perhaps with arguments fixed by `functools.partial`, is one of these."""
    return _function(scheme) in (
        *(encode_simple_binary, encode_multilevel_differential),
        *(encode_LEA1, encode_LEA2, encode_MAO),
    )


def _function(scheme: Any) -> Any:
    while isinstance(scheme, partial):
        scheme = scheme.func
    return scheme


def warn_of_lost_values(scheme: Any, weight: Tensor) -> None:
    """Warn where an encoding keeps nothing but the signs of weights that are more than these."""
    if _function(scheme) not in (encode_simple_binary, encode_LEA1) or not weight.numel():
        return
    weight = weight.detach()
    full = gamma(weight)
    lost = weight.abs().sub_(full).mul_(weight.abs() > ZERO_TOL).norm() / weight.norm()
    if float(lost) > _LOST:
        warnings.warn(
            "weights of many values are mapped by their signs, which loses more than "
            f"{_LOST:.0%} of them: train ternary weights (wage_quantize=True), give the "
            'accelerator weight_encoding_args={"bits": 8}, or spread weights over copies with '
            "encode_LEA2",
            stacklevel=2,
        )


def quantize_to_nearest(x: float, G_min: float, d: float, n: int) -> float:
    """Return the nearest to ``x`` of ``n`` conductances ``G_min, G_min + d, …``."""
    return G_min + min(max(round(float((x - G_min) / d)), 0), n - 1) * d
