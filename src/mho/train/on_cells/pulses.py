"""How many pulses a proposed change of a weight is worth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mho.core import checks, random
from mho.core.spec import Spec

ROUNDINGS = ("stochastic", "nearest")


@dataclass(frozen=True)
class PulseRule(Spec):
    """From changes of weights to numbers of pulses.

    A change Δw is worth ``n = Δw/step`` pulses, with the step of its direction. Rounded
    *stochastically* (up with the chance of the fraction) the pulses mean what was proposed however
    small it is; rounded to the *nearest*, less than half a step does nothing.

    With a ``threshold``, changes are accumulated digitally and ``⌊χ/step⌋`` pulses (towards 0) are
    written where the sum χ has reached so many steps; the rest stays in χ. Source: S. R.
    Nandakumar et al., "Mixed-precision deep learning based on computational memory", Frontiers
    in Neuroscience 14, 406 (2020), doi 10.3389/fnins.2020.00406.

    Attributes:
        rounding: ``"stochastic"`` or ``"nearest"``; without meaning where there is a threshold.
        threshold: steps, >= 1, or None: nothing is accumulated.
        max_pulses: most pulses of a weight in one update, >= 1, or None: as many as its range
            has steps. What is more is lost, or stays in χ.
    """

    rounding: str = "stochastic"
    threshold: float | None = None
    max_pulses: int | None = None

    def __post_init__(self) -> None:
        checks.one_of("rounding", self.rounding, ROUNDINGS)
        if self.threshold is not None:
            checks.number("threshold", self.threshold, least=1.0)
        if self.max_pulses is not None:
            checks.integer("max_pulses", self.max_pulses)

    def due(
        self,
        change: Tensor,
        steps: tuple[float, float],
        width: float,
        carry: Tensor | None,
        rng: Tensor,
        spare: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return which weights get pulses, and how many.

        Args:
            change: proposed changes, flat, finite. Overwritten.
            steps: what a pulse is worth, up and down (see `pulse_steps`).
            width: of the range of a weight.
            carry: χ, flat, moved on in place; None without a threshold.
            rng: stream of randomness; see `mho.core.random`.
            spare: memory to work in, ``[2, n]`` of the kind of ``change``.

        Returns:
            Positions and signed counts, none of them 0 (int64 both).
        """
        up, down = steps
        spare = change.new_empty((2, *change.shape)) if spare is None else spare
        size, draw = spare.unbind(0)
        if carry is not None:
            change.copy_(carry.add_(change))
        # As if both directions had steps of the size ``up``.
        n = change if up == down else F.leaky_relu_(change, up / down)
        torch.abs(n, out=size)
        if self.threshold is not None:
            index = random.where(size >= self.threshold * up)
            number = size[index].div_(up).floor_()
        elif self.rounding == "nearest":
            index = random.where(size >= 0.5 * up)
            number = size[index].div_(up).round_()
        else:
            # n steps are rounded up where a uniform draw u stays below the fraction: ⌊n + 1 − u⌋.
            index, drawn = random.below(size, up, random.take(rng, change.device), draw)
            number = size[index].sub_(drawn).div_(up).add_(1.0).floor_()
        # What is in ``index`` gets one pulse at least, however its sum was rounded.
        most = self.max_pulses or math.ceil(width / min(steps))
        number = number.clamp_(min=1.0, max=most).mul_(n[index].sign_())
        if carry is not None:
            carry[index] -= torch.where(number > 0, number * up, number * down)
        return index, number.to(torch.int64)


class Scratch:
    """Memory to work in, lent to one parameter after the other: fresh memory costs more time."""

    def __init__(self) -> None:
        self._lent: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def of(self, count: int, like: Tensor) -> Tensor:
        """Return memory ``[3, count]`` of a tensor's kind; what was lent before is void."""
        kind = (like.device, like.dtype)
        lent = self._lent.get(kind)
        if lent is None or lent.numel() < 3 * count:
            self._lent[kind] = lent = like.new_empty(3 * count)
        return lent[: 3 * count].view(3, count)

    def __reduce__(self) -> tuple[type[Scratch], tuple[()]]:
        return Scratch, ()  # a copy has memory of its own
