"""Noise injection: what training reads see beyond the hardware itself.

A converted model in ``train()`` mode is read as a chip newly made for its weights. Noise injection
makes that chip worse, or older, than the real one: a network bears what it was trained with (noise
injection of Joshi 2020, doi 10.1038/s41467-020-16108-9, and hardware-aware training of Rasch 2023,
doi 10.1038/s41467-023-40770-4).

What training draws comes from torch's own generator, as dropout does: `torch.manual_seed`,
gradient checkpointing and ``torch.func`` mean what they always mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from mho.cells import life
from mho.cells.life import Drawn
from mho.cells.population import Cells
from mho.cells.spread import refuse_shared
from mho.core import checks, durations, random, renamed
from mho.core.spec import Spec
from mho.effects.base import Effect
from mho.hardware import Hardware

NOISE_OF = ("column", "matrix")


@dataclass(frozen=True)
class NoiseInjection(Spec):
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
        reads: how often the cells have been read since they were written, at every read drawn
            log-uniformly between these two, both > 0, or both 0; for effects that go by reads
            (`mho.effects.ReadDisturb`), those of the hardware too.
        weight_noise: standard deviation of Gaussian noise on every weight, >= 0, relative to the
            largest magnitude of ``weight_noise_of``. Whatever cells a weight is spread over; the
            range of converters stays that of the weights without it.
        weight_noise_of: ``"column"``, of each output, or ``"matrix"``, of the whole.
        perfect_cells: whether training reads see nothing of the hardware's cells (programming,
            defects, drift, read noise; also of cells that lie on a chip): weights as they are, with
            ``weight_noise``, through wires, amplifiers and converters.

    Raises:
        TypeError, ValueError: if a value is refused, an effect acts on reads, or one of aging has
            no ``ages``, or no ``reads`` where it goes by these; or if cells are to be perfect and
            something is said of them.
    """

    said: ClassVar[tuple[str, ...]] = ("noise",)

    effects: tuple[Effect, ...] = ()
    noise: float = 1.0
    ages: tuple[float, float] = (0.0, 0.0)
    compensated: bool = True
    own_cells: bool = False
    reads: tuple[float, float] = (0.0, 0.0)
    weight_noise: float = 0.0
    weight_noise_of: str = "column"
    perfect_cells: bool = False

    def __post_init__(self) -> None:
        checks.instance("NoiseInjection effects", self.effects, (tuple, list))
        object.__setattr__(self, "effects", tuple(self.effects))
        for effect in self.effects:
            checks.instance("every effect", effect, Effect)
            refuse_shared(effect)
            if effect.stage == "reading":
                raise ValueError(
                    f"{type(effect).__name__} acts on reads: that is part of the hardware itself"
                )
        checks.number("NoiseInjection noise", self.noise, least=0.0)
        object.__setattr__(self, "ages", _two("ages", self.ages, "times", "youngest", "oldest"))
        object.__setattr__(self, "reads", _two("reads", self.reads, "counts", "fewest", "most"))
        for effect in self.effects:
            self._refuse_idle(effect)
        checks.number("NoiseInjection weight_noise", self.weight_noise, least=0.0)
        checks.one_of("NoiseInjection weight_noise_of", self.weight_noise_of, NOISE_OF)
        if not self.weight_noise and self.weight_noise_of != NOISE_OF[0]:
            raise ValueError(
                f"weight_noise_of={self.weight_noise_of!r} changes nothing without weight_noise"
            )
        if self.perfect_cells:
            self._refuse_acting()

    def _refuse_acting(self) -> None:
        """Refuse what acts on cells, where these are perfect."""
        for name in ("effects", "noise", "ages", "compensated", "own_cells", "reads"):
            value = getattr(self, name)
            if value != getattr(NoiseInjection, name):
                raise ValueError(
                    f"{name}={value!r} would change nothing: perfect_cells=True, so training sees "
                    "no cells"
                )

    def _refuse_idle(self, effect: Effect) -> None:
        name = type(effect).__name__
        if effect.counts_reads and not self.reads[1]:
            raise ValueError(
                f"{name} goes by reads, and in training there are none: say how many, as "
                "NoiseInjection(reads=(1e3, 1e6))"
            )
        if effect.stage == "aging" and not self.ages_cells:
            raise ValueError(
                f"{name} acts as time passes, and in training none does: say the cells' ages, as "
                "NoiseInjection(ages=(1.0, 1e6))"
            )

    @property
    def ages_cells(self) -> bool:
        """Whether cells are older than new, or have been read."""
        return self.ages[1] > 0.0 or self.reads[1] > 0.0

    def hardware(self, hardware: Hardware) -> Hardware:
        """Return what training is done on: the hardware with these effects added."""
        return (
            hardware.replace(effects=hardware.effects + self.effects) if self.effects else hardware
        )

    def counted_by(self, hardware: Hardware) -> bool:
        """Whether something of the hardware, or of these effects, goes by reads."""
        return any(b.counts_reads for b in hardware.behaviours + self.effects)

    def refuse_idle_reads(self, hardware: Hardware) -> None:
        """Refuse reads that change nothing on this hardware (ValueError)."""
        if self.reads[1] and not self.counted_by(hardware):
            raise ValueError(
                f"reads={self.reads!r} would change nothing: no effect of {hardware} or of the "
                "NoiseInjection goes by reads (as mho.effects.ReadDisturb does)"
            )

    def refuse_on(self, hardware: Hardware) -> None:
        """Refuse what would not act on this hardware (ValueError)."""
        self.refuse_idle_reads(hardware)
        encoding = hardware.encoding
        told = encoding.converters > 1 or encoding.physical_cols(1) > 1
        if self.weight_noise and (told or not hardware.device.separable):
            raise ValueError(
                f"weight_noise needs one line and one converter for each output, and cells whose "
                f"current is g · f(v): not {encoding} of {hardware.device}; Differential() has them"
            )

    def draw_weight_noise(self, weight: Tensor, groups: int) -> Tensor | None:
        """Return noise to be added to weights ``[groups · rows, cols]``, or None."""
        if not self.weight_noise:
            return None
        weight = weight.detach()
        if self.weight_noise_of == "matrix" and weight.numel():
            largest = torch.maximum(weight.amax(), -weight.amin())
        else:
            split = weight.unflatten(0, (groups, -1))
            largest = torch.maximum(split.amax(1, keepdim=True), -split.amin(1, keepdim=True))
        drawn = random.normal_like(weight, None)
        drawn.unflatten(0, (groups, -1)).mul_(largest * self.weight_noise)
        return drawn

    def draw(self, cells: Cells) -> Drawn:
        """Return the cells of one training read, programmed just now.

        Args:
            cells: the chip's own.
        """
        behaviours = cells.behaviours + self.effects
        if not self.own_cells:
            return life.fabricate(behaviours, cells.like, None, ages=self.ages_cells)
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
        return _log_uniform(self.ages, like)

    def draw_reads(self, like: Tensor) -> float:
        """Return how often the cells have been read before one read."""
        return _log_uniform(self.reads, like)


def _two(
    name: str, values: Sequence[float], what: str, least: str, most: str
) -> tuple[float, float]:
    checks.instance(f"NoiseInjection {name}", values, (tuple, list))
    if len(values) != 2:
        raise ValueError(f"{name} must be two {what}, got {values!r}")
    if name == "ages":
        values = [durations.seconds("every age", value) for value in values]
    low, high = (float(value) for value in values)
    if (low, high) != (0.0, 0.0):
        checks.number(f"{least} of {name}", low, above=0.0)
        checks.number(f"{most} of {name}", high, least=low)
    return low, high


def _log_uniform(bounds: tuple[float, float], like: Tensor) -> float:
    low, high = bounds
    if not high:
        return 0.0
    # On the host, which decides by it what happens to the cells: no accelerator is waited for.
    share = float(torch.rand((), device="cpu", generator=random.training_source("cpu")))
    return low * (high / low) ** share


def __getattr__(name: str) -> Any:
    return renamed.of_module(__name__, name, {"Practice": NoiseInjection})
