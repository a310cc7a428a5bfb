"""Programming that minimises the error of products, by gradient descent on reads of products."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mho.cells.life import Drawn
from mho.cells.population import Cells
from mho.cells.programming import Programming, Round, Site, Written, nearest
from mho.core import checks
from mho.programming.derive import refuse_pulseless
from mho.programming.descent import Descent, ProductReport
from mho.programming.lent import Lent
from mho.programming.pulses import Pulses
from mho.programming.scheme import WriteVerify

_PULSES = ("set", "reset", "refractory", "order")
_SHARED = (*_PULSES, "tolerance", "read_time", "read_voltage", "read_noise", "record")


@dataclass(frozen=True)
class ProductDescent(Programming):
    """Gradient descent on the error of the product, not of each cell.

    Every round drives all word lines with random inputs ±1, as a read of a crossbar does: through
    its tiles, its wires and its encoding, so that what counts is what flows together: a broken
    cell is made up for by its partner in a pair, and what wires take away is put back as far as
    cells can. The error of the outputs, times the inputs, is the gradient by the weights; each
    cell gets pulses by its part of it, until the error of the products falls no more.

    Pulse-count cells get the pulses that their part of the error nominally needs (at the
    conductance asked for), rounded at random; voltage-driven cells one pulse a round, of the
    amplitude that nominally does it. None is given where one would not lessen the error. For
    arrays with a transistor at each cell: no neighbour is disturbed.

    Converters and effects of reading are not in these reads: ``read_noise`` stands for all that
    is noisy; cells are taken for ohmic up to ``read_voltage``.

    Training takes the error left for white, of the standard deviation ``tolerance / √3`` of each
    cell: more than there is where steps are fine, less where half a pulse's step is more than the
    tolerance. Broken cells are drawn as if no partner made up for them.

    Source: J. Büchel et al., "Programming weights to analog in-memory computing cores by direct
    minimization of the matrix-vector multiplication error", IEEE J. Emerg. Sel. Topics Circuits
    Syst., December 2023; first at IEDM 2022, doi 10.1109/IEDM45625.2022.10019486. Inputs ±1, the
    length of steps and the rule for pulses are this package's own.

    Attributes:
        set: pulses that raise the conductance; None: those that fit the device, see
            `WriteVerify.for_device`.
        reset: pulses that lower it; None: those that fit the device.
        tolerance: error of a weight that is let be, > 0, as a part of the window (of one cell that
            alone would make it good). It is held against the part of the estimate that a batch
            is trusted with, b / (b + n - 1) for b inputs and n word lines of an array: of as many
            inputs as word lines, errors of up to twice the tolerance are let be.
        batch: inputs a round, >= 1. The more, the better each gradient; about as many as an array
            has word lines are a good number.
        max_rounds: most rounds, from 1 to 10⁷.
        patience: rounds in a row without progress (1 % of the least error so far) after which it
            ends, >= 1. It also ends where no cell needs a pulse.
        first: a policy that programs the cells before: a coarse `WriteVerify`, or
            ``OpenLoop()``. None begins with what they hold.
        refractory: pause after each pulse (s), >= 0.
        read_time: duration of one read of all outputs (s), >= 0.
        read_voltage: of an input of 1 (V); 0 leaves the energy of reading out.
        read_noise: standard deviation of one reading of a bit line, as a part of the window, >= 0.
        order: which cells are pulsed at once: ``"all"``, ``"row"`` or ``"cell"``.
        record: whether the report keeps every pulse; see `WriteVerify`.

    Raises:
        TypeError, ValueError: if a parameter is refused.
    """

    set: Pulses | None = None
    reset: Pulses | None = None
    tolerance: float = 0.01
    batch: int = 128
    max_rounds: int = 200
    patience: int = 5
    first: Programming | None = None
    refractory: float = 0.0
    read_time: float = 100e-9
    read_voltage: float = 0.1
    read_noise: float = 0.0
    order: str = "all"
    record: bool = False

    def __post_init__(self) -> None:
        for name in ("batch", "patience"):
            checks.integer(name, getattr(self, name), most=10_000_000)
        checks.integer("max_rounds", self.max_rounds, most=10_000_000)
        if self.first is not None:
            checks.instance("first", self.first, Programming)
        _ = self.scheme

    @property
    def scheme(self) -> WriteVerify:
        """What it shares with write–verify: pulses, amplitudes, order and pause."""
        given = {name: getattr(self, name) for name in _SHARED}
        return WriteVerify(
            **given, max_pulses=self.max_rounds, on_stuck="keep", on_failure="report"
        )

    def check(self, device: Any) -> None:
        """Refuse a device that takes no pulses (TypeError, ValueError)."""
        refuse_pulseless("product descent", device)
        self.scheme.check(device)
        if self.first is not None:
            self.first.check(device)

    @property
    def says(self) -> str:
        """What is stored."""
        return f"pulses by the error of products, weights to {self.tolerance:.3g} of the window"

    def reached(self, target: Tensor, drawn: Drawn) -> Tensor:
        """Training: the nearest conductances (S) that the cells can hold."""
        return nearest(target, drawn)

    def deviation(self, window: tuple[float, float]) -> float:
        """Training: the standard deviation (S) of an error uniform within the tolerance."""
        return self.tolerance * (window[1] - window[0]) / math.sqrt(3.0)

    def carry_out(self, cells: Cells, target: Tensor, site: Site | None) -> Written:
        """See `mho.programming.Programming.carry_out`.

        Warns:
            RuntimeWarning: if it made no progress, and products are far off.
        """
        if not target.numel():
            return Written(torch.zeros_like(target, dtype=torch.int64), 0.0, 0.0)
        first = None if self.first is None else self.first.carry_out(cells, target, site)
        generator = cells.drawn().context().generator
        lent = Lent(cells, site)
        scheme = self.scheme.fitted(cells.spec)
        own = Descent(self, scheme, lent, target, site or Site.alone(target), generator).go()
        lent.settle()
        report = dataclasses.replace(own, first=first)
        pulses, seconds, energy = own.pulses, own.time, own.energy + own.read_energy
        if first is None:
            return Written(pulses, seconds, energy, own.failed, report)
        return Written(
            pulses + first.pulses,
            None if first.seconds is None else seconds + first.seconds,
            None if first.energy is None else energy + first.energy,
            own.failed,
            report,
        )

    def rounds_of(self, written: Written) -> tuple[Round, ...] | None:
        """The rounds that were given, where they were recorded; those of ``first`` before."""
        report: ProductReport | None = written.report
        own = None if report is None else report.rounds_given
        if report is None or report.first is None or self.first is None or own is None:
            return own
        before = self.first.rounds_of(report.first)
        return None if before is None else before + own
