"""Aging composes: an hour and an hour are two hours, for every device and every aging effect."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mho import Crossbar, Hardware, compensate
from mho.devices import (
    PCM,
    LinearDevice,
    PCMHermes,
    ReRAMCMO,
    ReRAMWan,
    SoftBoundsDevice,
    Spread,
    presets,
)
from mho.effects import AgingEffect, FailureLaw, PowerLawDrift, Retention, StuckAt
from mho.model.compensate import maintain

F64 = torch.float64
DEVICES = {preset.name: presets.get(preset.name) for preset in presets.list()}


@dataclass(frozen=True)
class Root(AgingEffect):
    """A user's own law, which does not compose by itself: a loss with the root of the time."""

    rate: float

    def age(self, g, context, start, stop):
        return g * max(1.0 - self.rate * (stop - start) ** 0.5, 0.0)


def retention(low: float, high: float) -> Retention:
    middle = Spread("LogNormal", (("loc", 8.0), ("scale", 1.0)))
    return Retention(
        lrs=FailureLaw(p0=low, p2=1.0, p3=-0.3),
        hrs=FailureLaw(p0=middle, p2=1.0, stable=high),
    )


EFFECTS = {
    "none": (),
    "drift": (PowerLawDrift(nu=0.05, nu_spread=0.02),),
    "retention": (retention(100.0, 3e4),),
    "retention and drift": (retention(100.0, 3e4), PowerLawDrift(nu=0.1)),
    "two drifts and stuck cells": (PowerLawDrift(0.05), StuckAt(0.1), PowerLawDrift(0.1, t0=60.0)),
}


def aged(device, effects, times) -> Crossbar:
    hardware = Hardware(device=device, effects=effects)
    crossbar = Crossbar(6, 5, hardware, seed=2, dtype=F64)
    crossbar.program(torch.randn(6, 5, generator=torch.Generator().manual_seed(0), dtype=F64))
    for time in times:
        crossbar.age(time)
    return crossbar


parts = st.lists(
    st.one_of(st.floats(0.0, 3.0), st.floats(0.0, 1e4), st.floats(0.0, 1e8)), min_size=2, max_size=5
)


@pytest.mark.parametrize("name", DEVICES)
@settings(max_examples=8, deadline=None)
@given(times=parts, effects=st.sampled_from(list(EFFECTS)))
def test_aging_in_parts_is_aging_at_once(name, times, effects):
    whole = 0.0
    for time in times:
        whole += time
    one = aged(DEVICES[name], EFFECTS[effects], [whole])
    many = aged(DEVICES[name], EFFECTS[effects], times)
    torch.testing.assert_close(many.G, one.G, rtol=1e-9, atol=1e-18)
    assert bool((many.G >= 0.0).all())


def test_a_law_that_does_not_compose_by_itself_does_so_in_a_crossbar():
    one, two = (
        aged(LinearDevice(), (Root(1e-2),), [200.0]),
        aged(LinearDevice(), (Root(1e-2),), [50.0, 150.0]),
    )
    torch.testing.assert_close(two.G, one.G, rtol=1e-6, atol=0.0)
    assert float(one.G.max()) == pytest.approx(1e-4 * (1 - 1e-2 * 200**0.5))


# Cases with right values written down by hand.


def one_cell(*times: float) -> float:
    laws = {"lrs": FailureLaw(p0=3600.0, stable=1e5), "hrs": FailureLaw(p0=5400.0, stable=1e3)}
    hardware = Hardware(device=LinearDevice(1e-5, 1e-3), effects=(Retention(**laws),))
    crossbar = Crossbar(1, 1, hardware, seed=0, dtype=F64)
    crossbar.program(torch.ones(1, 1, dtype=F64))
    for time in times:
        crossbar.age(time)
    return 1 / float(crossbar.G[0, 0, 0])


@pytest.mark.parametrize("times", [(7200.0,), (3600.0, 3600.0), (5000.0, 2200.0), (3500.0,) * 3])
def test_a_cell_that_failed_does_not_fail_again_by_the_other_law(times):
    assert one_cell(*times) == pytest.approx(1e5)


def test_a_gradual_loss_goes_on_past_the_midpoint():
    # R = R0 (t / t_threshold)^(-p3 e)… with e = p2 = 1: g falls as (t / (100 e))^-1.
    law = FailureLaw(p0=100.0, p2=1.0, p3=1.0)
    hardware = Hardware(device=LinearDevice(1e-5, 1e-3), effects=(Retention(lrs=law),))
    for times in ((1e5,), (1e3, 1e4, 1e5 - 1.1e4)):
        crossbar = Crossbar(1, 1, hardware, seed=0, dtype=F64)
        crossbar.program(torch.ones(1, 1, dtype=F64))
        for time in times:
            crossbar.age(time)
        threshold = 100.0 * torch.e
        assert float(crossbar.G[0, 0, 0]) == pytest.approx(1e-3 * threshold / 1e5)


@pytest.mark.parametrize(
    "device", [PCM(), PCMHermes(), ReRAMCMO(), ReRAMWan()], ids=lambda d: type(d).__name__
)
def test_a_device_and_an_effect_each_do_their_own(device):
    # The device drifts as it would alone, the effect multiplies: in any number of calls.
    device = device.replace(read_scale=0.0)
    alone = aged(device, (), [1e6])
    for times in ([1e6], [10.0, 90.0, 1e3, 1e6 - 1.1e3]):
        together = aged(device, (PowerLawDrift(nu=0.2),), times)
        torch.testing.assert_close(together.G, alone.G * 1e6**-0.2, rtol=1e-9, atol=0.0)


