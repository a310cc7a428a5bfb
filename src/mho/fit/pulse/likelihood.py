"""The likelihood of measured pulses under a law: of states that bounds cut off, and of readings.

A cell clips at its bounds: ``G' = clip(G + m(G) + s(G)·ε, g_min, g_max)``. Where readings show the
states themselves, single pulses are independent given where they start: a density inside the
bounds, a probability at them (J. Tobin, "Estimation of relationships for limited dependent
variables", Econometrica 1958, doi 10.2307/1907382). Where the instrument adds noise of its own,
``y = G + r·η``, the state is followed from reading to reading by its mean and variance, taken as
normal before each pulse, with the law's slope there (extended Kalman filter) and with the
probabilities of being at a bound (assumed-density filter; P. S. Maybeck, "Stochastic models,
estimation and control", vol. 2, 1982, chapter 12). A reading is conditioned on its last ten to
twenty, not on all (A. V. Vecchia, J. R. Stat. Soc. B 50, 297, 1988,
doi 10.1111/j.2517-6161.1988.tb01729.x): short segments run side by side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mho.fit.pulse.data import Steps, Trains
from mho.fit.pulse.laws import StepModel

FLOOR = 1e-9  # of the window: the least noise of a pulse and of a reading
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
_COUNTED, _WARM = 10, 10  # readings of a segment that count, and those before them
_SLOPE = 1e-4  # of the window: over which the slope of a law is taken


@dataclass(frozen=True)
class Predicted:
    """What a law said of each pulse before it was seen.

    Attributes:
        log_density: of what was measured (of the scaled conductance; a log probability at a
            bound), ``[…, pulses]``.
        error: measured minus the mean predicted (bounds apart), likewise.
        below: probability of a lower value than the measured one, likewise.
        until: probability of the measured one or a lower; larger than ``below`` at a bound only.
    """

    log_density: Tensor
    error: Tensor
    below: Tensor
    until: Tensor


def of_steps(steps: Steps, model: StepModel, floor: float = FLOOR) -> Predicted:
    """Return what a law predicts of single pulses whose readings are the states themselves.

    Args:
        steps: the pulses.
        model: the law's step.
        floor: noise (scaled) that any pulse has: a law may say that there is none at a bound, and
            one pulse that moves there would outweigh all others.
    """
    change, noise = model(steps.before, steps.up)
    sigma = (noise.square() + floor**2).sqrt()
    error = steps.after - steps.before - change
    z = error / sigma
    below, above = torch.special.log_ndtr(z), torch.special.log_ndtr(-z)
    inside = -0.5 * z.square() - sigma.log() - _HALF_LOG_2PI
    top, bottom = steps.stopped > 0, steps.stopped < 0
    log_density = torch.where(top, above, torch.where(bottom, below, inside))
    share = below.exp()
    zero, one = torch.zeros_like(share), torch.ones_like(share)
    return Predicted(
        log_density,
        error,
        torch.where(bottom, zero, share),
        torch.where(top, one, share),
    )


def of_readings(
    trains: Trains,
    model: StepModel,
    low: Tensor,
    high: Tensor,
    read_noise: Tensor,
    *,
    shares: bool = True,
) -> Predicted:
    """Return what a law predicts of trains of readings with noise of their own.

    Args:
        trains: the readings; pulses beyond a train's length count nothing (log density 0).
        model: the law's step.
        low: lower bound, ``[candidates, 1]``.
        high: upper bound, likewise.
        read_noise: standard deviation of a reading, likewise.
        shares: whether the probabilities of lower values are wanted (else they are 0).
    """
    cut = _Segments.of(trains)
    y, up = cut.readings, cut.up
    r2 = read_noise.square() + FLOOR**2
    mean = torch.minimum(torch.maximum(y[:, 0].expand(len(low), -1), low), high)
    variance = r2.expand_as(mean)
    densities, errors, scores = [], [], []
    for now in y[:, 1:].unbind(dim=-1):
        ahead, spread = _pulse(model, mean, variance, up)
        if shares:
            middle, width = _clipped(ahead, spread.sqrt(), low, high)
            scores.append((now - middle) / (width + r2).sqrt())
        log_density, mean, variance = _read(now, ahead, spread, low, high, r2)
        densities.append(log_density)
        errors.append(now - ahead)
    density, error = cut.joined(densities), cut.joined(errors)
    share = torch.special.ndtr(cut.joined(scores)) if shares else torch.zeros_like(error)
    return Predicted(density, error, share, share)


@dataclass(frozen=True)
class _Segments:
    # Trains cut into short ones that run side by side. Each begins some readings before the first
    # that counts, so that a reading is conditioned on its last ten to twenty rather than on all.
    readings: Tensor
    up: Tensor
    segment: Tensor
    offset: Tensor
    valid: Tensor

    @classmethod
    def of(cls, trains: Trains) -> _Segments:
        valid = torch.from_numpy(trains.valid)
        rows, pulses = valid.shape
        number = -(-pulses // _COUNTED)
        first = torch.arange(number) * _COUNTED
        start = (first - _WARM).clamp_min(0)
        length = min(_COUNTED + _WARM, pulses)
        index = (start[:, None] + torch.arange(length + 1)).clamp(max=pulses)
        readings = torch.from_numpy(trains.g)[:, index].reshape(rows * number, length + 1)
        segment = torch.arange(pulses) // _COUNTED
        offset = torch.arange(pulses) - start[segment]
        up = torch.from_numpy(trains.up).repeat_interleave(number)
        return cls(readings, up, segment, offset, valid)

    def joined(self, steps: list[Tensor]) -> Tensor:
        # From steps of all segments, [candidates, segments] each, to [candidates, trains, pulses].
        whole = torch.stack(steps, dim=-1)
        rows = whole.view(len(whole), len(self.valid), -1, whole.shape[-1])
        return torch.where(self.valid, rows[:, :, self.segment, self.offset], 0.0)


def _pulse(model: StepModel, mean: Tensor, variance: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    # Mean and variance after the pulse, before the bounds act.
    places = torch.stack([mean, mean - _SLOPE, mean + _SLOPE])
    change, noise = model(places, up)
    slope = 1.0 + (change[2] - change[1]) / (2 * _SLOPE)
    return mean + change[0], slope.square() * variance + noise[0].square() + FLOOR**2


def _read(
    y: Tensor, ahead: Tensor, spread: Tensor, low: Tensor, high: Tensor, r2: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    # The reading's log density, and the state's mean and variance once it is known: at the lower
    # bound, between the bounds (a normal, cut off), or at the upper bound.
    whole, sigma = spread + r2, spread.sqrt()
    given = ahead + spread / whole * (y - ahead)
    left = (spread * r2 / whole).sqrt()
    a, b = (low - given) / left, (high - given) / left
    inside, middle, width = _cut(given, left, a, b)
    weights = torch.stack(
        [
            torch.special.log_ndtr((low - ahead) / sigma) + _log_normal(y - low, r2),
            _log_normal(y - ahead, whole) + inside,
            torch.special.log_ndtr((ahead - high) / sigma) + _log_normal(y - high, r2),
        ]
    )
    log_density = torch.logsumexp(weights, dim=0)
    share = (weights - log_density).exp()
    ends = torch.stack([low.expand_as(middle), middle, high.expand_as(middle)])
    mean = (share * ends).sum(dim=0)
    variance = (share * (ends - mean).square()).sum(dim=0) + share[1] * width
    return log_density, mean, variance


def _log_normal(x: Tensor, variance: Tensor) -> Tensor:
    return -0.5 * (x.square() / variance + variance.log()) - _HALF_LOG_2PI


def _cut(mean: Tensor, sigma: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    # Log probability, mean and variance of a normal between scores a and b. Where (almost) all of
    # it lies outside, the bound itself is the mean: its weight is as good as nothing then.
    share = (torch.special.ndtr(b) - torch.special.ndtr(a)).clamp_min(1e-300)
    pa, pb = (torch.exp(-0.5 * x.square() - _HALF_LOG_2PI) for x in (a, b))
    first = (pa - pb) / share
    second = 1.0 + (a * pa - b * pb) / share - first.square()
    safe = share > 1e-12
    middle = mean + sigma * torch.where(safe, first, torch.where(a > 0, a, b))
    width = sigma.square() * torch.where(safe, second.clamp(0.0, 1.0), 0.0)
    return share.log(), middle, width


def _clipped(mean: Tensor, sigma: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    # Mean and variance of a normal that bounds stop.
    a, b = (low - mean) / sigma, (high - mean) / sigma
    inside, middle, width = _cut(mean, sigma, a, b)
    share = torch.stack([torch.special.ndtr(a), inside.exp(), torch.special.ndtr(-b)])
    ends = torch.stack([low.expand_as(middle), middle, high.expand_as(middle)])
    average = (share * ends).sum(dim=0)
    return average, (share * (ends - average).square()).sum(dim=0) + share[1] * width
