"""Low-rank Tiki-Taka: two thin arrays learn a low-rank change of the weight array.

The rule is known to us from a fork of aihwkit that names it LR-TT, and from E. Hu et al., "LoRA:
low-rank adaptation of large language models", 2021, arXiv:2106.09685, whose factors it trains.
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
class LowRankTikiTaka(LearningRule):
    """Low-rank Tiki-Taka: ``W̄ = W + γ·A·B`` with A ``[out, rank]`` and B ``[rank, in]`` on cells.

    With G the gradient at W̄, ``A −= α·G·Bᵀ`` and ``B −= α·Aᵀ·G`` (of the A before), both by
    coincidences of pulses: the lines of A carry the inputs as B returns them, ``B·x``, the lines of
    B the errors as A returns them. Every ``transfer_every`` updates ``W += transfer_lr·A·B`` in
    whole pulses, rounded at random; then A is put at 0 and B at random signs ``±1/√rank`` anew, by
    pulses and reads that are counted. In the mean over these signs ``Bᵀ·B`` is the unit matrix, so
    that A·B begins as ``−α·G``; where the range of a cell does not reach ``1/√rank`` B has half the
    range and A learns faster by as much. The gradient of a whole matrix costs the arrays and the
    pulses of two thin ones.

    Attributes:
        rank: columns of A, >= 1; at most the smaller side of the weight's matrix.
        gamma: γ, part of A·B that the network reads between transfers, >= 0.
        transfer_every: updates between two transfers, >= 1.
        transfer_lr: part of A·B that a transfer moves W by, >= 0; multiplied by the optimizer's
            ``lr`` where ``fast_lr`` is given. With ``gamma = transfer_lr`` the weights do not jump.
        fast_lr: α, >= 0; the optimizer's ``lr`` if None.
        train_b: whether B learns too, else A alone does.
        reference: what A's and B's zero is, each cell's ``"symmetry"`` point or the ``"middle"``.
        reference_error: standard deviation of the references about the symmetry point, >= 0.
    """

    rank: int = 4
    gamma: float = 1.0
    transfer_every: int = 10
    transfer_lr: float = 1.0
    fast_lr: float | None = None
    train_b: bool = True
    reference: str = "symmetry"
    reference_error: float = 0.0

    def __post_init__(self) -> None:
        checks.integer("rank", self.rank)
        checks.number("gamma", self.gamma, least=0.0)
        check_transfer(self)
        checks.truth("train_b", self.train_b)

    def arrays(self, tile: MakeTile, shape: tuple[int, int]) -> RuleArrays:
        """Return W, A and B; see `LearningRule.arrays`."""
        rank = min(self.rank, *shape)
        a, b = tile("A", (shape[0], rank)), tile("B", (rank, shape[1]))
        return LowRankArrays(self, tile("W", shape), a, b)


class LowRankArrays(RuleArrays):
    """W and the two factors of what it is to learn next.

    Args:
        rule: how they learn.
        weight: W ``[out, in]``.
        left: A ``[out, rank]``.
        right: B ``[rank, in]``.

    Attributes:
        size: of B's first entries.
    """

    def __init__(
        self, rule: LowRankTikiTaka, weight: WeightCells, left: WeightCells, right: WeightCells
    ) -> None:
        super().__init__({"W": weight, "A": left, "B": right})
        self.rule = rule
        for cells in (left, right):
            put_zero(cells, rule.reference, rule.reference_error)
        usual, reach = right.shape[0] ** -0.5, (right.high - right.low) / 2
        self.size = min(usual, reach)
        self._gain = (usual / self.size) ** 2  # with which the mean of Bᵀ·B is the unit matrix
        right.write(self._signs())

    def product(self) -> Tensor:
        """Return ``A·B`` ``[out, in]``."""
        _, left, right = self.tiles
        return left.read() @ right.read()

    def read(self) -> Tensor:
        """Return the weights; see `RuleArrays.read`."""
        weight = self.tiles[0].read()
        return weight + self.rule.gamma * self.product() if self.rule.gamma else weight

    def write(self, weight: Tensor) -> None:
        """Put W where the weights are these."""
        self.tiles[0].write(
            weight - self.rule.gamma * self.product() if self.rule.gamma else weight
        )

    @torch.no_grad()
    def descend(self, x: Tensor, delta: Tensor, lr: float, update: PulsedUpdate) -> None:
        """Pulse A and B with what the other returns, and transfer when it is time."""
        rule, (_, left, right) = self.rule, self.tiles
        rate = lr if rule.fast_lr is None else rule.fast_lr
        a, b = left.read(), right.read()
        left.descend(x.to(b) @ b.T, delta, rate * self._gain, update)
        if rule.train_b:
            right.descend(x, delta.to(a) @ a, rate, update)
        self.count += 1
        if int(self.count) % rule.transfer_every == 0:
            self.transfer(rule.transfer_lr * (1.0 if rule.fast_lr is None else lr))

    @torch.no_grad()
    def transfer(self, rate: float) -> None:
        """Move W by the product of the factors, times a rate; then begin with new ones."""
        weight, left, right = self.tiles
        move(weight, self.product() * rate, PulseRule())
        left.program(torch.zeros_like(left.read()))
        right.program(self._signs())

    def _signs(self) -> Tensor:
        right = self.tiles[2]
        like = right.read()
        source = random.take(right.cells.rng, like.device)
        draw = torch.rand(like.shape, generator=source, device=like.device)
        return torch.where(draw < 0.5, -self.size, self.size).to(like)

    def holder(self) -> WeightCells | None:
        """Return W if the network reads it alone."""
        return None if self.rule.gamma else self.tiles[0]