def test_read_noise_is_that_of_the_conductance_programmed_also_beside_an_effect():
    device = PCM(write_scale=0.0, drift_scale=0.0)
    crossbar = aged(device, (PowerLawDrift(nu=0.3),), [1e6])
    programmed = aged(device, (), []).G
    ratio = (programmed / 25e-6).clamp(min=1e-9)
    expected = crossbar.G * (0.0088 * ratio**-0.65).clamp(max=0.2)
    expected *= torch.log(torch.tensor((1e6 + 250e-9) / 500e-9, dtype=F64)).sqrt()
    found = device.read_std(crossbar.G, crossbar.cells.context())
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0.0)


@pytest.mark.parametrize("device", [PCM(), ReRAMCMO()], ids=lambda d: type(d).__name__)
def test_maintenance_does_not_depend_on_how_often(device):
    cells = []
    for every in (1e5, 1e4, 777.0):
        crossbar = aged(device, (PowerLawDrift(nu=0.05, nu_spread=0.02), retention(1e3, 3e4)), [])
        maintain(crossbar, 1e5, every=every)
        cells.append(crossbar.G)
    torch.testing.assert_close(cells[1], cells[0], rtol=1e-9, atol=0.0)
    torch.testing.assert_close(cells[2], cells[0], rtol=1e-9, atol=0.0)


def test_programming_and_storing_begin_anew():
    effects = (PowerLawDrift(nu=0.2), PowerLawDrift(nu=0.1))
    crossbar = aged(LinearDevice(), effects, [1e4])
    weight = torch.randn(6, 5, generator=torch.Generator().manual_seed(1), dtype=F64)
    crossbar.program(weight)
    written = crossbar.G.clone()
    crossbar.age(1e4)
    torch.testing.assert_close(crossbar.G, written * 1e4**-0.3, rtol=1e-6, atol=0.0)
    # Stored: as programmed just now.
    crossbar.store(written)
    crossbar.age(1e4)
    torch.testing.assert_close(crossbar.G, written * 1e4**-0.3, rtol=1e-6, atol=0.0)
    # Moved by pulses in service: from then on, by the same clock.
    moved = crossbar.cells.fork()
    moved.hold(written)
    crossbar.commit(cells=moved)
    crossbar.age(1e4)
    crossbar.age(1e4)
    torch.testing.assert_close(crossbar.G, written * 3.0**-0.3, rtol=1e-6, atol=0.0)


def test_a_checkpoint_in_mid_life_ages_on(tmp_path):
    effects = (retention(100.0, 3e4), PowerLawDrift(nu=0.1))
    one, other = aged(PCM(), effects, [500.0]), aged(PCM(), effects, [])
    torch.save(one.state_dict(), tmp_path / "crossbar.pt")
    other.load_state_dict(torch.load(tmp_path / "crossbar.pt", weights_only=True))
    for crossbar in (one, other):
        crossbar.age(1e6)
    assert torch.equal(one.G, other.G)
    # And one that has not aged yet is loaded into one that has.
    fresh = aged(PCM(), effects, [])
    one.load_state_dict(fresh.state_dict())
    for crossbar in (one, fresh):
        crossbar.age(1e6)
    assert torch.equal(one.G, fresh.G)


def test_no_memory_is_kept_where_none_is_needed():
    for effects in ((), (PowerLawDrift(nu=0.1),)):
        assert aged(LinearDevice(), effects, [1e3]).cells.written is None
    assert aged(PCM(), (), []).cells.written is None
    assert aged(PCM(), (), [1e3]).cells.written is not None


def test_training_does_not_see_the_past_of_the_chip():
    # The cells of a training read are written just now, whatever the stored ones went through.
    torch.manual_seed(0)
    weight = torch.randn(6, 5, dtype=F64)
    x = torch.randn(3, 6, dtype=F64)
    device = PCM(write_scale=0.0, read_scale=1.0)
    young, old = aged(device, (), []), aged(device, (), [1e7])
    found = []
    for crossbar in (old, young):
        torch.manual_seed(1)
        found.append(crossbar.read_through(x, weight))
    torch.testing.assert_close(*found)
    compensate(old)


@pytest.mark.parametrize("way", ["pulse", "pulse_at", "pulse_both"])
def test_pulses_on_aged_cells_are_not_forgotten(way):
    device = SoftBoundsDevice(g_min=1e-6, g_max=101e-6, step=1e-6)
    drift = PowerLawDrift
    cells = device.cells_type((device, drift(0.05), drift(0.01)), (4,), seed=0)
    cells.write(torch.full((4,), 50e-6))
    cells.age(100.0)
    counts = torch.tensor([5, 0, -3, 0])
    if way == "pulse":
        cells.pulse(counts)
    elif way == "pulse_at":
        cells.pulse_at(torch.tensor([0, 2]), counts[[0, 2]])
    else:
        cells.pulse_both(counts.clamp(min=0), (-counts).clamp(min=0))
    pulsed = cells.g.clone()
    assert float(pulsed[0]) > float(pulsed[1]) > float(pulsed[2])
    cells.age(100.0)
    expected = pulsed * 2.0**-0.06
    torch.testing.assert_close(cells.g, expected, rtol=1e-6, atol=0.0)
