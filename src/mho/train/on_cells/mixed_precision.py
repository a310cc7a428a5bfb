"""Mixed precision: gradients gather digitally, cells receive the whole pulses in their sum.

Source: S. R. Nandakumar et al., "Mixed-precision deep learning based on computational memory",
Frontiers in Neuroscience 14, 406 (2020), doi 10.3389/fnins.2020.00406.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mho.core import checks
from mho.train.on_cells.coincidence import PulsedUpdate
from mho.train.on_cells.learning_rule import LearningRule, MakeTile, RuleArrays, move
from mho.train.on_cells.pulses import PulseRule
from mho.train.on_cells.weights import WeightCells


@dataclass(frozen=True)
class MixedPrecision(LearningRule):
    """Mixed precision: ``χ −= lr·G``, and W receives ``trunc(χ/ε)`` pulses; χ keeps the rest.

    G is the exact gradient, ``Σ δ xᵀ``, worked out digitally; ε the change that a pulse is taken
    for, up or down. On cells that move by ε at every pulse W is SGD's weight but for less than
    ``threshold`` pulses. It costs a digital number a weight and a digital product an update, and no
    more pulses than the change is worth. `InSitu` with a ``threshold`` does the same for any
    digital optimizer.

    Source: S. R. Nandakumar et al., 2020, doi 10.3389/fnins.2020.00406.

    Attributes:
        write_every: updates between two writes of the cells, >= 1.
        threshold: pulses that must have come together, >= 1; see `PulseRule`.
        max_pulses: most pulses of a weight in one write, >= 1; None: as many as its range has.
    """

    write_every: int = 1
    threshold: float = 1.0
    max_pulses: int | None = None

    def __post_init__(self) -> None:
        checks.integer("write_every", self.write_every)
        PulseRule(threshold=checks.number("threshold", self.threshold), max_pulses=self.max_pulses)

    def arrays(self, tile: MakeTile, shape: tuple[int, int]) -> RuleArrays:
        """Return W and χ; see `LearningRule.arrays`."""
        return MixedArrays(self, tile("W", shape))


class MixedArrays(RuleArrays):
    """Cells and the digital sum of what they have not received yet.

    Args:
        rule: how they learn.
        weight: W.

    Attributes:
        carry: χ, flat, in weight units.
        pulse_rule: from χ to pulses.
    """

    carry: Tensor

    def __init__(self, rule: MixedPrecision, weight: WeightCells) -> None:
        super().__init__({"W": weight})
        self.rule = rule
        self.pulse_rule = PulseRule(threshold=rule.threshold, max_pulses=rule.max_pulses)
        self.register_buffer("carry", torch.zeros_like(weight.read()).flatten())

    def read(self) -> Tensor:
        """Return the weights; see `RuleArrays.read`."""
        return self.tiles[0].read()

    def write(self, weight: Tensor) -> None:
        """Put the cells at the weights, and forget what they had not received of others."""
        self.carry.zero_()
        self.tiles[0].write(weight)

    @torch.no_grad()
    def descend(self, x: Tensor, delta: Tensor, lr: float, update: PulsedUpdate) -> None:
        """Gather the gradient, and write whole pulses when it is time; ``update`` is not used."""
        x, delta = x.to(self.carry), delta.to(self.carry)
        change = (delta.T @ x).mul_(-lr)
        self.count += 1
        if int(self.count) % self.rule.write_every:
            self.carry += change.flatten()
        else:
            move(self.tiles[0], change, self.pulse_rule, self.carry)

    def holder(self) -> WeightCells | None:
        """Return W."""
        return self.tiles[0]
