"""Effects of age and use: metal-oxide failure, cycle variability, telegraph noise, temperature."""

import math

import pytest
import torch
from torch.distributions import LogNormal, Normal, Uniform

import mho
from mho import Crossbar, Hardware
from mho.cells.behaviour import Context
from mho.devices import LinearDevice, Spread
from mho.effects import (
    CycleVariability,
    Endurance,
    FailureLaw,
    FiniteStates,
    Retention,
    TelegraphNoise,
    Temperature,
)

R_ON, R_OFF = 1e4, 1e6
DEVICE = LinearDevice(1 / R_OFF, 1 / R_ON)
MIDPOINT = (R_ON + R_OFF) / 2
SIGMAS = 4.0  # with fixed seeds: a tolerance, not a gamble


def made(*effects, rows=60, cols=50, seed=0):
    crossbar = Crossbar(
        rows, cols, Hardware(device=DEVICE, effects=effects), seed=seed, dtype=torch.float64
    )
    source = torch.Generator().manual_seed(seed)
    crossbar.program(torch.randn(rows, cols, generator=source, dtype=torch.float64))
    return crossbar


# ── retention ────────────────────────────────────────────────────────────────────────────────


def threshold(law, size, reduced):
    return law.p0 * math.exp(law.p1 * size + law.p2 * reduced)


def test_sudden_failure_is_at_its_threshold_and_of_its_state_alone():
    law = FailureLaw(p0=100.0, p1=1e7, p2=2.0, stable=2e6)
    crossbar = made(Retention(lrs=law, cell_size=20e-9, temperature=600.0))
    at = threshold(law, 20e-9, 300.0 / 600.0)
    before = crossbar.G.clone()
    low = 1 / before < MIDPOINT
    assert 0.2 < float(low.double().mean()) < 0.8
    crossbar.age(at * 0.999)
    assert torch.equal(crossbar.G, before)
    crossbar.age(at * 0.002)
    assert torch.equal(crossbar.G, torch.where(low, 1 / 2e6, before))


def test_gradual_failure_follows_the_published_line():
    lrs = FailureLaw(p0=50.0, p1=3e6, p2=0.5, p3=0.05)
    hrs = FailureLaw(p0=2.0, p1=1e6, p2=0.2, p3=-0.01)
    size, kelvin = 15e-9, 400.0
    crossbar = made(Retention(lrs=lrs, hrs=hrs, cell_size=size, temperature=kelvin))
    start = 1 / crossbar.G.clone()
    seconds = 1e5
    crossbar.age(seconds)
    for law, mask in ((lrs, start < MIDPOINT), (hrs, start >= MIDPOINT)):
        reduced = 300.0 / kelvin
        slope = law.p3 * (law.p1 * size + law.p2 * reduced)
        rise = slope * (math.log10(seconds) - math.log10(threshold(law, size, reduced)))
        assert rise != 0
        expected = 10 ** (rise + torch.log10(start[mask]))
        assert torch.allclose(1 / crossbar.G[mask], expected, rtol=1e-12, atol=0.0)


def test_the_threshold_below_the_critical_temperature_does_not_depend_on_it():
    cold, colder = (Retention(temperature=t, critical_temperature=300.0) for t in (300.0, 200.0))
    assert cold.reduced_temperature == colder.reduced_temperature == 1.0
    assert Retention(temperature=600.0).reduced_temperature == 0.5


def test_every_cell_may_have_a_threshold_of_its_own():
    law = FailureLaw(p0=Spread(Uniform(0.0, 1000.0)), stable=5e6)
    crossbar = made(Retention(lrs=law, hrs=law), rows=200)
    crossbar.age(300.0)
    failed = crossbar.G == 1 / 5e6
    error = math.sqrt(0.3 * 0.7 / failed.numel())
    assert abs(float(failed.double().mean()) - 0.3) < SIGMAS * error
    crossbar.age(700.0)
    assert (crossbar.G == 1 / 5e6).all()


def test_the_midpoint_is_of_resistances():
    crossbar = made(Retention(lrs=FailureLaw(p0=1.0, stable=9e9)))
    g = torch.full_like(crossbar.G, 1 / (MIDPOINT * 1.01))
    g[0] = 1 / (MIDPOINT * 0.99)
    crossbar.store(g)
    crossbar.age(10.0)
    assert (crossbar.G[0] == 1 / 9e9).all()
    assert torch.equal(crossbar.G[1:], g[1:])


# ── endurance ────────────────────────────────────────────────────────────────────────────────


def test_endurance_acts_on_what_is_written():
    law = FailureLaw(p0=1e4, p3=0.2, p2=1.0)
    fresh = made(Endurance(lrs=law, cycles=1e4))  # below the threshold 1e4·e
    worn = made(Endurance(lrs=law, cycles=1e6))
    target = made().G
    assert torch.equal(fresh.G, target)
    low = 1 / target < MIDPOINT
    expected = target * (1e6 / (1e4 * math.e)) ** -0.2
    assert torch.allclose(worn.G, torch.where(low, expected, target), rtol=1e-12, atol=0.0)
    assert worn.seconds == 0.0


