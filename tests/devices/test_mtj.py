"""Magnetic tunnel junctions: the switching law against independent ones, cells, reads."""

import numpy as np
import pytest
import torch
from scipy import integrate
from torch.distributions import Normal

from mho.cells.spread import Spread
from mho.devices import macrospin
from mho.devices.mtj import GYROMAGNETIC, MTJ
from mho.testing import DeviceContract
from tolerance import near

DELTA = 40.0


class TestMTJ(DeviceContract):
    def device(self):
        return MTJ()


class TestOhmicMTJ(DeviceContract):
    def device(self):
        return MTJ(v_half=None)


class TestSpreadMTJ(DeviceContract):
    def device(self):
        return MTJ(
            g_parallel=Spread(Normal(70e-6, 5e-6)),
            tmr=Spread(Normal(1.2, 0.1)),
            v_set=Spread(Normal(0.7, 0.05), low=0.5),
        )


def law(i, tau, delta=DELTA):
    current = torch.as_tensor(i, dtype=torch.float64)
    return macrospin.switching_probability(current, torch.as_tensor(tau), delta).numpy()


def first_passage_time(i, delta):
    """Mean time from z = 1 to z = -0.5: exact double quadrature of the one-dimensional problem."""

    def potential(z):
        return -delta * (z**2 - 2 * i * z)

    def inner(z):
        return integrate.quad(
            lambda y: np.exp(potential(z) - potential(y)), z, 1.0, epsrel=1e-10, limit=200
        )[0]

    points = [i] if -0.5 < i < 1 else None
    whole = integrate.quad(
        lambda z: inner(z) / (1 - z**2), -0.5, 1 - 1e-12, epsrel=1e-8, limit=400, points=points
    )
    return 2 * delta * whole[0]


@pytest.mark.parametrize("i", [0.0, 0.3, 0.5, 0.6])
def test_thermal_rate_is_the_inverse_first_passage_time(i):
    tau = 1000.0
    hazard = -np.log1p(-law(i, tau))
    time = first_passage_time(i, DELTA)
    # Arrival at the first cells takes a few τ of the thousand.
    assert hazard * time / tau == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize("i", [0.0, 0.2, 0.4])
def test_thermal_rate_is_browns_at_high_barriers(i):
    delta = 80.0
    brown = np.sqrt(delta / np.pi) * (1 - i**2) * (1 - i) * np.exp(-delta * (1 - i) ** 2)
    hazard = -np.log1p(-law(i, 1000.0, delta)) / 1000.0
    correction = 1.5 / (delta * (1 - i) ** 2)  # the next term of the asymptotic series
    assert hazard == near(brown, rel=2 * correction)


@pytest.mark.parametrize(("i", "delta"), [(1.5, 150.0), (2.0, 40.0), (3.0, 40.0)])
def test_write_errors_decay_at_butlers_rate(i, delta):
    # exp(-2 (i - 1) τ) is the limit of high barriers.
    _, up = macrospin.solve(delta, np.array([i]), np.geomspace(1e-2, 100, 400))
    tau = np.geomspace(1e-2, 100, 400)
    chosen = (up[0] > 1e-11) & (up[0] < 1e-5)
    slope = np.polyfit(tau[chosen], np.log(up[0][chosen]), 1)[0]
    assert slope == pytest.approx(-2 * (i - 1), rel=0.04)


@pytest.mark.parametrize(("i", "tau"), [(0.85, 20.0), (1.0, 8.0), (1.5, 3.0), (2.0, 2.0)])
def test_law_is_that_of_simulated_spins(i, tau):
    # The stochastic differential equation of z = cos θ itself (Itô), 10 000 spins.
    draw = np.random.default_rng(0)
    spins, steps = 10_000, 1500
    angle2 = draw.exponential(1 / DELTA, spins)  # θ² in the well; corrected for the sphere below
    z = np.cos(np.sqrt(angle2))
    dt, noise = tau / steps, 1 / (2 * DELTA)
    for _ in range(600):  # equilibrate without current
        z += (1 - z**2) * z * 0.005 - 2 * noise * z * 0.005
        z += np.sqrt(2 * noise * (1 - z**2).clip(0) * 0.005) * draw.standard_normal(spins)
        z = z.clip(-1, 1)
    for _ in range(steps):
        z += ((1 - z**2) * (z - i) - 2 * noise * z) * dt
        z += np.sqrt(2 * noise * (1 - z**2).clip(0) * dt) * draw.standard_normal(spins)
        z = z.clip(-1, 1)
    expected = float(law(i, tau))
    error = (expected * (1 - expected) / spins) ** 0.5
    assert abs((z < 0).mean() - expected) < 4 * error + 0.01


def test_interpolated_law_is_that_of_the_solver():
    currents = np.array([0.33, 0.77, 0.91, 1.02, 1.47, 2.22, 3.61])
    times = np.geomspace(1e-2, 900, 600)
    down, _ = macrospin.solve(DELTA, currents, times, cells=800)
    found = law(currents[:, None], times)
    assert np.abs(found - down).max() < 0.01


def test_grid_is_fine_enough():
    currents, times = np.array([0.5, 1.0, 2.0]), np.geomspace(1e-2, 100, 200)
    one, two = (macrospin.solve(DELTA, currents, times, cells=n)[0] for n in (400, 1600))
    assert np.abs(one - two).max() < 0.005


