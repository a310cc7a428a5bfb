"""How cells hold a weight: one over a range, a pair by its difference, or several together.

A *layout* is a spec: how many cells a weight takes, what they stand for, and which of them gets a
pulse. The cells themselves are `mho.train.on_cells.weights.WeightCells`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from mho.cells.device import Device
from mho.core import checks
from mho.core.spec import Spec
from mho.devices.pulsed import PulsedDevice
from mho.train.on_cells.coincidence import Hits

PAIR_UPDATES = ("set", "reset")


class Frame(NamedTuple):
    """What conductances stand for.

    Attributes:
        g_min: lowest conductance of the nominal window (S).
        g_max: highest conductance of the nominal window (S).
        low: lowest weight.
        high: highest weight.
    """

    g_min: float
    g_max: float
    low: float
    high: float

    @property
    def slope(self) -> float:
        """Weights per siemens of one cell over the whole range."""
        return (self.high - self.low) / (self.g_max - self.g_min)

    @property
    def zero(self) -> float:
        """Conductance (S) of one cell that counts nothing; outside of the window where none does.

        The reference of all cells, unless each has its own.
        """
        return self.g_min - self.low / self.slope


class Now(NamedTuple):
    """What a layout may know of the cells when it gives out pulses.

    Attributes:
        size: weights of the matrix.
        g: conductances ``[slices, …]`` (S).
        empty: below this conductance (S) a cell has nothing left to take.
        turn: updates so far (int64).
    """

    size: int
    g: Tensor
    empty: float
    turn: Tensor


@dataclass(frozen=True)
class CellLayout(Spec):
    """Base of all layouts. Cells of a matrix of n weights are ``[slices, n]``, flattened.

    What a weight is follows from the nominal window, not from each cell's own: a circuit that
    reads the cells does not know their spread.

    Class attributes:
        cellwise: whether `decode` gives a weight the same bits alone as among others (sums over
            cells may be taken in another order).
    """

    cellwise: ClassVar[bool] = True

    @property
    def slices(self) -> int:
        """Cells of one weight."""
        return 1

    def frame(self, device: Device, weight_range: tuple[float, float]) -> Frame:
        """Return what a device's conductances stand for (ValueError if the range does not fit)."""
        return Frame(*device.window, *check_range(weight_range))

    def limits(self, frame: Frame) -> tuple[float, float]:
        """Return the lowest and the highest weight."""
        return frame.low, frame.high

    def decode(self, over: Tensor, frame: Frame) -> Tensor:
        """Return the weights ``[…]`` of conductances over their references ``[slices, …]`` (S).

        Linear: nothing over the references is the weight 0.
        """
        raise NotImplementedError(f"{type(self).__name__} must define decode(…)")

    def encode(self, weight: Tensor, frame: Frame) -> Tensor:
        """Return conductances over references ``[slices, …]`` (S) that say weights ``[…]``."""
        raise NotImplementedError(f"{type(self).__name__} must define encode(…)")

    def steps(self, up: float, down: float, frame: Frame) -> tuple[float, float]:
        """Return how far one pulse moves a weight, up and down.

        Args:
            up: step of a cell's set pulse (S); see `pulse_steps`.
            down: step of a cell's reset pulse (S).
            frame: what conductances stand for.
        """
        raise NotImplementedError(f"{type(self).__name__} must define steps(…)")

    def route(self, index: Tensor, counts: Tensor, now: Now) -> tuple[Tensor, Tensor]:
        """Return which cells (flat) get how many pulses for given pulses of weights (flat)."""
        return index, counts

    def spread(self, hits: Hits, now: Now) -> tuple[Tensor, Tensor, Tensor]:
        """Return which cells (flat, each once and rising) get how many set and reset pulses.

        Args:
            hits: pulses that raise weights, and that lower them; a weight may have both.
            now: what is known of the cells.
        """
        cells, numbers = [], []
        for sign, pulses in ((1, hits.up), (-1, hits.down)):
            some = pulses > 0
            signed = sign * pulses[some].to(torch.int64)
            cell, number = self.route(hits.at[some], signed, now)
            cells.append(cell)
            numbers.append(number)
        chosen, place = torch.cat(cells).unique(return_inverse=True)
        number = torch.cat(numbers)
        blank = torch.zeros_like(chosen)
        sets = blank.index_add(0, place, number.clamp(min=0))
        return chosen, sets, blank.index_add_(0, place, number.neg_().clamp_(min=0))

    def saturated(self, g: Tensor, frame: Frame) -> Tensor | None:
        """Return a mask ``[…]`` of weights that writing anew would give room again, or None."""
        return None

    def refresh_due(self, updates: int) -> bool:
        """Whether saturated weights are to be written anew after so many updates."""
        return False


