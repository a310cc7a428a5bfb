"""One law fitted to the trains of one cell by maximum likelihood."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy
import torch

from mho.fit.calibration import Array
from mho.fit.pulse.data import Steps, Trains
from mho.fit.pulse.laws import Law
from mho.fit.pulse.likelihood import FLOOR, Predicted, of_readings, of_steps
from mho.fit.pulse.maximise import maximum

Mask = npt.NDArray[np.bool_]

_BOUND_SCALE = 0.3  # of the window: how far off a bound may reasonably lie
_WEAK = 10.0  # so many such distances wide is the prior that keeps what nothing tells finite
_LEAST_NOISE = 0.02  # of a pulse, relative to that of all
_NOISELESS = 1e-3  # errors of single pulses, of the window, that may be none
_LARGEST_BATCH = 1_000_000


@dataclass(frozen=True)
class Problem:
    """A law, the trains it is fitted to, and which parameters are free.

    Attributes:
        law: the law.
        trains: of one cell.
        theta: where the free parameters start and the others stay.
        free: which are fitted.
        kept: which pulses count, ``[trains, pulses]``.
        floor: noise of any pulse (scaled), whatever the law says.
    """

    law: Law
    trains: Trains
    theta: Array
    free: Mask
    kept: Mask
    floor: float = FLOOR

    @property
    def reads(self) -> bool:
        """Whether readings have noise of their own."""
        return bool(np.isfinite(self.theta[-1]))

    def predicted(self, theta: Array) -> Predicted:
        """Return what one ``theta`` says of every pulse, kept or not, ``[trains, pulses]``."""
        batch = torch.from_numpy(np.atleast_2d(theta))
        model = self.law.model(batch)
        if self.reads:
            found = of_readings(self.trains, model, *_ends(batch), batch[:, -1:].exp())
            return Predicted(*(v[0] for v in _parts(found)))
        flat = of_steps(self.trains.steps(), model, self.floor)
        valid = torch.from_numpy(self.trains.valid)
        blank = torch.zeros(valid.shape, dtype=torch.float64)
        return Predicted(*(blank.masked_scatter(valid, v[0]) for v in _parts(flat)))


@dataclass(frozen=True)
class Solution:
    """A problem solved.

    Attributes:
        problem: what was fitted.
        theta: the parameters.
        covariance: of all parameters (0 of those not fitted), NaN where it is not known.
        value: the log likelihood (with the weak prior).
    """

    problem: Problem
    theta: Array
    covariance: Array
    value: float


def problem(
    law: Law,
    trains: Trains,
    *,
    levels: tuple[int, int],
    read_noise: float = 0.0,
    free_levels: bool = False,
) -> Problem:
    """Return the problem of fitting a law to trains, with all pulses.

    Bounds at which pulses pile up are known, and so are those of a law that does not tell them:
    these are the ends of the data.

    Args:
        law: the law.
        trains: of one cell.
        levels: set and reset pulses that span the window, of a law that has them.
        read_noise: a guess at the noise of a reading (scaled); 0: there is none.
        free_levels: whether levels are fitted.
    """
    names = law.names
    theta = np.array([0.0, 1.0, *law.starts[0], np.log(0.05), -np.inf])
    free = np.ones(len(names), bool)
    free[0] = law.bounds_free and not trains.stops[0]
    free[1] = law.bounds_free and not trains.stops[1]
    for name, value in zip(("levels", "levels_reset"), levels, strict=True):
        if name in names:
            theta[names.index(name)] = np.log(value)
            free[names.index(name)] = free_levels
    free[-1] = read_noise > 0.0
    if read_noise > 0.0:
        theta[-1] = np.log(read_noise)
    return Problem(law, trains, theta, free, trains.valid)


def solve(given: Problem, *, warm: bool = False, errors: bool = True) -> Solution:
    """Return the maximum of the likelihood of what is kept.

    Args:
        given: the problem.
        warm: whether its ``theta`` is near the maximum already.
        errors: whether the covariance is wanted.
    """
    chosen = given.trains.steps().where(_flat(given))
    start = given if warm else _least_squares(given, chosen)
    free, base = given.free, start.theta
    centre = given.theta[free] if not warm else base[free]
    weak = _WEAK * _scales(given.law)[free]

    def posterior(candidates: Array) -> Array:
        theta = np.repeat(base[None], len(candidates), axis=0)
        theta[:, free] = candidates
        values = _log_likelihood(start, chosen, theta)
        prior: Array = -0.5 * (((candidates - centre) / weak) ** 2).sum(axis=1)
        return values + prior

    found = maximum(posterior, base[free], _whitening(start, chosen), errors=errors)
    theta = base.copy()
    theta[free] = found.point
    covariance = np.zeros((len(theta), len(theta)))
    covariance[np.ix_(free, free)] = found.covariance
    return Solution(start, theta, covariance, found.value)


def _log_likelihood(given: Problem, steps: Steps, theta: Array) -> Array:
    # In blocks of candidates, so that memory stays bounded.
    width = max(1, _LARGEST_BATCH // max(len(steps.before), 1))
    values = []
    for batch in torch.from_numpy(theta).split(width):
        model = given.law.model(batch)
        if given.reads:
            noise = batch[:, -1:].exp()
            found = of_readings(given.trains, model, *_ends(batch), noise, shares=False)
            kept = torch.from_numpy(given.kept)
            values.append(torch.where(kept, found.log_density, 0.0).sum(dim=(-1, -2)))
        else:
            values.append(of_steps(steps, model, given.floor).log_density.sum(dim=-1))
    return torch.cat(values).numpy()


def log_likelihood(given: Problem, theta: Array) -> Array:
    """Return the log likelihoods of whole parameter vectors, ``[candidates, names]``."""
    return _log_likelihood(given, given.trains.steps().where(_flat(given)), theta)


def _least_squares(given: Problem, steps: Steps) -> Problem:
    # Mean steps fitted to the pulses that no bound stopped, then the noise about them.
    law, free = given.law, given.free.copy()
    free[-2:] = False
    open_steps = steps.where(steps.stopped == 0)
    best: tuple[float, Array] | None = None
    for shape in law.starts:
        theta = given.theta.copy()
        theta[2:-2] = np.where(free[2:-2], shape, theta[2:-2])

        def errors(x: Array, theta: Array = theta) -> Array:
            return _errors(law, open_steps, _filled(theta, free, x[None]))[0]

        def slopes(x: Array, theta: Array = theta) -> Array:
            h = 1e-6 * _scales(law)[free]
            near = np.concatenate([x + np.diag(h), x - np.diag(h)])
            ahead, back = np.split(_errors(law, open_steps, _filled(theta, free, near)), 2)
            return ((ahead - back) / (2 * h[:, None])).T

        search = {"jac": slopes, "x_scale": _scales(law)[free]}
        reach = _WEAK * _scales(law)[free]
        search["bounds"] = (theta[free] - reach, theta[free] + reach)
        rough = dict.fromkeys(("ftol", "xtol", "gtol"), 1e-6)
        found = scipy.optimize.least_squares(errors, theta[free], **search, **rough, max_nfev=40)
        if found.cost < _NOISELESS**2 * found.fun.size:
            # Nothing but rounding is left at the end: only then do its last digits matter.
            fine = dict.fromkeys(("ftol", "xtol", "gtol"), 1e-15)
            found = scipy.optimize.least_squares(errors, found.x, **search, **fine, max_nfev=60)
        if best is None or found.cost < best[0]:
            best = found.cost, _filled(theta, free, found.x[None])[0]
    assert best is not None
    return _with_noise(given, open_steps, best[1])


def _with_noise(given: Problem, steps: Steps, theta: Array) -> Problem:
    # c2c so that the law's noise is, over all, as large as the errors; less what readings add.
    theta[-2] = 0.0
    change, unit = given.law.model(torch.from_numpy(theta[None]))(steps.before, steps.up)
    square = float((steps.after - steps.before - change).square().mean())
    floor = FLOOR if given.reads else max(FLOOR, _LEAST_NOISE * square**0.5)
    if given.reads:
        square = max(square - 2 * np.exp(2 * theta[-1]), 0.05 * square)
    typical = float(unit.square().mean())
    theta[-2] = 0.5 * np.log((square + FLOOR**2) / max(typical, FLOOR**2))
    return replace(given, theta=theta, floor=floor)


def _whitening(given: Problem, steps: Steps) -> Array:
    # A square root of the covariance as the errors of single pulses give it.
    theta, free, scales = given.theta, given.free, _scales(given.law)
    noise = given.law.model(torch.from_numpy(theta[None]))(steps.before, steps.up)[1]
    sigma = (noise.square() + FLOOR**2).sqrt().numpy()[0]
    if given.reads:
        sigma = np.sqrt(sigma**2 + 2 * np.exp(2 * theta[-1]))
    # At a law's bound the noise vanishes: no pulse is worth more than many.
    sigma = np.maximum(sigma, 0.1 * np.median(sigma))
    h = np.minimum(1e-5 * scales, 1.0)
    near = np.concatenate([theta + np.diag(h), theta - np.diag(h)])[np.tile(free, 2)]
    ahead, back = np.split(_errors(given.law, steps, near), 2)
    slopes = (ahead - back) / (2 * h[free][:, None]) / sigma
    information = slopes @ slopes.T
    positions = np.flatnonzero(free)
    for k, at in enumerate(positions):
        if at >= len(theta) - 2:  # the logarithms of noises
            information[k, :] = information[:, k] = 0.0
            information[k, k] = 2.0 * max(len(sigma), 1)
    information += np.diag(1.0 / scales[free] ** 2)
    values, vectors = np.linalg.eigh(information)
    root: Array = vectors / np.sqrt(np.maximum(values, 1e-12 * values[-1]))
    return root


def _errors(law: Law, steps: Steps, theta: Array) -> Array:
    change, _ = law.model(torch.from_numpy(theta))(steps.before, steps.up)
    return (steps.after - steps.before - change).numpy()


def _filled(theta: Array, free: Mask, values: Array) -> Array:
    whole = np.repeat(theta[None], len(values), axis=0)
    whole[:, free] = values
    return whole


def _scales(law: Law) -> Array:
    return np.array([_BOUND_SCALE, _BOUND_SCALE, *law.scales, 10.0, 10.0])


def _flat(given: Problem) -> torch.Tensor:
    # Which of all single pulses are kept.
    return torch.from_numpy(given.kept[given.trains.valid])


def _ends(theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return theta[:, :1], theta[:, 1:2]


def _parts(found: Predicted) -> tuple[torch.Tensor, ...]:
    return found.log_density, found.error, found.below, found.until
