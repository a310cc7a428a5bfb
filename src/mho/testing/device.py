"""What any device must obey."""

# ruff: noqa: D102 (a test's name says what it shows)

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from mho.cells.device import Device
from mho.cells.population import Cells
from mho.core import random
from mho.crossbar.crossbar import Crossbar
from mho.hardware import Hardware
from mho.testing import expect


class DeviceContract:
    """What any device must obey, as tests.

    Subclass it, return your device from ``device``, and run pytest::

        class TestMyDevice(DeviceContract):
            def device(self):
                return MyDevice(r_on=Spread(Normal(1e3, 50.0), low=0), r_off=1e5)

    Class attributes:
        shape: population that most tests fabricate.
        rtol: relative accuracy to which a float64 cell gives back what was written.
        v_small: voltage (V) at which the current is ``conductance · v`` to ``v_rtol``.
        v_rtol: see ``v_small``.
        labels: fields of the device that need not change anything, each with the reason.
    """

    shape: tuple[int, ...] = (6, 5)
    rtol: float = 1e-6
    v_small: float = 1e-6
    v_rtol: float = 1e-3
    labels: Mapping[str, str] = MappingProxyType({})

    def device(self) -> Device:
        """Return the device under test."""
        raise NotImplementedError(f"{type(self).__name__} must define device()")

    def cells(self, seed: int = 0, dtype: torch.dtype = torch.float64) -> Cells:
        """Return a new population of ``shape``."""
        return self.device().fabricate(self.shape, seed=seed, dtype=dtype)

    def inside(self, seed: int = 1) -> Tensor:
        """Return random conductances (S) of the nominal window, of ``shape``."""
        low, high = self.device().window
        draw = torch.rand(self.shape, generator=random.generator(seed), dtype=torch.float64)
        return low + (high - low) * draw

    def test_spec_round_trips(self) -> None:
        expect.round_trips(self.device())

    def test_every_field_acts(self) -> None:
        expect.every_field_acts(self.device(), _observed, self.labels)

    def test_window_is_ordered(self) -> None:
        low, high = self.device().window
        expect.holds(0.0 <= low < high, "window with 0 <= g_min < g_max", (low, high))

    def test_shapes(self) -> None:
        for shape in ((), (0,), (1,), (3,), (2, 3, 4)):
            cells = self.device().fabricate(shape, seed=0)
            expect.equal("shape of the conductances", tuple(cells.conductance().shape), shape)
            cells.write(torch.full(shape, self.device().window[1]))
            expect.equal("shape after write", tuple(cells.conductance().shape), shape)
            expect.equal("shape of the currents", tuple(cells.current(0.01).shape), shape)

    def test_bad_shapes_and_seeds_are_refused(self) -> None:
        device = self.device()
        expect.refused("shape (-1,)", lambda: device.fabricate((-1,)))
        expect.refused("seed -1", lambda: device.fabricate((2,), seed=-1))

    def test_dtype_is_as_asked(self) -> None:
        for dtype in (torch.float32, torch.float64):
            cells = self.cells(dtype=dtype)
            expect.equal("dtype of the conductances", cells.conductance().dtype, dtype)

    def test_new_cells_rest_at_their_lowest_conductance(self) -> None:
        cells = self.cells()
        lowest = self.device().reach(torch.zeros(self.shape).double(), cells.parameters_drawn())
        expect.close("conductance of new cells", cells.conductance(), lowest, rtol=self.rtol)

    def test_same_seed_same_cells(self) -> None:
        one, two = (self.cells(seed=3) for _ in range(2))
        expect.same("conductance of the same seed", two.conductance(), one.conductance())
        for name, value in one.parameters_drawn().items():
            expect.same(f"{name} of the same seed", two.parameters_drawn()[name], value)

    def test_every_spread_is_drawn_per_cell_inside_its_bounds(self) -> None:
        one, two = self.cells(seed=3).parameters_drawn(), self.cells(seed=4).parameters_drawn()
        for name, spread in self.device().spreads().items():
            expect.holds(name in one, f"{name} among the parameters drawn", sorted(one))
            value = one[name]
            expect.equal(f"shape of {name}", tuple(value.shape), self.shape)
            expect.holds(len(value.unique()) > 1, f"{name} to differ between cells", value)
            expect.holds(not torch.equal(value, two[name]), f"{name} to differ by seed", value)
            low = -torch.inf if spread.low is None else spread.low
            high = torch.inf if spread.high is None else spread.high
            within = bool(((value >= low) & (value <= high)).all())
            expect.holds(within, f"{name} in [{low}, {high}]", value)

    def test_ordered_parameters_do_not_cross(self) -> None:
        cells = self.device().fabricate((1000,), seed=0, dtype=torch.float64)
        for low, high in self.device().ordered:
            crossed = int(torch.as_tensor(cells.parameter(low) >= cells.parameter(high)).sum())
            expect.equal(f"cells with {low} >= {high}", crossed, 0)

    def test_write_is_read_back(self) -> None:
        cells, wanted = self.cells(), self.inside()
        cells.write(wanted)
        reachable = self.device().reach(wanted, cells.parameters_drawn())
        expect.close("conductance read back", cells.conductance(), reachable, rtol=self.rtol)

    def test_write_broadcasts(self) -> None:
        cells, one = self.cells(), self.inside().flatten()[0]
        cells.write(one)
        reachable = self.device().reach(one.expand(self.shape), cells.parameters_drawn())
        expect.close("conductance read back", cells.conductance(), reachable, rtol=self.rtol)

    def test_cells_stay_in_their_windows(self) -> None:
        cells, everything = self.cells(), 1e3 * self.device().window[1]
        drawn = cells.parameters_drawn()
        for asked in (0.0, everything):
            g = torch.full(self.shape, asked, dtype=torch.float64)
            cells.write(g)
            limit = self.device().reach(g, drawn)
            expect.close(f"conductance for {asked:g} S", cells.conductance(), limit, rtol=self.rtol)
        expect.holds(bool((cells.conductance() > 0).all()), "conductance > 0 S at the top", limit)

    def test_reach_changes_nothing_that_is_within_reach(self) -> None:
        drawn = self.cells().parameters_drawn()
        once = self.device().reach(self.inside(), drawn)
        expect.close("reach of reachable values", self.device().reach(once, drawn), once)

    def test_bad_writes_are_refused_and_change_nothing(self) -> None:
        cells = self.cells()
        cells.write(self.inside())
        before = cells.conductance().clone()
        broken = self.inside()
        broken[(0,) * len(self.shape)] = torch.nan
        expect.refused("NaN", lambda: cells.write(broken))
        expect.refused("another shape", lambda: cells.write(torch.ones(*self.shape, 7)))
        expect.same("conductance after refused writes", cells.conductance(), before)

    def test_no_current_without_voltage(self) -> None:
        cells = self.cells()
        cells.write(self.inside())
        expect.close("current at 0 V", cells.current(0.0), torch.zeros(self.shape).double())

    def test_current_has_the_sign_of_the_voltage(self) -> None:
        cells = self.cells()
        cells.write(self.inside())
        for v in (-0.1, 0.1):
            power = cells.current(v) * v
            expect.holds(bool((power >= 0).all()), f"current · voltage >= 0 at {v} V", power)

    def test_small_voltages_see_the_conductance(self) -> None:
        cells = self.cells()
        cells.write(self.inside())
        slope = cells.current(self.v_small) / self.v_small
        expect.close("current / voltage", slope, cells.conductance(), rtol=self.v_rtol)

    def test_transfer_is_the_current_per_conductance(self) -> None:
        device = self.device()
        if device.spreads():
            return  # the transfer of an array is that of nominal cells
        v = torch.linspace(-0.2, 0.2, 5, dtype=torch.float64)
        cells = device.fabricate((5,), seed=0, dtype=torch.float64)
        cells.write(torch.linspace(*device.window, 5, dtype=torch.float64))
        current = device.current_of(v, cells.conductance())
        expect.close("current_of", cells.current(v), current, rtol=self.v_rtol, atol=1e-18)
        if device.separable:
            product = cells.conductance() * device.transfer(v)
            expect.close("current", cells.current(v), product, rtol=self.v_rtol, atol=1e-18)

    def test_state_dict_round_trips(self) -> None:
        cells, other = self.cells(seed=5), self.cells(seed=6)
        cells.write(self.inside())
        other.load_state_dict(expect.saved_and_loaded(cells.state_dict()))
        expect.same("conductance after loading", other.conductance(), cells.conductance())
        for name, value in cells.state_dict().items():
            if isinstance(value, Tensor):
                expect.same(f"{name} after loading", other.state_dict()[name], value)

    def test_copies_are_independent(self) -> None:
        cells = self.cells()
        cells.write(self.inside())
        twin = copy.deepcopy(cells)
        expect.same("conductance of a copy", twin.conductance(), cells.conductance())
        twin.reset()
        expect.holds(
            not torch.equal(twin.conductance(), cells.conductance()),
            "a reset copy to leave the original alone",
            "both reset",
        )

    def test_lives_in_a_crossbar(self) -> None:
        hardware, x = Hardware(device=self.device()), torch.ones(2, 5, dtype=torch.float64)
        one, two = (Crossbar(5, 3, hardware, seed=s, dtype=torch.float64) for s in (0, 1))
        weight = torch.linspace(-1, 1, 15, dtype=torch.float64).view(5, 3)
        one.program(weight)
        one.age(100.0)
        expect.finite("conductances in a crossbar", one.G)
        low = float(one.G.min())
        expect.holds(low >= 0.0, "conductances >= 0 S in a crossbar", f"{low!r} S")
        two.load_state_dict(expect.saved_and_loaded(one.state_dict()))
        try:
            y = x @ one
        except NotImplementedError:
            return  # a current that does not separate
        expect.finite("outputs", y)
        expect.same("outputs after loading", x @ two, y)
        weight.requires_grad_()
        (grad,) = torch.autograd.grad(one.read_through(x, weight).sum(), weight)
        expect.finite("gradient of the weights", grad)

    def test_moves_to_float64_and_stays_there(self) -> None:
        cells = self.cells(dtype=torch.float32).to(torch.float64)
        for step in (lambda: None, lambda: cells.write(self.inside()), cells.reset):
            step()
            found = cells.conductance().dtype
            expect.equal("dtype after .to(float64)", found, torch.float64)


def _observed(device: Device) -> list[Tensor]:
    """Return what the life of a few cells shows of their device."""
    cells: Any = device.fabricate((40,), seed=7, dtype=torch.float64)
    low, high = device.window
    seen = [torch.tensor([low, high], dtype=torch.float64), *cells.parameters_drawn().values()]

    def look() -> None:
        seen.extend((cells.g.clone(), cells.read()))
        seen.extend(cells.current(v).clone() for v in (-0.3, 0.05, 0.3))

    cells.program(torch.linspace(low, high, 40, dtype=torch.float64))
    look()
    cells.age(1e5)
    look()
    if hasattr(cells, "pulse"):
        for counts in (2, -3):
            cells.pulse(counts)
            look()
    if hasattr(cells, "apply_pulse"):
        for v, seconds in itertools.product((0.3, 0.5, 0.7, 0.9, 1.5), (3e-9, 1e-7)):
            for sign in (1, -1):
                cells.write(torch.linspace(low, high, 40, dtype=torch.float64))
                cells.apply_pulse(sign * v, seconds)
                look()
    return seen
