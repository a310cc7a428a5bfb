"""Giving pulses to a population: round after round, with their time and energy, and a record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mho.cells.programming import Round
from mho.circuit.half_select import as_arrays
from mho.devices.switching_cells import SwitchingCells
from mho.programming import access
from mho.programming.controller import Orders
from mho.programming.passive import PassiveWriter
from mho.programming.writers import CountWriter, VoltageWriter

if TYPE_CHECKING:
    from mho.programming.scheme import WriteVerify


class Pulser:
    """Gives a population the pulses that are ordered for it.

    Args:
        cells: the population; it is changed.
        scheme: pulses of both polarities, access, order and pause.
        record: whether every pulse is kept in ``rounds``.

    Attributes:
        writer: how the population takes pulses.
        time: of all pulses and pauses so far (s).
        energy: dissipated in the cells so far (J).
        half_selected: of it, in cells that were not selected (J).
        rounds: what was given in each round, where it is recorded.
    """

    def __init__(self, cells: Any, scheme: WriteVerify, *, record: bool = False) -> None:
        self.scheme, self.record = scheme, record
        self.writer: VoltageWriter | CountWriter = (
            VoltageWriter(cells) if isinstance(cells, SwitchingCells) else CountWriter(cells)
        )
        self.time = self.energy = self.half_selected = 0.0
        self.rounds: list[Round] = []

    def give(self, orders: Orders) -> None:
        """Give one round of pulses: first all set pulses, then all reset pulses."""
        if self.record:
            self.rounds.append(self._noted(orders))
        for way, schedule in (
            (orders.up, self.scheme.set_pulses),
            (~orders.up, self.scheme.reset_pulses),
        ):
            chosen = orders.active & way
            pause = schedule.width + self.scheme.refractory
            if isinstance(self.writer, CountWriter):
                self.energy += _sum(self.writer.train(orders, chosen, self.scheme))
                self.time += pause * _longest(orders.count, chosen, self.scheme.order)
                continue
            self.time += pause * access.serial(chosen, self.scheme.order)
            volts = self.writer.voltages(orders, chosen)
            if self.scheme.access == "1T1R":  # no group disturbs another: all in one
                if bool(chosen.any()):
                    self.energy += _sum(self.writer.pulse(volts, schedule.width))
                continue
            joules, half_selected = PassiveWriter(self.writer, self.scheme).pulse(
                chosen, volts, schedule.width
            )
            self.energy += joules
            self.half_selected += half_selected

    def _noted(self, orders: Orders) -> Round:
        index = orders.active.flatten().nonzero().squeeze(1)
        up = orders.up.reshape(-1)[index]
        if isinstance(self.writer, CountWriter):
            count = orders.count.reshape(-1)[index]
            return Round(index, up, count=count, scheme=self.scheme)
        volts = self.writer.voltages(orders, orders.active).reshape(-1)[index]
        return Round(index, up, volts, scheme=self.scheme)


def _sum(values: Tensor) -> float:
    return float(values.sum(dtype=torch.float64))


def _longest(count: Tensor, chosen: Tensor, order: str) -> int:
    """Return how many pulses come one after the other: the longest train of each group."""
    given = as_arrays(torch.where(chosen, count, 0))
    if order == "all":
        return int(given.max()) if given.numel() else 0
    return int((given.amax(2) if order == "row" else given).amax(0).sum())
