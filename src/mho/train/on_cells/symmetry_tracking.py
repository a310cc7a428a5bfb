"""Symmetry-point tracking: the zero of the array that learns is estimated while it learns.

Source: Q. Xiao, J. Li, Z. Wu, T. Gokmen, T. Chen, "Dynamic symmetric point tracking: tackling
non-ideal reference in analog in-memory training", 2026, arXiv:2602.21321.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mho.core import checks, random
from mho.train.on_cells.coincidence import PulsedUpdate
from mho.train.on_cells.learning_rule import (
    LearningRule,
    MakeTile,
    RuleArrays,
    move,
    put_zero,
)
from mho.train.on_cells.pulses import PulseRule
from mho.train.on_cells.transfer_rules import check_transfer
from mho.train.on_cells.weights import WeightCells


@dataclass(frozen=True)
class SymmetryTracking(LearningRule):
    """Residual learning whose zero is found on the way: ``W̄ = W + γ·c ⊙ (P − Q)``.

    P gathers the gradient with chopped inputs, ``P ← P − α·c ⊙ ∇f(W̄)``; c is a sign a column that
    turns with ``chop_probability`` after each transfer. A filter follows P,
    ``Q ← Q + tracking·(P − Q)``: what the signal puts into P changes its sign with c and averages
    out, and Q tends to where P rests without a signal, its symmetry point. A transfer is
    ``W ← W + β·c ⊙ (P − Q)`` in whole pulses. So P needs no calibrated reference.

    When a sign turns, ``c ⊙ (P − Q)`` would jump: W takes over what γ had of it, so that W̄ goes on
    where it was.

    Source: Q. Xiao et al., 2026, arXiv:2602.21321: that the point is tracked by a filter and a
    chopper is of its abstract; the equations as they stand here, and what happens when a sign
    turns, are ours (the paper's are not known to us).

    Attributes:
        gamma: γ, >= 0.
        transfer_every: updates between two transfers, >= 1.
        transfer_lr: β, >= 0; multiplied by the optimizer's ``lr`` where ``fast_lr`` is given.
        fast_lr: α, >= 0; the optimizer's ``lr`` if None.
        tracking: weight of the newest reading of P in Q, in (0, 1].
        chop_probability: that a column's sign turns at a transfer, 0…1.
        reference: what P is read against, where Q begins: ``"middle"`` or ``"symmetry"``.
        reference_error: standard deviation of that reference about the symmetry point, >= 0.
    """

    gamma: float = 0.5
    transfer_every: int = 1
    transfer_lr: float = 0.05
    fast_lr: float | None = None
    tracking: float = 0.01
    chop_probability: float = 0.05
    reference: str = "middle"
    reference_error: float = 0.0

    def __post_init__(self) -> None:
        checks.number("gamma", self.gamma, least=0.0)
        check_transfer(self)
        checks.number("tracking", self.tracking, above=0.0, most=1.0)
        checks.probability("chop_probability", self.chop_probability)

    def arrays(self, tile: MakeTile, shape: tuple[int, int]) -> RuleArrays:
        """Return W and P; see `LearningRule.arrays`."""
        return TrackingArrays(self, tile("W", shape), tile("P", shape))


class TrackingArrays(RuleArrays):
    """W, P and the digital estimate of P's symmetry points.

    Args:
        rule: how they learn.
        slow: W.
        fast: P.

    Attributes:
        point: Q ``[out, in]``, over P's reference.
        sign: c ``[in]``, ±1.
    """

    point: Tensor
    sign: Tensor

    def __init__(self, rule: SymmetryTracking, slow: WeightCells, fast: WeightCells) -> None:
        super().__init__({"W": slow, "P": fast})
        self.rule = rule
        put_zero(fast, rule.reference, rule.reference_error)
        like = fast.read()
        self.register_buffer("point", torch.zeros_like(like))
        self.register_buffer("sign", like.new_ones(like.shape[1]))

    def said(self) -> Tensor:
        """Return ``c ⊙ (P − Q)``, what P says of the weights ``[out, in]``."""
        return (self.tiles[1].read() - self.point) * self.sign

    def read(self) -> Tensor:
        """Return the weights; see `RuleArrays.read`."""
        weight = self.tiles[0].read()
        return weight + self.rule.gamma * self.said() if self.rule.gamma else weight

    def write(self, weight: Tensor) -> None:
        """Put W where the weights are these."""
        self.tiles[0].write(weight - self.rule.gamma * self.said() if self.rule.gamma else weight)

    @torch.no_grad()
    def descend(self, x: Tensor, delta: Tensor, lr: float, update: PulsedUpdate) -> None:
        """Pulse P with chopped inputs, and transfer when it is time."""
        rule, fast = self.rule, self.tiles[1]
        rate = lr if rule.fast_lr is None else rule.fast_lr
        fast.descend(x.to(self.sign) * self.sign, delta, rate, update)
        self.count += 1
        if int(self.count) % rule.transfer_every == 0:
            self.transfer(rule.transfer_lr * (1.0 if rule.fast_lr is None else lr))

    @torch.no_grad()
    def transfer(self, rate: float) -> None:
        """Move W by what P says, follow P, and turn some signs."""
        rule, (slow, fast) = self.rule, self.tiles
        said = self.said()
        source = random.take(fast.cells.rng, said.device)
        draw = torch.rand(self.sign.shape, generator=source, device=said.device)
        turned = draw < rule.chop_probability
        move(slow, said * (rate + 2 * rule.gamma * turned), PulseRule())
        self.point.lerp_(fast.read(), rule.tracking)
        self.sign[turned] *= -1.0

    def holder(self) -> WeightCells | None:
        """Return W if the network reads it alone."""
        return None if self.rule.gamma else self.tiles[0]
