"""Weight matrices that pulse-count cells hold, and the pulses that move them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mho.core import checks
from mho.devices.pulsed import PulsedCells, PulsedDevice
from mho.train.on_cells.layouts import (
    CellLayout,
    DifferentialPair,
    MultiCell,
    Now,
    SingleCell,
    check_range,
    pulse_steps,
)

__all__ = [
    "CellLayout",
    "CellWeights",
    "DifferentialPair",
    "MultiCell",
    "SingleCell",
    "check_range",
    "pulse_steps",
]

ONE_CELL = SingleCell()
# Of writing by pulses and reads: most rounds, and most of them that turn round or lead nowhere.
_ROUNDS, _PATIENCE = 200, 8


class CellWeights(nn.Module):
    """A weight matrix that pulse-count cells hold.

    Args:
        device: what the cells are.
        shape: of the matrix, ``(out, in)``.
        layout: how cells hold a weight.
        weight_range: lowest and highest weight.
        granularity: change of a weight that is taken for one pulse's, > 0; None: the mean step of
            the device (see `pulse_steps`).
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
        turn: updates so far (int64); `MultiCell` gives pulses out by it.

    Raises:
        TypeError, ValueError: if an argument is refused.
    """

    cells: PulsedCells
    turn: Tensor

    def __init__(
        self,
        device: PulsedDevice,
        shape: tuple[int, int],
        *,
        layout: CellLayout = ONE_CELL,
        weight_range: tuple[float, float] = (-1.0, 1.0),
        granularity: float | None = None,
        endurance: int | None = None,
        seed: int = 0,
        dtype: torch.dtype | None = None,
        torch_device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        checks.instance("device", device, PulsedDevice)
        checks.instance("layout", layout, CellLayout)
        if endurance is not None:
            checks.integer("endurance", endurance)
        self.device, self.layout, self.endurance = device, layout, endurance
        self.frame = layout.frame(device, weight_range)
        self.low, self.high = layout.limits(self.frame)
        if granularity is None:
            up, down = pulse_steps(device)
            self.steps = layout.steps(up, down, self.frame)
        else:
            checks.number("granularity", granularity, above=0.0)
            self.steps = (float(granularity),) * 2
            down = granularity / self.frame.slope
        self._empty = self.frame.g_min + 0.5 * down
        self.count = shape[0] * shape[1]
        self.cells = device.fabricate(  # type: ignore[assignment]
            (layout.slices, *shape), seed=seed, dtype=dtype, device=torch_device
        )
        self.register_buffer("turn", torch.zeros((), dtype=torch.int64, device=torch_device))

    def read(self) -> Tensor:
        """Return the weights ``[out, in]`` that the cells hold now."""
        return self.layout.decode(self.cells.conductance(), self.frame)

    def read_at(self, index: Tensor) -> Tensor:
        """Return some of the weights, at positions in the flattened matrix ``[chosen]``."""
        return self.layout.decode(self.cells.conductance().flatten(1)[:, index], self.frame)

    @torch.no_grad()
    def write(self, weight: Tensor) -> int:
        """Put the cells at weights ``[out, in]`` directly, without pulses; nothing is counted.

        Returns:
            How many weights were outside of the range, and were clipped.

        Raises:
            ValueError: if a weight is not finite.
        """
        clipped, outside = self._clipped(weight)
        self.cells.write(self.layout.encode(clipped, self.frame))
        return outside

    @torch.no_grad()
    def pulse(self, index: Tensor, counts: Tensor) -> None:
        """Move some weights by pulses.

        Args:
            index: which, each once, as positions in the flattened matrix (int64), ``[chosen]``.
            counts: pulses, > 0 up, < 0 down, none of them 0 (int64), ``[chosen]``.
        """
        now = Now(self.count, self.cells.conductance(), self._empty, self.turn)
        cell, number = self.layout.route(index, counts, now)
        self.turn = self.turn + 1
        if self.endurance is not None:
            left = (self.endurance - self.cells.writes.flatten()[cell]).clamp_(min=0)
            number = torch.maximum(torch.minimum(number, left), -left)
            answers = number != 0
            cell, number = cell[answers], number[answers]
        self.cells.pulse_at(cell, number)

    @torch.no_grad()
    def program(self, weight: Tensor) -> int:
        """Write weights ``[out, in]`` by pulses and reads, from the cells' lowest conductance.

        Returns:
            How many weights were outside of the range, and were clipped.

        Raises:
            ValueError: if a weight is not finite.
        """
        clipped, outside = self._clipped(weight)
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
        checks.finite("weight", weight)
        clipped = weight.clamp(self.low, self.high)
        return clipped.to(self.cells.g), int((clipped != weight).sum())

    def _erase(self, index: Tensor) -> None:
        offsets = torch.arange(self.layout.slices, device=index.device) * self.count
        cell = (index + offsets.unsqueeze(1)).flatten()
        g, low = self.cells.g.flatten(), self.cells.parameter("g_min")
        if self.endurance is not None:
            cell = cell[self.cells.writes.flatten()[cell] < self.endurance]
        rest = low.flatten()[cell] if isinstance(low, Tensor) else torch.full_like(g[cell], low)
        shape = self.cells.g.shape
        self.cells.g = g.index_copy(0, cell, rest).view(shape)
        ones = torch.ones_like(cell)
        self.cells.writes = self.cells.writes.flatten().index_add(0, cell, ones).view(shape)

    def _approach(self, index: Tensor, target: Tensor) -> None:
        # Pulses and reads, until every weight is within a mean step. A train is as long as the
        # last one's mean step promises, at most twice the last.
        up, down = self.steps
        error = target - self.read_at(index)
        slope = torch.full_like(target, torch.inf)
        train, lost = torch.ones_like(index), torch.zeros_like(index)
        for _ in range(_ROUNDS):
            step = torch.where(error > 0, up, down).to(error.dtype)
            going = (error.abs() >= step) & (lost <= _PATIENCE)
            index, target, error, slope, train, lost, step = (
                x[going] for x in (index, target, error, slope, train, lost, step)
            )
            if not len(index):
                return
            wanted = torch.minimum((error.abs() / slope).floor(), 2.0 * train).clamp_(min=1.0)
            train = wanted.to(torch.int64)
            self.pulse(index, train * error.sign().to(torch.int64))
            after = target - self.read_at(index)
            moved = (after - error).abs()
            lost += (after.sign() != error.sign()) | (moved < step / 4)
            slope = torch.maximum(moved / train, step / 4)
            error = after
