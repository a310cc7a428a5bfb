"""Behaviour: what happens to a population of cells at each stage of its life.

    fabricate ──▶ program ──▶ age ──▶ read

A device is a behaviour (its own spread, programming error, drift and noise); a non-ideality of
``mho.effects`` is a behaviour that acts at exactly one stage. A crossbar lets its device act
first, then the effects in the order given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from mho.cells.spread import Spread
from mho.core import random
from mho.core.spec import Spec

# A reference read of an effect that says no mean: so many draws, the same at every time.
_REFERENCE_READS, _REFERENCE_SEED = 64, 20201215


@dataclass
class Context:
    """What a behaviour may know about the cells it acts on.

    Attributes:
        like: a tensor shaped as the population, for example ``[slices, rows, cols]``.
        g_min: nominal lowest conductance of the device (S).
        g_max: nominal highest conductance of the device (S).
        rng: stream of randomness, see `mho.core.random`; None: torch's own generator, as training
            draws.
        state: this behaviour's own per-cell tensors, as its ``fabricate_state`` returned them.
        seconds: time since programming (s).
        written: what the cells held when they were last written (S), shaped as ``like``; None
            where that is not kept (see `mho.cells.life.remembers`).
        written_at: when that was (s after programming).
        reads: reads since the cells were last written, before and after the time that passes.
        ages: whether these cells may age: those of a training read that is of new cells do not.
        hosted: whether `normal`, `uniform` and `sample` draw on the host, wherever the cells are.
    """

    like: Tensor
    g_min: float
    g_max: float
    rng: Tensor | None
    state: Mapping[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0
    written: Tensor | None = None
    written_at: float = 0.0
    reads: tuple[float, float] = (0.0, 0.0)
    ages: bool = True
    hosted: bool = False
    _source: torch.Generator | None = field(default=None, init=False, repr=False)
    _host: torch.Generator | None = field(default=None, init=False, repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the population."""
        return tuple(self.like.shape)

    @property
    def dtype(self) -> torch.dtype:
        """Of the population's tensors."""
        return self.like.dtype

    @property
    def device(self) -> torch.device:
        """Of the population's tensors."""
        return self.like.device

    @property
    def generator(self) -> torch.Generator | None:
        """Where randomness comes from, on the cells' device; taken when first asked for.

        None is torch's own generator: every function of torch that draws takes it as such. It is
        `normal`, `uniform` and `sample` that give one seed the same chip on every device.
        """
        if self._source is None:
            rng, device = self.rng, self.device
            own = None if rng is None else random.take(rng, device)
            self._source = random.training_source(device) if own is None else own
        return self._source

    @property
    def g_range(self) -> float:
        """The programmable window ``g_max - g_min`` (S)."""
        return self.g_max - self.g_min

    def normal(self, shape: tuple[int, ...] | None = None) -> Tensor:
        """Draw standard normals, one per cell (or of ``shape``)."""
        if self._traced:
            return random.traced(self._blank(shape), self.rng, kind="normal")  # type: ignore[arg-type]
        return random.normal(self._blank(shape), self._drawing).to(self.device)

    def uniform(self, shape: tuple[int, ...] | None = None) -> Tensor:
        """Draw from U[0, 1), one per cell (or of ``shape``)."""
        if self._traced:
            return random.traced(self._blank(shape), self.rng, kind="uniform")  # type: ignore[arg-type]
        return random.uniform(self._blank(shape), self._drawing).to(self.device)

    def sample(self, spread: Spread, shape: tuple[int, ...] | None = None) -> Tensor:
        """Draw from a spread, one per cell (or of ``shape``)."""
        shape = self.shape if shape is None else shape
        return spread.sample(shape, self._drawing, dtype=self.dtype, device=self.device)

    @property
    def _drawing(self) -> torch.Generator | None:
        if not self.hosted or self.rng is None:
            return self.generator
        if self._host is None:
            self._host = random.take(self.rng, "cpu")
        return self._host

    @property
    def _traced(self) -> bool:
        # A stream is moved on by one opaque operator a draw, in a graph of torch.compile or export;
        # on an accelerator without asking it how far it has come.
        if self.rng is None or self.hosted:
            return False
        return torch.compiler.is_compiling() or self.rng.device.type != "cpu"

    def _blank(self, shape: tuple[int, ...] | None) -> Tensor:
        # Laid out in memory as the population is: mixed layouts are slow to combine.
        like = self.like.detach()
        if self.hosted:
            like = torch.empty_like(like, device="cpu")
        return torch.empty_like(like) if shape is None else like.new_empty(shape)


