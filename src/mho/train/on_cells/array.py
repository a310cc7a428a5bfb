"""PulsedArray: weights that pulse-count cells hold, and the pulses that move them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mho.core import checks, random
from mho.devices.pulsed import Cell, PulsedCells, PulsedDevice, bounded
from mho.train.on_cells.coincidence import Counts, PulsedUpdate
from mho.train.on_cells.layouts import Frame, check_range

_DENSE = 0.5  # with more cells to move than this share, all are computed: cheaper than picking
_HALVINGS = 60


class PulsedArray(nn.Module):
    """A matrix of weights, one pulse-count cell each: ``w = slope·(G − reference)``.

    The slope (1/S) puts a nominal cell's window on the weight range; the reference (S) is what
    holds zero: at first the same for all cells, after `shift_reference` each cell's own.

    Args:
        device: what the cells are.
        shape: of the matrix, ``(out, in)``.
        weight_range: weights at a nominal cell's lowest and highest conductance.
        seed: of everything random in the cells' life.
        dtype: of the conductances; torch's default if not given.
        torch_device: where they live.

    Attributes:
        cells: the population ``[out, in]``.
        reference: conductances (S) that mean 0, ``[]`` or ``[out, in]``.
        step: nominal change of a weight by one pulse at the middle of the window, Δw_min.

    Raises:
        TypeError, ValueError: if the device, the shape or the range is refused.
    """

    cells: PulsedCells
    reference: Tensor

    def __init__(
        self,
        device: PulsedDevice,
        shape: tuple[int, int],
        *,
        weight_range: tuple[float, float] = (-1.0, 1.0),
        seed: int = 0,
        dtype: torch.dtype | None = None,
        torch_device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        checks.instance("device", device, PulsedDevice)
        frame = Frame(*device.window, *check_range(weight_range))
        self.slope = frame.slope
        self.step = self.slope * nominal_step(device)
        cells = device.fabricate(shape, seed=seed, dtype=dtype, device=torch_device)
        checks.instance("cells of device", cells, PulsedCells)
        self.cells = cells  # type: ignore[assignment]
        reference = torch.full_like(self.cells.g[:1, :1], frame.zero).squeeze()
        self.register_buffer("reference", reference)

    def read(self) -> Tensor:
        """Return the weights that the cells hold ``[out, in]``."""
        return (self.cells.g - self.reference) * self.slope

    @torch.no_grad()
    def write(self, weight: Tensor) -> None:
        """Put the cells at weights, or at what of them they can reach, without error.

        Raises:
            ValueError: if a weight is not finite or the shape does not fit.
        """
        self.cells.write(weight.to(self.cells.g) / self.slope + self.reference)

    @torch.no_grad()
    def descend(self, x: Tensor, delta: Tensor, lr: float, update: PulsedUpdate) -> None:
        """Move the weights by pulses that mean ``−lr·Σ_samples δ xᵀ``.

        Args:
            x: inputs ``[samples, in]``.
            delta: gradients of the outputs ``[samples, out]``.
            lr: learning rate, >= 0.
            update: how inputs and errors become pulses.
        """
        x, delta = x.to(self.cells.g), delta.to(self.cells.g)
        source = random.take(self.cells.rng, x.device)
        one = 1 if update.sequential else max(len(x), 1)
        for part, errors in zip(x.split(one), delta.split(one), strict=True):
            self.pulse(update.counts(part, errors, lr / self.step, source))

    @torch.no_grad()
    def pulse(self, counts: Counts) -> None:
        """Give every cell its set and reset pulses ``[out, in]``.

        Where pulses differ from cycle to cycle, or the device knows no closed form, a cell's
        pulses come one by one, set and reset in random order, as those of a shuffled batch do.
        Else they are closed-form trains: where a cell has pulses of both directions, half of the
        set pulses, the reset pulses, the other half.
        """
        apply(self.cells, counts)

    @torch.no_grad()
    def shift_reference(self, *, sigma: float = 0.0) -> None:
        """Make every cell's symmetry point its zero, and put all cells there.

        The symmetry point is where a set and a reset pulse undo each other. Alternating pulses
        take a cell there; its conductance is then copied to a reference cell (zero shifting: H.
        Kim et al., "Zero-shifting technique for deep neural network training on resistive
        cross-point arrays", arXiv:1907.10228). Here the point that those pulses converge to is
        solved from the mean response.

        Args:
            sigma: standard deviation of the references' error (weight units), >= 0.
        """
        checks.number("sigma", sigma, least=0.0)
        point = symmetry_point(self.cells)
        self.cells.write(point)
        if sigma:
            source = random.take(self.cells.rng, point.device)
            point = point + random.normal(point, source) * (sigma / self.slope)
        self.reference = point


def nominal_step(device: PulsedDevice) -> float:
    """Return a nominal cell's step (S) at the middle of its window, set and reset averaged.

    Raises:
        ValueError: if no pulse moves the cell there.
    """
    g = torch.full((2,), sum(device.window) / 2, dtype=torch.float64)
    change = device.change(g, torch.tensor([True, False]), device.constants())
    step = float((change[0] - change[1]) / 2)
    if not step > 0:
        raise ValueError(
            f"device must answer pulses at the middle of its window, got a mean step of {step:g} S"
        )
    return step


def symmetry_point(cells: PulsedCells) -> Tensor:
    """Return the conductances (S) at which mean set and reset steps are equal, cell by cell.

    A bound where a cell has no such point inside its window, the middle where all are such.
    """
    cell = cells._cell()
    low = bounded(torch.full_like(cells.g, -torch.inf), cell)
    high = bounded(torch.full_like(cells.g, torch.inf), cell)
    up = torch.ones_like(low, dtype=torch.bool)
    for _ in range(_HALVINGS):
        g = (low + high) / 2
        drift = cells.spec.change(g, up, cell) + cells.spec.change(g, ~up, cell)
        low, high = torch.where(drift > 0, g, low), torch.where(drift < 0, g, high)
    return (low + high) / 2


def apply(cells: PulsedCells, counts: Counts) -> None:
    """Pulse cells; see `PulsedArray.pulse`."""
    up, down = (n.flatten() for n in counts)
    index = (up + down).nonzero().squeeze(1)
    if not len(index):
        return
    cells.g, cells.writes = cells.g.contiguous(), cells.writes.contiguous()
    # Few cells move in most steps: only these are computed.
    whole = len(index) > _DENSE * len(up)
    g, cell = cells.g.view(-1), cells._cell_at(None if whole else index)
    if not whole:
        up, down, g = (value.index_select(0, index) for value in (up, down, g))
    moved = None if cells.spec.noisy else _closed(cells.spec, g, up, down, cell)
    if moved is None:
        source = random.take(cells.rng, g.device)
        moved = _one_by_one(cells, g, up, down, cell, source)
    if whole:
        cells.g = moved.view_as(cells.g)
        cells.writes += (up + down).view_as(cells.g)
    else:
        cells.g.view(-1).scatter_(0, index, moved)
        cells.writes.view(-1).scatter_add_(0, index, (up + down).long())


def _closed(spec: PulsedDevice, g: Tensor, up: Tensor, down: Tensor, cell: Cell) -> Tensor | None:
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
    part, some = _part(cell, index), g[index]
    for counts in (-down[index].to(g.dtype), leading[index]):
        after = spec.burst(some, counts, part)
        if after is None:
            return None
        some = bounded(after, part)
    return g.index_copy(0, index, some)


def _one_by_one(
    cells: PulsedCells,
    g: Tensor,
    up: Tensor,
    down: Tensor,
    cell: Cell,
    source: torch.Generator,
) -> Tensor:
    # The k-th pass gives every cell with more than k pulses one of those it has left.
    result, place = g.clone(), torch.arange(len(g), device=g.device)
    left = up + down
    while True:
        more = (left > 0).nonzero().squeeze(1)
        if not len(more):
            break
        if len(more) < len(left):
            g, up, left, place = (v.index_select(0, more) for v in (g, up, left, place))
            cell = _part(cell, more)
        chosen = torch.empty_like(g).uniform_(generator=source) * left < up
        g = bounded(g + cells._jump(g, chosen, cell, source), cell)
        result[place] = g
        up, left = up - chosen.to(up.dtype), left - 1
    return result


def _part(cell: Cell, index: Tensor) -> Cell:
    return {k: v.index_select(0, index) if isinstance(v, Tensor) else v for k, v in cell.items()}
