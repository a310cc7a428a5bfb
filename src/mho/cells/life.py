"""The life of a population of cells: fabricate, program, age, read. Pure functions of tensors.

All of them take `Drawn`: what fabrication drew for one population, and where further randomness
comes from. A crossbar's own cells have one (`Cells.drawn`); training draws another at every step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mho.cells.behaviour import Behaviour, Context


class Broken(NamedTuple):
    """The broken cells of a population.

    Attributes:
        at: positions in the flattened population (int64, each once), ``[count]``.
        g: what they conduct forever (S), ``[count]``.
        padded: whether positions may also be one past the last cell, where there is none: how many
            are broken is then not known, and nobody need wait for it.
    """

    at: Tensor
    g: Tensor
    padded: bool = False

    def keep(self, g: Tensor) -> Tensor:
        """Return ``g`` (S) with the broken cells as they are; differentiable in the others."""
        if not len(self.at):
            return g
        if self.padded:
            flat = torch.cat((g.reshape(-1), g.new_zeros(1)))
            return flat.index_copy(0, self.at, self.g.to(g))[:-1].view(g.shape)
        if g.is_contiguous():
            flat = g.reshape(-1)
            return flat.index_copy(0, self.at, self.g.to(g)).view(g.shape)
        mask, value = self.dense(g)
        return torch.where(mask, value, g)

    def mask(self, like: Tensor) -> Tensor:
        """Return the mask of the broken cells, shaped as ``like``."""
        mask = torch.zeros(like.numel() + 1, dtype=torch.bool, device=like.device)
        return mask.index_fill_(0, self.at, True)[:-1].view(like.shape)

    def dense(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mask, and conductances (S) that count where it is true."""
        value = torch.zeros(like.numel() + 1, dtype=like.dtype, device=like.device)
        value.index_copy_(0, self.at, self.g.to(value))
        return self.mask(like), value[:-1].view(like.shape)

    def joined(self, also: Broken, like: Tensor) -> Broken:
        """Join two sorts of broken cells; a cell broken twice keeps its first fault."""
        mask = self.mask(like).view(-1)
        if self.padded or also.padded:
            nowhere = like.numel()
            known = torch.cat((mask, mask.new_ones(1))).index_select(0, also.at)
            at = torch.cat((self.at, also.at.masked_fill(known, nowhere)))
            return Broken(at, torch.cat((self.g, also.g)), padded=True)
        known = mask[also.at]
        return Broken(torch.cat((self.at, also.at[~known])), torch.cat((self.g, also.g[~known])))


@dataclass(frozen=True, eq=False)
class Drawn:
    """What fabrication drew for one population, and what its behaviours are told.

    Attributes:
        behaviours: all that acts on the cells: the device, then the effects.
        like: a tensor shaped as the population.
        rng: stream of what is drawn from now on; None: torch's own generator.
        states: each behaviour's own per-cell tensors.
        broken: the broken cells, or None where none can break.
        seconds: time since programming (s).
        written: what the cells held when last written (S), where that is kept; see `remembers`.
        written_at: when that was (s after programming).
        reads: see `Context`.
        ages: see `Context`.
        hosted: see `Context`.
    """

    behaviours: tuple[Behaviour, ...]
    like: Tensor
    rng: Tensor | None
    states: Sequence[Mapping[str, Tensor]] = ()
    broken: Broken | None = None
    seconds: float = 0.0
    written: Tensor | None = None
    written_at: float = 0.0
    reads: tuple[float, float] = (0.0, 0.0)
    ages: bool = True
    hosted: bool = False

    @property
    def device(self) -> Any:
        """The device: the first of the behaviours."""
        return self.behaviours[0]

    @property
    def window(self) -> tuple[float, float]:
        """Nominal programmable window ``(g_min, g_max)`` (S)."""
        window: tuple[float, float] = self.behaviours[0].window  # type: ignore[attr-defined]
        return window

    def at(self, seconds: float) -> Drawn:
        """The same cells, programmed so many seconds ago."""
        return replace(self, seconds=seconds)

    def context(self, state: Mapping[str, Tensor] | None = None) -> Context:
        """What a behaviour with this state of its own is told about the cells."""
        g_min, g_max = self.window
        return Context(
            self.like,
            g_min,
            g_max,
            self.rng,
            state=state or {},
            seconds=self.seconds,
            written=self.written,
            written_at=self.written_at,
            reads=self.reads,
            ages=self.ages,
            hosted=self.hosted,
        )

    def acting(self, stage: str) -> Iterator[tuple[Behaviour, Context]]:
        """The behaviours that act at a stage, in order, each with what it is told."""
        for index, behaviour in enumerate(self.behaviours):
            if behaviour.acts_on(stage):
                yield behaviour, self.context(self.states[index])

    def keep(self, g: Tensor) -> Tensor:
        """Return ``g`` (S) with the broken cells as they are."""
        return g if self.broken is None else self.broken.keep(g)


def fabricate(
    behaviours: tuple[Behaviour, ...], like: Tensor, rng: Tensor | None, *, ages: bool = True
) -> Drawn:
    """Draw a population: per-cell parameters of every behaviour, and the broken cells.

    Args:
        behaviours: the device, then the effects.
        like: a tensor shaped as the population.
        rng: stream of randomness; None: torch's own generator.
        ages: whether they may age; what only aging asks for need not be drawn else.
    """
    drawn = Drawn(behaviours, like, rng, ages=ages)
    states: list[Mapping[str, Tensor]] = []
    broken: Broken | None = None
    for behaviour in behaviours:
        states.append(behaviour.fabricate_state(drawn.context()))
        broken = broken_too(broken, behaviour, drawn.context(states[-1]), like)
    return replace(drawn, states=tuple(states), broken=broken)


