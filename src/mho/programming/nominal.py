"""Pulses by the nominal device: what one is expected to change, and which one a change needs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mho.cells.spread import nominal
from mho.core import random
from mho.devices.pulsed import PulsedDevice
from mho.devices.switching import SwitchingDevice
from mho.programming.derive import pulses_through
from mho.programming.pulses import Pulses
from mho.programming.scheme import WriteVerify

_LEAST_STEP = 0.1  # of the mean one: a curve that is flatter promises nothing
_GRID = 65  # conductances at which a voltage-driven device is tried


@dataclass(frozen=True, eq=False)
class Choice:
    """Pulses chosen for cells.

    Attributes:
        amplitude: of the pulses (V).
        count: how many (int64); may be 0.
        step: what one of them nominally changes (S), > 0.
    """

    amplitude: Tensor
    count: Tensor
    step: Tensor


class Counted:
    """For pulse-count cells: as many equal pulses as the nominal step promises to need.

    The nominal step is that at the conductance asked for, and at least a tenth of the mean one;
    numbers are rounded at random, so that their mean is right.

    Args:
        device: of the cells.
        asked: conductances asked for (S).
        scheme: gives the amplitudes.
        generator: of the rounding.
    """

    def __init__(
        self,
        device: PulsedDevice,
        asked: Tensor,
        scheme: WriteVerify,
        generator: torch.Generator | None,
    ) -> None:
        low, high = device.window
        least = _LEAST_STEP * (high - low) / pulses_through(device)
        ways = (torch.full_like(asked, up, dtype=torch.bool) for up in (True, False))
        steps = (device.change(asked, way, device.constants()).abs() for way in ways)
        self._set, self._reset = (step.clamp(min=least) for step in steps)
        self._scheme, self._generator = scheme, generator

    def choose(self, change: Tensor) -> Choice:
        """Return the pulses for changes of conductance (S), > 0 for set pulses."""
        up = change > 0.0
        step = torch.where(up, self._set, self._reset)
        count = (change.abs() / step + random.uniform(step, self._generator)).long()
        of_set, of_reset = self._scheme.set_pulses.start, self._scheme.reset_pulses.start
        volts = torch.where(up, torch.full_like(step, of_set), of_reset)
        return Choice(volts, count, step)


class Laddered:
    """For voltage-driven cells: one pulse, of the amplitude that nominally changes as much.

    The largest of the amplitudes ``start, start + step, … stop`` that does not change more, where
    the cell is taken to stand: at the conductance asked for, less what it lacks. It may stand
    elsewhere (beside a broken partner): so a pulse is never taken to change less than a tenth of
    what it changes on the mean over the window.

    Args:
        device: of the cells.
        asked: conductances asked for (S).
        scheme: gives the amplitudes and widths.
    """

    def __init__(self, device: SwitchingDevice, asked: Tensor, scheme: WriteVerify) -> None:
        self._low, high = device.window
        self._span, self._asked = high - self._low, asked
        pulses = (scheme.set_pulses, scheme.reset_pulses)
        self._volts = [_amplitudes(schedule).to(asked) for schedule in pulses]
        self._tables = [
            _changes(device, volts, schedule.width, up).to(asked)
            for volts, schedule, up in zip(self._volts, pulses, (True, False), strict=True)
        ]

    def choose(self, change: Tensor) -> Choice:
        """Return the pulses for changes of conductance (S), > 0 for set pulses."""
        place = (self._asked - change - self._low) / self._span * (_GRID - 1)
        place = place.round().clamp(0, _GRID - 1).long()
        size, up = change.abs(), change > 0.0
        found = []
        for volts, table in zip(self._volts, self._tables, strict=True):
            index = torch.zeros_like(place)
            for column in table.unbind(1)[1:]:  # few amplitudes; cells at once
                index += column[place] <= size
            found.append((volts[index], table[place, index]))
        amplitude, step = (
            torch.where(up, of_set, of_reset) for of_set, of_reset in zip(*found, strict=True)
        )
        return Choice(amplitude, torch.ones_like(place), step)


def _amplitudes(pulses: Pulses) -> Tensor:
    """Return ``start, start + step, … stop`` (V), rising."""
    steps = math.ceil(pulses.rise / pulses.step - 1e-9) if pulses.step else 0
    volts = pulses.start + pulses.step * torch.arange(steps + 1, dtype=torch.float64)
    return volts.clamp(max=pulses.stop)


def _changes(device: SwitchingDevice, volts: Tensor, width: float, up: bool) -> Tensor:
    """Return what pulses change the conductance of nominal cells by (S), never falling with V.

    Returns:
        ``[conductances over the window, amplitudes]``, >= 0.
    """
    spread = {name: nominal(value) for name, value in device.spreads().items()}
    plain = device.replace(**spread) if spread else device
    cells = plain.fabricate((_GRID, len(volts)), dtype=torch.float64)
    grid = torch.linspace(*plain.window, _GRID, dtype=torch.float64)
    cells.write(grid[:, None].expand(cells.shape))
    before = cells.conductance().clone()
    sign = plain.set_polarity if up else -plain.set_polarity
    cells.apply_pulse((sign * volts).expand(cells.shape), width)  # type: ignore[operator]
    change = (cells.conductance() - before) * (1.0 if up else -1.0)
    change = change.clamp(min=0.0)
    return torch.maximum(change, _LEAST_STEP * change.mean(0)).cummax(1).values
