"""Residual learning: a second array learns what is left over, and hands it on to the first.

Sources: Z. Wu et al., "Analog in-memory training on general non-ideal resistive elements: the
impact of response functions", 2025, arXiv:2502.06309 (two arrays); J. Li et al., "In-memory
training on analog devices with limited conductance states via multi-tile residual learning", 2025,
arXiv:2510.02516 (several tiles).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mho.core import checks
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


class Level(NamedTuple):
    """A tile in the order of significance.

    Attributes:
        significance: what its weight counts in the whole.
        every: updates between transfers to the tile before it.
        rate: part of its weight that a transfer moves the tile before it by.
    """

    significance: float
    every: int
    rate: float


@dataclass(frozen=True)
class ResidualRule(LearningRule):
    """What rules of tiles in an order share: the last tile learns, each hands on to the one before.

    Attributes:
        gamma: γ, significance of a tile over that of the tile before it, >= 0.
        transfer_every: updates between two transfers of the last tile, >= 1.
        transfer_lr: β, part of the last tile's weight that a transfer moves the tile before it by,
            >= 0; multiplied by the optimizer's ``lr`` where ``fast_lr`` is given (so that it
            always counts once).
        fast_lr: α, learning rate of the last tile, >= 0; the optimizer's ``lr`` if None.
        rounding: of transfers to whole pulses, ``"stochastic"`` or ``"nearest"``; see `PulseRule`.
        threshold: pulses that must have come together digitally before a transfer writes them,
            >= 1; None: nothing is kept. See `PulseRule`.
        subtract: whether what a transfer wrote to a tile is subtracted, in pulses of its own, from
            the tile that it came from, so that W̄ stays where it is.
        reference: what 0 is for all tiles but the first: each cell's ``"symmetry"`` point (zero
            shifting) or the ``"middle"`` of the nominal window.
        reference_error: standard deviation of the references about the symmetry point (weight
            units of a tile), >= 0.
    """

    gamma: float = 0.5
    transfer_every: int = 1
    transfer_lr: float = 0.02
    fast_lr: float | None = None
    rounding: str = "stochastic"
    threshold: float | None = None
    subtract: bool = False
    reference: str = "symmetry"
    reference_error: float = 0.0

    def __post_init__(self) -> None:
        checks.number("gamma", self.gamma, least=0.0)
        check_transfer(self)
        checks.truth("subtract", self.subtract)
        PulseRule(self.rounding, self.threshold)

    @property
    def pulse_rule(self) -> PulseRule:
        """How transfers become pulses."""
        return PulseRule(self.rounding, self.threshold)

    def levels(self) -> dict[str, Level]:
        """Return the tiles by name, from the most significant one on."""
        raise NotImplementedError(f"{type(self).__name__} must define levels()")

    def arrays(self, tile: MakeTile, shape: tuple[int, int]) -> RuleArrays:
        """Return the arrays of one weight; see `LearningRule.arrays`."""
        return ResidualArrays(self, {name: tile(name, shape) for name in self.levels()})


@dataclass(frozen=True)
class ResidualLearning(ResidualRule):
    """Residual learning: ``W̄ = W + γ·P``, P learns, W follows P.

    Every update is ``P ← P − α·∇f(W̄)`` by coincidences of pulses, and every ``transfer_every``
    updates ``W ← W + β·P`` in whole pulses; both through the response of the cells. That is the
    bilevel problem ``min_W ‖P*(W)‖², P*(W) = argmin_P f(W + γ·P)``: W comes to rest where P does
    not differ from 0, its symmetry point, at which asymmetric cells pull no more. Plain pulsed SGD
    rests where the pull of asymmetry balances the gradient, off the optimum.

    `TikiTakaV1` with all columns read at once is the same step with the pulses of W rounded at
    random; here they may be rounded otherwise, or gather digitally (``threshold``), the form for
    cells of few states.

    Source: Z. Wu et al., 2025, arXiv:2502.06309. The equations are those of its abstract and of
    the authors' published settings; the digital gathering of transfers is ours.

    Attributes:
        gamma: γ, >= 0. With 0 the network reads W alone, and nothing damps the exchange of W and P
            but the cells' own pull to their symmetry points.
    """

    def levels(self) -> dict[str, Level]:
        """Return W and P; see `ResidualRule.levels`."""
        return {
            "W": Level(1.0, self.transfer_every, 0.0),
            "P": Level(self.gamma, self.transfer_every, self.transfer_lr),
        }


class ResidualArrays(RuleArrays):
    """Tiles in the order of significance: the last gathers the gradient, each hands on.

    Args:
        rule: what levels there are, and how transfers become pulses.
        tiles: by name, from the most significant one on.

    Attributes:
        carry: transfers not written yet, one row a tile that receives ``[tiles − 1, n]``; without
            rows where nothing is kept.
    """

    carry: Tensor

    def __init__(self, rule: ResidualRule, tiles: Mapping[str, WeightCells]) -> None:
        super().__init__(tiles)
        self.rule, self.levels = rule, list(rule.levels().values())
        for cells in self.tiles[1:]:
            put_zero(cells, rule.reference, rule.reference_error)
        rows = 0 if rule.threshold is None else len(tiles) - 1
        like = self.tiles[0].cells.g
        self.register_buffer("carry", like.new_zeros(rows, self.tiles[0].count))

    def read(self) -> Tensor:
        """Return ``Σ significance·W⁽ⁿ⁾``; see `RuleArrays.read`."""
        parts = zip(self.levels, self.tiles, strict=True)
        return sum(  # type: ignore[return-value]
            level.significance * cells.read() for level, cells in parts if level.significance
        )

    def write(self, weight: Tensor) -> None:
        """Put the first tile where the weights are these, and others where it does not reach."""
        for level, cells in zip(self.levels, self.tiles, strict=True):
            if not level.significance:
                continue
            left = weight - self.read() + level.significance * cells.read()
            if not cells.write(left / level.significance):
                return

    @property
    def learner(self) -> int:
        """Which tile the gradient goes to."""
        return len(self.tiles) - 1

    @property
    def warming(self) -> bool:
        """Whether tiles hand nothing on yet."""
        return False

    def fast_rate(self, lr: float) -> float:
        """Return the learning rate of the tile that learns, in its own units."""
        return lr if self.rule.fast_lr is None else self.rule.fast_lr

    def descend(self, x: Tensor, delta: Tensor, lr: float, update: PulsedUpdate) -> None:
        """Pulse the tile that learns with inputs and errors, and transfer where it is time."""
        self.tiles[self.learner].descend(x, delta, self.fast_rate(lr), update)
        warming = self.warming
        self.count += 1
        for n in range(len(self.tiles) - 1, 0, -1):
            if not warming and int(self.count) % self.levels[n].every == 0:
                own = 1.0 if self.rule.fast_lr is None else lr
                self.transfer(n, self.levels[n].rate * own)

    @torch.no_grad()
    def transfer(self, n: int, rate: float) -> None:
        """Move tile ``n − 1`` by what tile ``n`` holds, times a rate."""
        carry = self.carry[n - 1] if len(self.carry) else None
        before, cells = self.tiles[n - 1 : n + 1]
        written = move(before, cells.read() * rate, self.rule.pulse_rule, carry)
        share = self.levels[n].significance
        if self.rule.subtract and share:
            move(cells, written * (-self.levels[n - 1].significance / share), PulseRule())

    def holder(self) -> WeightCells | None:
        """Return the first tile if the network reads it alone."""
        return None if any(level.significance for level in self.levels[1:]) else self.tiles[0]
