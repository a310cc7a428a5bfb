"""Schemes of write–verify: which pulses are given, what counts as reached, when to give up."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mho.cells.device import Device
from mho.cells.life import Drawn
from mho.cells.population import Cells
from mho.cells.programming import Programming, Round, Site, Written, nearest
from mho.circuit import Selector, Wires
from mho.core import checks
from mho.devices.pulsed import PulsedDevice
from mho.programming import reading
from mho.programming.derive import pulses_for, refuse_pulseless
from mho.programming.hadamard import hadamard
from mho.programming.lent import Lent
from mho.programming.loop import Run
from mho.programming.pulses import Pulses

RELATIVE_TO = ("window", "target")
ACCESS = ("1T1R", "1R")
BIAS = ("V/2", "V/3")
ORDERS = ("all", "row", "cell")
ON_STUCK = ("skip", "keep")
ON_FAILURE = ("report", "warn", "raise")


@dataclass(frozen=True)
class WriteVerify(Programming):
    """Closed-loop programming by incremental step pulses (ISPP).

    As a part of `mho.Hardware` it is how all cells are programmed: each with its own drawn
    parameters, from the conductance it holds now, broken ones unmovable; every tile is an array
    of its own with its own drivers. The device's own programming error does not act on top,
    effects of programming do. Training takes the error left for white, of the standard deviation
    ``tolerance / √3`` (uniform within the tolerance), and of that of a verify read beside it.

    A round verifies every cell and gives each one outside the tolerance a pulse: a set pulse
    where its conductance is too low, a reset pulse where it is too high. A cell's first pulse of
    a polarity has the amplitude ``start``, every further one is ``step`` higher, up to ``stop``.
    When a cell overshoots, the polarity it leaves falls back to the part ``restart`` of the
    height above ``start`` it had reached, and the cell's steps shrink by ``refine`` (they double
    again, up to ``step``, with every 8 pulses in one direction): the search narrows like a
    bisection. ``restart=0, refine=1`` is plain ISPP.

    Pulse-count cells know no amplitude: they take trains. A train is as long as the cell's last
    mean step of that polarity promises to need, at most twice the last one and at most ``train``.

    Source of the scheme: K.-D. Suh et al., IEEE JSSC 30, 1149 (1995), doi 10.1109/4.475701
    (ISPP); F. Alibart, L. Gao, B. D. Hoskins, D. B. Strukov, Nanotechnology 23, 075201 (2012),
    doi 10.1088/0957-4484/23/7/075201 (both polarities, rising amplitudes, to 1 % on memristors).

    Attributes:
        set: pulses that raise the conductance; their sign is the device's (``set_polarity``).
            None: those that fit the device, see `for_device`.
        reset: pulses that lower it; None: those that fit the device.
        tolerance: largest error that counts as reached, > 0, as a part of ``relative_to``.
        relative_to: ``"window"`` (the device's nominal ``g_max - g_min``) or ``"target"``.
        max_pulses: most pulses for one cell, and most rounds, from 1 to 10⁷.
        refractory: pause after each pulse (s), >= 0.
        restart: 0…1, see above; not for pulse-count cells.
        refine: in (0, 1], see above; not for pulse-count cells.
        train: most pulses between two verify reads of a pulse-count cell, >= 1; not for others.
        read_time: duration of one verify read (s), >= 0.
        read_voltage: of a verify read (V); 0 leaves the energy of reading out.
        read_noise: standard deviation of one reading of a bit line, as a part of the window, >= 0.
            It is the read circuit's: cells read together add none.
        reads: every verify read is repeated so often and averaged, >= 1: noise / √reads.
        hadamard: so many cells of a bit line, on neighbouring word lines, are verified together,
            by as many readings with ±``read_voltage`` on their word lines (the rows of a Hadamard
            matrix): as many readings a cell, noise / √hadamard. 1 reads one by one; else 2 or a
            multiple of 4 (`mho.programming.reading`). Where the rows of an array end within a
            group, its readings are as many. All cells of a group are driven if one must be read.
            Cells are taken for ohmic up to ±``read_voltage``.
        read_offset: standard deviation of what the read circuit of a bit line adds to all its
            readings, drawn once a programming, as a part of the window, >= 0. Of cells read
            together the first alone sees it.
        read_step: step of the verify converter, as a part of the window, >= 0; 0 for none.
        access: ``"1T1R"`` (a transistor at each cell: no neighbour is disturbed) or ``"1R"``
            (a passive array: half-selected neighbours see parts of every pulse).
        bias: of a passive array's lines, ``"V/2"`` or ``"V/3"``; the latter for ``"1R"`` alone.
        wires: of a passive array: pulses are put on the ends of its lines, and cells see what
            arrives (`mho.circuit.solve_nonlinear`). Ideal if None. Verify reads are of the cells
            themselves.
        selector: in series with each cell of a passive array; amplitudes are then over both, and
            only the cells' part of them is counted as energy. No selector if None.
        order: which cells are pulsed at once: ``"all"`` of an array (1T1R only), those of one
            ``"row"``, or one ``"cell"``. Set and reset pulses always take turns.
        stuck_after: a cell is taken for stuck after so many pulses in a row at the largest
            amplitude that do not change it, >= 1.
        stuck_change: what counts as a change, as a part of the tolerance, >= 0 (with read noise,
            at least 4 standard deviations of it).
        on_stuck: ``"skip"``: no more pulses for it; ``"keep"``: on to ``max_pulses``.
        on_failure: what happens when cells have not converged: ``"report"`` them only, ``"warn"``
            too, or ``"raise"`` (`ProgrammingError`) where any cell failed for whatever reason.
        record: whether the report keeps every pulse, for `mho.programming.Recipe`: about 13 bytes
            each.

    Raises:
        TypeError, ValueError: if a parameter is refused.
    """

    set: Pulses | None = None
    reset: Pulses | None = None
    tolerance: float = 0.01
    relative_to: str = "window"
    max_pulses: int = 500
    refractory: float = 0.0
    restart: float = 0.5
    refine: float = 0.5
    train: int = 1
    read_time: float = 100e-9
    read_voltage: float = 0.1
    read_noise: float = 0.0
    reads: int = 1
    hadamard: int = 1
    read_offset: float = 0.0
    read_step: float = 0.0
    access: str = "1T1R"
    bias: str = "V/2"
    wires: Wires | None = None
    selector: Selector | None = None
    order: str = "all"
    stuck_after: int = 8
    stuck_change: float = 0.01
    on_stuck: str = "skip"
    on_failure: str = "warn"
    record: bool = False

    def __post_init__(self) -> None:
        for name in ("set", "reset"):
            if getattr(self, name) is not None:
                checks.instance(name, getattr(self, name), Pulses)
        checks.number("tolerance", self.tolerance, above=0.0, least=1e-9, most=1e6)
        checks.integer("max_pulses", self.max_pulses, most=10_000_000)
        checks.number("refractory", self.refractory, least=0.0)
        checks.number("restart", self.restart, least=0.0, most=1.0)
        checks.number("refine", self.refine, above=0.0, most=1.0)
        checks.integer("train", self.train)
        checks.integer("stuck_after", self.stuck_after)
        checks.integer("reads", self.reads)
        checks.integer("hadamard", self.hadamard)
        hadamard(self.hadamard)
        checks.number("read_time", self.read_time, least=0.0)
        for name in ("read_noise", "read_offset", "read_step", "stuck_change"):
            checks.number(name, getattr(self, name), least=0.0, most=1e6)
        checks.number("read_voltage", self.read_voltage)
        allowed = {
            "relative_to": RELATIVE_TO,
            "access": ACCESS,
            "bias": BIAS,
            "order": ORDERS,
            "on_stuck": ON_STUCK,
            "on_failure": ON_FAILURE,
        }
        for name, values in allowed.items():
            checks.one_of(name, getattr(self, name), values)
        for name, kind in (("wires", Wires), ("selector", Selector)):
            value = getattr(self, name)
            if value is None:
                continue
            checks.instance(name, value, kind)
            if self.access != "1R":
                raise ValueError(
                    f'{name} are for access "1R" (a passive array): in a {self.access} '
                    "array a cell is taken to see its pulses in full"
                )
        if self.bias != type(self).bias and self.access != "1R":
            raise ValueError(
                f'bias {self.bias} is for access "1R" (a passive array): in a {self.access} array '
                "no line is half selected"
            )
        if self.wires is not None and self.wires.gated:
            raise ValueError("wires must not be gated in a passive array")
        if self.access == "1R" and self.order == "all":
            raise ValueError(
                'order must be "row" or "cell" for access "1R": a passive array cannot select '
                "cells of several rows at once"
            )

    def check(self, device: Any) -> None:
        """Refuse a device that takes no pulses, or no half-selected ones.

        Raises:
            TypeError, ValueError: if it does not suit.
        """
        refuse_pulseless("write–verify", device)
        counted = isinstance(device, PulsedDevice)
        for name in ("restart", "refine") if counted else ("train",):
            if getattr(self, name) != getattr(type(self), name):
                sort = "pulse-count" if counted else "voltage-driven"
                raise ValueError(f"{name} does nothing for {sort} cells such as {device}")
        if self.access == "1R" and counted:
            raise ValueError(
                f'access must be "1T1R" for {type(device).__name__}: pulse-count devices do not '
                "say what a part of a pulse does to a half-selected cell"
            )

    @property
    def set_pulses(self) -> Pulses:
        """The set pulses of a scheme that has them, given or `fitted`."""
        assert self.set is not None
        return self.set

    @property
    def reset_pulses(self) -> Pulses:
        """The reset pulses of a scheme that has them."""
        assert self.reset is not None
        return self.reset

    def fitted(self, device: Any) -> WriteVerify:
        """Return this scheme with pulses that fit a device where none are given."""
        if self.set is not None and self.reset is not None:
            return self
        given = {
            field.name: value
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) != field.default
        }
        return WriteVerify.for_device(device, **given)

    @property
    def says(self) -> str:
        """What is stored."""
        return f"pulses and reads, to {self.tolerance:.3g} of the {self.relative_to}"

    def reached(self, target: Tensor, drawn: Drawn) -> Tensor:
        """Training: the nearest conductances (S) that the cells can hold."""
        return nearest(target, drawn)

    def deviation(self, window: tuple[float, float]) -> float:
        """Training: the standard deviation (S) of an error uniform within the tolerance.

        Noise and offset of the verify reads add to it.
        """
        span = window[1] - window[0]
        size = span if self.relative_to == "window" else sum(window) / 2
        misread = reading.deviation(self) ** 2 + self.read_offset**2 / self.hadamard
        return math.sqrt((self.tolerance * size) ** 2 / 3.0 + misread * span**2)

    def carry_out(self, cells: Cells, target: Tensor, site: Site | None) -> Written:
        """See `mho.programming.Programming.carry_out`.

        Raises:
            ProgrammingError: if cells failed and the scheme says to raise.
        """
        # Taken from the stream before the lent cells go on with it: reads and pulses draw apart.
        generator = cells.drawn().context().generator
        lent = Lent(cells, site)
        name = "" if site is None else site.name
        scheme, asked = self.fitted(cells.spec), lent.given(target)
        run = Run(lent.cells, asked, scheme, lent.here, generator, name)
        report = lent.report(run.go())
        lent.settle()
        energy = report.energy + report.read_energy
        return Written(report.pulses, report.time, energy, report.failed, report)

    def rounds_of(self, written: Written) -> tuple[Round, ...] | None:
        """The rounds that were given, where they were recorded."""
        rounds: tuple[Round, ...] | None = written.report.rounds_given
        return rounds

    @classmethod
    def for_device(
        cls,
        device: Device,
        *,
        amplitude: float | tuple[float, float] = 1.0,
        steps: int = 32,
        **fields: Any,
    ) -> WriteVerify:
        """Return a scheme whose pulses fit a device (and the spread of its cells).

        The pulses are found by pulsing a small population of the device itself. Of each polarity,

        * the *width* is the shortest decade from 1 ns to 1 s at which ``stuck_after`` pulses of
          ``amplitude`` take 99 % of the cells through their window (if none does, twice the
          amplitude is tried, and so on to 16 times);
        * ``stop`` is the smallest amplitude that does, at that width: a cell that does not move
          under as many is stuck indeed;
        * ``start`` is the largest amplitude of which one pulse moves no cell by more than half
          the tolerance.

        Models without a closed form take seconds to search (`Pickett`: minutes), once a process.

        Pulse-count devices have no voltages: 1 V and 100 ns stand in for time and energy, and
        ``train`` and ``max_pulses`` follow from how many pulses the window takes.

        Args:
            device: voltage-driven or pulse-count.
            amplitude: sought amplitude (V), > 0, of both polarities or of (set, reset). For a
                passive array take less than two (``V/2``) or three (``V/3``) thresholds.
            steps: amplitudes between ``start`` and ``stop``, >= 2.
            **fields: of the scheme; these count before what would be found.

        Raises:
            TypeError: if the device takes no pulses.
            ValueError: if no pulse takes the cells through their window.
        """
        tolerance = fields.get("tolerance", cls.tolerance)
        checks.number("tolerance", tolerance, above=0.0)
        enough = fields.get("stuck_after", cls.stuck_after)
        checks.integer("stuck_after", enough)
        return cls(**{**pulses_for(device, tolerance, amplitude, steps, enough), **fields})
