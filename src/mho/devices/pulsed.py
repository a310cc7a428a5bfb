"""Pulse-count devices: cells that are written by counting identical pulses.

A pulse has no shape here: a set pulse moves the conductance up, a reset pulse moves it down, by a
step that depends on where the cell stands. A device says its mean step, and where it can the
closed form of a whole train; `PulsedCells` applies signed counts to a population at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from mho.cells.device import Device
from mho.cells.population import Cells
from mho.cells.programming import OpenLoop, Programming
from mho.cells.spread import Spread, nominal
from mho.core import checks, random
from mho.devices import open_loop
from mho.devices.trains import Cell, bounded


class PulsedDevice(Device):
    """Base of all pulse-count devices. Subclasses are frozen dataclasses.

    A device of one's own says ``change``; ``noise`` (with ``noisy``) if pulses differ from cycle to
    cycle; ``burst`` if a train of n noise-free pulses has a closed form.

    Everywhere ``g`` is a tensor of conductances (S), ``up`` a boolean tensor of the same shape
    (true for set pulses), and ``cell`` maps parameter names to numbers or tensors of that shape.

    Class attributes:
        relative: whether the window is a mere scale: where a train leads in it, as a part of it,
            depends on neither end.
    """

    relative: ClassVar[bool] = False

    @property
    def cells_type(self) -> type[Cells]:
        """The class of this device's populations."""
        return PulsedCells

    @property
    def programming(self) -> Programming:
        """How cells are programmed where the hardware does not say: by counts of pulses."""
        return OpenLoop()

    def open_loop(
        self,
        target: Tensor,
        drawn: Mapping[str, Tensor],
        generator: torch.Generator | None,
    ) -> tuple[Tensor, Tensor]:
        """Program by counts of pulses from a reset, by the nominal response curve.

        Args:
            target: conductances asked for (S).
            drawn: each cell's own parameters, of the same shape.
            generator: of what differs from cycle to cycle; None is torch's own.

        Returns:
            Conductances (S), with the gradient of a straight line in the target, and the pulses
            counted (int64), both of the shape of ``target``.
        """
        return open_loop.programmed(self, target, drawn, generator)

    @property
    def noisy(self) -> bool:
        """Whether equal pulses at equal conductance differ from cycle to cycle."""
        return False

    def change(self, g: Tensor, up: Tensor, cell: Cell) -> Tensor:
        """Return the mean signed change (S) of one pulse, before the bounds act."""
        raise NotImplementedError(f"{type(self).__name__} must define change(g, up, cell)")

    def noise(self, g: Tensor, change: Tensor, cell: Cell) -> Tensor | float:
        """Return the standard deviation (S) of one pulse about its mean ``change``."""
        return 0.0

    def jump(self, g: Tensor, up: Tensor, cell: Cell, generator: torch.Generator | None) -> Tensor:
        """Return the random change (S) of one pulse, before the bounds act.

        Args:
            g: conductances before (S).
            up: true for set pulses.
            cell: parameters.
            generator: of the noise; None is torch's default one.
        """
        mean = self.change(g, up, cell)
        if not self.noisy:
            return mean
        draw = random.quick_normal(g, generator)
        return mean + draw.mul_(self.noise(g, mean, cell))

    def burst_std(self, g: Tensor, counts: Tensor, cell: Cell) -> Tensor | None:
        """Return the standard deviation (S) of noisy trains about `burst`, or None.

        In closed form, for noise that hardly ever meets a bound before the train's end; arguments
        as for `burst`.
        """
        return None

    def burst(self, g: Tensor, counts: Tensor, cell: Cell) -> Tensor | None:
        """Return the conductances (S) after noise-free trains, or None without a closed form.

        Args:
            g: conductances before (S).
            counts: signed pulse counts, of the shape and dtype of ``g``.
            cell: parameters.
        """
        return None

    def constants(self) -> dict[str, float]:
        """Return the parameters that are plain numbers; a spread counts with its nominal value."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {
            name: nominal(value)
            for name, value in values.items()
            if isinstance(value, (int, float, Spread)) and not isinstance(value, bool)
        }


class PulsedCells(Cells):
    """A population of pulse-count cells.

    Attributes:
        g: conductances now (S), of ``shape``.
        writes: pulses each cell has received in its life (int64), of ``shape``.
    """

    keeps_parameters: ClassVar[bool] = True

    spec: PulsedDevice

    @torch.no_grad()
    def pulse(self, counts: Tensor | int) -> None:
        """Apply a train of identical pulses to every cell.

        Noise-free devices with a closed form take it; all others take their pulses one by one,
        each with its own draw and each stopped at the cell's bounds, so noise accumulates exactly
        as it would. That loop runs over the pulse number only: its k-th pass moves all cells that
        have more than k pulses to receive. Cells without a pulse keep their very bits.

        Args:
            counts: pulses per cell, > 0 set, < 0 reset, 0 none: an integer tensor of (or broadcast
                to) ``shape``, or one integer for all.

        Raises:
            TypeError: if ``counts`` are not integers.
            ValueError: if the shape does not fit.
        """
        number = self._counts(counts).flatten()
        index = number.nonzero().squeeze(1)
        # New tensors, so that what a caller holds of the past stays what it was.
        self.g, self.writes = self.g.clone(), self.writes.clone()
        self._shared = False
        if len(index) < len(number):
            self.pulse_at(index, number[index])
        elif len(number):
            self.hold(self._after(self.g.flatten(), number, self._cell_at(None)).view(self.shape))
            self.writes += number.abs().view(self.shape)

    @torch.no_grad()
    def pulse_at(self, index: Tensor, counts: Tensor) -> None:
        """Apply trains to some cells only, in place; the cost is theirs alone.

        Nothing is checked: this is the inner loop of training.

        Args:
            index: which cells, each once, as positions in the flattened population (int64),
                ``[chosen]``.
            counts: their pulses, none of them 0 (int64), ``[chosen]``.
        """
        if not len(index):
            return
        self._moving()
        g, broken = self.g.view(-1), self.broken
        g.index_copy_(0, index, self._after(g[index], counts, self._cell_at(index)))
        if broken is not None:  # they answer to nothing
            g.index_copy_(0, broken.at, broken.g)
        self.writes.view(-1).index_add_(0, index, counts.abs())

    @torch.no_grad()
    def pulse_both(self, up: Tensor, down: Tensor) -> None:
        """Give every cell set and reset pulses, mixed as those of a shuffled batch are.

        Where pulses differ from cycle to cycle, or the device knows no closed form, a cell's
        pulses come one by one, set and reset in random order. Else they are closed-form trains:
        where a cell has pulses of both directions, half of the set pulses, the reset pulses, the
        other half. Nothing is checked: this is the inner loop of training.

        Args:
            up: set pulses, of ``shape``, integers >= 0.
            down: reset pulses, likewise.
        """
        up, down = up.flatten(), down.flatten()
        index = random.where((up + down) != 0)
        self.pulse_both_at(index, up.index_select(0, index), down.index_select(0, index))

    @torch.no_grad()
    def pulse_both_at(self, index: Tensor, up: Tensor, down: Tensor) -> None:
        """As `pulse_both`, of some cells only, in place; the cost is theirs alone.

        Args:
            index: which cells, each once and rising, as positions in the flattened population
                (int64), ``[chosen]``.
            up: their set pulses ``[chosen]``, integers >= 0.
            down: their reset pulses, likewise; no cell is without any.
        """
        if not len(index):
            return
        self._moving()
        broken, held = self.broken, self.g.view(-1)
        g, cell = held.index_select(0, index), self._cell_at(index)
        moved = None if self.spec.noisy else _mixed(self.spec, g, up, down, cell)
        if moved is None:
            moved = self._shuffled(g, up, down, cell)
        held.scatter_(0, index, moved)
        self.writes.view(-1).scatter_add_(0, index, (up + down).long())
        if broken is not None:
            self.g.view(-1).index_copy_(0, broken.at, broken.g)

    @torch.no_grad()
    def erase_at(self, index: Tensor) -> None:
        """Put some cells at their lowest conductance; each counts one write.

        Args:
            index: which cells, each once, as positions in the flattened population (int64).
        """
        g, low = self.g.flatten(), self.parameter("g_min")
        rest = low.flatten()[index] if isinstance(low, Tensor) else torch.full_like(g[index], low)
        self.hold(g.index_copy(0, index, rest).view(self.shape))
        ones = torch.ones_like(index)
        self.writes = self.writes.flatten().index_add(0, index, ones).view(self.shape)

    def respond(self, pulses: int, *, cycles: int = 1) -> Tensor:
        """Cycle every cell through set and reset trains and record each conductance.

        Args:
            pulses: set pulses, and then reset pulses, of one cycle.
            cycles: how many times.

        Returns:
            Conductances (S), ``[2, cycles, *shape, pulses + 1]``: index 0 the set half, 1 the
            reset half; the last axis counts pulses, its entry 0 is the start of that half.

        Raises:
            TypeError, ValueError: if a number is refused.
        """
        pulses = checks.integer("pulses", pulses)
        cycles = checks.integer("cycles", cycles)
        halves = []
        for _ in range(cycles):
            for sign in (1, -1):
                trace = [self.conductance().clone()]
                for _ in range(pulses):
                    self.pulse(sign)
                    trace.append(self.conductance().clone())
                halves.append(torch.stack(trace, dim=-1))
        return torch.stack([torch.stack(halves[0::2]), torch.stack(halves[1::2])])

    def _moving(self) -> None:
        # Before pulses act in place: they age from what pulses leave, not from what was written.
        self.own()
        self.written = None
        self.g, self.writes = self.g.contiguous(), self.writes.contiguous()

    def _jump(self, g: Tensor, up: Tensor, cell: Cell, generator: torch.Generator) -> Tensor:
        # The random change of one pulse.
        return self.spec.jump(g, up, cell, generator)

    def _after(self, g: Tensor, counts: Tensor, cell: Cell) -> Tensor:
        # The conductances [n] that trains (none of no pulse) make of others.
        if not self.spec.noisy:
            closed = self.spec.burst(g, counts.to(g.dtype), cell)
            if closed is not None:
                return bounded(closed, cell)
        generator = random.take(self.rng, g.device)
        total, up = counts.abs(), counts > 0
        g = bounded(g + self._jump(g, up, cell, generator), cell)
        most = int(total.max())
        if most == 1:
            return g
        # The longest trains first: whoever has pulses left is then a slice.
        length, order = total[total > 1].sort(descending=True)
        order = (total > 1).nonzero().squeeze(1)[order]
        left = len(length) - torch.bincount(length, minlength=most + 1).cumsum(0)
        now, up, part = g[order], up[order], _some(cell, order)
        for due in left[1:most].tolist():  # with more than 1, 2, … pulses
            some, cells = now[:due], _first(part, due)
            some.copy_(bounded(some + self._jump(some, up[:due], cells, generator), cells))
        return g.index_copy_(0, order, now)

    def _shuffled(self, g: Tensor, up: Tensor, down: Tensor, cell: Cell) -> Tensor:
        # The k-th pass gives every cell with more than k pulses one of those it has left.
        generator = random.take(self.rng, g.device)
        result, place = g.clone(), torch.arange(len(g), device=g.device)
        left = up + down
        while True:
            more = (left > 0).nonzero().squeeze(1)
            if not len(more):
                return result
            if len(more) < len(left):
                g, up, left, place = (v.index_select(0, more) for v in (g, up, left, place))
                cell = _some(cell, more)
            chosen = torch.empty_like(g).uniform_(generator=generator) * left < up
            g = bounded(g + self._jump(g, chosen, cell, generator), cell)
            result[place] = g
            up, left = up - chosen.to(up.dtype), left - 1

    def cell(self) -> dict[str, float | Tensor]:
        """Return all parameters by name: a number where cells agree, else a tensor of ``shape``."""
        return {**self.spec.constants(), **self.parameters_drawn()}

    def _cell_at(self, index: Tensor | None) -> dict[str, float | Tensor]:
        # The parameters of all cells, or some, as vectors where they are spread.
        flat = {k: v.flatten() if isinstance(v, Tensor) else v for k, v in self.cell().items()}
        return flat if index is None else _some(flat, index)

    def _counts(self, counts: Tensor | int) -> Tensor:
        given = torch.as_tensor(counts, device=self.g.device)
        if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
            raise TypeError(f"counts must be integers, got {given.dtype}")
        try:
            return given.to(torch.int64).expand(self.shape)
        except RuntimeError:
            raise ValueError(
                f"counts must have (or broadcast to) shape {list(self.shape)}, "
                f"got {list(given.shape)}"
            ) from None


def _some(cell: Cell, index: Tensor) -> dict[str, float | Tensor]:
    return {k: v[index] if isinstance(v, Tensor) else v for k, v in cell.items()}


def _first(cell: Cell, count: int) -> dict[str, float | Tensor]:
    return {k: v[:count] if isinstance(v, Tensor) else v for k, v in cell.items()}


def _mixed(spec: PulsedDevice, g: Tensor, up: Tensor, down: Tensor, cell: Cell) -> Tensor | None:
    # Most cells have pulses of one direction only. The others take half of their set pulses before
    # the reset pulses and half after: what a shuffled order does in the mean, to second order.
    both = (up > 0) & (down > 0)
    signed = (up - down).to(g.dtype)
    leading = torch.where(both, up.to(g.dtype) / 2, signed)
    first = spec.burst(g, leading, cell)
    if first is None:
        return None
    g = torch.where(leading == 0, g, bounded(first, cell))
    index = both.nonzero().squeeze(1)
    if not len(index):
        return g
    part, some = _some(cell, index), g[index]
    for counts in (-down[index].to(g.dtype), leading[index]):
        after = spec.burst(some, counts, part)
        if after is None:
            return None
        some = bounded(after, part)
    return g.index_copy(0, index, some)
