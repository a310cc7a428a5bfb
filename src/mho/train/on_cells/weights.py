"""WeightCells: weight matrices that pulse-count cells hold, and the pulses that move them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mho.cells.population import Cells
from mho.core import checks, random
from mho.devices.pulsed import PulsedCells, PulsedDevice
from mho.programming.trains import train_length
from mho.train.on_cells.coincidence import Hits, PulsedUpdate
from mho.train.on_cells.layouts import CellLayout, Now, SingleCell, steps_of
from mho.train.on_cells.references import symmetry_point
from mho.train.on_cells.voltage import VoltagePulses

ONE_CELL = SingleCell()
# Of writing by pulses and reads: most rounds, and most of them that turn round or lead nowhere.
_ROUNDS, _PATIENCE = 200, 8


class WeightCells(nn.Module):
    """A weight matrix that pulse-count cells hold.

    What a weight is follows from its cells' conductances over their references (`CellLayout`). The
    reference of all cells is one conductance at first (`Frame.zero`); after `shift_reference` it
    is each cell's own.

    Args:
        device: what the cells are.
        shape: of the matrix, ``(out, in)``.
        layout: how cells hold a weight.
        weight_range: lowest and highest weight, at the ends of a nominal cell's window.
        granularity: change of a weight that is taken for one pulse's, > 0, or that of a pulse up
            and down; None: the device's (see `pulse_steps`).
        endurance: pulses after which a cell answers no more, >= 1; None: it always does.
        seed: of everything random in the cells' life.
        dtype: of the conductances; torch's default if not given.
        torch_device: where they live.

    Attributes:
        cells: the population ``[slices, out, in]``.
        frame: what conductances stand for.
        low: lowest weight.
        high: highest weight.
        steps: how far one pulse is taken to move a weight, up and down.
        reference: conductances (S) that count nothing, ``[]`` or ``[slices, out, in]``.
        reference_written: conductances (S) that the references held when they were written, as far
            as recalled cells must know them to age on, ``[slices, out, in]``; else None.
        turn: updates so far (int64); `MultiCell` gives pulses out by it.
        draws: how often crossbars have drawn noise for these cells (int64): the next one goes on
            from there.

    Raises:
        TypeError, ValueError: if an argument is refused.
    """

    cells: PulsedCells
    reference: Tensor
    reference_written: Tensor | None
    turn: Tensor
    draws: Tensor

    def __init__(
        self,
        device: PulsedDevice,
        shape: tuple[int, int],
        *,
        layout: CellLayout = ONE_CELL,
        weight_range: tuple[float, float] = (-1.0, 1.0),
        granularity: float | tuple[float, float] | None = None,
        endurance: int | None = None,
        seed: int = 0,
        dtype: torch.dtype | None = None,
        torch_device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        checks.instance("device", device, PulsedDevice)
        checks.instance("layout", layout, CellLayout)
        if endurance is not None:
            endurance = checks.integer("endurance", endurance)
        self.device, self.layout, self.endurance = device, layout, endurance
        self.shape = tuple(shape)
        self.frame = layout.frame(device, weight_range)
        self.low, self.high = layout.limits(self.frame)
        self.steps = steps_of(device, layout, self.frame, granularity)
        self.count = shape[0] * shape[1]
        self.cells = device.fabricate(  # type: ignore[assignment]
            (layout.slices, *shape), seed=seed, dtype=dtype, device=torch_device
        )
        like = self.cells.conductance()
        self.register_buffer("reference", like.new_tensor(self.frame.zero))
        self.register_buffer("reference_written", None)
        for name in ("turn", "draws"):
            none = torch.zeros((), dtype=torch.int64, device=torch_device)
            self.register_buffer(name, none)

    @property
    def step(self) -> float:
        """Mean of a pulse's step up and down, Δw_min of the pulsed update."""
        return sum(self.steps) / 2

    # ── reading and writing ──────────────────────────────────────────────────────────────────

    def read(self) -> Tensor:
        """Return the weights ``[out, in]`` that the cells hold now."""
        return self.layout.decode(self.cells.conductance() - self.reference, self.frame)

    def read_at(self, index: Tensor) -> Tensor:
        """Return some of the weights, at positions in the flattened matrix ``[chosen]``."""
        zero = self.reference.flatten(1)[:, index] if self.reference.dim() else self.reference
        g = self.cells.conductance().flatten(1)[:, index]
        return self.layout.decode(g - zero, self.frame)

    @torch.no_grad()
    def write(self, weight: Tensor) -> int:
        """Put the cells at weights ``[out, in]`` directly, without pulses; nothing is counted.

        Returns:
            How many weights were outside of the range, and were clipped.

        Raises:
            ValueError: if a weight is not finite.
        """
        clipped, outside = self._clipped(weight)
        self.cells.write(self.layout.encode(clipped, self.frame) + self.reference)
        return outside

    @torch.no_grad()
    def shift_reference(self, *, sigma: float = 0.0) -> None:
        """Make every cell's symmetry point its zero, and put all cells there.

        The symmetry point is where a set and a reset pulse undo each other (`symmetry_point`). A
        cell's conductance there is copied to a reference cell.

        Args:
            sigma: standard deviation of the references' error (weight units of a cell), >= 0.
        """
        sigma = checks.number("sigma", sigma, least=0.0)
        point = symmetry_point(self.cells)
        self.cells.write(point)
        if sigma:
            source = random.take(self.cells.rng, point.device)
            point = point + random.normal(point, source) * (sigma / self.frame.slope)
        self.reference = point

    @torch.no_grad()
    def middle_reference(self) -> None:
        """Make the middle of the nominal window the zero of all cells, and put them there."""
        frame = self.frame
        if frame.low != -frame.high:  # else its zero is there already
            self.reference = torch.full_like(self.reference, (frame.g_min + frame.g_max) / 2)
        self.cells.write(self.reference)

    # ── pulses ───────────────────────────────────────────────────────────────────────────────

    @torch.no_grad()
    def pulse(self, index: Tensor, counts: Tensor) -> None:
        """Move some weights by pulses.

        Args:
            index: which, each once, as positions in the flattened matrix (int64), ``[chosen]``.
            counts: pulses, > 0 up, < 0 down, none of them 0 (int64), ``[chosen]``.
        """
        cell, number = self.layout.route(index, counts, self._now())
        self.turn = self.turn + 1
        if self.endurance is not None:
            left = (self.endurance - self.cells.writes.flatten()[cell]).clamp_(min=0)
            number = torch.maximum(torch.minimum(number, left), -left)
            answers = number != 0
            cell, number = cell[answers], number[answers]
        self._written_anew(cell)
        self.cells.pulse_at(cell, number)

    @torch.no_grad()
    def pulse_both(self, up: Tensor, down: Tensor) -> None:
        """Give weights pulses of both directions, as coincidences of pulse trains do.

        Args:
            up: pulses that raise each weight ``[out, in]``, integers >= 0.
            down: pulses that lower it, likewise.
        """
        up, down = up.flatten(), down.flatten()
        index = random.where((up + down) != 0)
        self.pulse_hits(Hits(index, up[index], down[index]))

    @torch.no_grad()
    def pulse_hits(self, hits: Hits) -> None:
        """As `pulse_both`, of the weights alone that receive any pulse."""
        cell, sets, resets = self.layout.spread(hits, self._now())
        self.turn = self.turn + 1
        if self.endurance is not None:
            left = (self.endurance - self.cells.writes.flatten()[cell]).clamp_(min=0)
            total = sets + resets
            short = total > left
            # What a dying cell still takes is of both directions in proportion.
            part = (sets * left).div(total.clamp(min=1), rounding_mode="floor").to(sets.dtype)
            resets = torch.where(short, (left - part).to(resets.dtype), resets)
            sets = torch.where(short, part, sets)
            answers = (sets + resets) != 0
            cell, sets, resets = cell[answers], sets[answers], resets[answers]
        self._written_anew(cell)
        self.cells.pulse_both_at(cell, sets, resets)

    @torch.no_grad()
    def descend(self, x: Tensor, delta: Tensor, lr: float, update: PulsedUpdate) -> Tensor | None:
        """Move the weights by pulses that mean ``−lr·Σ_samples δ xᵀ``.

        Args:
            x: inputs ``[samples, in]``.
            delta: gradients of the outputs ``[samples, out]``.
            lr: learning rate, >= 0.
            update: how inputs and errors become pulses.

        Returns:
            Which weights received pulses, as positions in the flattened matrix (int64), each
            once; None where others may have moved as well.
        """
        like = self.cells.conductance()
        x, delta = x.to(like), delta.to(like)
        source = random.take(self.cells.rng, x.device)
        one = 1 if update.sequential else max(len(x), 1)
        moved: Tensor | None = None
        for number, part in enumerate(zip(x.split(one), delta.split(one), strict=True)):
            hits = update.hits(*part, lr / self.step, source)
            self.pulse_hits(hits)
            moved = hits.at if number == 0 else None
            if self.layout.refresh_due(int(self.turn)) and self.refresh():
                moved = None
        return moved

    @torch.no_grad()
    def program(self, weight: Tensor, *, erase: bool = True) -> int:
        """Write weights ``[out, in]`` by pulses and reads, until each is within a step.

        Args:
            weight: wanted.
            erase: whether cells start from their lowest conductance, else from where they stand:
                fewer pulses for weights nearby, though a pair that is full gets no further.

        Returns:
            How many weights were outside of the range, and were clipped.

        Raises:
            ValueError: if a weight is not finite.
        """
        clipped, outside = self._clipped(weight)
        if checks.truth("erase", erase):
            self.cells.reset()
        index = torch.arange(self.count, device=self.turn.device)
        self._approach(index, clipped.flatten())
        return outside

    @torch.no_grad()
    def refresh(self) -> int:
        """Erase saturated pairs and write their differences anew; see `DifferentialPair`.

        Erasing counts as one write of each cell; the pulses after it count as all do.

        Returns:
            How many weights were refreshed.
        """
        mask = self.layout.saturated(self.cells.conductance(), self.frame)
        if mask is None or not bool(mask.any()):
            return 0
        index = mask.flatten().nonzero().squeeze(1)
        target = self.read_at(index)
        self._erase(index)
        self._approach(index, target)
        return len(index)

    def take(
        self,
        cells: Cells,
        reference: Tensor,
        *,
        reference_written: Tensor | None = None,
        draws: int = 0,
    ) -> None:
        """Go on with other cells; randomness goes on from where it was.

        Their clock of aging goes on until the first of them is written again, by a pulse or
        directly: these cells have one clock.

        Args:
            cells: ``[slices, out, in]``, of the device, or of the voltage-driven model whose
                pulses the device is.
            reference: conductances (S) that count nothing, ``[]`` or ``[slices, out, in]``.
            reference_written: what the references held when written (S), ``[slices, out, in]``.
            draws: how often the crossbar they come from has drawn noise.
        """
        if isinstance(self.device, VoltagePulses) and cells.spec != self.device:
            cells = self.device.pulsed(cells)
        checks.shape("cells", cells.g, tuple(self.cells.shape))
        cells = cells.to(self.cells.g)
        cells.streams, cells.identity = self.cells.streams.clone(), self.cells.identity
        self.cells = cells  # type: ignore[assignment]
        self.reference = reference.to(cells.g)
        known = reference_written
        self.reference_written = None if known is None else known.to(cells.g)
        self.draws = self.draws.clamp(min=draws)

    @property
    def writes(self) -> Tensor:
        """Pulses every cell has received, ``[slices, out, in]`` (int64)."""
        return self.cells.writes

    @property
    def worn(self) -> Tensor:
        """Cells that answer no more, ``[slices, out, in]`` (bool)."""
        limit = torch.iinfo(torch.int64).max if self.endurance is None else self.endurance
        return self.cells.writes >= limit

    def _clipped(self, weight: Tensor) -> tuple[Tensor, int]:
        # Weights of the range, in the cells' dtype, and how many were outside of it.
        checks.shape("weight", weight, tuple(self.cells.shape[1:]))
        checks.real("weight", weight)
        checks.finite("weight", weight)
        clipped = weight.clamp(self.low, self.high)
        return clipped.to(self.cells.conductance()), int((clipped != weight).sum())

    def _now(self) -> Now:
        # A cell has nothing left to take below half of a reset pulse's step.
        empty = self.frame.g_min + 0.5 * self.steps[1] / self.frame.slope
        return Now(self.count, self.cells.conductance(), empty, self.turn)

    def _written_anew(self, cell: Tensor) -> None:
        if len(cell) and (self.cells.seconds or self.cells.reads):
            self.cells.seconds = self.cells.reads = 0.0

    def _erase(self, index: Tensor) -> None:
        offsets = torch.arange(self.layout.slices, device=index.device) * self.count
        cell = (index + offsets.unsqueeze(1)).flatten()
        if self.endurance is not None:
            cell = cell[self.cells.writes.flatten()[cell] < self.endurance]
        self._written_anew(cell)
        self.cells.erase_at(cell)

    def _approach(self, index: Tensor, target: Tensor) -> None:
        # Pulses and reads, until every weight is within a step.
        up, down = self.steps
        error = target - self.read_at(index)
        most = torch.iinfo(torch.int32).max
        slope = torch.zeros_like(target)
        train, lost = torch.ones_like(index), torch.zeros_like(index)
        for _ in range(_ROUNDS):
            step = torch.where(error > 0, up, down).to(error.dtype)
            going = (error.abs() >= step) & (lost <= _PATIENCE)
            index, target, error, slope, train, lost, step = (
                x[going] for x in (index, target, error, slope, train, lost, step)
            )
            if not len(index):
                return
            train = train_length(error, slope, train, most)
            self.pulse(index, train * error.sign().to(torch.int64))
            after = target - self.read_at(index)
            moved = (after - error).abs()
            lost += (after.sign() != error.sign()) | (moved < step / 4)
            slope = torch.maximum(moved / train, step / 4)
            error = after

    # ── checkpoints ──────────────────────────────────────────────────────────────────────────

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "draws" not in self._buffers:  # pickles of 0.1
            self.register_buffer("draws", torch.zeros_like(self.turn))
            self.register_buffer("reference_written", None)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        # Version 0.1 had arrays ``[out, in]`` of one cell a weight without turns, and cells in
        # layouts without references. References are one for all cells, or one each.
        for name in [n for n in state_dict if n.startswith(f"{prefix}cells.")]:
            value = state_dict[name]
            if name.endswith(".streams"):  # [3, 2], as a matrix may be
                continue
            if isinstance(value, Tensor) and tuple(value.shape) == self.shape:
                state_dict[name] = value.unsqueeze(0)
        for name in ("turn", "draws"):
            state_dict.setdefault(f"{prefix}{name}", torch.zeros_like(self.turn))
        like = self.cells.conductance()
        reference = state_dict.setdefault(f"{prefix}reference", like.new_tensor(self.frame.zero))
        if tuple(reference.shape) == self.shape:
            reference = state_dict[f"{prefix}reference"] = reference.unsqueeze(0)
        if reference.shape in (torch.Size(()), like.shape):
            self.reference = like.new_empty(reference.shape)
        known = state_dict.get(f"{prefix}reference_written") is not None
        self.reference_written = torch.empty_like(like) if known else None
        super()._load_from_state_dict(state_dict, prefix, *rest)
