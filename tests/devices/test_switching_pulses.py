"""Programming pulses: closed forms against integrators, per-cell pulses, and the noisy model."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.stats import kstest
from torch.distributions import Normal

from mho.cells.spread import Spread
from mho.devices.data_driven import DataDriven2018, DataDriven2021
from mho.devices.integrate import adaptive
from mho.devices.linear_ion_drift import LinearIonDrift
from mho.devices.pickett import Pickett
from mho.devices.stanford_pku import StanfordPKU
from mho.devices.switching import SwitchingDevice
from mho.devices.team import TEAM
from mho.devices.vteam import VTEAM
from mho.devices.windows import Biolek, Kvatinsky
from mho.devices.yakopcic import Yakopcic

F64 = torch.float64
CLOSED: list[SwitchingDevice] = [LinearIonDrift(), VTEAM(), DataDriven2018(), DataDriven2021()]
INTEGRATED: list[SwitchingDevice] = [
    LinearIonDrift(window_function=Biolek(p=2)),
    VTEAM(k_on=-1e-8, k_off=5e-7, window_function=Kvatinsky(0.9, 0.1, 0.05)),
    TEAM(),
    Pickett(),
    StanfordPKU(delta_gap=0.0, f_min=0.0),
    Yakopcic(),
]
name_of = lambda device: type(device).__name__  # noqa: E731


@pytest.mark.parametrize("device", CLOSED, ids=name_of)
@settings(max_examples=30, deadline=None)
@given(
    x=st.floats(0.0, 1.0),
    v=st.floats(-2.0, 2.0),
    travel=st.floats(1e-6, 30.0),
)
def test_closed_forms_agree_with_the_integrator(
    device: SwitchingDevice, x: float, v: float, travel: float
) -> None:
    p = device.parameters()
    state, volts = torch.tensor([x], dtype=F64), torch.tensor([v], dtype=F64)
    drive = device.drive(volts, p)
    rate = float(device.rate(state, drive, p).abs())
    seconds = torch.tensor([travel / rate if rate > 1e-12 else travel], dtype=F64)
    closed = device.pulse(state, volts, seconds, p)
    assert closed is not None
    found = adaptive(lambda x, t: device.rate(x, drive, p), state, seconds, tolerance=1e-8)
    torch.testing.assert_close(closed, found, rtol=0, atol=2e-6)


def test_linear_drift_pulse_is_the_published_integral() -> None:
    cells = LinearIonDrift().fabricate((3,), dtype=F64)
    cells.write(1 / 11e3)
    v = torch.tensor([1.0, -0.5, 0.0], dtype=F64)
    cells.apply_pulse(v, 0.1)
    squared = 11e3**2 - 2 * 15900.0 * 1e4 * v * 0.1
    torch.testing.assert_close(cells.conductance(), squared**-0.5, rtol=1e-12, atol=0)


def test_vteam_pulses_add_up_and_saturate() -> None:
    device = VTEAM(k_on=-1e-6, k_off=1e-6)
    once, twice = device.fabricate((), dtype=F64), device.fabricate((), dtype=F64)
    once.apply_pulse(-0.4, 2e-3)
    twice.apply_pulse(-0.4, 1e-3)
    twice.apply_pulse(-0.4, 1e-3)
    # (v/v_on - 1)^3 = 1: 1 µm/s over 3 nm for 2 ms
    assert float(once.x) == pytest.approx(2 / 3, rel=1e-12)
    assert float(twice.x) == pytest.approx(float(once.x), rel=1e-12)
    once.apply_pulse(-2.0, 1.0)
    assert float(once.x) == 1.0
    once.apply_pulse(-0.2, 1e9)  # at the threshold nothing moves
    once.apply_pulse(0.02, 1e9)
    assert float(once.x) == 1.0
    once.apply_pulse(0.5, 1e9)
    assert float(once.x) == 0.0


@pytest.mark.parametrize("device", INTEGRATED, ids=name_of)
@pytest.mark.parametrize("v", [0.8, -0.8])
def test_integrated_pulses_agree_with_scipy(device: SwitchingDevice, v: float) -> None:
    p = device.parameters()
    x0 = 0.5
    drive = device.drive(v, p)
    seconds = 0.4 / abs(float(device.rate(x0, drive, p)))

    def rate(t: float, x: np.ndarray) -> list[float]:
        return [device.rate(min(max(float(x[0]), 0.0), 1.0), drive, p)]

    solved = solve_ivp(rate, (0, seconds), [x0], method="LSODA", rtol=1e-9, atol=1e-11)
    for dtype, tolerance in ((F64, 2e-5), (torch.float32, 1e-4)):
        cells = device.fabricate((2,), dtype=dtype)
        cells.write(float(device.conductance_at(x0, p)))
        cells.apply_pulse(v, seconds)
        expected = min(max(float(solved.y[0, -1]), 0.0), 1.0)
        assert cells.x.tolist() == pytest.approx([expected] * 2, abs=tolerance)
        assert abs(expected - x0) > 0.02


@pytest.mark.parametrize("device", CLOSED + INTEGRATED, ids=name_of)
def test_each_cell_has_its_own_pulse(device: SwitchingDevice) -> None:
    p = device.parameters()
    middle = float(device.conductance_at(0.5, p))
    rate = abs(float(device.rate(0.5, device.drive(torch.tensor(1.3, dtype=F64), p), p)))
    v = torch.tensor([[1.3, -1.3, 0.0], [0.7, -0.5, 1.1]], dtype=F64)
    seconds = torch.tensor([[1.0], [0.0]], dtype=F64).expand(2, 3) * 0.05 / rate
    cells = device.fabricate((2, 3), dtype=F64)
    cells.write(middle)
    before = cells.x.clone()
    cells.apply_pulse(v, seconds)
    assert torch.equal(cells.x[1], before[1])  # no time, no motion
    assert float(cells.x[0, 2]) == pytest.approx(0.5, abs=1e-12)  # no voltage, no motion
    for column in (0, 1):
        one = device.fabricate((), dtype=F64)
        one.write(middle)
        one.apply_pulse(float(v[0, column]), float(seconds[0, column]))
        assert float(cells.x[0, column]) == pytest.approx(float(one.x), abs=1e-12)
    moved = (cells.x[0, :2] - 0.5) * device.set_polarity
    assert bool((moved * torch.tensor([1.0, -1.0], dtype=F64) > 0).all())


def test_spread_thresholds_act_per_cell() -> None:
    device = VTEAM(k_on=-1e-6, k_off=1e-6, v_on=Spread(Normal(-0.5, 0.1), high=-0.1))
    cells = device.fabricate((500,), seed=2, dtype=F64)
    cells.apply_pulse(-0.5, 1e-3)
    below = cells.parameter("v_on") < -0.5
    assert 150 < int(below.sum()) < 350
    assert float(cells.x[below].max()) == 0.0
    assert float(cells.x[~below].min()) > 0.0


def test_stanford_threshold_on_the_field_holds_weak_pulses_back() -> None:
    device = StanfordPKU(delta_gap=0.0)
    cells = device.fabricate((2,), dtype=F64)
    cells.write(1e-4)
    before = cells.x.clone()
    # γ |v|/t_ox < f_min for |v| < 1.05 V even at γ = γ0 = 16
    cells.apply_pulse(torch.tensor([1.0, -1.0], dtype=F64), 1.0)
    assert torch.equal(cells.x, before)
    # The gap grows until its own field falls below f_min: it stops there, in the open.
    cells.apply_pulse(-1.2, 1.0)
    gap = 1.7 - 1.5 * float(cells.x[0])
    assert (16 - 0.8 * gap**3) * 1.2 / 12e-9 == pytest.approx(1.4e9, rel=1e-3)


NOISY = StanfordPKU(delta_gap=2.0, velocity=1e-3, r_th=0.0)


def spread_after(steps: int, dt: float, seed: int) -> torch.Tensor:
    cells = NOISY.fabricate((20_000,), seed=seed, dtype=F64)
    cells.x.fill_(0.5)
    cells.simulate(torch.zeros(steps, dtype=F64), dt=dt, every=None)
    return cells.x - 0.5


def test_stanford_noise_is_brownian_whatever_the_step() -> None:
    # σ = delta_gap √noise_time/(1 + exp((450 - 298)/500)) per range of 1.5 nm
    sigma = 2.0 * 1e-6 / (1 + math.exp(152 / 500)) / 1.5e-9
    seconds = 2e-9
    for steps, seed in ((20, 1), (40, 2), (160, 3)):
        moved = spread_after(steps, seconds / steps, seed).numpy()
        assert kstest(moved / (sigma * math.sqrt(seconds)), "norm").pvalue > 1e-3
    pulsed = NOISY.fabricate((20_000,), seed=4, dtype=F64)
    pulsed.x.fill_(0.5)
    pulsed.apply_pulse(0.0, seconds)
    scaled = (pulsed.x - 0.5).numpy() / (sigma * math.sqrt(seconds))
    assert kstest(scaled, "norm").pvalue > 1e-3


def test_published_noise_of_one_step_is_met_at_its_own_step() -> None:
    # The published code moves the gap by delta_gap/(1 + …) · dt · N(0, 1) in a step of 1 ps.
    device = StanfordPKU(delta_gap=20.0)
    cells = device.fabricate((50_000,), seed=1, dtype=F64)
    cells.x.fill_(0.5)
    cells.simulate(torch.zeros(1, dtype=F64), dt=1e-12, every=None)
    step = 20.0 / (1 + math.exp(152 / 500)) * 1e-12 / 1.5e-9
    ratio = float((cells.x - 0.5).std()) / step
    assert ratio == pytest.approx(1.0, abs=4 / math.sqrt(2 * 50_000))


def test_noise_is_reproducible_and_moves_on() -> None:
    runs = []
    for seed in (1, 1, 2):
        cells = StanfordPKU().fabricate((3,), seed=seed)
        cells.write(1e-4)
        cells.apply_pulse(0.1, 1e-9)
        first = cells.x.clone()
        cells.simulate(torch.zeros(4), dt=1e-10)
        runs.append((first, cells.x))
    assert torch.equal(runs[0][0], runs[1][0])
    assert torch.equal(runs[0][1], runs[1][1])
    assert not torch.equal(runs[0][0], runs[2][0])
