"""Measured pulse responses: checked, scaled to their range, and cut into single pulses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mho.fit.calibration import Array

LEAST_PULSES = 8
_BELOW_ZERO = 0.2  # of the range: what noise of readings may reach


@dataclass(frozen=True)
class Window:
    """The range of one cell's data, and which of its ends cut the state off.

    Attributes:
        low: lowest conductance seen (S).
        high: highest conductance seen (S).
        stops_low: whether pulses pile up at exactly ``low``: a bound that clips.
        stops_high: whether they do at ``high``.
        resolution: of the numbers (S): how exactly a bound that piles up is known.
    """

    low: float
    high: float
    stops_low: bool
    stops_high: bool
    resolution: float

    @property
    def width(self) -> float:
        """The range (S)."""
        return self.high - self.low


@dataclass(frozen=True)
class Trains:
    """Trains of pulses of one cell, scaled so that its window is 0…1.

    Attributes:
        g: conductances, ``[trains, pulses + 1]``; shorter trains end in repeats.
        up: true for trains of set pulses, ``[trains]``.
        length: pulses of each train, ``[trains]``.
        cycle: the cycle each train is of, ``[trains]``.
        stops: at which ends states are cut off (low, high).
    """

    g: Array
    up: npt.NDArray[np.bool_]
    length: npt.NDArray[np.int64]
    cycle: npt.NDArray[np.int64]
    stops: tuple[bool, bool]

    @property
    def valid(self) -> npt.NDArray[np.bool_]:
        """Which pulses there are, ``[trains, pulses]``."""
        return np.arange(self.g.shape[1] - 1) < self.length[:, None]

    def rows(self, kept: npt.NDArray[np.bool_]) -> Trains:
        """Return some of the trains, ``[trains]``."""
        return Trains(self.g[kept], self.up[kept], self.length[kept], self.cycle[kept], self.stops)

    def steps(self) -> Steps:
        """Return all single pulses."""
        valid = self.valid
        before, after = self.g[:, :-1][valid], self.g[:, 1:][valid]
        up = np.broadcast_to(self.up[:, None], valid.shape)[valid]
        stopped = np.zeros(len(after))
        if self.stops[0]:
            stopped[after == 0.0] = -1.0
        if self.stops[1]:
            stopped[after == 1.0] = 1.0
        return Steps(
            *(torch.from_numpy(np.ascontiguousarray(v)) for v in (before, after, up, stopped))
        )


@dataclass(frozen=True)
class Steps:
    """Single pulses, in the scale of their `Trains`; all vectors of the same length.

    Attributes:
        before: conductances before the pulse.
        after: conductances after it.
        up: true for set pulses.
        stopped: 1 where the pulse was stopped at the upper bound, -1 at the lower, else 0.
    """

    before: torch.Tensor
    after: torch.Tensor
    up: torch.Tensor
    stopped: torch.Tensor

    def where(self, kept: torch.Tensor) -> Steps:
        """Return some of them."""
        return Steps(self.before[kept], self.after[kept], self.up[kept], self.stopped[kept])


def halves(response: Any) -> tuple[Array, Array]:
    """Return the set and reset halves of a response, each ``[cells, cycles, pulses + 1]``.

    Raises:
        TypeError: if they are no numbers.
        ValueError: if there are not two halves, one has a wrong shape, fewer than 8 pulses, or
            entries that are negative or not finite, or the conductance does not rise and fall.
    """
    try:
        given = tuple(response)
    except TypeError:
        raise TypeError(f"response must be a pair (set, reset), got {response!r}") from None
    if len(given) != 2:
        raise ValueError(f"response must have 2 halves, got {len(given)}")
    up, down = (_half(name, v) for name, v in zip(("set", "reset"), given, strict=True))
    if up.shape[0] != down.shape[0]:
        raise ValueError(
            "both halves of response must be of as many cells, got "
            f"{up.shape[0]} (set) and {down.shape[0]} (reset)"
        )
    for name, half, sign in (("set", up, 1.0), ("reset", down, -1.0)):
        moved = sign * (half[..., -1] - half[..., 0]).mean(axis=1)
        if (moved <= 0.0).any():
            verb = "rise" if sign > 0 else "fall"
            raise ValueError(
                f"the {name} half of response must {verb} from its first to its last conductance, "
                f"but that of {int((moved <= 0).sum())} of {len(half)} cells does not"
            )
    _refuse_swapped_axes(up, down)
    return up, down


def window(up: Array, down: Array) -> Window:
    """Return the range of one cell's halves, each ``[cycles, pulses + 1]``."""
    everything = np.concatenate([up.ravel(), down.ravel()])
    reached = np.concatenate([up[:, 1:].ravel(), down[:, 1:].ravel()])
    low, high = float(everything.min()), float(everything.max())
    single = bool((everything == everything.astype(np.float32)).all())
    resolution = high * float(np.finfo(np.float32 if single else np.float64).eps)
    # Numbers that tie everywhere (few digits, no noise) tie at the ends too: that is no bound.
    usual = _usual_ties(reached, low, high)
    stops = [_piles(up, down, reached, end, usual) for end in (low, high)]
    return Window(low, high, stops[0], stops[1], resolution)


