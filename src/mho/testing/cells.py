"""What any population of cells must obey."""

# ruff: noqa: D102 (a test's name says what it shows)

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mho.cells.behaviour import Behaviour
from mho.cells.device import Device
from mho.cells.population import Cells
from mho.core import random
from mho.devices.pulsed import PulsedCells
from mho.effects.fabrication import StuckAt
from mho.testing import expect

_HOUR = 3600.0
_READS = 400
_SIGMAS = 6.0


class CellsContract:
    """What any population must obey, as tests: of a device, or of cells with a class of their own.

    Subclass it, return your device from ``device``, and run pytest::

        class TestMyCells(CellsContract):
            def device(self):
                return MyDevice(g_max=Spread(Normal(1e-4, 1e-5)))

            def effects(self):
                return (mho.effects.PowerLawDrift(0.05),)

    Class attributes:
        shape: population that most tests fabricate.
        rtol: relative accuracy to which aging in parts is aging at once.
    """

    shape: tuple[int, ...] = (6, 5)
    rtol: float = 1e-5

    def device(self) -> Device:
        """Return the device under test."""
        raise NotImplementedError(f"{type(self).__name__} must define device()")

    def effects(self) -> Sequence[Behaviour]:
        """Return effects that act on the cells after the device; by default none."""
        return ()

    def cells(
        self, seed: int = 0, dtype: torch.dtype = torch.float64, *, broken: bool = False
    ) -> Cells:
        """Return a new population of ``shape``.

        Args:
            seed: of its life.
            dtype: of its tensors.
            broken: whether some of its cells are stuck.
        """
        device = self.device()
        stuck = (StuckAt(low=0.2, high=0.1),) if broken else ()
        behaviours = (device, *self.effects(), *stuck)
        return device.cells_type(behaviours, self.shape, seed=seed, dtype=dtype)

    def target(self, seed: int = 1) -> Tensor:
        """Return random conductances (S) of the nominal window, of ``shape``."""
        low, high = self.device().window
        draw = torch.rand(self.shape, generator=random.generator(seed), dtype=torch.float64)
        return low + (high - low) * draw

    def lived(self, seed: int = 0, *, broken: bool = False) -> Cells:
        """Return a population that was programmed and has aged for an hour."""
        cells = self.cells(seed, broken=broken)
        cells.program(self.target())
        cells.age(_HOUR)
        return cells

    # ── the same seed, the same cells ────────────────────────────────────────────────────────

    def test_same_seed_same_life_whatever_torch_s_generator(self) -> None:
        lives = []
        for state in (1, 2):
            torch.manual_seed(state)
            cells = self.lived(seed=3, broken=True)
            lives.append((cells.g, cells.read(), cells.writes))
        for name, one, two in zip(("conductances", "reads", "writes"), *lives, strict=True):
            expect.same(f"{name} of the same seed", two, one)

    def test_a_life_leaves_torch_s_generator_alone(self) -> None:
        torch.manual_seed(5)
        before = torch.get_rng_state()
        self.lived(broken=True).read()
        found = bool(torch.equal(before, torch.get_rng_state()))
        expect.holds(found, "torch's own generator untouched", "it has moved")

    # ── forks, copies, parts ─────────────────────────────────────────────────────────────────

    def test_forks_are_independent(self) -> None:
        cells = self.lived(broken=True)
        before = _said(cells)
        for change in self._changes():
            fork = cells.fork()
            change(fork)
            _compare("cells after a change of their fork", _said(cells), before)

    def test_a_fork_lives_on_as_the_cells_would(self) -> None:
        one = self.lived(broken=True)
        two = one.fork()
        for cells in (one, two):
            cells.program(self.target(2))
            cells.age(_HOUR)
        _compare("a fork that lived on", _said(two), _said(one))

    def test_copies_live_on_as_the_cells_would(self) -> None:
        cells = self.lived(broken=True)
        copies = {"deepcopy": copy.deepcopy(cells), "pickle": pickle.loads(pickle.dumps(cells))}
        cells.age(_HOUR)
        read = cells.read()
        for name, twin in copies.items():
            twin.age(_HOUR)
            expect.same(f"read of a {name}", twin.read(), read)
            _compare(f"a {name} that lived on", _said(twin), _said(cells))

    def test_parts_given_away_come_back(self) -> None:
        cells = self.lived(broken=True)
        before, writes = cells.g.clone(), cells.writes.clone()
        count = cells.g.numel()
        order = torch.randperm(count, generator=random.generator(1))
        place = torch.cat((order[: count // 2], torch.tensor([-1, -1])))
        part = cells.gather(place)
        here = place >= 0
        expect.equal("shape of the part", tuple(part.g.shape), tuple(place.shape))
        expect.same("conductances given away", part.g[here], before.flatten()[place[here]])
        expect.same("places without a cell", part.g[~here], torch.zeros(2, dtype=before.dtype))
        cells.scatter(place, part)
        expect.same("conductances given away and back", cells.g, before)
        expect.same("writes given away and back", cells.writes, writes)
        part.program(self.target().flatten()[place.clamp(min=0)])
        expect.same("places without a cell, programmed", part.g[~here], torch.zeros(2).to(before))
        cells.scatter(place, part)
        expect.same("what the part held", cells.g.flatten()[place[here]], part.g[here])
        others = order[count // 2 :]
        expect.same("the others", cells.g.flatten()[others], before.flatten()[others])

    # ── save, load, move ─────────────────────────────────────────────────────────────────────

    def test_saved_and_loaded_in_mid_life(self) -> None:
        cells, other = self.lived(seed=5, broken=True), self.cells(seed=6, broken=True)
        other.load_state_dict(expect.saved_and_loaded(cells.state_dict()))
        for step in ("loaded", "aged", "programmed", "aged again"):
            for each in (cells, other):
                if step == "programmed":
                    each.program(self.target(2))
                elif step.startswith("aged"):
                    each.age(_HOUR)
            _compare(f"cells {step}", _said(other), _said(cells))
            expect.same(f"read of cells {step}", other.read(), cells.read())

    def test_what_is_drawn_again_is_what_was_drawn(self) -> None:
        cells = self.cells(dtype=torch.float32)
        drawn = [dict(cells.state(index)) for index in range(len(cells.behaviours))]
        other = self.cells(seed=9, dtype=torch.float32)
        other.load_state_dict(expect.saved_and_loaded(cells.state_dict()))
        for kind, each in (("loaded", other), ("in float64", copy.deepcopy(cells).double())):
            for index, state in enumerate(drawn):
                found = each.state(index)
                expect.equal(f"names of state {index} {kind}", sorted(found), sorted(state))
                for name, value in state.items():
                    wanted = value.to(found[name])
                    expect.same(f"{name} of state {index} {kind}", found[name], wanted)

    # ── broken cells ─────────────────────────────────────────────────────────────────────────

    def test_broken_cells_never_move(self) -> None:
        for change in self._changes():
            cells = self.cells(seed=1, broken=True)
            stuck = cells.stuck
            assert stuck is not None
            held = cells.g[stuck].clone()
            current = cells.current(0.1)[stuck].clone()
            change(cells)
            expect.same("conductances of broken cells", cells.g[stuck], held)
            expect.same("currents of broken cells", cells.current(0.1)[stuck], current)

    def _changes(self) -> list[Any]:
        """Return all that can be done to a population."""
        changes: list[Any] = [
            lambda c: c.write(self.target(7)),
            lambda c: c.program(self.target(7)),
            lambda c: c.age(_HOUR),
            lambda c: c.reset(),
            lambda c: c.hold(self.target(7)),
        ]
        if isinstance(self.cells(), PulsedCells):
            changes += [lambda c: c.pulse(3), lambda c: c.pulse(-2)]
        if hasattr(self.cells(), "apply_pulse"):
            changes += [lambda c: c.apply_pulse(0.4, 1e-6), lambda c: c.apply_pulse(-0.4, 1e-6)]
        return changes

    # ── writes ───────────────────────────────────────────────────────────────────────────────

    def test_programming_counts_its_pulses(self) -> None:
        cells = self.cells()
        expect.equal("writes of new cells", int(cells.writes.sum()), 0)
        total = torch.zeros(self.shape, dtype=torch.int64)
        for seed in (1, 2):
            written = cells.program(self.target(seed))
            total = total + torch.as_tensor(written.pulses)
            expect.same("writes", cells.writes.clone(), total)

    def test_pulses_are_counted(self) -> None:
        cells: Any = self.cells()
        if isinstance(cells, PulsedCells):
            counts = torch.arange(cells.g.numel()).view(self.shape) % 5 - 2
            cells.pulse(counts)
            expect.same("writes after pulses", cells.writes.clone(), counts.abs())
        elif hasattr(cells, "apply_pulse"):
            seconds = (torch.arange(cells.g.numel()).view(self.shape) % 2).double() * 1e-9
            cells.apply_pulse(0.1, seconds)
            expect.same("writes after pulses", cells.writes.clone(), (seconds > 0).long())

    # ── time ─────────────────────────────────────────────────────────────────────────────────

    def test_aging_composes(self) -> None:
        one, two = self.cells(seed=2), self.cells(seed=2)
        for cells in (one, two):
            cells.program(self.target())
        one.age(2 * _HOUR)
        for part in (0.0, 1.0, _HOUR - 1.0, _HOUR):
            two.age(part)
        expect.close("conductances aged in parts", two.g, one.g, rtol=self.rtol)
        expect.equal("the clock", two.seconds, one.seconds)

    def test_no_time_changes_nothing(self) -> None:
        cells = self.lived()
        before = cells.g.clone()
        cells.age(0.0)
        expect.close("conductances after no time", cells.g, before, rtol=1e-12)

    def test_programming_starts_the_clock_again(self) -> None:
        cells = self.lived()
        expect.equal("the clock of an hour", cells.seconds, _HOUR)
        cells.program(self.target())
        expect.equal("the clock of new writing", cells.seconds, 0.0)

    # ── reads ────────────────────────────────────────────────────────────────────────────────

    def test_reads_change_nothing_but_their_stream(self) -> None:
        cells = self.lived(broken=True)
        before = _said(cells)
        cells.read()
        after = _said(cells)
        after["streams"][2] = before["streams"][2]
        _compare("cells after a read", after, before)

    def test_read_noise_is_as_the_behaviours_say(self) -> None:
        cells = self.lived()
        if any(b.acts_on("read") for b in cells.behaviours):
            return  # not white: says its own mean
        drawn, variance = cells.drawn("read"), torch.zeros(self.shape, dtype=torch.float64)
        for behaviour, context in drawn.acting("read_std"):
            variance = variance + torch.as_tensor(behaviour.read_std(cells.g, context)) ** 2
        reads = torch.stack([cells.read() for _ in range(_READS)])
        error = _SIGMAS * variance.sqrt() / math.sqrt(_READS)
        expect.holds(
            bool(((reads.mean(0) - cells.g).abs() <= error + 1e-12 * cells.g).all()),
            "reads that are right on average",
            (reads.mean(0) - cells.g).abs().max(),
        )
        spread = (reads.var(0) - variance).abs()
        allowed = _SIGMAS * variance * math.sqrt(2.0 / (_READS - 1))
        least = (1e-12 * cells.g) ** 2
        expect.holds(
            bool((spread <= allowed + least).all()), "the variance that is said", spread.max()
        )


def _said(cells: Cells) -> dict[str, Any]:
    """Return all that a checkpoint says of cells, as a copy."""
    return {name: copy.deepcopy(value) for name, value in cells.state_dict().items()}


def _compare(what: str, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    expect.equal(f"names of {what}", sorted(found), sorted(wanted))
    for name, value in wanted.items():
        if isinstance(value, Tensor):
            expect.same(f"{name} of {what}", found[name], value)
        else:
            expect.equal(f"{name} of {what}", found[name], value)