def break_more(
    known: Broken | None,
    behaviours: tuple[Behaviour, ...],
    like: Tensor,
    window: tuple[float, float],
) -> Broken | None:
    """Draw broken cells alone, as training does: from torch's own generator.

    Args:
        known: those broken already.
        behaviours: what breaks cells.
        like: a tensor shaped as the population.
        window: the device's ``(g_min, g_max)`` (S).
    """
    for behaviour in behaviours:
        context = Context(like, *window, None)
        if behaviour.acts_on("fabricate_state"):
            context.state = behaviour.fabricate_state(context)
        known = broken_too(known, behaviour, context, like)
    return known


def broken_too(
    known: Broken | None, behaviour: Behaviour, context: Context, like: Tensor
) -> Broken | None:
    """Return the broken cells known so far and those that a behaviour breaks."""
    found = behaviour.broken(context)
    if found is None:
        return known
    also = Broken(*found)
    return also if known is None else known.joined(also, like)


def settle(g: Tensor, drawn: Drawn, *, own: bool, white: float = 0.0, noise: float = 1.0) -> Tensor:
    """Let all effects of programming act on what the device's own programming left.

    Args:
        g: conductances (S).
        drawn: the population.
        own: whether the device's own statistics (its ``program`` and ``write_std``) act too.
        white: standard deviation (S) of a further white error, alike for all cells.
        noise: factor on the standard deviation of all white error.

    Returns:
        Conductances stored (S), differentiable.
    """
    for behaviour, context in drawn.acting("program"):
        if own or behaviour is not drawn.device:
            g = behaviour.program(g, context)
    if drawn.rng is None and not white:
        alone = _only_deviation(g, drawn, own)
        if alone is not None:  # no square, and no root of it
            deviation = alone if noise == 1.0 else alone * noise
            return drawn.keep((deviation * drawn.context().normal()).add_(g).relu_())
    variance = variance_of("write_std", g, drawn, own=own)
    if white:
        variance = variance + white**2
    if noise != 1.0:  # passes over all cells that change nothing are left out
        variance = variance * noise**2
    if isinstance(variance, Tensor):
        # The root's gradient is infinite at zero: an error-free cell must not poison the others.
        deviation = variance.clamp(min=torch.finfo(g.dtype).tiny).sqrt()
        g = (deviation * drawn.context().normal()).add_(g).relu_()
    elif variance:
        g = drawn.context().normal().mul_(math.sqrt(variance)).add_(g).relu_()
    return drawn.keep(g)


def _only_deviation(g: Tensor, drawn: Drawn, own: bool) -> Tensor | None:
    """Return the deviation (S) of programming where one behaviour alone says it, cell by cell."""
    acting = [pair for pair in drawn.acting("write_std") if own or pair[0] is not drawn.device]
    if len(acting) != 1:
        return None
    ((behaviour, context),) = acting
    found = behaviour.write_std(g, context)
    return found if isinstance(found, Tensor) and found.shape == g.shape else None


def variance_of(stage: str, g: Tensor, drawn: Drawn, *, own: bool = True) -> Tensor | float:
    """Return the variance (S²) of all white noise of a stage, ``"write_std"`` or ``"read_std"``.

    Args:
        stage: which.
        g: conductances (S).
        drawn: the population.
        own: whether the device's own counts.

    Returns:
        A tensor shaped like ``g``, or a number where all cells are alike.
    """
    variance: Tensor | float = 0.0
    for behaviour, context in drawn.acting(stage):
        if own or behaviour is not drawn.device:
            more = getattr(behaviour, stage)(g, context) ** 2
            variance = more if isinstance(variance, float) and not variance else variance + more
    return variance


def remembers(behaviours: tuple[Behaviour, ...]) -> bool:
    """Whether cells must keep what was last written, for aging to compose.

    Behaviours that age tell their law from the conductance that was written. One that is
    ``memoryless`` finds all it needs in what the cells hold now; where it is not, or where several
    age and each would take what the others did for its own, every call ages from what was written.
    So does a device whose read noise is that of the conductance written.
    """
    device = behaviours[0]
    aging = [behaviour for behaviour in behaviours if behaviour.acts_on("age")]
    forgets = all(b.memoryless for b in aging) and (
        device.memoryless or not device.acts_on("read_std")
    )
    return len(aging) > 1 or (bool(aging) and not forgets)


def age(g: Tensor, drawn: Drawn, start: float, stop: float) -> Tensor:
    """Age: from conductances (S) at ``start`` to those at ``stop`` (s after programming).

    Where the cells `remembers`, ``g`` and ``start`` are those of their last writing, whatever has
    passed since. So are the first of ``drawn.reads``, the reads before and after.
    """
    for behaviour, context in drawn.acting("age"):
        g = behaviour.age(g, context, start, stop)
    return drawn.keep(g)


def seen(g: Tensor, drawn: Drawn) -> Tensor:
    """Return the conductances (S) of one read: those stored, as reading effects show them."""
    for behaviour, context in drawn.acting("read"):
        g = behaviour.read(g, context)
    return g


def shown(g: Tensor, drawn: Drawn) -> Tensor:
    """Return the conductances (S) that reads show on average."""
    for behaviour, context in drawn.acting("read"):
        g = behaviour.shown(g, context)
    return g