def trains(up: Array, down: Array, of: Window) -> Trains:
    """Return one cell's halves as trains in the scale of its window."""
    pulses = max(up.shape[1], down.shape[1])
    rows = [np.pad(half, ((0, 0), (0, pulses - half.shape[1])), mode="edge") for half in (up, down)]
    scaled = (np.concatenate(rows) - of.low) / of.width
    counts = (len(up), len(down))
    return Trains(
        g=scaled,
        up=np.repeat([True, False], counts),
        length=np.repeat([up.shape[1] - 1, down.shape[1] - 1], counts),
        cycle=np.concatenate([np.arange(counts[0]), np.arange(counts[1])]),
        stops=(of.stops_low, of.stops_high),
    )


def _half(name: str, values: Any) -> Array:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
    try:
        half = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"the {name} half of response must be an array of numbers") from None
    if half.ndim not in (1, 2, 3):
        raise ValueError(
            f"the {name} half of response must be [pulses + 1], [cycles, pulses + 1] or "
            f"[cells, cycles, pulses + 1], got shape {list(half.shape)}"
        )
    if not half.size or half.shape[-1] < LEAST_PULSES + 1:
        raise ValueError(
            f"too few pulses to fit: the {name} half has {max(half.shape[-1] - 1, 0)}, "
            f"at least {LEAST_PULSES} are needed"
        )
    bad = int((~np.isfinite(half)).sum())
    if bad:
        raise ValueError(
            f"response must be finite, but {bad} of {half.size} entries of the {name} half are not"
        )
    low, high = float(half.min()), float(half.max())
    if low < -_BELOW_ZERO * (high - low) or high < 0.0:
        raise ValueError(
            f"response must hold conductances, >= 0 but for noise of readings, got {low:g} … "
            f"{high:g} S in the {name} half"
        )
    return half.reshape((1,) * (3 - half.ndim) + half.shape)


def _refuse_swapped_axes(up: Array, down: Array) -> None:
    # A cell's next cycle begins where its last ended; the next cell has nothing to do with it.
    if up.shape != down.shape or min(up.shape[:2]) < 2:
        return
    scale = max(float(np.ptp(up)), float(np.ptp(down)))
    along_cycles = float(np.abs(up[:, 1:, 0] - down[:, :-1, -1]).mean()) / scale
    along_cells = float(np.abs(up[1:, :, 0] - down[:-1, :, -1]).mean()) / scale
    if along_cells < 1e-6 < along_cycles:
        raise ValueError(
            "response seems to be [cycles, cells, pulses + 1] (its first axis is continuous in "
            "time); it must be [cells, cycles, pulses + 1]: transpose the first two axes"
        )


def _usual_ties(reached: Array, low: float, high: float) -> float:
    inside = reached[(reached > low) & (reached < high)]
    return float(len(inside) / len(np.unique(inside))) if len(inside) else 1.0


def _piles(up: Array, down: Array, reached: Array, end: float, usual: float) -> bool:
    count = int((reached == end).sum())
    if usual < 1.05:
        return count >= 2
    stays = sum(int(((half[:, :-1] == end) & (half[:, 1:] == end)).sum()) for half in (up, down))
    return stays >= 2 and count > 4 * usual
