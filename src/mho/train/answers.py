"""What pulses do to weights on cells, in numbers."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from mho.train.on_cells.references import symmetry_point
from mho.train.on_cells.transfer_rates import Response, response
from mho.train.on_cells.weights import WeightCells


class DeviceNumbers(NamedTuple):
    """What cells do to weights of a range (weight units, means over cells).

    Attributes:
        states: steps of a pulse in the range, at mid-window.
        up: step of a set pulse at the lowest, the middle and the highest weight.
        down: step of a reset pulse there.
        asymmetry: ``(up − down)/(up + down)`` in the middle.
        symmetry: symmetry points, mean and standard deviation over cells.
        unbalanced: share of cells without a symmetry point inside their window.
        reach: τ; see `mho.train.on_cells.transfer_rates`. Infinite if pulses forget nothing.
        snr: mean of a pulse in the middle over its deviation from cycle to cycle.
        spread: standard deviation of steps from cell to cell, over their mean.
    """

    states: float
    up: tuple[float, float, float]
    down: tuple[float, float, float]
    asymmetry: float
    symmetry: tuple[float, float]
    unbalanced: float
    reach: float
    snr: float
    spread: float


@torch.no_grad()
def device_numbers(cells: WeightCells) -> DeviceNumbers:
    """Return what cells (one a weight) do to weights."""
    population, frame = cells.cells, cells.frame
    own, spec = population.cell(), population.spec
    ups: list[Tensor] = []
    downs: list[Tensor] = []
    for part in (0.0, 0.5, 1.0):
        g = torch.full_like(population.g, frame.g_min + part * (frame.g_max - frame.g_min))
        setting = torch.ones_like(g, dtype=torch.bool)
        ups.append(spec.change(g, setting, own) * frame.slope)
        downs.append(-spec.change(g, ~setting, own) * frame.slope)
    up, down = float(ups[1].mean()), float(downs[1].mean())
    step = max((up + down) / 2, 1e-12)
    point = (symmetry_point(population) - frame.zero) * frame.slope
    answer: Response = response(cells)
    middle = torch.full_like(population.g, (frame.g_min + frame.g_max) / 2)
    noise = []
    for sign, expected in ((1, ups[1]), (-1, -downs[1])):
        population.write(middle)
        before = population.conductance().clone()
        population.pulse(sign)
        noise.append((population.conductance() - before) * frame.slope - expected)
    deviation = float(torch.stack(noise).square().mean().sqrt()) if spec.noisy else 0.0
    each = (ups[1] + downs[1]) / 2
    return DeviceNumbers(
        states=(cells.high - cells.low) / step,
        up=_means(ups),
        down=_means(downs),
        asymmetry=(up - down) / (2 * step),
        symmetry=(float(point.mean()), float(point.std())),
        unbalanced=answer.unbalanced,
        reach=answer.reach,
        snr=step / deviation if deviation else math.inf,
        spread=float(each.std()) / step,
    )


def _means(found: list[Tensor]) -> tuple[float, float, float]:
    low, middle, high = (float(each.mean()) for each in found)
    return low, middle, high
