"""The curves of a fitted law: mean and spread of many trains, noise and bounds included.

With noise that meets the bounds the mean of many cycles is not the noise-free curve: it is what
measured means must be compared with.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mho.fit.calibration import OUR_STREAM, Array
from mho.fit.pulse.data import Window
from mho.fit.pulse.laws import StepModel

TRAINS = 4000  # simulated, of all cells together

CellModel = tuple[StepModel, tuple[float, float], float]
"""One cell's step, bounds and noise of a reading, in the scale of its window."""


def mean_curve(
    models: list[CellModel], windows: list[Window], half: Array, up: bool, seed: int
) -> tuple[Array, Array]:
    """Return mean and standard deviation (S) of simulated trains, each ``[pulses + 1]``.

    Args:
        models: of the cells.
        windows: of their data.
        half: measured trains, whose starts are taken, ``[cells, cycles, pulses + 1]``.
        up: whether the pulses are set pulses.
        seed: of the noise.
    """
    generator = torch.Generator().manual_seed((2 * seed + up + OUR_STREAM) % 2**63)
    total = square = np.zeros(half.shape[2])
    repeats = -(-TRAINS // (half.shape[0] * half.shape[1]))
    for model, window, own in zip(models, windows, half, strict=True):
        starts = torch.from_numpy((own[:, 0] - window.low) / window.width).repeat(repeats)
        mean, variance = _train(model, starts, own.shape[1], up, generator)
        mean = window.low + window.width * mean
        total = total + mean / len(half)
        square = square + window.width**2 * variance / len(half)
    return total, np.sqrt(square)


def _train(
    model: CellModel, g: Tensor, length: int, up: bool, generator: torch.Generator
) -> tuple[Array, Array]:
    step, bounds, read_noise = model
    g = g.clamp(*bounds)[None]
    way = torch.full_like(g, up, dtype=torch.bool)
    rows = [_moments(g, read_noise)]
    for _ in range(length - 1):
        change, noise = step(g, way)
        draw = torch.randn(g.shape, generator=generator, dtype=torch.float64)
        g = (g + change + noise * draw).clamp(*bounds)
        rows.append(_moments(g, read_noise))
    mean, variance = torch.stack(rows).numpy().T
    return mean, variance


def _moments(g: Tensor, read_noise: float) -> Tensor:
    return torch.stack([g.mean(), g.var(correction=0) + read_noise**2])
