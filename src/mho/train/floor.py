"""Where plain pulsed SGD ends, by its equations."""

from __future__ import annotations

import math
from typing import NamedTuple

from mho.core import checks


class Floor(NamedTuple):
    """Where plain pulsed SGD ends on a quadratic, a weight.

    Attributes:
        bias: of the mean, towards the symmetry point (weight units).
        deviation: standard deviation about the mean (weight units).
        loss: above the minimum.
    """

    bias: float
    deviation: float
    loss: float


def sgd_floor(
    *,
    curvature: float,
    noise: float,
    lr: float,
    step: float,
    reach: float = math.inf,
    distance: float = 0.0,
    snr: float = math.inf,
    gross: float | None = None,
) -> Floor:
    """Return the floor of plain pulsed SGD on ``h/2·(w − w*)²``, by its equations.

    A step of rate lr whose gradient is ``h·(w − w*) + ξ`` has ``lr·|gradient|/Δ`` pulses; each
    takes ``Δ/τ`` of the distance to the symmetry point s, so ``w ← w + Δw − |Δw|·(w − s)/τ``.
    With ``G = E|ξ|`` the mean ends at a bias of ``(s − w*)·(G/τ)/(h + G/τ)``. The variance is that
    of ``lr²·σ²`` of the gradients and ``lr·G·Δ·(1 + 1/SNR²)`` of the pulses (their number is
    random, and so is each) a step, over ``2·lr·(h + G/τ)``.

    Source of the equation: Z. Wu et al., "Towards exact gradient-based training on analog
    in-memory computing", arXiv:2406.12774 (there with a lower bound of the loss); the floor is
    worked out here.

    Args:
        curvature: h, > 0.
        noise: σ, standard deviation of the gradient, >= 0.
        lr: learning rate, > 0.
        step: Δ, of a pulse (weight units), > 0.
        reach: τ (weight units), > 0; infinite for equal steps all over the window.
        distance: of the minimum from the symmetry point (weight units).
        snr: mean over deviation of a pulse, > 0.
        gross: G; ``√(2/π)·σ``, of normal gradients, if not given.

    Raises:
        TypeError, ValueError: if an argument is refused.
    """
    for name, value in (("curvature", curvature), ("lr", lr), ("step", step)):
        checks.number(name, value, above=0.0)
    checks.number("noise", noise, least=0.0)
    for name, value in (("reach", reach), ("snr", snr)):
        if not value > 0.0:
            raise ValueError(f"{name} must be > 0, got {value!r}")
    pulses = math.sqrt(2.0 / math.pi) * noise if gross is None else gross
    pull = pulses / reach
    bias = abs(distance) * pull / (curvature + pull)
    moved = lr * noise**2 + pulses * step * (1.0 + snr**-2)
    variance = moved / (2.0 * (curvature + pull))
    return Floor(bias, math.sqrt(variance), curvature / 2.0 * (bias**2 + variance))