def test_endurance_trains():
    hardware = Hardware(
        device=DEVICE, effects=(Endurance(lrs=FailureLaw(1e3, p3=0.1), cycles=1e5),)
    )
    crossbar = Crossbar(4, 3, hardware, dtype=torch.float64)
    weight = torch.linspace(-1, 1, 12, dtype=torch.float64).view(4, 3).requires_grad_()
    x = torch.ones(2, 4, dtype=torch.float64)
    crossbar.read_through(x, weight).sum().backward()
    assert weight.grad.isfinite().all()
    assert (weight.grad != 0).any()


# ── cycle to cycle ───────────────────────────────────────────────────────────────────────────


def test_the_window_is_drawn_anew_at_every_write():
    on, off = Normal(1e4, 500.0), Normal(1e6, 1e5)
    crossbar = made(CycleVariability(r_on=Spread(on), r_off=Spread(off)), rows=100, cols=100)
    zero, one = (
        torch.zeros(100, 100, dtype=torch.float64),
        torch.ones(100, 100, dtype=torch.float64),
    )
    crossbar.program(zero)
    rest = 1 / crossbar.G.flatten()
    error = 1e5 / math.sqrt(rest.numel())
    assert abs(float(rest.mean()) - 1e6) < SIGMAS * error
    assert abs(float(rest.std()) - 1e5) < SIGMAS * error / math.sqrt(2)
    crossbar.program(one)
    full = 1 / crossbar.G[0].flatten()
    error = 500.0 / math.sqrt(full.numel())
    assert abs(float(full.mean()) - 1e4) < SIGMAS * error
    first = crossbar.G.clone()
    crossbar.program(one)
    assert (first != crossbar.G).all()


def test_fixed_resistances_only_move_the_window():
    crossbar = made(CycleVariability(r_on=2e4, r_off=5e5))
    nominal = made().G
    share = (nominal - 1 / R_OFF) / (1 / R_ON - 1 / R_OFF)
    assert torch.allclose(crossbar.G, 1 / 5e5 + share * (1 / 2e4 - 1 / 5e5), rtol=1e-12, atol=0.0)


def test_windows_that_always_cross_are_refused():
    effect = CycleVariability(r_on=1.0, r_off=Spread(Normal(2.0, 0.1), high=5.0))
    crossing = CycleVariability(r_on=Spread(Uniform(1.0, 2.9)), r_off=Spread(Uniform(1.9, 2.1)))
    made(effect)  # fine
    made(crossing)  # redrawn until no cell crosses
    with pytest.raises(ValueError, match="r_on must be < r_off"):
        CycleVariability(r_on=2.0, r_off=1.0)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_windows_drawn_without_looking_are_those_drawn_with(share, monkeypatch):
    # One pair of six crosses. Drawn without looking they are in order, too, and distributed as if
    # all that crossed had been drawn again (of 1,500 one is only put in order).
    effect = CycleVariability(r_on=Spread(Uniform(1e4, 4.5e4)), r_off=Spread(Uniform(3e4, 5e4)))
    monkeypatch.setattr("mho.core.random.foreseen", lambda device: True)
    low, high, many = 1e-6, 1e-4, 200_000
    g = torch.full((many,), low + share * (high - low), dtype=torch.float64)
    torch.manual_seed(0)
    found = effect.program(g, Context(g, low, high, None))
    on = 1e4 + 3.5e4 * torch.rand(4 * many, dtype=torch.float64)
    off = 3e4 + 2e4 * torch.rand(4 * many, dtype=torch.float64)
    fine = on < off
    wanted = 1 / off[fine] + share * (1 / on[fine] - 1 / off[fine])
    error = float(wanted.std()) * math.sqrt(1 / many + 1 / len(wanted))
    assert abs(float(found.mean() - wanted.mean())) < SIGMAS * error
    for level in (0.05, 0.25, 0.5, 0.75, 0.95):
        below = float((found < wanted.quantile(level)).double().mean())
        deviation = math.sqrt(level * (1 - level) * (1 / many + 1 / len(wanted)))
        assert abs(below - level) < SIGMAS * deviation


# ── telegraph noise ──────────────────────────────────────────────────────────────────────────


def test_a_read_finds_each_trap_filled_or_empty():
    crossbar = made(TelegraphNoise(0.25, fraction=0.4, occupancy=0.3), rows=100, cols=100)
    reads = torch.stack([crossbar.reader.stored.matrix[0] for _ in range(2)])
    assert not torch.equal(reads[0], reads[1])
    unit = torch.eye(100, dtype=torch.float64)
    levels = torch.stack([unit @ crossbar for _ in range(60)])  # weights as 60 reads see them
    spread = levels.amax(0) != levels.amin(0)
    # A weight is a pair of cells: it flickers unless neither has a trap.
    expected = 1 - 0.6**2
    error = math.sqrt(expected * (1 - expected) / spread.numel())
    assert abs(float(spread.double().mean()) - expected) < SIGMAS * error


