"""Effects: non-idealities, each a small object that acts at exactly one stage.

To add one, subclass the stage it acts on and override that stage's method::

    @dataclass(frozen=True)
    class Rounding(ProgrammingEffect):
        step: float

        def program(self, g, context):
            return torch.round(g / self.step) * self.step
"""

from __future__ import annotations

from typing import ClassVar

from mho.cells.behaviour import Behaviour


class Effect(Behaviour):
    """Base of all effects.

    Class attributes:
        stage: the stage of a crossbar's life at which the effect acts.
    """

    stage: ClassVar[str]


class FabricationEffect(Effect):
    """Cells are born: override ``broken`` (and ``fabricate_state``)."""

    stage = "fabrication"


class ProgrammingEffect(Effect):
    """Targets are written: override ``program``."""

    stage = "programming"


class AgingEffect(Effect):
    """Time passes: override ``age``, and ``fabricate_state`` for per-cell parameters."""

    stage = "aging"


class ReadingEffect(Effect):
    """The array is read: override ``read_std`` (white noise) or ``read`` (one draw a read)."""

    stage = "reading"
