"""Fits of hardware, judged by reads that were held out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.cells.device import Device
from mho.core import checks, random
from mho.fit import twin_noise
from mho.fit import twin_search as search
from mho.fit.calibration import OUR_STREAM, Array, Calibration
from mho.fit.estimates import Estimates
from mho.fit.pit import Agreement, agreement
from mho.fit.twin_hardware import alike, estimates, exactly
from mho.fit.twin_task import Found, Task
from mho.hardware import Hardware

_LEFT = 1e-6  # of what the data say of a shared parameter, once the lines' own have had theirs


@dataclass(frozen=True)
class Judged:
    """Hardware fitted to reads, and how well it predicts others.

    Attributes:
        hardware: what was measured, this very one.
        alike: others of its kind: gains, offsets and broken cells are drawn.
        estimates: every fitted parameter.
        measured: held-out outputs ``[reads, lines]`` (A).
        predicted: their predicted means, of the same shape.
        deviations: the predicted standard deviations.
        agreement: of the held-out errors with their predicted distribution.
        calibration: how often held-out outputs fell into the intervals predicted for them.
        verdict: in words.
    """

    hardware: Hardware
    alike: Hardware
    estimates: Estimates
    measured: Array
    predicted: Array
    deviations: Array
    agreement: Agreement
    calibration: Calibration
    verdict: str

    @property
    def device(self) -> Device:
        """What one cell does."""
        return self.hardware.device

    @property
    def residuals(self) -> Array:
        """Held-out outputs: measured minus predicted ``[reads, lines]`` (A)."""
        return self.measured - self.predicted

    @property
    def error(self) -> float:
        """Root mean square held-out error over that of the outputs about their mean."""
        spread = self.measured - self.measured.mean(0)
        return float(np.sqrt((self.residuals**2).mean() / (spread**2).mean()))


def names_of(free: Collection[str], known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of what is looked for, each once.

    Raises:
        TypeError, ValueError: if there are none, or others than those known.
    """
    if isinstance(free, str):
        raise TypeError(f"free must be a collection of names, got the text {free!r}")
    names = tuple(dict.fromkeys(free))
    for name in names:
        checks.one_of("every name in free", name, known)
    if not names:
        raise ValueError("free must name something to look for, got nothing")
    return names


def parted(reads: int, held_out: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return which reads are used and which are held out, each in their order.

    Raises:
        TypeError, ValueError: if the share or the seed are refused.
    """
    held_out = checks.number("held_out", held_out, least=0.05, most=0.5)
    seed = checks.integer("seed", seed, least=0)
    generator = random.generator(random.derive(seed, OUR_STREAM))
    order = torch.randperm(reads, generator=generator)
    count = max(round(held_out * reads), 1)
    return order[count:].sort().values, order[:count].sort().values


def judge(task: Task, found: Found, v: Tensor, y: Tensor) -> dict[str, Any]:
    """Return the fields of `Judged`, the verdict empty.

    Args:
        task: what was looked for.
        found: what was found.
        v: held-out inputs as the task's.
        y: held-out outputs (A).
    """
    mean, variance = predicted(task, found, v)
    together = found.random.together
    errors, deviations = (y - mean).numpy(), variance.sqrt().numpy()
    agree, calibration = agreement(errors, deviations, together, twin_noise.rounding(task))
    return {
        "hardware": exactly(task, found),
        "alike": alike(task, found),
        "estimates": estimates(task, found),
        "measured": y.numpy(),
        "predicted": mean.numpy(),
        "deviations": (variance + together**2).sqrt().numpy(),
        "agreement": agree,
        "calibration": calibration,
        "verdict": "",
    }


def predicted(task: Task, found: Found, v: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of outputs, what is not sure of the lines included.

    What lines of a read have in common is not.
    """
    state, noise = found.state, found.noise
    reach = task.array.reach(state) if found.cells.numel() else None
    own, _, mean = search.derivatives(task, state, v, found.cells, reach)
    factor = twin_noise.handed_on(task, state, v)
    variance = twin_noise.fixed_noise(task, state, v) * factor + twin_noise.converter_noise(task)
    shapes = twin_noise.shapes_of(task, state, v)
    if shapes:
        variance = variance + noise.tau[0] * shapes[noise.relative_to] * factor + noise.tau[1]
    return mean, variance + ((own @ found.solved.inverse) * own).sum(-1).T


def check_noise(task: Task, v: Tensor) -> None:
    """Refuse reads that have no noise, neither known nor looked for (ValueError).

    Args:
        task: what is looked for.
        v: inputs of all reads, as the task's.
    """
    if "read_noise" in task.free:
        return
    known = twin_noise.fixed_noise(task, task.start, v)
    known = known * twin_noise.handed_on(task, task.start, v) + twin_noise.converter_noise(task)
    without = int((known <= 0.0).sum())
    if without:
        raise ValueError(
            "free must name 'read_noise', or the hardware say what noise reads have: "
            f"{without} of {known.numel()} outputs have none"
        )


def check_determined(task: Task, found: Found) -> None:
    """Refuse what the reads do not tell (ValueError).

    Shared parameters of which the lines' own leave nothing to be seen; and gains that are not
    positive: such outputs do not follow the products at all.
    """
    turned = (found.state.gain <= 0.0).nonzero().flatten().tolist()
    if turned:
        raise ValueError(
            f"outputs must follow the products: on lines {turned} they fall where these rise. Are "
            "lines, rows or reads in another order, or signs the other way round?"
        )
    for name, left in zip(task.shared, found.solved.left.diagonal().tolist(), strict=True):
        if left < _LEFT:
            why = "the gains of the lines explain the same"
            if name == "compression":
                why = "the outputs are too small to show it"
            raise ValueError(
                f"the reads cannot determine {name!r}: {why}. Leave it out of free and set it in "
                "the hardware, or measure the gains apart and leave 'gain' out"
            )
