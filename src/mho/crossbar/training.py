"""Practice: what training reads see beyond the hardware itself.

A converted model in ``train()`` mode is read as a chip newly made for its weights. Practice makes
that chip worse, or older, than the real one: what a network has practised with, it bears.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mho.cells import life
from mho.cells.behaviour import Context
from mho.cells.life import Born, ContextOf
from mho.core import checks
from mho.core.spec import Spec
from mho.effects.base import Effect
from mho.hardware import Hardware


@dataclass(frozen=True)
class Practice(Spec):
    """What happens to cells in training alone. The default is nothing.

    Attributes:
        effects: of fabrication, programming or aging, that act after the hardware's own.
        noise: factor on the standard deviation of all white programming error, >= 0.
        ages: the age of the cells (s) at every read is drawn log-uniformly between these two, which
            are both > 0, or both 0 for cells just programmed.
        compensated: whether drift is compensated by one factor a crossbar; see `mho.compensate`.
        own_cells: whether the cells are this chip's own, its spread parameters and its stuck cells,
            instead of newly drawn ones: the network then learns around its defects.

    Raises:
        TypeError, ValueError: if a value is refused, or an effect acts on reads.
    """

    effects: tuple[Effect, ...] = ()
    noise: float = 1.0
    ages: tuple[float, float] = (0.0, 0.0)
    compensated: bool = True
    own_cells: bool = False

    def __post_init__(self) -> None:
        checks.instance("Practice effects", self.effects, (tuple, list))
        object.__setattr__(self, "effects", tuple(self.effects))
        for effect in self.effects:
            checks.instance("every effect", effect, Effect)
            if effect.stage == "reading":
                raise ValueError(
                    f"{type(effect).__name__} acts on reads: that is part of the hardware itself"
                )
        checks.number("Practice noise", self.noise, least=0.0)
        checks.instance("Practice ages", self.ages, (tuple, list))
        object.__setattr__(self, "ages", tuple(float(a) for a in self.ages))
        if len(self.ages) != 2:
            raise ValueError(f"ages must be two times, got {self.ages!r}")
        youngest, oldest = self.ages
        if self.ages != (0.0, 0.0):
            checks.number("youngest of ages", youngest, above=0.0)
            checks.number("oldest of ages", oldest, least=youngest)
        checks.instance("Practice compensated", self.compensated, bool)
        checks.instance("Practice own_cells", self.own_cells, bool)

    @property
    def ages_cells(self) -> bool:
        """Whether cells are older than new."""
        return self.ages[1] > 0.0

    def hardware(self, hardware: Hardware) -> Hardware:
        """Return what training is done on: the hardware with these effects added."""
        return (
            hardware.replace(effects=hardware.effects + self.effects) if self.effects else hardware
        )

    def fabricate(self, own: Born, hardware: Hardware, context: ContextOf) -> Born:
        """Return the cells of one training read.

        Args:
            own: the chip's own cells.
            hardware: what training is done on.
            context: makes a behaviour's context.
        """
        if not self.own_cells:
            return life.fabricate(hardware, context)
        states, stuck, stuck_g = own
        for effect in self.effects:
            state = effect.fabricate_state(context({}))
            states = (*states, state)
            broken = effect.stuck(context(state))
            if broken is not None:
                stuck, stuck_g = life.broken_too(stuck, stuck_g, *broken)
        return Born(states, stuck, stuck_g)

    def draw_age(self, context: Context) -> float:
        """Return the age (s) of the cells at one read."""
        youngest, oldest = self.ages
        if not self.ages_cells:
            return 0.0
        share = float(torch.rand((), generator=context.generator, device=context.device))
        return youngest * (oldest / youngest) ** share

    def aged(
        self, g: Tensor, hardware: Hardware, born: Born, context: ContextOf, seconds: float
    ) -> tuple[Tensor, Tensor | float]:
        """Age cells written just now.

        Args:
            g: conductances (S).
            hardware: what training is done on.
            born: what fabrication drew.
            context: makes a behaviour's context.
            seconds: age (s).

        Returns:
            Conductances (S), and the factor by which drift compensation multiplies outputs.
        """
        if not seconds:
            return g, 1.0
        old = life.age(g, hardware, born, context, 0.0, seconds)
        if not self.compensated:
            return old, 1.0
        before, after = (
            hardware.encoding.assemble(hardware.encoding.converted(x.detach())).abs().sum()
            for x in (g, old)
        )
        return old, torch.where(after > 0, before / after, torch.ones_like(after))
