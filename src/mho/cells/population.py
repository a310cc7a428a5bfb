"""Cells: the one state of cells, whoever holds them: a crossbar, a chip, a weight trained in place.

    fabricate ──▶ program, pulse ──▶ age ──▶ read

What fabrication drew without looking at a cell again (drift exponents, say) is not kept but drawn
anew, from the population's own seed, whenever it is needed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from mho.cells import checkpoint, clock, defects, fabrication, kept, kin, lending, life
from mho.cells.behaviour import Behaviour, Context
from mho.cells.life import Drawn
from mho.cells.programming import Programming, Site, Written
from mho.core import checks, extra, memory, random
from mho.core.modes import settled
from mho.core.precision import keeping, of_cells

C = TypeVar("C", bound="Cells")

_FABRICATE, _PROGRAM, _READ = range(3)


class Cells(nn.Module):
    """A population of cells: what each is, and what each holds now.

    What it holds is a conductance; models with an inner state of their own (subclasses) also keep
    that, as long as it says more than the conductance. New cells rest at their lowest conductance.

    Args:
        behaviours: all that acts on the cells: the device, then the effects.
        shape: of the population; ``()`` is one cell.
        seed: of everything random in its life.
        dtype: of its tensors; torch's default if not given. Half precision is widened to float32:
            microsiemens would be lost in it.
        device: of its tensors.

    Attributes:
        spec: the device.
        shape: of the population.
        inner: inner states, of models that have one; None while the conductance says all.
        pulses: pulses each cell has received, beyond those that all have (int64); None for none.
        streams: streams of randomness, one a purpose ``[3, 2]``; see `mho.core.random`.
        seconds: time since programming (s).
        reads: reads since the cells were last written, as far as `age` was told.
        identity: which population of the world this is, as a short text.
        kept_as: dtype of the codes in which conductances are kept (`mho.cells.kept`); None where
            they are kept as they are computed with.
        kind: dtype in which those of such cells are computed with.

    Raises:
        TypeError, ValueError: if the shape or the seed is refused.
    """

    keeps_parameters: ClassVar[bool] = False
    _shared: bool = False  # whether a fork holds some of the same tensors

    kept_as: torch.dtype | None = None
    kind: torch.dtype = torch.float32
    identity: str
    behaviours: tuple[Behaviour, ...]
    spec: Any
    shape: tuple[int, ...]
    # Plain values, which are set past torch's search for parameters: a model may have thousands
    # of populations.
    seconds: float
    written_at: float
    reads: float
    _all_pulses: int
    _born_as: torch.dtype

    g: Tensor = property(kept.g)  # type: ignore[assignment]
    written: Tensor | None = property(kept.written)  # type: ignore[assignment]
    inner: Tensor | None
    pulses: Tensor | None
    broken_at: Tensor | None
    streams: Tensor

    def __init__(
        self,
        behaviours: Sequence[Behaviour],
        shape: tuple[int, ...],
        *,
        seed: int = 0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        shape = tuple(checks.integer("shape", size, least=0) for size in shape)
        behaviours = tuple(behaviours)
        vars(self).update(behaviours=behaviours, spec=behaviours[0], shape=shape)
        streams = random.streams(seed)
        self.register_buffer("streams", streams.to(device or torch.get_default_device()))
        kind = of_cells(dtype)
        # Before any is made: the conductances, and as much again while the first thing is drawn.
        memory.refuse(
            f"a population of {math.prod(shape):,} cells",
            2 * kind.itemsize * math.prod(shape),
            device,
            "make it smaller, or go on in spite of it inside mho.core.memory.unchecked()",
        )
        self._buffers["g"] = torch.empty(shape, dtype=kind, device=device)
        self._buffers["written"] = None
        for name in ("inner", "pulses", "broken_at"):
            self.register_buffer(name, None)
        self._be_born()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in kept.CODED:
            kept.refuse(self)
        super().__setattr__(name, value)

    @property
    def like(self) -> Tensor:
        """A tensor of the population's shape, dtype and device; its values say nothing."""
        if self.kept_as is None:
            return self.g
        return torch.empty((), dtype=self.kind, device=self.streams.device).expand(self.shape)

    # ── fabricate ────────────────────────────────────────────────────────────────────────────

    @property
    def born(self) -> int:
        """The seed of its fabrication; 0 on the meta device, where there is none."""
        return 0 if self.streams.is_meta else int(self.streams[_FABRICATE, 0])

    @property
    def lines_seed(self) -> int:
        """The seed of what stands at their lines: of the chip and the place, where they have one.

        Cells that have left a chip keep it: they are a copy, their lines too.
        """
        where = self.identity.find("chip ")
        return self.born if where < 0 else random.derive(0, self.identity[where:])

    def next_seed(self) -> int:
        """Return the seed of the population that follows this one, where none is given."""
        return random.derive(self.born, "next")

    _be_born = fabrication.be_born
    _keeps = fabrication.keeps
    _birth = fabrication.birth
    _draw = fabrication.draw
    state = fabrication.state

    def drawn(self, purpose: str = "program") -> Drawn:
        """Return what the functions of `mho.cells.life` take.

        Args:
            purpose: of the randomness asked for from now on: ``"program"``, ``"read"``, or
                ``"training"``, which draws as torch does.
        """
        rng = None if purpose == "training" else self.streams[random.PURPOSES.index(purpose)]
        states = _States(self)
        return Drawn(
            self.behaviours,
            self.g,
            rng,
            states,
            self.broken,
            self.seconds,
            None if purpose == "training" else self.written,
            self.written_at,
            # What is written and how it ages: the same seed, the same chip, wherever it is.
            hosted=purpose == "program" and self.g.device.type not in ("cpu", "meta"),
        )

    def context(self, index: int = 0, purpose: str = "program") -> Context:
        """Return what one of the behaviours, by default the device, is told about the cells."""
        return self.drawn(purpose).context(self.state(index))

    broken = property(defects.broken)
    stuck = property(defects.stuck)
    break_too = defects.break_too
    with_broken = defects.with_broken

    def parameter(self, name: str) -> float | Tensor:
        """Return a device parameter: one value per cell where it is spread, else a number."""
        drawn = self.parameters_drawn()
        number: float | Tensor = drawn[name] if name in drawn else getattr(self.spec, name)
        return number

    def parameters_drawn(self) -> dict[str, Tensor]:
        """Return the device's per-cell tensors drawn at fabrication, by parameter name."""
        return self.state(0)

    # ── program, pulse, age ──────────────────────────────────────────────────────────────────

    def reset(self) -> None:
        """Put every healthy cell at its lowest conductance."""
        nothing = torch.zeros((), dtype=self.g.dtype, device=self.g.device).expand(self.shape)
        self.hold(self.spec.reach(nothing, self.parameters_drawn()).clone())
        self.seconds = 0.0

    def write(self, g: Tensor) -> None:
        """Set the healthy cells directly to conductances, the nearest each can hold.

        No pulse is given, nothing is counted; the clock of aging starts again.

        Args:
            g: conductances asked for (S), of (or broadcast to) ``shape``.

        Raises:
            ValueError: if some are not finite or the shape does not fit.
        """
        self.hold(self.spec.reach(self._checked(g), self.parameters_drawn()).clone())
        self.seconds = 0.0

    def hold(self, g: Tensor) -> None:
        """Let the healthy cells conduct ``g`` (S), whatever their device can hold."""
        kept.refuse(self)
        broken = self.broken
        g = g.detach().contiguous()
        held = {"g": g if broken is None else broken.keep(g), "inner": None, "written": None}
        self._buffers.update(held)
        self.reads = 0.0

    @settled
    def program(
        self,
        target: Tensor,
        programming: Programming | None = None,
        *,
        site: Site | None = None,
    ) -> Written:
        """Program the cells; the clock of aging starts again.

        Args:
            target: conductances asked for (S), of (or broadcast to) ``shape``.
            programming: how; the device's own way if not given.
            site: where the population lies; see `Programming.carry_out`.

        Returns:
            What was done.

        Raises:
            ValueError: if some targets are not finite or the shape does not fit.
        """
        programming = self.spec.programming if programming is None else programming
        checks.instance("programming", programming, Programming)
        written = programming.carry_out(self, self._checked(target), site)
        self.count(written.pulses)
        self.seconds = 0.0
        return written

    def count(self, pulses: Tensor | int) -> None:
        """Count pulses that cells have received, one number for all or one a cell."""
        if isinstance(pulses, Tensor) and pulses.dim():
            known = torch.zeros_like(pulses) if self.pulses is None else self.pulses
            self.pulses = known + pulses
        else:
            self._all_pulses += int(pulses)

    @property
    def writes(self) -> Tensor:
        """Pulses each cell has received in its life (int64), of ``shape``."""
        if self.pulses is None:
            blank = torch.zeros((), dtype=torch.int64, device=self.g.device)
            return (blank + self._all_pulses).expand(self.shape)
        return self.pulses + self._all_pulses if self._all_pulses else self.pulses

    @writes.setter
    def writes(self, pulses: Tensor) -> None:
        self.pulses, self._all_pulses = pulses, 0

    @property
    def counts_reads(self) -> bool:
        """Whether aging goes by the reads, too."""
        return any(b.counts_reads and b.acts_on("age") for b in self.behaviours)

    @property
    def changing(self) -> tuple[str, ...]:
        """Names of the buffers of behaviours' tensors that change: by time, or by pulses."""
        named = enumerate(behaviour.changing for behaviour in self.behaviours)
        return tuple(f"state_{index}_{name}" for index, names in named for name in names)

    age = clock.age
    check_reads = clock.check_reads

    # ── read ─────────────────────────────────────────────────────────────────────────────────

    def conductance(self) -> Tensor:
        """Return the low-voltage conductances (S), of ``shape``."""
        return self.g

    @torch.no_grad()
    def read(self) -> Tensor:
        """Return conductances (S) as one read of every cell shows them, noise included."""
        drawn = self.drawn("read")
        g = life.seen(self.g, drawn)
        variance = life.variance_of("read_std", g, drawn)
        if isinstance(variance, Tensor):
            return g + variance.sqrt() * drawn.context().normal()
        return g + math.sqrt(variance) * drawn.context().normal() if variance else g.clone()

    def current(self, v: Tensor | float) -> Tensor:
        """Return the current (A) through each cell under a voltage (V) that does not move it."""
        voltage = checks.numbers("v", v, self.g.dtype, self.g.device)
        return self.conductance() * self.spec.transfer(voltage)

    # ── views and copies ─────────────────────────────────────────────────────────────────────

    def own(self) -> None:
        """Let go of tensors that a `fork` shares, before one is changed in place.

        Raises:
            ValueError: if the cells are kept in half precision.
        """
        kept.refuse(self)
        if self._shared:
            self.g = self.g.clone()
            self.pulses = None if self.pulses is None else self.pulses.clone()
            self._shared = False

    def fork(self: C) -> C:
        """Return the same cells for a change that may fail.

        Tensors are shared until one of the two changes its own; the streams are not.
        """
        self._shared = True
        twin = type(self).__new__(type(self))
        own = set(self._non_persistent_buffers_set)
        buffers = {**self._buffers, "streams": self.streams.clone()}
        state = {**vars(self), "_buffers": buffers, "_non_persistent_buffers_set": own}
        vars(twin).update(state)
        return twin

    def become(self, twin: Cells) -> None:
        """Hold what a `fork` of these cells holds: undo what happened since, or take it over."""
        self._buffers = dict(twin._buffers)
        for name in kin.PLAIN:
            setattr(self, name, getattr(twin, name))
        self.kept_as, self.kind = twin.kept_as, twin.kind

    packed = kept.packed
    live = kept.live
    gather = lending.gather
    scatter = lending.scatter
    beside = kin.beside
    under = kin.under

    def _checked(self, g: Tensor) -> Tensor:
        return checks.one_each("g", g, self.like)

    @property
    def rng(self) -> Tensor:
        """The stream that programming and pulses draw from (a view)."""
        return self.streams[_PROGRAM]

    def _apply(self, fn: Any, recurse: bool = True) -> Cells:
        """Move and widen; half precision changes nothing, for conductances need more."""
        fn = keeping(fn)
        if self.kept_as is None:
            super()._apply(fn, recurse)
            return self
        self.kind = fn(torch.empty(0, dtype=self.kind)).dtype
        super()._apply(lambda t: fn(t).to(t.dtype) if t.dtype == self.kept_as else fn(t), recurse)
        return self

    # ── save and load ────────────────────────────────────────────────────────────────────────

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for index in range(len(self.behaviours)):
            for name, value in self.state(index).items():
                destination[f"{prefix}state_{index}_{name}"] = value
        extra.pack(destination, prefix)

    def get_extra_state(self) -> dict[str, Any]:
        """What a checkpoint holds beside tensors: plain values only."""
        kind = str(self._born_as).removeprefix("torch.")
        kept_as = {} if self.kept_as is None else {"kept_as": str(self.kept_as)[6:]}
        return {
            **kept_as,
            "seconds": self.seconds,
            "written_at": self.written_at,
            "reads": self.reads,
            "pulses": self._all_pulses,
            "identity": self.identity,
            "born_as": kind,
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take back the clock, the pulses that all cells have received, the identity."""
        vars(self).update(
            seconds=float(state["seconds"]),
            written_at=float(state.get("written_at", 0.0)),
            reads=float(state.get("reads", 0.0)),
            _all_pulses=int(state.get("pulses", 0)),
            identity=str(state.get("identity", self.identity)),
            _born_as=getattr(torch, str(state.get("born_as", "float32"))),
        )

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        trouble = checkpoint.damage(self, state_dict, prefix)
        trouble = trouble or checkpoint.make_room(self, state_dict, prefix)
        if trouble:
            error_messages: list[str] = args[-1]
            error_messages.append(trouble)
            return
        super()._load_from_state_dict(state_dict, prefix, *args)
        checkpoint.forget_what_can_be_drawn(self)


class _States(Sequence[Mapping[str, Tensor]]):
    """Every behaviour's own tensors, drawn when first asked for."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._known: dict[int, dict[str, Tensor]] = {}

    def __getitem__(self, index: Any) -> Any:
        if index not in self._known:
            self._known[index] = self._cells.state(index)
        return self._known[index]

    def __len__(self) -> int:
        return len(self._cells.behaviours)
