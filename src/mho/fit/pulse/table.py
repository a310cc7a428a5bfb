"""The jump table as a law: mean and noise of a pulse over the conductance, of no given form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
import torch
from torch import Tensor

from mho.core.extras import there
from mho.devices.tabular import JumpTable
from mho.fit.calibration import OUR_STREAM, Array
from mho.fit.jumps import normal_table
from mho.fit.kriging import profiles
from mho.fit.pulse.data import Steps, Trains
from mho.fit.pulse.likelihood import FLOOR, Predicted, of_readings, of_steps

LEAST_STEPS = 40  # of each direction
_ROWS = 100
_ROUNDS = 4  # of filling in what bounds cut off
_LEAST_SIGMA = 1e-6  # of the window, in a table
_LEAST_SHARE = 0.02  # of the noise at a place that readings' own noise may leave


@dataclass(frozen=True)
class Profiles:
    """Mean and noise of a pulse over the (scaled) conductance, set first, then reset.

    Attributes:
        axis: conductances, even, ``[rows]``.
        mean: mean change, ``[2, rows]``.
        sigma: its standard deviation, ``[2, rows]``.
        read_noise: of a reading; 0 for none.
    """

    axis: Array
    mean: Array
    sigma: Array
    read_noise: float

    def model(self, g: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean change and deviation of pulses from ``g``; see `StepModel`."""
        place = (g - self.axis[0]) / (self.axis[-1] - self.axis[0]) * (len(self.axis) - 1)
        place = place.clamp(0.0, len(self.axis) - 1.0)
        left = place.floor().clamp(max=len(self.axis) - 2)
        index, part = left.long(), place - left
        both = []
        for rows in (self.mean, self.sigma):
            ways = [torch.lerp(row[index], row[index + 1], part) for row in torch.from_numpy(rows)]
            both.append(torch.where(up, ways[0], ways[1]))
        return both[0], both[1]

    def predicted(self, trains: Trains) -> Predicted:
        """Return what they say of every pulse, ``[trains, pulses]``."""
        if self.read_noise:
            ends = torch.zeros(1, 1, dtype=torch.float64)
            noise = ends + self.read_noise
            found = of_readings(trains, self.model, ends, ends + 1.0, noise)
            return Predicted(found.log_density[0], found.error[0], found.below[0], found.until[0])
        flat = of_steps(trains.steps(), self.model, self._floor())
        valid = torch.from_numpy(trains.valid)
        blank = torch.zeros(valid.shape, dtype=torch.float64)
        parts = (flat.log_density, flat.error, flat.below, flat.until)
        return Predicted(*(blank.masked_scatter(valid, part) for part in parts))

    def tables(self, low: float, width: float) -> tuple[JumpTable, JumpTable]:
        """Return both jump tables in siemens, for data of the range low … low + width."""
        axis = np.maximum(low + width * self.axis, 0.0)
        up, down = (
            normal_table(axis, width * mean, width * np.maximum(sigma, _LEAST_SIGMA))
            for mean, sigma in zip(self.mean, self.sigma, strict=True)
        )
        return up, down

    def _floor(self) -> float:
        return max(FLOOR, 1e-3 * float(np.median(self.sigma)))


def available() -> bool:
    """Whether scikit-learn is there, which tables need."""
    return there("sklearn")


def enough(trains: Trains) -> bool:
    """Whether there are enough single pulses of each direction."""
    return all(int(trains.length[trains.up == way].sum()) >= LEAST_STEPS for way in (True, False))


def fit_profiles(
    steps: Steps,
    *,
    read_noise: float = 0.0,
    seed: int = 0,
    known: Profiles | None = None,
) -> Profiles:
    """Return the profiles of single pulses.

    Of a pulse that a bound stopped only the least size is known: it is filled in at random from
    what lies beyond the bound under the profiles so far, and these are fitted anew, a few times
    (stochastic EM; G. Celeux, J. Diebolt, Computational Statistics Quarterly 2, 73, 1985).

    Args:
        steps: the pulses.
        read_noise: of a reading (scaled), whose share of the noise is not the cell's.
        seed: of what is filled in.
        known: profiles near those sought: one round is enough then.

    Raises:
        ImportError: if scikit-learn is missing.
    """
    axis = np.linspace(0.0, 1.0, _ROWS)
    means, sigmas = [], []
    for way, name in enumerate((True, False)):
        before = None if known is None else (known.mean[way], known.sigma[way])
        mean, sigma = _one_way(steps.where(steps.up == name), axis, (seed, way), before)
        own = sigma**2 - (1.0 + (1.0 + np.gradient(mean, axis)) ** 2) * read_noise**2
        means.append(mean)
        sigmas.append(np.sqrt(np.maximum(own, (_LEAST_SHARE * sigma) ** 2)))
    return Profiles(axis, np.stack(means), np.stack(sigmas), read_noise)


def gain(steps: Steps, profiles: Profiles) -> tuple[float, float]:
    """Return the factor between one cell's jumps and the profiles, and its standard error.

    Pulses that may meet a bound say nothing undistorted of it, and are left out.
    """
    mean, sigma = (part.numpy() for part in profiles.model(steps.before, steps.up))
    ahead = steps.before.numpy() + mean
    open_ = (ahead > 2 * sigma) & (ahead < 1.0 - 2 * sigma) & (steps.stopped.numpy() == 0)
    if not open_.any():
        return 1.0, float("nan")
    dg = (steps.after - steps.before).numpy()[open_]
    mean, weight = mean[open_], sigma[open_] ** -2.0
    size = float((weight * mean**2).sum())
    factor = float((weight * mean * dg).sum()) / size
    scatter = float((weight * (dg - factor * mean) ** 2).mean())
    return factor, (scatter / size) ** 0.5


def _one_way(
    steps: Steps, axis: Array, seed: tuple[int, int], known: tuple[Array, Array] | None
) -> tuple[Array, Array]:
    g = steps.before.numpy()
    dg = (steps.after - steps.before).numpy().copy()
    stopped = steps.stopped.numpy()
    cut = stopped != 0
    least = dg[cut]
    share = np.random.default_rng([*seed, OUR_STREAM]).random(int(cut.sum()))
    if known is None:
        known = _profile(g, dg, axis)
        rounds = _ROUNDS if cut.any() else 0
    else:
        rounds = 1
    for _ in range(rounds):
        dg[cut] = _beyond(g[cut], least, stopped[cut], share, axis, known)
        known = _profile(g, dg, axis)
    return known


def _profile(g: Array, dg: Array, axis: Array) -> tuple[Array, Array]:
    if np.ptp(g) == 0.0 or np.ptp(dg) == 0.0:
        return np.full_like(axis, dg.mean()), np.full_like(axis, dg.std())
    return profiles(g, dg, axis, groups=60)


def _beyond(
    g: Array, least: Array, way: Array, share: Array, axis: Array, known: tuple[Array, Array]
) -> Array:
    # Jumps of normals from the jump that the bound left room for on, upwards (way 1) or down (−1).
    mean, sigma = (np.interp(g, axis, row) for row in known)
    score = way * (least - mean) / sigma
    # By the upper tail, where the digits are: share of what lies beyond.
    tail = scipy.special.ndtr(-score) * (1.0 - share)
    found: Array = mean - way * sigma * scipy.special.ndtri(np.maximum(tail, 1e-300))
    return found