@dataclass(frozen=True)
class SingleCell(CellLayout):
    """One cell a weight: ``w = low + (G − g_min)/(g_max − g_min)·(high − low)``."""

    def decode(self, over: Tensor, frame: Frame) -> Tensor:
        """See `CellLayout.decode`."""
        return over[0] * frame.slope

    def encode(self, weight: Tensor, frame: Frame) -> Tensor:
        """See `CellLayout.encode`."""
        return (weight / frame.slope).unsqueeze(0)

    def steps(self, up: float, down: float, frame: Frame) -> tuple[float, float]:
        """See `CellLayout.steps`."""
        return up * frame.slope, down * frame.slope

    def spread(self, hits: Hits, now: Now) -> tuple[Tensor, Tensor, Tensor]:
        """See `CellLayout.spread`."""
        return hits


@dataclass(frozen=True)
class DifferentialPair(CellLayout):
    """Two cells a weight, ``w = scale·(G⁺ − G⁻)`` with ``scale = high/(g_max − g_min)``.

    The range must be symmetric. Pulses of one polarity alone leave both cells at the top of their
    window in the end; such pairs are refreshed: read, both cells erased, the difference written
    anew.

    Attributes:
        update: ``"set"``: an increment sets G⁺, a decrement sets G⁻ (for cells that are gradual in
            one direction); ``"reset"``: an increment resets G⁻ as long as there is something to
            take from it and sets G⁺ then, and the other way round.
        refresh_every: optimizer steps between refreshes, >= 1; None: only when asked to.
        full: part of the window above which a cell counts as saturated, in (0.5, 1).
    """

    update: str = "set"
    refresh_every: int | None = 100
    full: float = 0.9

    def __post_init__(self) -> None:
        checks.one_of("update", self.update, PAIR_UPDATES)
        if self.refresh_every is not None:
            checks.integer("refresh_every", self.refresh_every)
        checks.number("full", self.full, above=0.5, below=1.0)

    @property
    def slices(self) -> int:
        """Two."""
        return 2

    def frame(self, device: Device, weight_range: tuple[float, float]) -> Frame:
        """See `CellLayout.frame`; the range is that of one cell, 0 to ``high``."""
        low, high = check_range(weight_range)
        if low != -high:
            raise ValueError(
                f"weight_range of a DifferentialPair must be (-high, high), got {(low, high)!r}"
            )
        return Frame(*device.window, 0.0, high)

    def limits(self, frame: Frame) -> tuple[float, float]:
        """See `CellLayout.limits`."""
        return -frame.high, frame.high

    def decode(self, over: Tensor, frame: Frame) -> Tensor:
        """See `CellLayout.decode`."""
        return over[0].sub(over[1]).mul_(frame.slope)

    def encode(self, weight: Tensor, frame: Frame) -> Tensor:
        """See `CellLayout.encode`; the idle cell of a pair rests at its reference."""
        signed = weight / frame.slope
        return torch.stack((signed, -signed)).clamp_(min=0.0)

    def steps(self, up: float, down: float, frame: Frame) -> tuple[float, float]:
        """See `CellLayout.steps`."""
        each = (up if self.update == "set" else (up + down) / 2) * frame.slope
        return each, each

    def route(self, index: Tensor, counts: Tensor, now: Now) -> tuple[Tensor, Tensor]:
        """See `CellLayout.route`."""
        own = torch.where(counts > 0, index, index + now.size)
        if self.update == "set":
            return own, counts.abs()
        other = torch.where(counts > 0, index + now.size, index)
        takes = now.g.flatten()[other] > now.empty
        return torch.where(takes, other, own), torch.where(takes, -counts.abs(), counts.abs())

    def saturated(self, g: Tensor, frame: Frame) -> Tensor | None:
        """See `CellLayout.saturated`; a weight at the end of its range gains nothing anew."""
        part = g.sub(frame.g_min).div_(frame.g_max - frame.g_min)
        return (part.amax(0) >= self.full) & (part.amin(0) > 1.0 - self.full)

    def refresh_due(self, updates: int) -> bool:
        """See `CellLayout.refresh_due`."""
        return self.refresh_every is not None and updates % self.refresh_every == 0


