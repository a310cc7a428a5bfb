"""The curves of a fitted law: mean and spread of many trains, noise and bounds included.

With noise that meets the bounds the mean of many cycles is not the noise-free curve: it is what
measured means must be compared with.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mho.fit.calibration import OUR_STREAM, Array
from mho.fit.pulse.data import Window
from mho.fit.pulse.laws import StepModel

_BAND = (0.05, 0.5, 0.95)
TRAINS = 4000  # simulated, of all cells together

CellModel = tuple[StepModel, tuple[float, float], float]
"""One cell's step, bounds and noise of a reading, in the scale of its window."""


@dataclass(frozen=True)
class Curve:
    """Many simulated trains.

    Attributes:
        mean: over all cells (S), ``[pulses + 1]``.
        deviation: standard deviation of one train about its cell's mean (S), likewise.
        band: the 5 %, 50 % and 95 % quantiles of all trains (S), ``[3, pulses + 1]``.
    """

    mean: Array
    deviation: Array
    band: Array


def simulated(
    models: list[CellModel], windows: list[Window], half: Array, up: bool, seed: int
) -> Curve:
    """Return the trains of cells under their laws.

    Args:
        models: of the cells.
        windows: of their data.
        half: measured trains, whose starts are taken, ``[cells, cycles, pulses + 1]``.
        up: whether the pulses are set pulses.
        seed: of the noise.
    """
    generator = torch.Generator().manual_seed((2 * seed + up + OUR_STREAM) % 2**63)
    repeats = -(-TRAINS // (half.shape[0] * half.shape[1]))
    trains = []
    for model, window, own in zip(models, windows, half, strict=True):
        starts = torch.from_numpy((own[:, 0] - window.low) / window.width).repeat(repeats)
        scaled = _trains(model, starts, own.shape[1], up, generator)
        trains.append(window.low + window.width * scaled)
    whole = np.stack(trains)
    return Curve(
        mean=whole.mean(axis=(0, 1)),
        deviation=np.sqrt(whole.var(axis=1).mean(axis=0)),
        band=np.quantile(whole, _BAND, axis=(0, 1)),
    )


def _trains(
    model: CellModel, g: Tensor, length: int, up: bool, generator: torch.Generator
) -> Array:
    # Readings of the trains that begin at g, [trains, pulses + 1].
    step, bounds, read_noise = model
    g = g.clamp(*bounds)[None]
    way = torch.full_like(g, up, dtype=torch.bool)
    states = [g[0]]
    for _ in range(length - 1):
        change, noise = step(g, way)
        draw = torch.randn(g.shape, generator=generator, dtype=torch.float64)
        g = (g + change + noise * draw).clamp(*bounds)
        states.append(g[0])
    whole = torch.stack(states, dim=-1)
    if read_noise:
        draw = torch.randn(whole.shape, generator=generator, dtype=torch.float64)
        whole = whole + read_noise * draw
    readings: Array = whole.numpy()
    return readings
