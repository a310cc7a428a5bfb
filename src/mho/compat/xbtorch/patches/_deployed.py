"""The read of a deployed matrix: all copies and both arrays are one matrix product."""

# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mho.core import random

MODES = ("avg", "sum", "reduced_avg")


@dataclass(eq=False)
class Combined:
    """What all arrays of a matrix add up to.

    Attributes:
        matrix: ``Σ_k c_k (G⁺_k - G⁻_k)``, ``[outputs, inputs]``.
        noise: ``√Σ_k 2 c_k²`` of every output: how the noise of independent cells adds up.
        source: what it was made from; it holds until this changes.
    """

    matrix: Tensor
    noise: Tensor
    source: Any


def combination(mapping: dict[str, Any], outputs: int) -> tuple[Tensor, Tensor]:
    """Return the share of every copy in every output, of both arrays, ``[copies, outputs]``."""
    copies = len(mapping["Gpos"])
    mode = mapping["output_polling_mode"]
    if mode == "reduced_avg" and "maskpos" in mapping:
        alpha = mapping["alpha"]
        return mapping["maskpos"].squeeze(1) / alpha, mapping["maskneg"].squeeze(1) / alpha
    share = torch.full((copies, outputs), 1.0 if mode == "sum" else 1.0 / copies)
    return share, share


def of_chip(accelerator: Any, mapping: dict[str, Any], shape: tuple[int, int]) -> Combined:
    """Combine the arrays of a matrix on a chip."""
    outputs, inputs = shape
    shares = [s.to(accelerator._chip) for s in combination(mapping, outputs)]
    matrix: Any = 0.0
    for sign, share, places in zip((1.0, -1.0), shares, (mapping["Gpos"], mapping["Gneg"])):  # noqa: B905
        for part, (row, col) in zip(share, places, strict=True):
            cells = accelerator.drifted(row, outputs, col, inputs)
            matrix = matrix + (sign * part).unsqueeze(1) * cells
    noise = torch.sqrt(shares[0].square().sum(0) + shares[1].square().sum(0))
    return Combined(matrix, noise, None)


def of_cells(accelerator: Any, weight: Tensor, seed: int) -> Combined:
    """Combine arrays that hold a matrix, without a chip."""
    pair = accelerator.map_weights_to_array_stateless(weight, programming_seed=seed)
    drift = accelerator.apply_conductance_drift
    positive, negative = (
        torch.stack([drift(G, seed, side, k) for k, G in enumerate(arrays)])
        for side, arrays in zip(("+", "-"), pair, strict=True)
    )
    if accelerator.legacy:
        window = accelerator.g_min, accelerator.g_max
        positive, negative = positive.clamp(*window), negative.clamp(*window)
    size = math.sqrt(1.0 / len(positive) + 1.0 / len(negative))
    noise = torch.full_like(positive[0, :, 0], size)
    return Combined(positive.mean(0) - negative.mean(0), noise, None)


def product(accelerator: Any, combined: Combined, gamma: Tensor, x: Tensor) -> Tensor:
    """Return what the array makes of inputs ``[…, inputs]``: ``[…, outputs]``.

    Uniform noise of half-width a in every cell is, of many cells, Gaussian at the end of a line,
    with the variance ``a²/3 · Σ v² · Σ_k 2 c_k²``.
    """
    driven = accelerator.DAC_quantize(x * (gamma.to(x) * accelerator.v_read))
    if isinstance(driven, (list, tuple)):
        whole = 2.0 ** len(driven) - 1.0
        bits = [2.0**b / whole for b in range(len(driven))]
        volts: Any = sum(w * v for w, v in zip(bits, driven, strict=True))
        power: Any = sum(w * w * v.detach().square() for w, v in zip(bits, driven, strict=True))
    else:
        volts, power = driven, None
    current = volts @ combined.matrix.to(volts).T
    if accelerator.read_noise > 0:
        power = volts.detach().square() if power is None else power
        size = power.sum(-1, keepdim=True).sqrt() * (accelerator.read_noise / math.sqrt(3.0))
        source = random.take(accelerator._rng, current.device)
        drawn = random.normal(current.detach(), source)
        current = current + size * combined.noise.to(current) * drawn
    window = accelerator.g_max - accelerator.g_min
    found: Tensor = accelerator.ADC_quantize(current)
    scale = 1.0 / (window * accelerator.v_read)
    return found * scale if found.requires_grad else found.mul_(scale)
