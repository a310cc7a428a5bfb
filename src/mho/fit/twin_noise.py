"""Noise of measured reads: what hardware says of it, and what the residuals do."""

from __future__ import annotations

import torch
from torch import Tensor

from mho.cells import life
from mho.cells.spread import nominal
from mho.core import random
from mho.effects.reading import ReadNoise
from mho.fit import twin_model as model
from mho.fit.twin_model import State
from mho.fit.twin_solve import variance_components
from mho.fit.twin_task import Noise, Task


def fixed_noise(task: Task, state: State, v: Tensor) -> Tensor:
    """Return the variance of currents (A²) that the hardware says and no fit changes."""
    return _of_cells(task, state, v) + _of_gains(task, state, v)


def _of_gains(task: Task, state: State, v: Tensor) -> Tensor:
    """Return the variance of currents by gains that vary as the hardware says."""
    amplifier = task.array.hardware.amplified
    sought = "read_noise" in task.free and isinstance(task.array, model.Direct)
    if amplifier is None or not amplifier.gain_noise or sought:
        return v.new_zeros(len(v), len(state.gain))
    return task.array.currents(state, v).square() * amplifier.gain_noise**2


def _of_cells(task: Task, state: State, v: Tensor) -> Tensor:
    hardware = task.array.hardware
    free = "read_noise" in task.free
    acting = [
        b
        for b in hardware.behaviours
        if b.acts_on("read_std") and not (free and isinstance(b, ReadNoise))
    ]
    if not acting:
        return v.new_zeros(len(v), len(state.gain))
    behaviours = (hardware.device, *(b for b in acting if b is not hardware.device))
    drawn = life.fabricate(behaviours, state.g, random.stream(0))
    variance = torch.as_tensor(life.variance_of("read_std", state.seen, drawn), dtype=v.dtype)
    return task.array.noise(state, v, variance.expand_as(state.g).contiguous())


def shapes_of(task: Task, state: State, v: Tensor) -> dict[str, Tensor]:
    """Return the variance of currents (A²) by cells' noise of relative size 1, by its kind."""
    return task.array.noises(state, v) if "read_noise" in task.free else {}


def shapes_and_fixed(task: Task, state: State) -> tuple[dict[str, Tensor], Tensor]:
    """Return `shapes_of` and `fixed_noise` of the reads that are fitted."""
    return shapes_of(task, state, task.v), fixed_noise(task, state, task.v)


def handed_on(task: Task, state: State, v: Tensor) -> Tensor:
    """Return the square of what outputs make of a small change of the current."""
    z = task.array.currents(state, v) * state.gain + state.offset
    return (model.slope(z, state.compression) * state.gain).square()


def converter_noise(task: Task) -> float:
    """Return the variance (A²) after the currents that is known: amplifiers', and rounding."""
    hardware = task.array.hardware
    found = 0.0
    if hardware.amplified is not None and "read_noise" not in task.free:
        found += nominal(hardware.amplified.noise) ** 2
    return found + rounding(task) ** 2 / 12.0


def rounding(task: Task) -> float:
    """Return the step (A) that outputs are rounded to; 0 where they are not."""
    adc = task.array.hardware.adc
    if adc is None or isinstance(adc.range, str):
        return 0.0
    return float(adc.step(torch.tensor(adc.range, dtype=torch.float64)))


def fitted_noise(
    task: Task,
    state: State,
    shapes: tuple[dict[str, Tensor], Tensor],
    used: Tensor,
) -> Noise:
    """Fit the variance of the residuals; of several kinds of cells' noise the likeliest."""
    by_kind, fixed = shapes
    factor = handed_on(task, state, task.v)
    known = fixed * factor + converter_noise(task)
    if not by_kind:
        empty = torch.zeros(2, dtype=task.y.dtype)
        return Noise("range", empty, torch.zeros(2, 2, dtype=task.y.dtype), 0.0, known)
    reads = len(task.y)
    squares = task.y - task.array.outputs(state, task.v) - state.common.unsqueeze(1)
    squares = squares.square()
    squares = squares * (reads / (reads - used).clamp_min(1.0))
    best: Noise | None = None
    for kind, shape in by_kind.items():
        both = torch.stack((shape * factor, torch.ones_like(shape)))
        tau, covariance, likelihood = variance_components(squares, both, known)
        if best is None or likelihood > best.likelihood:
            variance = (known + torch.einsum("k,krl->rl", tau, both)).clamp_min(1e-40)
            best = Noise(kind, tau, covariance, likelihood, variance)
    assert best is not None
    return best
