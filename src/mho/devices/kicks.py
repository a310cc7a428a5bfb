"""Noise of states in [0, 1], as kicks between which the drift acts alone.

    dx = rate dt + intensity dW   (Itô)

A kick stands for the noise of an interval; then the drift, however steep, moves the state by its
own solver to the interval's end. An interval is so short that the noise within it stays short
beside the range, and that over its width the drift hardly differs: then a kick is the free
Gaussian, folded back at the bounds, and the weak error is of order 1 in the interval.

Some drifts differ sharply however short the interval: at a threshold which pushes back whatever
crosses it, or at a bound against which the state is pressed. Where the layer in which noise and
such a drift are in balance, ``intensity²/(2 rate)``, is too thin to matter, they are walls. A state
kicked through a wall and then pushed back to it would have lost all that noise did on the far side
before: an error of order ½. So the farthest point M of the kick's path (a Brownian bridge to its
end, whose extremes have a law of their own) is drawn too, and what the drift takes from there,
J(M) - M beyond J(m) - m at the other extreme m, is taken from the end: at a hard wall that is the
reflected path itself (Skorokhod).

Source: for a bridge's extremes, P. Glasserman, "Monte Carlo methods in financial engineering"
(2003), section 6.4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mho.devices import maths, stiff
from mho.devices.diffusion import fold
from mho.devices.maths import unit

# ``law(s)``: what states would move by within one sample, at the part s of the way.
Law = Callable[[Any], Callable[[Any], Any]]

# The longest kick (one σ), as a part of the range: of states that drift, and of any.
_LONG = 0.06
# A kick this short is harmless whatever the drift.
_HARMLESS = 1e-3
# The drift's differences over a kick's width may move a state by this part of the kick, and a
# drift towards a bound within reach may be this part of it.
_SMOOTH, _PRESSED = 0.4, 0.1
# A wall pushes so hard that at this depth behind it next to nothing (e^-6) is left.
_DEPTH, _STEEP = 2e-3, 6.0
# Kicks from further than this many σ do not reach a bound.
_REACH = 4.0
# Drift and noise are one step near a bound, where the drift moves by less than this.
_DRIFT = 0.05
# Kicks at walls are this long at most: as a part of the range, or of all noise until the next
# sample.
_THIN = (6e-3, 0.3)
_PROBES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_QUARTERINGS = 30
_ROOT = 1e-4
_BLOCK = 4096


class Draws:
    """Normal and uniform numbers: shaped like a tensor, or one by one as floats.

    Args:
        generator: where they come from; None is torch's default one.
    """

    def __init__(self, generator: torch.Generator | None) -> None:
        self.generator = generator
        self._normals: list[float] = []
        self._uniforms: list[float] = []

    def normal(self, like: Any) -> Any:
        """Return standard normals."""
        if isinstance(like, Tensor):
            return torch.empty_like(like).normal_(generator=self.generator)
        if not self._normals:
            self._normals = self._block().normal_(generator=self.generator).tolist()
        return self._normals.pop()

    def uniform(self, like: Any) -> Any:
        """Return numbers in (0, 1]."""
        if isinstance(like, Tensor):
            return 1.0 - torch.empty_like(like).uniform_(generator=self.generator)
        if not self._uniforms:
            self._uniforms = (1.0 - self._block().uniform_(generator=self.generator)).tolist()
        return self._uniforms.pop()

    def _block(self) -> Tensor:
        device = "cpu" if self.generator is None else self.generator.device
        return torch.empty(_BLOCK, dtype=torch.float64, device=device)


def interval(law: Law, sigma: Any, x: Any, s: Any) -> tuple[Any, Any]:
    """Return how long, as parts of a sample, one kick may stand for the noise.

    Args:
        law: the drift.
        sigma: standard deviation the noise would bring within one sample.
        x: states.
        s: where between two samples they are.

    Returns:
        The lengths, and whether a state is so near a bound that drift and noise should be one
        `step` there, rather than one after the other.
    """
    room = 1.0 - s
    wide = sigma * sigma + 1e-300
    # A wall moves while a kick is one: it is followed by shorter ones.
    thin = maths.clip(_THIN[1] * sigma * room**0.5, _THIN[0], _LONG)
    length = maths.smallest(room, 0.0 * x + _LONG**2 / wide)
    # Some need no intervals at all before the next sample; finding these costs rates.
    whole = x < 0.0
    asked = maths.some(length < room)
    if asked:
        whole = _at_rest(law, x, s) | _pinned(law, wide, x, s)
        length = maths.where(whole, room, length)
    for _ in range(_QUARTERINGS):
        width = sigma * length**0.5
        near = maths.smallest(width, 0.0 * x + _LONG)
        below, above = _at(law(s + length), unit(x - near), unit(x + near))
        steepest = maths.largest(abs(below), abs(above))
        smooth = _differ(x, near, length, below, above) <= _SMOOTH
        beside = (x + _REACH * near > 1.0) | (x - _REACH * near < 0.0)
        short = length * steepest <= _DRIFT
        wall = (2.0 * _DEPTH * steepest > _STEEP * wide) & (width <= thin)
        # A cell is either away from the bounds, or takes a short step, or the bound is a wall.
        fine = whole | wall | (width <= _HARMLESS) | (smooth & (short | (beside ^ True)))
        if not asked and not maths.every(fine):
            asked, whole = True, _pinned(law, wide, x, s)
            fine = fine | whole
        if maths.every(fine):
            break
        length = maths.where(fine, length, 0.25 * length)
    return length, smooth & beside & short & ((whole | wall) ^ True)


def step(law: Law, sigma: Any, x: Any, s: Any, length: Any, draws: Draws) -> Any:
    """Return states after drift and noise together; arguments as in `kick`.

    Exact where both are constant: reflected at the nearer bound by the least value of the Brownian
    bridge to the free end (Skorokhod).
    """
    first = law(s)(x)
    drift = 0.5 * length * (first + law(s + length)(unit(x + length * first)))
    width = sigma * length**0.5
    free = x + drift + width * draws.normal(x)
    upper = x + free > 1.0
    start, end = maths.where(upper, 1.0 - x, x), maths.where(upper, 1.0 - free, free)
    _, least = _extremes(start, end - start, width, draws)
    end = end - maths.smallest(least, 0.0 * least)
    return fold(maths.where(upper, 1.0 - end, end))


def kick(law: Law, sigma: Any, x: Any, s: Any, length: Any, draws: Draws) -> Any:
    """Return states after the noise of an interval around ``s``; arguments as in `interval`."""
    width = sigma * length**0.5
    normal = draws.normal(x)
    kicked = fold(x + width * normal)
    # Only states at rest, or pinned to a bound, take longer intervals than this.
    width = maths.smallest(width, 0.0 * x + _LONG)
    below, above = _at(law(s), unit(x - width), unit(x + width))
    # Differences that the interval had to accept, and bounds that the drift presses against.
    differs = _differ(x, width, length, below, above) > _SMOOTH
    top = (x + _REACH * width > 1.0) & (length * above > _PRESSED * width)
    bottom = (x - _REACH * width < 0.0) & (length * below < -_PRESSED * width)
    walled = (differs | top | bottom) & (width > _HARMLESS)
    if not maths.some(walled):
        return kicked
    upper = maths.where(differs, abs(above) >= abs(below), top)
    step = width * normal
    highest, lowest = _extremes(x, step, width, draws)
    up, down = _carried(law(s), highest, lowest, length)
    taken = (up - highest) - (down - lowest)
    bent = unit(x + step + maths.where(upper, taken, -taken))
    # Where the drift brings all of the path to one place, the state is there.
    bent = maths.where(abs(up - down) <= _DEPTH, 0.5 * (up + down), bent)
    return maths.where(walled, bent, kicked)


def _at(rate: Callable[[Any], Any], *states: Any) -> Any:
    # One evaluation of several states of every cell costs little more than one of either.
    if isinstance(states[0], Tensor):
        return rate(torch.stack(states))
    return [rate(state) for state in states]


def _differ(x: Any, width: Any, length: Any, below: Any, above: Any) -> Any:
    # By which part of their distance two states move apart, or together.
    apart = unit(x + width) - unit(x - width)
    return length * abs(above - below) / (apart + 1e-300)


def _at_rest(law: Law, x: Any, s: Any) -> Any:
    # Without any drift until the next sample, a kick may be as long as it likes.
    states = [0.0 * x + probe for probe in _PROBES]
    still = x >= 0.0
    for rate in (law(s), law(1.0 + 0.0 * s)):
        for drift in _at(rate, *states):
            still = still & (drift == 0.0)
        if not maths.some(still):
            break
    return still


def _pinned(law: Law, wide: Any, x: Any, s: Any) -> Any:
    # At a bound which the drift presses against from all around, until the next sample.
    pinned = maths.smallest(x, 1.0 - x) <= _DEPTH
    if not maths.some(pinned):
        return pinned
    top = x > 0.5
    depths = [0.0 * x + depth for depth in (_DEPTH, _LONG, 2.0 * _LONG)]
    states = [maths.where(top, 1.0 - depth, depth) for depth in depths]
    for rate in (law(s), law(1.0 + 0.0 * s)):
        for drift in _at(rate, *states):
            pinned = pinned & (2.0 * _DEPTH * maths.where(top, drift, -drift) > 2.0 * _STEEP * wide)
    return pinned


def _extremes(x: Any, step: Any, width: Any, draws: Draws) -> tuple[Any, Any]:
    """Return the highest and the lowest point of the Brownian path that ends in a step."""
    square = step * step - 2.0 * width * width * maths.log(draws.uniform(x))
    around = maths.sqrt(square)
    return x + 0.5 * (step + around), x + 0.5 * (step - around)


def _carried(rate: Callable[[Any], Any], one: Any, other: Any, length: Any) -> Any:
    """Return where the drift carries two states in an interval, by one implicit step."""

    def carry(x: Any) -> Any:
        return x + length * stiff.stage(rate, x, length, 0.0 * x, _ROOT)

    if isinstance(one, Tensor):
        return carry(torch.stack([one, other]))
    return carry(one), carry(other)
