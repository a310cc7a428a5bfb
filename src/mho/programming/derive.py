"""Which pulses fit a device: found by pulsing a small population of it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mho.cells.device import Device
from mho.core import checks
from mho.devices.pulsed import PulsedDevice
from mho.devices.switching import SwitchingDevice
from mho.devices.switching_cells import SwitchingCells
from mho.programming.pulses import Pulses

_WIDTHS = tuple(10.0**exponent for exponent in range(-9, 1))
_TIMES = (1.0, 2.0, 4.0, 8.0, 16.0)
_ALIKE, _SPREAD = 17, 512  # cells looked at, where all are alike and where they are not
_INSET = 1e-3  # of the tolerance
_MOST_CELLS = 0.99
_PRECISION, _LEAST = 0.02, 1e-6  # of an amplitude sought; the least one, of the largest
_GRID, _MOST_PULSES = 513, 1e5
_DIGITS = 3


def pulses_for(
    device: Device,
    tolerance: float,
    amplitude: float | tuple[float, float],
    steps: int,
    stuck_after: int,
) -> dict[str, Any]:
    """Return the fields of a `WriteVerify` that depend on the device; see its ``for_device``."""
    steps = checks.integer("steps", steps, least=2)
    both = amplitude if isinstance(amplitude, (tuple, list)) else (amplitude, amplitude)
    if len(both) != 2:
        raise ValueError(f"amplitude must be one number or (set, reset), got {amplitude!r}")
    for value in both:
        checks.number("amplitude", value, above=0.0)
    refuse_pulseless("write–verify", device)
    if isinstance(device, SwitchingDevice):
        return {
            name: _found(device, tolerance, steps, stuck_after, up, sought)
            for name, up, sought in (("set", True, both[0]), ("reset", False, both[1]))
        }
    assert isinstance(device, PulsedDevice)
    needed = pulses_through(device, tolerance)
    stand_in = Pulses(1.0, 0.0, 1.0, 100e-9)
    trains = {"train": max(1, needed // 8), "max_pulses": max(500, 8 * needed)}
    return {"set": stand_in, "reset": stand_in, **trains}


def refuse_pulseless(policy: str, device: Any) -> None:
    """Refuse a device that takes no pulses (TypeError).

    Args:
        policy: what needs them, for the message.
        device: any.
    """
    if not isinstance(device, (SwitchingDevice, PulsedDevice)):
        raise TypeError(
            f"{policy} needs a voltage-driven or pulse-count device, and {type(device).__name__} "
            "takes no pulses"
        )


@functools.lru_cache(maxsize=64)
def _found(
    device: SwitchingDevice, tolerance: float, steps: int, enough: int, up: bool, amplitude: float
) -> Pulses:
    # Models without a closed form can take seconds: once for each device.
    return _Search(device, tolerance, steps, enough, up).pulses(amplitude)


def _population(device: SwitchingDevice) -> tuple[SwitchingCells, Tensor, Tensor]:
    """Return cells, and the ends of each one's own window (S)."""
    count = _SPREAD if device.spreads() else _ALIKE
    cells = SwitchingCells((device,), (count,), seed=0, dtype=torch.float64)
    cells.write(torch.zeros(()))
    low = cells.conductance().clone()
    cells.write(torch.full((), 1e30))
    return cells, low, cells.conductance().clone()


class _Search:
    """The pulses of one polarity."""

    def __init__(
        self, device: SwitchingDevice, tolerance: float, steps: int, enough: int, up: bool
    ) -> None:
        self.device, self.steps, self.enough, self.up = device, steps, enough, up
        self.sign = device.set_polarity * (1 if up else -1)
        self.cells, self.low, self.high = _population(device)
        self.size = tolerance * (device.window[1] - device.window[0])
        part = torch.linspace(0.0, 1.0, len(self.low), dtype=torch.float64)
        self._inset = self._inset_needed()
        self.grid = self.low + part * (self.high - self.low)

    def pulses(self, amplitude: float) -> Pulses:
        found = next(
            (
                (amplitude * times, width)
                for times in _TIMES
                for width in _WIDTHS
                if self.crosses(amplitude * times, width)
            ),
            None,
        )
        if found is None:
            raise ValueError(
                f"no {'set' if self.up else 'reset'} pulse of up to {_WIDTHS[-1]:g} s and "
                f"{amplitude * _TIMES[-1]:g} V takes {type(self.device).__name__} cells through "
                "their window: give WriteVerify its pulses"
            )
        volts, width = found
        stop = _few(_smallest(lambda v: self.crosses(v, width), volts), math.ceil)
        start = _few(_smallest(lambda v: self.moves(v, width), stop))
        return Pulses(start, (stop - start) / self.steps, stop, width)

    def crosses(self, volts: float, width: float) -> bool:
        """Whether a few pulses take the cells from one end of their window to near the other."""
        start, end = (self.low, self.high) if self.up else (self.high, self.low)
        inward = torch.sign(end - start) * self.size
        self.cells.write(start + self._inset * inward)
        self.cells.apply_pulse(self.sign * volts, self.enough * width)
        arrived = (self.cells.conductance() - (end - inward)) * inward >= 0.0
        return float(arrived.double().mean()) >= _MOST_CELLS

    def _inset_needed(self) -> float:
        # Some windows hold a cell at its very end for ever: then it starts a little inside.
        end = 0.0 if self.up else 1.0
        p = self.device.parameters(self.cells.parameters_drawn())
        x = torch.full_like(self.low, end)
        drive = self.device.drive(torch.full_like(x, float(self.sign)), p)
        return 0.0 if bool((self.device.rate(x, drive, p) != 0.0).all()) else _INSET

    def moves(self, volts: float, width: float) -> bool:
        """Whether one pulse moves some cell by more than half the tolerance."""
        self.cells.write(self.grid)
        before = self.cells.conductance().clone()
        self.cells.apply_pulse(self.sign * volts, width)
        return float((self.cells.conductance() - before).abs().max()) > 0.5 * self.size


def _smallest(true_at: Callable[[float], bool], high: float) -> float:
    """Return nearly the least voltage at which something true at ``high`` is true."""
    low = high * _LEAST
    for times in (0.5, 0.1, 0.01, 0.001):  # most answers are near
        if not true_at(high * times):
            low = high * times
            break
    while high > (1.0 + _PRECISION) * low:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if true_at(middle) else (middle, high)
    return high


def _few(value: float, rounded: Callable[[float], int] = math.floor) -> float:
    """Return a positive number with few digits, rounded down (or up)."""
    unit = 10.0 ** (math.floor(math.log10(value)) - _DIGITS + 1)
    return float(f"{rounded(value / unit) * unit:.{_DIGITS}g}")


def pulses_through(device: PulsedDevice, tolerance: float = 0.01) -> int:
    """Return how many mean pulses the window takes, in the direction that takes more."""
    low, high = device.window
    g = torch.linspace(low, high, _GRID, dtype=torch.float64)
    inside = high - low
    cell = device.constants()
    needed = 0.0
    for up in (True, False):
        step = device.change(g, torch.full_like(g, up, dtype=torch.bool), cell).abs()
        # The last stretch before the bound ahead lies within tolerance of it.
        far = (high - g if up else g - low) > tolerance * inside
        each = 1.0 / step[far].clamp(min=inside / _MOST_PULSES)
        needed = max(needed, float(each.mean()) * inside)
    return math.ceil(needed)