@dataclass(frozen=True)
class MultiCell(CellLayout):
    """Several cells a weight, their mean; pulses go round, one cell after the other.

    Which cell comes first is said by a counter that all weights share; it moves on by one with
    every update. A pulse moves a weight by a fraction of what it moves its cell.

    Source: I. Boybat et al., "Neuromorphic computing with multi-memristive synapses", Nature
    Communications 9, 2514 (2018), doi 10.1038/s41467-018-04933-y.

    Attributes:
        count: cells of one weight, >= 1.
        significances: what each cell counts in the (weighted) mean, all > 0; equal if not given.
    """

    cellwise: ClassVar[bool] = False

    count: int = 2
    significances: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        checks.integer("count", self.count)
        if self.significances is None:
            return
        checks.instance("significances", self.significances, (tuple, list))
        if len(self.significances) != self.count:
            raise ValueError(
                f"significances must be {self.count} numbers, got {self.significances!r}"
            )
        for i, value in enumerate(self.significances):
            checks.number(f"significances[{i}]", value, above=0.0)
        object.__setattr__(self, "significances", tuple(map(float, self.significances)))

    @property
    def slices(self) -> int:
        """As many as ``count``."""
        return self.count

    def decode(self, over: Tensor, frame: Frame) -> Tensor:
        """See `CellLayout.decode`."""
        if self.significances is None:
            return over.mean(0).mul_(frame.slope)
        parts = torch.tensor(self.significances, dtype=over.dtype, device=over.device)
        mean = torch.tensordot(parts / parts.sum(), over, dims=1)
        return mean.mul_(frame.slope)

    def encode(self, weight: Tensor, frame: Frame) -> Tensor:
        """See `CellLayout.encode`; all cells of a weight alike."""
        return (weight / frame.slope).expand(self.count, *weight.shape)

    def steps(self, up: float, down: float, frame: Frame) -> tuple[float, float]:
        """See `CellLayout.steps`; over a whole round."""
        return up * frame.slope / self.count, down * frame.slope / self.count

    def route(self, index: Tensor, counts: Tensor, now: Now) -> tuple[Tensor, Tensor]:
        """See `CellLayout.route`."""
        cell = torch.arange(self.count, device=index.device).unsqueeze(1)
        # Of n pulses the cell that is p-th in turn gets every count-th from its own on.
        place = (cell - now.turn) % self.count
        number = (counts.abs() + (self.count - 1) - place).div_(self.count, rounding_mode="floor")
        chosen = number > 0
        where = (index + cell * now.size)[chosen]
        return where, (number * counts.sign())[chosen]


def check_range(weight_range: tuple[float, float]) -> tuple[float, float]:
    """Return a weight range as two numbers, or refuse it (TypeError, ValueError)."""
    checks.instance("weight_range", weight_range, (tuple, list))
    if len(weight_range) != 2:
        raise ValueError(f"weight_range must be (low, high), got {weight_range!r}")
    low, high = weight_range
    checks.number("weight_range low", low)
    checks.number("weight_range high", high, above=float(low))
    return float(low), float(high)


def pulse_steps(device: PulsedDevice) -> tuple[float, float]:
    """Return what a set and a reset pulse are worth (S): a nominal cell's steps at mid-window.

    All of training on cells counts in these. In the middle of the window is the weight 0 of a
    symmetric range, about which trained weights lie: the mean of both directions is Δw_min of T.
    Gokmen, Y. Vlasov, Frontiers in Neuroscience 2016, doi 10.3389/fnins.2016.00333.

    Where a step depends linearly on the conductance (constant and linear steps, soft bounds, the
    exponential curve) this is also the mean over all conductances of the window. It is not the
    window over the pulses that take a cell through it, the mean over those pulses: a cell spends
    most of them where it saturates. For an exponential curve of n pulses with curvature k the step
    at mid-window is ``(g_max − g_min)/2·coth(k/2)·(1 − e^(−k/n))``, close to ``(k/2)·coth(k/2)``
    times ``(g_max − g_min)/n``.
    """
    g = torch.full((2,), sum(device.window) / 2, dtype=torch.float64)
    change = device.change(g, torch.tensor([True, False]), device.constants())
    return float(change[0]), -float(change[1])


def steps_of(
    device: PulsedDevice,
    layout: CellLayout,
    frame: Frame,
    granularity: float | tuple[float, float] | None,
) -> tuple[float, float]:
    """Return how far one pulse is taken to move a weight, up and down; see `WeightCells`.

    Raises:
        TypeError, ValueError: if the granularity is none, or there is none and a pulse moves a
            cell the wrong way.
    """
    if granularity is None:
        cell = pulse_steps(device)
        up, down = layout.steps(*cell, frame)
        if not (up > 0.0 and down > 0.0):
            raise ValueError(
                "pulses must move up by set and down by reset in the middle of the window; those "
                f"of {type(device).__name__} move it by {cell[0]:g} S and {-cell[1]:g} S. With a "
                "granularity it is used all the same"
            )
        return up, down
    if isinstance(granularity, (tuple, list)) and len(granularity) == 2:
        for value in granularity:
            checks.number("granularity", value, above=0.0)
        return float(granularity[0]), float(granularity[1])
    granularity = checks.number("granularity", granularity, above=0.0)
    return float(granularity), float(granularity)
