"""Pulse-count devices: cells that are written by counting identical pulses.

A pulse has no shape here: a set pulse moves the conductance up, a reset pulse moves it down, by a
step that depends on where the cell stands. A device says its mean step, and where it can the
closed form of a whole train; `PulsedCells` applies signed counts to a population at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from mho.core import checks, random
from mho.devices.base import Cells, Device
from mho.devices.spread import Spread, nominal

Cell: TypeAlias = Mapping[str, "float | Tensor"]
"""A population's parameters by name: a number where all cells agree, else one value per cell."""

TINY = 1e-30  # stands for a rate of 0: expm1 is its argument far above it, also in float32
_LARGEST_EXPONENT = 80.0  # exp of it is still a float32


class PulsedDevice(Device):
    """Base of all pulse-count devices. Subclasses are frozen dataclasses.

    A device of one's own says ``change``; ``noise`` (with ``noisy``) if pulses differ from cycle to
    cycle; ``burst`` if a train of n noise-free pulses has a closed form.

    Everywhere ``g`` is a tensor of conductances (S), ``up`` a boolean tensor of the same shape
    (true for set pulses), and ``cell`` maps parameter names to numbers or tensors of that shape.
    """

    @property
    def cells_type(self) -> type[Cells]:
        """The class of this device's populations."""
        return PulsedCells

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

    spec: PulsedDevice
    writes: Tensor

    def __init__(
        self,
        spec: Device,
        shape: tuple[int, ...],
        *,
        seed: int = 0,
        dtype: torch.dtype | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(spec, shape, seed=seed, dtype=dtype, device=device)
        self.register_buffer("writes", torch.zeros(self.shape, dtype=torch.int64, device=device))

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
        if len(index) < len(number):
            self.pulse_at(index, number[index])
        elif len(number):
            self.g = self._after(self.g.flatten(), number, self._cell_at(None)).view(self.shape)
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
        self.g, self.writes = self.g.contiguous(), self.writes.contiguous()
        g = self.g.view(-1)
        g.index_copy_(0, index, self._after(g[index], counts, self._cell_at(index)))
        self.writes.view(-1).index_add_(0, index, counts.abs())

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
        checks.integer("pulses", pulses)
        checks.integer("cycles", cycles)
        halves = []
        for _ in range(cycles):
            for sign in (1, -1):
                trace = [self.conductance().clone()]
                for _ in range(pulses):
                    self.pulse(sign)
                    trace.append(self.conductance().clone())
                halves.append(torch.stack(trace, dim=-1))
        return torch.stack([torch.stack(halves[0::2]), torch.stack(halves[1::2])])

    def _jump(self, g: Tensor, up: Tensor, cell: Cell, generator: torch.Generator) -> Tensor:
        # The random change of one pulse.
        mean = self.spec.change(g, up, cell)
        if not self.spec.noisy:
            return mean
        draw = random.quick_normal(g, generator)
        return mean + draw.mul_(self.spec.noise(g, mean, cell))

    def _after(self, g: Tensor, counts: Tensor, cell: Cell) -> Tensor:
        # The conductances [n] that trains (none of no pulse) make of others.
        if not self.spec.noisy:
            closed = self.spec.burst(g, counts.to(g.dtype), cell)
            if closed is not None:
                return bounded(closed, cell)
        generator = random.take(self.rng, g.device)
        total, up = counts.abs(), counts > 0
        g = bounded(g + self._jump(g, up, cell, generator), cell)
        due = torch.arange(len(g), device=g.device)
        for k in range(1, int(total.max())):
            due = due[total[due] > k]
            part, now = _some(cell, due), g[due]
            g[due] = bounded(now + self._jump(now, up[due], part, generator), part)
        return g

    def _cell_at(self, index: Tensor | None) -> dict[str, float | Tensor]:
        # The parameters of all cells, or some, as vectors where they are spread.
        flat = {k: v.flatten() if isinstance(v, Tensor) else v for k, v in self._cell().items()}
        return flat if index is None else _some(flat, index)

    def _cell(self) -> dict[str, float | Tensor]:
        return {**self.spec.constants(), **self.parameters_drawn()}

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


def bounded(g: Tensor, cell: Cell) -> Tensor:
    """Return conductances (S) stopped at each cell's own ``g_min`` and ``g_max``."""
    low, high = cell["g_min"], cell["g_max"]
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        return torch.minimum(
            torch.maximum(g, torch.as_tensor(low, dtype=g.dtype, device=g.device)),
            torch.as_tensor(high, dtype=g.dtype, device=g.device),
        )
    return g.clamp(low, high)


def pick(up: Tensor, when_set: float | Tensor, when_reset: float | Tensor) -> float | Tensor:
    """Return a parameter by direction of the pulse; one number where both are equal."""
    if not isinstance(when_set, Tensor) and when_set == when_reset:
        return when_set
    return torch.where(up, when_set, when_reset)


def relax(x: Tensor, rate: float | Tensor, drive: float | Tensor, n: Tensor) -> Tensor:
    """Return ``x`` after ``n`` pulses of ``x ← x·e^(−rate) + drive·(1 − e^(−rate))/rate``.

    The affine map of all responses whose step is linear in the conductance; in closed form
    ``x·e^(−rate·n) + drive·(1 − e^(−rate·n))/rate``, with the limit ``x + drive·n`` at rate 0.

    Args:
        x: state before.
        rate: relaxation per pulse; negative for a step that grows as it goes.
        drive: the step at ``x = 0`` in the limit of small rates.
        n: number of pulses, >= 0.
    """
    rate = torch.as_tensor(rate, dtype=x.dtype, device=x.device)
    rate = torch.where(rate.abs() < TINY, torch.full_like(rate, TINY), rate)
    exponent = (-rate * n).clamp(max=_LARGEST_EXPONENT)
    return x * exponent.exp() - drive * exponent.expm1() / rate
