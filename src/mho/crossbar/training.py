"""Practice: what training reads see beyond the hardware itself.

A converted model in ``train()`` mode is read as a chip newly made for its weights. Practice makes
that chip worse, or older, than the real one: what a network has practised with, it bears.

What training draws comes from torch's own generator, as dropout does: `torch.manual_seed`,
gradient checkpointing and ``torch.func`` mean what they always mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mho.cells import life
from mho.cells.life import Drawn
from mho.cells.population import Cells
from mho.core import checks, random
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
            instead of newly drawn ones: the network then learns around its defects. Crossbars that
            lie on a `mho.chip.Chip` always train so.

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

    def draw(self, cells: Cells) -> Drawn:
        """Return the cells of one training read, programmed just now.

        Args:
            cells: the chip's own.
        """
        behaviours = cells.behaviours + self.effects
        if not self.own_cells:
            return life.fabricate(behaviours, cells.g, None)
        own = cells.drawn("training").at(0.0)
        states, broken = list(own.states), own.broken
        for index, behaviour in enumerate(cells.behaviours):
            if behaviour.changing:  # as the cells will be some time, not as they are now
                later = behaviour.advance(own.context(states[index]), math.inf)
                states[index] = {**states[index], **later}
        for effect in self.effects:
            states.append(effect.fabricate_state(own.context()))
            broken = life.broken_too(broken, effect, own.context(states[-1]), own.like)
        return replace(own, behaviours=behaviours, states=tuple(states), broken=broken)

    def draw_age(self, like: Tensor) -> float:
        """Return the age (s) of the cells at one read."""
        youngest, oldest = self.ages
        if not self.ages_cells:
            return 0.0
        source = random.training_source(like.device)
        share = float(torch.rand((), device=like.device, generator=source))
        return youngest * (oldest / youngest) ** share