class Behaviour(Spec):
    """Base of devices and effects. Every stage does nothing unless a subclass says otherwise.

    All conductances ``g`` are tensors of ``context.shape`` in siemens; the methods return new
    tensors and never change ``g`` in place, so training can differentiate through them.

    Class attributes:
        memoryless: whether what cells hold now is all that `age` (and a device's `read_std`) need
            of their past: aging by a, then by b, is then aging by a + b. Populations whose aging is
            not so remember what was last written and age from there; see
            `mho.cells.life.remembers`.
        counts_reads: whether `age` goes by the reads that cells have been through, too
            (``context.reads``).
    """

    memoryless: ClassVar[bool] = False
    counts_reads: ClassVar[bool] = False

    def __init_subclass__(cls, **settings: object) -> None:
        super().__init_subclass__(**settings)
        if "stuck" in vars(cls):
            raise TypeError(
                f"{cls.__name__}.stuck(context) would never be called: say broken(context), which "
                "returns positions in the flattened population and conductances"
            )

    @property
    def redrawn(self) -> bool:
        """Whether `read` draws anew at every read; else it is worked out once for what cells hold.

        A subclass may say so by a class attribute.
        """
        return True

    @property
    def changing(self) -> tuple[str, ...]:
        """Names of the per-cell tensors that change: by time, see `advance`, or by pulses."""
        return ()

    def fabricates(self) -> bool:
        """Whether `fabricate_state` draws anything."""
        return self.acts_on("fabricate_state")

    def fabricate_state(self, context: Context) -> dict[str, Tensor]:
        """Fabrication: draw this behaviour's per-cell tensors (each of ``context.shape``)."""
        return {}

    def broken(
        self, context: Context
    ) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, bool] | None:
        """Fabrication: which cells are born broken, and what they conduct forever.

        Returns:
            Positions in the flattened population (int64, each once) and conductances (S), both
            ``[count]``; or None. A third value True says that positions may also be one past the
            last cell, for none (`mho.cells.life.Broken`).
        """
        return None

    def program(self, g: Tensor, context: Context) -> Tensor:
        """Programming: from the conductances asked for to the conductances stored."""
        return g

    def write_std(self, g: Tensor, context: Context) -> Tensor | float:
        """Programming: standard deviation (S) of white Gaussian error, added after ``program``.

        Errors of several behaviours add as independent ones do; no cell falls below 0 S. A number
        means all cells alike. In training, where it is a number and nothing else happens to
        single cells, the error of a weight's cells is drawn as the one normal they add up to.
        """
        return 0.0

    def age(self, g: Tensor, context: Context, start: float, stop: float) -> Tensor:
        """Aging: from the conductances at ``start`` to those at ``stop`` (s after programming)."""
        return g

    def advance(self, context: Context, seconds: float) -> dict[str, Tensor]:
        """Time passes: return the `changing` tensors as they are so many seconds later.

        For noise that lasts from read to read, whose state goes on by itself. Infinite seconds
        are long enough to forget all (training draws so). Two spells must be, in distribution,
        the one that they add up to.

        Args:
            context: of the cells; ``context.state`` holds the tensors as they were.
            seconds: how long, > 0.
        """
        return {}

    def read(self, g: Tensor, context: Context) -> Tensor:
        """Reading: conductances as one read of the whole array sees them (one draw a call)."""
        return g

    def shown(self, g: Tensor, context: Context) -> Tensor:
        """Reading: conductances as reads show them on average; what a reference read finds.

        By default the mean of many draws of `read`; say it in closed form where there is one.
        """
        if not self.acts_on("read"):
            return g
        if not self.redrawn:
            return self.read(g, context)
        own = replace(context, rng=random.stream(_REFERENCE_SEED))
        total = torch.zeros_like(g)
        for _ in range(_REFERENCE_READS):
            total += self.read(g, replace(own))
        return total / _REFERENCE_READS

    def read_std(self, g: Tensor, context: Context) -> Tensor | float:
        """Reading: standard deviation (S) of white noise, independent per cell and per read.

        It is not drawn per cell but, exactly, at the outputs: with inputs ``v`` a bit line's
        current has the variance ``Σ_i v_i² σ²(g_ij)``. A number means all cells alike.
        """
        return 0.0

    def acts_on(self, stage: str) -> bool:
        """Whether this behaviour overrides the stage method of that name."""
        return getattr(type(self), stage) is not getattr(Behaviour, stage)