@pytest.mark.parametrize("i", [5.1, 8.3, 20.0])
def test_high_currents(i):
    times = np.geomspace(1e-2, 20, 400)
    down, _ = macrospin.solve(DELTA, np.array([i]), times, cells=800)
    assert np.abs(law(i, times) - down[0]).max() < 0.05


def test_law_is_monotone_in_voltage_and_time():
    v = torch.linspace(0.0, 3.0, 301, dtype=torch.float64)
    t = torch.logspace(-11, 0, 111, dtype=torch.float64)
    chance = MTJ().probability(v[:, None], t)
    assert float(chance.diff(dim=0).min()) > -1e-9
    assert float(chance.diff(dim=1).min()) > -1e-9
    assert float(chance.min()) >= 0
    assert float(chance.max()) <= 1


def test_no_time_no_switching():
    assert float(MTJ().probability(torch.tensor(2.0), 0.0)) == 0.0


def test_polarity():
    device = MTJ()
    strong, width = torch.tensor(1.4), 50e-9
    assert float(device.probability(strong, width, parallel=False)) > 0.999
    assert float(device.probability(-strong, width, parallel=True)) > 0.999
    assert float(device.probability(-strong, width, parallel=False)) < 1e-9
    assert float(device.probability(strong, width, parallel=True)) < 1e-9


def test_retention_is_that_of_the_barrier():
    # Rest for ten years: Δ = 40 loses a few per cent of the cells, Δ = 60 none.
    years = 3.156e8
    lost = float(MTJ(delta=40.0).probability(torch.tensor(0.0), years))
    rate = 0.027 * GYROMAGNETIC * 0.3 / (1 + 0.027**2)
    expected = -np.expm1(-years * rate / first_passage_time(0.0, 40.0))
    assert lost == pytest.approx(expected, rel=0.03)
    assert float(MTJ(delta=60.0).probability(torch.tensor(0.0), years)) < 1e-6


def test_cells_switch_with_the_probability():
    device = MTJ()
    cells = device.fabricate((100, 100), seed=1)
    v, width = 0.72, 6e-9
    chance = float(device.probability(torch.tensor(v), width))
    assert 0.2 < chance < 0.8
    cells.apply_pulse(v, width)
    share = float((cells.conductance() > device.g_min * 1.01).float().mean())
    assert abs(share - chance) < 4 * (chance * (1 - chance) / 1e4) ** 0.5


def test_successive_pulses_draw_anew_and_seeds_repeat():
    first, second = (MTJ().fabricate((1000,), seed=5) for _ in range(2))
    states = []
    for _ in range(3):
        for cells in (first, second):
            cells.apply_pulse(0.7, 3e-9)
        assert torch.equal(first.x, second.x)
        states.append(first.x.clone())
    assert 0 < states[0].sum() < states[1].sum() < states[2].sum()


def test_every_cell_its_own_pulse():
    cells = MTJ().fabricate((3,), dtype=torch.float64)
    cells.write(torch.tensor([1.0, 0.0, 1.0]))
    cells.apply_pulse(torch.tensor([-1.4, 1.4, 0.0]), 1e-7)
    low, high = MTJ().window
    assert cells.conductance().tolist() == pytest.approx([low, high, high])


def test_read_current_rolls_off_where_antiparallel():
    device = MTJ()
    cells = device.fabricate((2,), dtype=torch.float64)
    cells.write(torch.tensor([0.0, 1.0]))
    for v in (0.05, 0.5, -0.5):
        tmr = 1.2 / (1 + (v / 0.5) ** 2)
        expected = [v * 70e-6 / (1 + tmr), v * 70e-6]
        assert cells.current(v).tolist() == pytest.approx(expected, rel=1e-12)
    assert float(device.tmr_at(0.5)) == pytest.approx(0.6)


def test_writes_go_to_the_nearer_state():
    device = MTJ()
    low, high = device.window
    asked = torch.tensor([0.1, 0.49, 0.51, 2.0], dtype=torch.float64) * (high - low) + low
    assert device.reach(asked).tolist() == [low, low, high, high]
    asked.requires_grad_()
    device.reach(asked).sum().backward()
    assert asked.grad.tolist() == [1.0, 1.0, 1.0, 0.0]


def test_transfer_says_what_to_do():
    with pytest.raises(NotImplementedError, match="v_half=None"):
        MTJ().transfer(torch.zeros(1))
    assert not MTJ().ohmic
    assert MTJ(v_half=None).ohmic


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tmr": 0.0}, "tmr must be >= 0.0001"),
        ({"delta": 1.0}, "delta must be >= 5"),
        ({"v_set": -0.5}, "v_set must be > 0"),
        ({"v_half": 0.0}, "v_half must be >= 0.01"),
        ({"g_parallel": float("nan")}, "g_parallel must be"),
    ],
)
def test_bad_parameters_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        MTJ(**given)


def test_bad_pulses_are_refused():
    cells = MTJ().fabricate((2, 2))
    with pytest.raises(ValueError, match="duration must be >= 0"):
        cells.apply_pulse(1.0, -1e-9)
    with pytest.raises(ValueError, match="v must be finite"):
        cells.apply_pulse(float("inf"), 1e-9)
    with pytest.raises(ValueError, match="shape"):
        cells.apply_pulse(torch.ones(3), 1e-9)
