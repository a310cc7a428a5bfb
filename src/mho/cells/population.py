"""Cells: the one state of cells, whoever holds them: a crossbar, a chip, a weight trained in place.

    fabricate ──▶ program, pulse ──▶ age ──▶ read

What fabrication drew without looking at a cell again (drift exponents, say) is not kept but drawn
anew, from the population's own seed, whenever it is needed.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from mho.cells import checkpoint, clock, kin, lending, life
from mho.cells.behaviour import Behaviour, Context
from mho.cells.life import Broken, Drawn
from mho.cells.programming import Programming, Site, Written
from mho.core import checks, random

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
        dtype: of its tensors; torch's default if not given.
        device: of its tensors.

    Attributes:
        spec: the device.
        shape: of the population.
        g: conductances now (S), of ``shape``.
        inner: inner states, of models that have one; None while the conductance says all.
        written: conductances when last written (S), once the cells have aged and must know; None
            until then. See `mho.cells.life.remembers`.
        pulses: pulses each cell has received, beyond those that all have (int64); None for none.
        streams: streams of randomness, one a purpose ``[3, 2]``; see `mho.core.random`.
        seconds: time since programming (s).
        reads: reads since the cells were last written, as far as `age` was told.
        identity: which population of the world this is, as a short text.

    Raises:
        TypeError, ValueError: if the shape or the seed is refused.
    """

    keeps_parameters: ClassVar[bool] = False
    _shared: bool = False  # whether a fork holds some of the same tensors

    g: Tensor
    inner: Tensor | None
    written: Tensor | None
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
        self.behaviours = tuple(behaviours)
        self.spec: Any = self.behaviours[0]
        self.shape = shape
        streams = random.streams(seed)
        self.register_buffer("streams", streams.to(device or torch.get_default_device()))
        kind = dtype or torch.get_default_dtype()
        self.register_buffer("g", torch.empty(shape, dtype=kind, device=device))
        for name in ("inner", "pulses", "written", "broken_at"):
            self.register_buffer(name, None)
        self._be_born()

    # ── fabricate ────────────────────────────────────────────────────────────────────────────

    @property
    def born(self) -> int:
        """The seed of its fabrication."""
        return int(self.streams[_FABRICATE, 0])

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

    def _be_born(self) -> None:
        self._born_as = self.g.dtype  # what is drawn again later must come out the same
        for name in [n for n in self._buffers if n.startswith("state_")]:
            del self._buffers[name]
        self.inner = self.pulses = self.written = self.broken_at = None
        self.seconds, self.written_at, self.reads, self._all_pulses = 0.0, 0.0, 0.0, 0
        self.identity = f"{self.born:016x}"
        broken: Broken | None = None
        for index, behaviour in enumerate(self.behaviours):
            state = self._draw(index)
            if self._keeps(index):
                for name, value in state.items():
                    self.register_buffer(f"state_{index}_{name}", value)
            context = self._birth(index, "broken", state)
            broken = life.broken_too(broken, behaviour, context, context.like)
        if broken is not None:
            self.broken_at = broken.at.to(self.g.device)
            # Read forever by the population's own dtype and device.
            self.g = torch.zeros_like(self.g)
            self.g.view(-1)[self.broken_at] = broken.g.to(self.g)
        self.reset()

    def _keeps(self, index: int) -> bool:
        # Needed at every pulse, or at every read: not to be drawn each time.
        behaviour = self.behaviours[index]
        return (index == 0 and self.keeps_parameters) or behaviour.acts_on("read")

    def _birth(self, index: int, what: str, state: Mapping[str, Tensor] | None = None) -> Context:
        # On the CPU, whatever the population's device: the same seed, the same cells.
        seed = random.derive(int(self.streams[_FABRICATE, 0]), index, what)
        like = torch.empty((), dtype=self._born_as).expand(self.shape)
        state = {} if state is None else {n: v.to(like) for n, v in state.items()}
        g_min, g_max = self.spec.window
        return Context(like, g_min, g_max, random.stream(seed), state=state)

    def _draw(self, index: int) -> dict[str, Tensor]:
        if not self.behaviours[index].fabricates():
            return {}
        drawn = self.behaviours[index].fabricate_state(self._birth(index, "state"))
        return {name: value.to(self.g) for name, value in drawn.items()}

    def state(self, index: int) -> dict[str, Tensor]:
        """Return the per-cell tensors of one of the behaviours, as its fabrication drew them."""
        prefix = f"state_{index}_"
        kept = {n.removeprefix(prefix): v for n, v in self._buffers.items() if n.startswith(prefix)}
        # Nothing can be drawn in a graph that is traced, nor on the host while an accelerator
        # reads; what reads need is kept.
        undrawn = torch.compiler.is_compiling() or self.g.device.type != "cpu"
        if kept or (self._keeps(index) and undrawn):
            return {name: value for name, value in kept.items() if value is not None}
        return self._draw(index)

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
        )

    def context(self, index: int = 0, purpose: str = "program") -> Context:
        """Return what one of the behaviours, by default the device, is told about the cells."""
        return self.drawn(purpose).context(self.state(index))

    @property
    def broken(self) -> Broken | None:
        """The broken cells; None where none can break."""
        if self.broken_at is None:
            return None
        return Broken(self.broken_at, self.g.reshape(-1)[self.broken_at])

    @property
    def stuck(self) -> Tensor | None:
        """Mask of the broken cells, of ``shape``; None where none can break."""
        return None if self.broken_at is None else Broken(self.broken_at, self.g).mask(self.g)

    @torch.no_grad()
    def break_too(self, mask: Tensor, g: Tensor) -> None:
        """Break cells that were whole.

        Args:
            mask: which, of ``shape``; of those broken before nothing changes.
            g: what they conduct forever (S), of ``shape``, >= 0 where the mask is true.

        Raises:
            TypeError, ValueError: if one is of another kind, shape or value.
        """
        for name, tensor in (("stuck mask", mask), ("stuck conductances", g)):
            checks.shape(name, tensor, self.shape)
        if mask.dtype != torch.bool:
            raise TypeError(f"stuck mask must be boolean, got {mask.dtype}")
        at = mask.flatten().nonzero().squeeze(1).to(self.g.device)
        also = Broken(at, g.to(self.g).reshape(-1)[at])
        checks.finite("stuck conductances", also.g)
        if len(at) and float(also.g.min()) < 0:
            raise ValueError(f"stuck conductances must be >= 0 S, got {float(also.g.min())!r}")
        known = self.broken
        broken = also if known is None else known.joined(also, self.g)
        self.g = broken.keep(self.g)
        self.broken_at = broken.at

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
        self.write(torch.zeros((), dtype=self.g.dtype, device=self.g.device))

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
        kept = self.broken
        g = g.detach()
        self.g = g.contiguous() if kept is None else kept.keep(g.contiguous())
        self.inner = self.written = None
        self.reads = 0.0

    @torch.inference_mode(False)
    @torch.no_grad()
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
        voltage = torch.as_tensor(v, dtype=self.g.dtype, device=self.g.device)
        return self.conductance() * self.spec.transfer(voltage)

    def with_broken(self, current: Tensor, v: Tensor) -> Tensor:
        """Return currents (A) of cells with a state of their own, those of broken cells put right.

        What a broken cell conducts has no state: it is ``g · f(v)``, as in an array's reads; where
        the device's current does not separate, the cell is taken for a resistor.

        Args:
            current: of all cells by their states (A), ``[…, *shape]``.
            v: voltages (V) that broadcast to it.
        """
        stuck = self.stuck
        if stuck is None:
            return current
        driven = self.spec.transfer(v) if self.spec.separable else v
        return torch.where(stuck, self.g * driven, current)

    # ── views and copies ─────────────────────────────────────────────────────────────────────

    def own(self) -> None:
        """Let go of tensors that a `fork` shares, before one is changed in place."""
        if self._shared:
            self.g = self.g.clone()
            self.pulses = None if self.pulses is None else self.pulses.clone()
            self._shared = False

    def fork(self: C) -> C:
        """Return the same cells for a change that may fail.

        Tensors are shared until one of the two changes its own; the streams are not.
        """
        self._shared = True
        twin = copy.copy(self)
        twin._buffers = dict(self._buffers)
        twin._non_persistent_buffers_set = set(self._non_persistent_buffers_set)
        twin.streams = self.streams.clone()
        return twin

    def become(self, twin: Cells) -> None:
        """Hold what a `fork` of these cells holds: undo what happened since, or take it over."""
        self._buffers = dict(twin._buffers)
        for name in kin.PLAIN:
            setattr(self, name, getattr(twin, name))

    gather = lending.gather
    scatter = lending.scatter
    beside = kin.beside
    under = kin.under

    def _checked(self, g: Tensor) -> Tensor:
        g = torch.as_tensor(g, dtype=self.g.dtype, device=self.g.device)
        checks.finite("g", g)
        try:
            return g.expand(self.shape)
        except RuntimeError:
            raise ValueError(
                f"g must have (or broadcast to) shape {list(self.shape)}, got {list(g.shape)}"
            ) from None

    @property
    def rng(self) -> Tensor:
        """The stream that programming and pulses draw from (a view)."""
        return self.streams[_PROGRAM]

    # ── save and load ────────────────────────────────────────────────────────────────────────

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for index in range(len(self.behaviours)):
            for name, value in self.state(index).items():
                destination[f"{prefix}state_{index}_{name}"] = value
        if torch.onnx.is_in_onnx_export():  # its older exporter takes all that there is for tensors
            destination.pop(f"{prefix}_extra_state")

    def get_extra_state(self) -> dict[str, Any]:
        """What a checkpoint holds beside tensors: plain values only."""
        kind = str(self._born_as).removeprefix("torch.")
        return {
            "seconds": self.seconds,
            "written_at": self.written_at,
            "reads": self.reads,
            "pulses": self._all_pulses,
            "identity": self.identity,
            "born_as": kind,
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take back the clock, the pulses that all cells have received, the identity."""
        self.seconds = float(state["seconds"])
        self.written_at = float(state.get("written_at", 0.0))
        self.reads = float(state.get("reads", 0.0))
        self._all_pulses = int(state.get("pulses", 0))
        self.identity = str(state.get("identity", self.identity))
        self._born_as = getattr(torch, str(state.get("born_as", "float32")))

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        checkpoint.make_room(self, state_dict, prefix)
        self.own()  # torch copies into what is there
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
