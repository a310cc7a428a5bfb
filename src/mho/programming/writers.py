"""Writers: how a population takes pulses. One for voltage-driven, one for pulse-count cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mho.cells.population import Cells
from mho.devices.pulsed import PulsedCells
from mho.devices.switching_cells import SwitchingCells
from mho.programming.controller import Orders

if TYPE_CHECKING:
    from mho.programming.scheme import WriteVerify


class Writer:
    """A population, some of whose cells may be broken and answer to nothing.

    Args:
        cells: the population.
    """

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        self.stuck = cells.stuck

    def conductance(self) -> Tensor:
        """Return what the cells truly conduct (S)."""
        return self.cells.conductance()

    def current(self, v: Tensor | float) -> Tensor:
        """Return the currents (A) under voltages (V) that do not move the cells."""
        return self.cells.current(v)


class VoltageWriter(Writer):
    """Gives voltage pulses.

    Their energy is ``V · I · width``, with I the mean of the currents just before and just after
    each pulse.
    """

    cells: SwitchingCells

    def voltages(self, orders: Orders, chosen: Tensor) -> Tensor:
        """Return the signed voltages (V) that the chosen cells are to see, 0 elsewhere."""
        sign = torch.where(orders.up, 1.0, -1.0) * float(self.cells.spec.set_polarity)
        return torch.where(chosen, sign * orders.amplitude, 0.0)

    def pulse(self, volts: Tensor, seconds: Tensor | float) -> Tensor:
        """Put all cells under voltages (V) for a time (s); return each one's energy (J)."""
        # Two plain numbers would make float32 times of float64 cells.
        seconds = (volts != 0.0).to(volts.dtype) * seconds
        before = self.current(volts)
        self.cells.apply_pulse(volts, seconds)
        return 0.5 * volts * (before + self.current(volts)) * seconds


class CountWriter(Writer):
    """Gives trains of equal pulses.

    Their energy is ``count · V² · G · width``, with G the mean of the conductances before and
    after each train.
    """

    cells: PulsedCells

    def train(self, orders: Orders, chosen: Tensor, scheme: WriteVerify) -> Tensor:
        """Give the chosen cells their trains; return each one's energy (J)."""
        counts = torch.where(chosen, orders.count, 0)
        before = self.conductance()
        self.cells.pulse(torch.where(orders.up, counts, -counts))
        per_set = scheme.set_pulses.start**2 * scheme.set_pulses.width
        per_reset = scheme.reset_pulses.start**2 * scheme.reset_pulses.width
        up = orders.up.to(before.dtype)
        each = up * per_set + (1.0 - up) * per_reset
        return 0.5 * counts * each * (before + self.conductance())
