"""Multi-tile residual learning: few states a cell, several cells a weight, one after another.

Source: J. Li, Z. Wu, G. Liu, T. Gokmen, T. Chen, "In-memory training on analog devices with limited
conductance states via multi-tile residual learning", 2025, arXiv:2510.02516.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mho.core import checks
from mho.train.on_cells.coincidence import PulsedUpdate
from mho.train.on_cells.learning_rule import MakeTile, RuleArrays
from mho.train.on_cells.residual import Level, ResidualArrays, ResidualRule
from mho.train.on_cells.weights import WeightCells


@dataclass(frozen=True)
class MultiTileResidual(ResidualRule):
    """Multi-tile residual learning: ``W̄ = Σₙ γⁿ·W⁽ⁿ⁾``, each tile learns what those before left.

    The last and least significant of N tiles gathers the gradient, ``W⁽ᴺ⁻¹⁾ −= α·∇f(W̄)`` with
    ``α = lr/γᴺ⁻¹``, so that W̄ descends with the optimizer's ``lr``. Every
    ``transfer_every·slowerᴺ⁻¹⁻ⁿ`` updates tile n hands on to the tile before it,
    ``W⁽ⁿ⁻¹⁾ += βₙ·W⁽ⁿ⁾`` in whole pulses, with ``βₙ = transfer_lr·transfer_growthⁿ``: the more
    significant a tile, the slower. What is handed on gathers digitally until it is worth a pulse
    (``threshold``); with ``threshold=None`` it is rounded (``rounding``), which costs no memory and
    throws the significant tiles about.

    Transfers must be slower than what corrects them: ``βₙ/γ`` over its period well below ``lr``
    times the curvature of the loss, or the tiles chase one another.

    With a *warm start* tiles are trained one after another first: ``warm_start`` updates go to the
    first tile alone (``W⁽⁰⁾ −= lr·∇f``), as many to the second (``lr/γ``) while the first rests,
    and so on. A tile of pulse step Δ leaves a residual about Δ, of which the next resolves γ·Δ:
    with N tiles the error falls with γᴺ until the gradient's noise.

    Source: J. Li et al., 2025, arXiv:2510.02516. γ, ``transfer_every``, ``transfer_growth`` and
    ``slower`` are the settings of the authors' code, which has eight tiles of four states,
    ``transfer_lr=0.3`` and α = 0.1 in the last tile's own units (``fast_lr=0.1·γ⁷`` here). That
    transfers gather digitally is ours, and so is the form of the warm start: the paper's abstract
    says that tiles learn one after another, its schedule is not known to us.

    Attributes:
        gamma: γ, significance of a tile over that of the tile before it, > 0.
        tiles: N, >= 2.
        slower: factor of the transfers' period from one tile to the tile before, >= 1.
        transfer_growth: factor of β from one tile to the next, > 0.
        warm_start: updates of each tile alone at the beginning, >= 0.
        fast_lr: of W̄ in place of the optimizer's ``lr``, which then multiplies ``transfer_lr``.
        scale_lr: learning rate of a digital scale of each output (of 1 at first), > 0; None: there
            are no scales. ``W̄`` is then ``s ⊙ Σₙ γⁿ·W⁽ⁿ⁾``.
    """

    gamma: float = 0.5
    transfer_every: int = 3
    transfer_lr: float = 0.03
    threshold: float | None = 1.0
    tiles: int = 4
    slower: int = 2
    transfer_growth: float = 1.2
    warm_start: int = 0
    scale_lr: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.number("gamma", self.gamma, above=0.0)
        checks.integer("tiles", self.tiles, least=2)
        checks.integer("slower", self.slower)
        checks.number("transfer_growth", self.transfer_growth, above=0.0)
        checks.integer("warm_start", self.warm_start, least=0)
        if self.scale_lr is not None:
            checks.number("scale_lr", self.scale_lr, above=0.0)

    def levels(self) -> dict[str, Level]:
        """Return the tiles W0, W1, …; see `ResidualRule.levels`."""
        last = self.tiles - 1
        return {
            f"W{n}": Level(
                self.gamma**n,
                self.transfer_every * self.slower ** (last - n),
                self.transfer_lr * self.transfer_growth**n,
            )
            for n in range(self.tiles)
        }

    def arrays(self, tile: MakeTile, shape: tuple[int, int]) -> RuleArrays:
        """Return the arrays of one weight; see `LearningRule.arrays`."""
        return MultiTileArrays(self, {name: tile(name, shape) for name in self.levels()})


class MultiTileArrays(ResidualArrays):
    """The tiles of one weight, their warm start and their output scales.

    Args:
        rule: how they learn.
        tiles: by name, from the most significant one on.

    Attributes:
        scale: of each output ``[out]``, or ``[0]`` where there are none.
    """

    rule: MultiTileResidual
    scale: Tensor

    def __init__(self, rule: MultiTileResidual, tiles: Mapping[str, WeightCells]) -> None:
        super().__init__(rule, tiles)
        first = self.tiles[0]
        rows = 0 if rule.scale_lr is None else first.shape[0]
        self.register_buffer("scale", first.cells.g.new_ones(rows))

    def read(self) -> Tensor:
        """Return the weights; see `RuleArrays.read`."""
        weight = super().read()
        return weight * self.scale.unsqueeze(1) if len(self.scale) else weight

    def write(self, weight: Tensor) -> None:
        """Write weights; the scales begin at 1 again."""
        self.scale.fill_(1.0)
        super().write(weight)

    def descend(self, x: Tensor, delta: Tensor, lr: float, update: PulsedUpdate) -> None:
        """Pulse the tile whose turn it is, and transfer where it is time."""
        if len(self.scale):
            delta = self._scaled(x, delta)
        super().descend(x, delta, lr, update)

    @property
    def learner(self) -> int:
        """Which tile the gradient goes to."""
        last, warm = len(self.tiles) - 1, self.rule.warm_start
        return min(int(self.count) // warm, last) if warm else last

    @property
    def warming(self) -> bool:
        """Whether tiles learn one after another still."""
        return int(self.count) < self.rule.warm_start * len(self.tiles)

    def fast_rate(self, lr: float) -> float:
        """Return the learning rate of the tile that learns, in its own units."""
        return super().fast_rate(lr) / self.levels[self.learner].significance

    @torch.no_grad()
    def _scaled(self, x: Tensor, delta: Tensor) -> Tensor:
        # The tiles see errors times their outputs' scale; the scale descends its own gradient.
        assert self.rule.scale_lr is not None
        weight = ResidualArrays.read(self)
        x, delta = x.to(weight), delta.to(weight)
        seen = delta * self.scale
        self.scale -= self.rule.scale_lr * ((x @ weight.T) * delta).sum(0)
        return seen