def test_telegraph_noise_has_two_levels_and_its_mean():
    effect = TelegraphNoise(0.2, occupancy=0.3)
    crossbar = made(effect)
    g = crossbar.G
    seen = torch.stack([effect.read(g, crossbar.cells.context(1, "read")) for _ in range(400)])
    filled = torch.isclose(seen, 0.8 * g)
    assert (filled | (seen == g)).all()
    error = math.sqrt(0.3 * 0.7 / filled.numel())
    assert abs(float(filled.double().mean()) - 0.3) < SIGMAS * error
    # Two reads of one cell are independent.
    product = (filled[1:] & filled[:-1]).double().mean()
    assert abs(float(product) - 0.09) < SIGMAS * math.sqrt(0.09 * 0.91 / filled[1:].numel()) * 2


def test_amplitudes_may_be_spread():
    crossbar = made(TelegraphNoise(Spread(LogNormal(-2.0, 1.0))))
    step = crossbar.cells.state(1)["step"]
    assert float(step.max()) <= 1.0
    assert abs(float(step.log().median()) + 2.0) < 0.1


# ── temperature ──────────────────────────────────────────────────────────────────────────────


def test_temperature_moves_the_two_states_by_their_own_laws():
    effect = Temperature(360.0, reference=300.0, coefficient=2e-3, activation_energy=0.1)
    crossbar = made(effect)
    ends = torch.tensor([1 / R_OFF, 1 / R_ON], dtype=torch.float64)
    hot = effect.read(ends, crossbar.cells.context(1, "read"))
    boltzmann = 1.380649e-23 / 1.602176634e-19
    activated = math.exp(-0.1 / boltzmann * (1 / 360.0 - 1 / 300.0))
    assert torch.allclose(hot / ends, torch.tensor([activated, 1 / 1.12], dtype=torch.float64))
    same = Temperature(300.0, coefficient=2e-3, activation_energy=0.1)
    assert torch.equal(same.read(ends, crossbar.cells.context(1, "read")), ends)


def test_temperature_is_worked_out_once_and_reads_stay_collapsed():
    crossbar = made(Temperature(350.0, coefficient=1e-3))
    assert crossbar.collapsed
    assert crossbar.reader.stored is crossbar.reader.stored
    hot = torch.eye(60, dtype=torch.float64) @ crossbar
    assert not torch.allclose(hot, crossbar.weight)
    noisy = made(TelegraphNoise(0.1))
    assert noisy.reader.stored is not noisy.reader.stored


# ── in service ───────────────────────────────────────────────────────────────────────────────


def test_maintained_drift_is_undone_again_and_again():
    drift = mho.effects.PowerLawDrift(nu=0.05)
    crossbar = Crossbar(30, 20, Hardware(effects=(drift,)), dtype=torch.float64)
    crossbar.program(torch.randn(30, 20, dtype=torch.float64))
    x = torch.randn(5, 30, dtype=torch.float64)
    before = x @ crossbar
    factors = mho.maintain(crossbar, 1e4, every=3e3)[""]
    assert factors.shape == (4, 20)
    assert crossbar.seconds == pytest.approx(1e4)
    assert torch.allclose(factors.prod(0), torch.full((20,), 1e4**0.05, dtype=torch.float64))
    assert torch.allclose(x @ crossbar, before)


def test_maintain_refuses_before_anything_changes():
    crossbar = Crossbar(3, 2, Hardware())
    with pytest.raises(ValueError, match="never been programmed"):
        mho.maintain(crossbar, 10.0, every=1.0)
    crossbar.program(torch.ones(3, 2))
    for arguments in ({"seconds": -1.0, "every": 1.0}, {"seconds": 1.0, "every": 0.0}):
        with pytest.raises(ValueError):
            mho.maintain(crossbar, **arguments)
    assert crossbar.seconds == 0.0


# ── refusals ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: FailureLaw(p0=0.0), "p0"),
        (lambda: FailureLaw(p0=1.0, p3=0.1, stable=1e5), "not both"),
        (lambda: FailureLaw(p0=1.0, stable=-1.0), "stable"),
        (lambda: Retention(temperature=0.0), "temperature"),
        (lambda: Endurance(cycles=-1.0), "cycles"),
        (lambda: TelegraphNoise(1.5), "amplitude"),
        (lambda: TelegraphNoise(0.1, occupancy=2.0), "occupancy"),
        (lambda: Temperature(-1.0), "kelvin"),
        (lambda: Temperature(100.0, coefficient=0.01), "coefficient"),
    ],
)
def test_bad_values_are_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_effects_of_age_act_together_and_round_trip():
    hardware = Hardware(
        device=DEVICE,
        effects=(
            FiniteStates(8),
            CycleVariability(r_on=Spread(Normal(1e4, 100.0)), r_off=1e6),
            Retention(lrs=FailureLaw(p0=1e3, p3=0.1, p2=1.0)),
            TelegraphNoise(0.05, fraction=0.2),
        ),
    )
    assert Hardware.from_dict(hardware.to_dict()) == hardware
