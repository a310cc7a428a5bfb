"""States that diffuse between two walls: ``dx = rate(x) dt + intensity(x) dW`` (Itô) on [0, 1].

What would leave is reflected, so nothing gathers at a wall. Three transitions make a pulse:

* at rest (no drift, the same intensity everywhere) the free Gaussian, folded back at both walls:
  exact over any time (the method of images);
* else steps of each cell's own, as long as its diffusion length ``√(intensity² h)`` and its drift
  ``rate · h`` stay short beside the range;
* next to a wall that the drift presses against, in layers far thinner than the range, one step
  for all the time left.

A step is exact for constant drift and intensity at the nearer wall: with the free displacement
``X = x + rate h + intensity √h N`` and the least value m of the Brownian bridge from x to X, drawn
by its own law, the reflected state is ``X − min(m, 0)`` (Skorokhod). So the statistics do not
depend on how a pulse is cut. The weak error is of order 1 in the length of the steps.

Source: for the bridge's least value, P. Glasserman, "Monte Carlo methods in financial
engineering" (2003), section 6.4; for reflection in weak approximations, M. Bossy, E. Gobet,
D. Talay, J. Appl. Probab. 41 (2004), doi 10.1239/jap/1091543429.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Law = Callable[[Any], Any]

# The longest diffusion length and drift of a step, as parts of the range.
_DIFFUSION, _DRIFT = 0.05, 0.05
# ...and no step is shorter than this part of the whole time: a drift that steep is over at once.
_SHORTEST = 1e-7
# A layer at a wall counts as thin where drift · depth / intensity² is past this at this depth:
# then e^-12 of the cells are deeper.
_DEPTH, _PRESSED = 0.05, 6.0
# So many relaxation times 1/intensity² make any state forget where it began (e^-49 is left).
_FORGOTTEN = 10.0
_PROBES = (0.0, 0.25, 0.5, 0.75, 1.0)


def fold(x: Any) -> Any:
    """Return free states reflected into ``[0, 1]``, at both walls as often as it takes."""
    return 1.0 - abs(x % 2.0 - 1.0)


def reflected(
    rate: Law, intensity: Law, x: Tensor, duration: Tensor, generator: torch.Generator | None
) -> Tensor:
    """Move states by drift and noise at a constant drive.

    Args:
        rate: ``rate(x)``, drift (1/s).
        intensity: ``intensity(x)``, noise intensity (1/√s).
        x: states, in [0, 1].
        duration: of each cell's drive (s), >= 0, of the shape of ``x``.
        generator: of the noise; None is torch's default one.

    Returns:
        The states after ``duration``, in [0, 1].
    """
    still, least = _at_rest(rate, intensity, x)
    rested = fold(x + intensity(x) * duration.sqrt() * _normal(x, generator))
    rested = torch.where(duration > 0.0, rested, x)
    if bool(still.all()):
        return rested
    # A state that has forgotten its past is where any later one is.
    left = torch.minimum(duration, _FORGOTTEN / least.square().clamp(min=1e-30))
    moving = torch.where(still, 0.0, left).double()  # a float32 would not hold its last steps
    shortest = _SHORTEST * moving
    while bool((moving > 0.0).any()):
        slope, noise = rate(x), intensity(x) + 0.0 * x
        pressed = _pressed(x, slope, noise)
        step = torch.where(pressed, moving, torch.maximum(_step(slope, noise), shortest))
        h = torch.minimum(step, moving).to(x.dtype)
        # Heun's rule: its second slope sees where a threshold on the way stops the drift. A cell
        # that is pressed against a wall feels the drift and the noise there.
        ahead = (x + h * slope).clamp(0.0, 1.0)
        second = rate(ahead)
        drift = h * torch.where(pressed, second, 0.5 * (slope + second))
        noise = torch.where(pressed, intensity(ahead), noise)
        x = torch.where(moving > 0.0, _stepped(x, drift, noise, h, generator), x)
        moving = moving - h
    return torch.where(still, rested, x)


def _at_rest(rate: Law, intensity: Law, x: Tensor) -> tuple[Tensor, Tensor]:
    # Which cells have neither drift nor a gradient of the noise; and the least noise of each.
    states = [torch.full_like(x, probe) for probe in _PROBES]
    drift = torch.stack([rate(state) + 0.0 * x for state in states]).abs().amax(0)
    noise = torch.stack([intensity(state) + 0.0 * x for state in states])
    low, high = noise.amin(0), noise.amax(0)
    return (drift == 0.0) & (high - low <= 1e-6 * high), low


def _step(slope: Tensor, noise: Tensor) -> Tensor:
    wide = noise.square().clamp(min=1e-30)
    return torch.minimum(_DIFFUSION**2 / wide, _DRIFT / slope.abs().clamp(min=1e-30)).double()


def _pressed(x: Tensor, slope: Tensor, noise: Tensor) -> Tensor:
    ahead = torch.where(slope > 0.0, 1.0 - x, x)
    return (ahead < _DEPTH) & (slope.abs() * _DEPTH > _PRESSED * noise.square())


def _stepped(
    x: Tensor, drift: Tensor, noise: Tensor, h: Tensor, generator: torch.Generator | None
) -> Tensor:
    wide = noise * h.sqrt()
    free = x + drift + wide * _normal(x, generator)
    # Seen from the wall that the step's middle is nearer to.
    upper = x + free > 1.0
    start, end = torch.where(upper, 1.0 - x, x), torch.where(upper, 1.0 - free, free)
    uniform = torch.empty_like(x).uniform_(generator=generator).clamp(min=1e-30)
    spread = (end - start).square() - 2.0 * wide.square() * uniform.log()
    least = 0.5 * (start + end - spread.sqrt())
    end = end - least.clamp(max=0.0)
    return fold(torch.where(upper, 1.0 - end, end))


def _normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.empty_like(like).normal_(generator=generator)
