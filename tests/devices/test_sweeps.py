"""Loops at any sweep rate: the adaptive solver against Radau, at thresholds, and with noise."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from mho.devices import VTEAM, Kvatinsky, Pickett, StanfordPKU, presets, stiff
from mho.devices.diffusion import fold
from mho.devices.roots import crossing, rising

F64 = torch.float64


def sweep(up, down, samples):
    n = samples // 4
    return np.r_[np.linspace(0, up, n), np.linspace(up, down, 2 * n), np.linspace(down, 0, n)]


def reference(device, volts, dt, x0):
    """States at the samples and the end, by Radau with steps no longer than a sample."""
    p, held = device.parameters(), np.r_[volts, volts[-1]]
    grid = np.arange(len(held)) * dt

    def slope(t, y):
        x = min(max(float(y[0]), 0.0), 1.0)
        rate = device.rate(x, device.drive(float(np.interp(t, grid, held)), p), p)
        return [0.0 if (x >= 1.0 and rate > 0.0) or (x <= 0.0 and rate < 0.0) else rate]

    solved = solve_ivp(
        slope, (0.0, grid[-1]), [x0], "Radau", grid, rtol=1e-8, atol=1e-10, max_step=dt
    )
    assert solved.success
    return np.clip(solved.y[0], 0.0, 1.0)


STANFORD = StanfordPKU(delta_gap=0.0, f_min=0.0)  # a rate that jumps stops Radau


@pytest.mark.parametrize("seconds", [1e-9, 1e-7, 1e-5, 8e-3, 1.0, 10.0])
@pytest.mark.parametrize(
    ("device", "up", "down", "x0"), [(STANFORD, 1.5, -1.7, 0.1), (Pickett(), 0.75, -0.75, 0.6)]
)
@pytest.mark.parametrize("cells", [1, 20])
def test_any_sweep_agrees_with_radau(device, up, down, x0, seconds, cells):
    volts = sweep(up, down, 400)
    dt = seconds / 400
    expected = reference(device, volts, dt, x0)
    population = device.fabricate((cells,), dtype=F64)
    population.x = torch.full((cells,), x0, dtype=F64)
    currents = population.simulate(torch.from_numpy(volts), dt=dt)
    assert float(population.x[-1]) == pytest.approx(expected[-1], abs=1e-3)
    p = device.parameters()
    x, v = torch.from_numpy(expected[:-1]), torch.from_numpy(volts)
    for off in (-1e-3, 1e-3):
        # Between the currents of states 1e-3 away on either side.
        limit = device.current_at((x + off).clamp(0.0, 1.0), v, p).abs()
        gap = (currents[:, -1].abs() - limit) * math.copysign(1.0, off)
        assert float((gap / currents.abs().max()).max()) < 1e-9


def test_a_slow_sweep_with_the_threshold_is_a_limit_of_fine_ones():
    # Filippov's sliding along the threshold, against plain small steps of the equation.
    device = StanfordPKU(delta_gap=0.0)
    volts = np.linspace(-1.05, -1.3, 26)
    dt = 1e-6
    cells = device.fabricate((1,), dtype=F64)
    cells.x = torch.ones(1, dtype=F64)
    cells.simulate(torch.from_numpy(volts), dt=dt)
    p, x, steps = device.parameters(), 1.0, 4000
    held = np.r_[volts, volts[-1]]
    for k in range(len(volts)):
        for j in range(steps):
            v = float(held[k] + (held[k + 1] - held[k]) * (j + 0.5) / steps)
            x = min(max(x + dt / steps * device.rate(x, device.drive(v, p), p), 0.0), 1.0)
    assert 0.0 < x < 0.6
    assert float(cells.x) == pytest.approx(x, abs=1e-3)


def test_the_published_preset_draws_its_loop_with_its_noise():
    volts = torch.from_numpy(sweep(1.5, -1.7, 2000))
    cell = presets.get("hfox_stanford_pku").fabricate((), seed=0, dtype=F64)
    start = time.process_time()
    current = cell.simulate(volts, dt=4e-6)
    assert time.process_time() - start < 2.0
    up, down = current[400], current[700]  # 1.2 V on the way up, 0.86 V on the way down
    assert float(down) > 2.0 * float(up)
    assert float(cell.conductance()) < 5e-5


def test_many_pickett_cells_move_as_one():
    device, volts = Pickett(), torch.from_numpy(sweep(0.75, -0.75, 100))
    runs = []
    for cells in (1, 20):
        population = device.fabricate((cells,), dtype=F64)
        population.x = torch.full((cells,), 0.6, dtype=F64)
        runs.append((population.simulate(volts, dt=0.01), population.x))
    torch.testing.assert_close(runs[1][0][:, 15:16], runs[0][0], rtol=1e-4, atol=0)
    torch.testing.assert_close(runs[1][1][15:16], runs[0][1], rtol=0, atol=1e-5)


def test_auto_is_heun_where_steps_are_gentle():
    device = VTEAM(k_on=-1e-7, k_off=5e-9, window_function=Kvatinsky())
    volts = torch.sin(torch.arange(200, dtype=F64) / 30)
    runs = []
    for method in ("auto", "heun"):
        cells = device.fabricate((3,), dtype=F64)
        runs.append(cells.simulate(0.3 * volts, dt=1e-6, method=method))
    assert torch.equal(*runs)


def test_every_cell_has_its_own_waveform_and_parameters():
    device = StanfordPKU(delta_gap=0.0)
    scale = torch.linspace(0.8, 1.0, 30, dtype=F64)
    volts = torch.from_numpy(sweep(1.5, -1.7, 80))[:, None] * scale
    cells = device.fabricate((30,), dtype=F64)
    together = cells.simulate(volts, dt=1e-4, every=3)
    for cell in (0, 17, 29):
        alone = device.fabricate((1,), dtype=F64)
        current = alone.simulate(volts[:, cell : cell + 1], dt=1e-4, every=3)
        scale_of = float(current.abs().max())
        torch.testing.assert_close(together[:, cell], current[:, 0], rtol=0, atol=2e-4 * scale_of)


# ── noise ────────────────────────────────────────────────────────────────────────────────────


def noisy(volts, dt, x0, n, seed, cut=1):
    held = np.r_[volts, volts[-1]]
    fine = np.interp(np.arange(len(volts) * cut) / cut, np.arange(len(held)), held)
    cells = StanfordPKU().fabricate((n,), seed=seed, dtype=F64)
    cells.x = torch.full((n,), x0, dtype=F64)
    cells.simulate(torch.from_numpy(fine), dt=dt / cut, every=None, adaptive=True)
    return cells.x


def brute_force(volts, dt, x0, n, seed, steps):
    """Plain Euler–Maruyama of so many steps a sample, folded."""
    device = StanfordPKU()
    p, held = device.parameters(), np.r_[volts, volts[-1]]
    x, generator = torch.full((n,), x0, dtype=F64), torch.Generator().manual_seed(seed)
    h = dt / steps
    for k in range(len(volts)):
        for j in range(steps):
            v = float(held[k] + (held[k + 1] - held[k]) * (j + 0.5) / steps)
            drive = device.drive(v, p)
            kick = (
                h**0.5
                * device.diffusion(x, drive, p)
                * torch.empty_like(x).normal_(generator=generator)
            )
            x = fold((x + h * device.rate(x, drive, p)).clamp(0.0, 1.0) + kick)
    return x


@pytest.mark.parametrize("cut", [1, 2, 5])
def test_noise_at_rest_has_the_variance_of_the_time(cut):
    x = noisy(np.zeros(20), 1e-6, 0.5, 5000, cut, cut)
    sigma = 0.02 * 1e-6 / (1 + math.exp(152 / 500)) / 1.5e-9
    expected = sigma * math.sqrt(20e-6)
    assert float((x - 0.5).std()) == pytest.approx(expected, rel=4 / math.sqrt(10_000))


@pytest.mark.parametrize(
    ("volts", "x0"),
    [(np.full(5, -1.2), 0.5), (np.linspace(-1.1, -1.15, 5), 0.52), (np.full(3, 1.12), 0.2)],
    ids=["falls to a threshold", "slides on it", "runs away"],
)
def test_noisy_sweeps_agree_with_brute_force(volts, x0):
    n = 1500
    expected = brute_force(volts, 4e-6, x0, n, 1, 1500)
    for cut in (1, 4):
        found = noisy(volts, 4e-6, x0, n, 2 + cut, cut)
        spread = math.sqrt(float(expected.var() + found.var()) / n)
        assert abs(float(found.mean() - expected.mean())) < 4 * spread + 1e-3
        error = 4 * float(expected.std()) / math.sqrt(2 * n)
        # Some of either may have run away: then few cells make the spread.
        assert abs(float(found.std() - expected.std())) < error + 2e-3 + 0.05 * float(
            expected.std()
        )


def test_the_retentive_preset_retains_and_still_switches_with_noise():
    device = presets.get("hfox_stanford_pku_retentive")
    cells = device.fabricate((500,), seed=0, dtype=F64)
    cells.x = torch.full((500,), 0.8, dtype=F64)
    cells.apply_pulse(0.0, 10 * 365.25 * 86400.0)
    assert float(cells.x.std()) * 1500 == pytest.approx(2.0, rel=0.15)
    p = device.parameters()
    hot = device.drive(1.5, p)
    published = StanfordPKU()
    ratio = device.diffusion(1.0, hot, p) / published.diffusion(1.0, hot, published.parameters())
    assert 0.5 < ratio < 2.0


# ── the steps ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["float", "tensor"])
def test_roots_are_found_through_kinks_jumps_and_at_bounds(kind):
    of = (lambda z: z) if kind == "float" else (lambda z: torch.tensor([z], dtype=F64))
    sign = lambda y: (  # noqa: E731
        math.copysign(1.0, y - 0.3) if kind == "float" else torch.sign(y - 0.3)
    )
    for function, root in (
        (lambda y: y - 0.62, 0.62),
        (sign, 0.3),
        (lambda y: y - 2.0, 1.0),
        (lambda y: y + 2.0, 0.0),
        (lambda y: 1e6 * (y - 0.1) ** 3, 0.1),
    ):
        found = rising(function, of(0.0), of(1.0), of(0.5), 1e-9)
        assert float(found) == pytest.approx(root, abs=2e-9 if root != 0.1 else 1e-6)
    found = crossing(lambda y: y**3 - 8.0, of(-40.0), of(40.0), of(0.0), 1e-10)
    assert float(found) == pytest.approx(2.0, abs=1e-9)


def test_implicit_steps_are_of_order_three():
    errors = []
    for steps in (10, 20, 40):
        x, slope, h = 0.2, 0.0, 1.0 / steps
        for k in range(steps):

            def law(c, k=k, h=h):
                return lambda y: 2 * math.cos((k + c) * h) ** 2 * y * (1 - y)

            step = stiff.implicit(law, x, slope, h, 1e-8)
            x, slope = step.x, step.slope
        grown = 0.25 * math.exp(1.0 + math.sin(2.0) / 2.0)
        errors.append(abs(x - grown / (1.0 + grown)))
    for coarse, fine in itertools.pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(3.0, abs=0.3)


@pytest.mark.parametrize("kind", ["float", "tensor"])
def test_a_steep_fall_is_one_step_and_a_jump_holds(kind):
    x = 0.9 if kind == "float" else torch.tensor([0.9], dtype=F64)
    steep = stiff.implicit(lambda c: lambda y: 1e9 * (0.2 - y), x, 0.0 * x, 0.0 * x + 1.0, 1e-5)
    assert float(steep.x) == pytest.approx(0.2, abs=1e-6)

    def above(c):
        if kind == "float":
            return lambda y: -1e7 if y > 0.4 else 1.0
        return lambda y: torch.where(y > 0.4, -1e7, 1.0)

    held = stiff.implicit(above, 0.0 * x + 0.4, 0.0 * x, 0.0 * x + 1.0, 1e-5)
    assert float(held.x) == pytest.approx(0.4, abs=1e-6)
    assert float(held.excess) <= 1.0


@pytest.mark.parametrize("shape", [(), (2,)])
def test_one_step_with_a_middle_is_simpsons_rule_and_exact_for_a_cubic_law(shape):
    """VTEAM without a window: dx/dt = −k·(v/v_off − 1)³ above v_off, under a rising ramp."""
    length, k = 3e-9, 50.0
    device = VTEAM(alpha_off=3, k_off=k * length, v_off=0.5, w_on=0.0, w_off=length)
    cells = device.fabricate(shape, dtype=F64)
    cells.x = torch.full(shape, 0.9, dtype=F64)
    dt = 1e-4
    volts = torch.linspace(0.6, 1.1, 8, dtype=F64)
    given = volts.view(-1, *[1] * len(shape)).expand(-1, *shape)
    cells.simulate(given, dt=dt, method="rk4")
    # The integral over the ramp, in closed form, and one step more of its last value.
    y = (volts / 0.5 - 1.0).tolist()
    slope = (y[1] - y[0]) / dt
    moved = k * (y[-1] ** 4 - y[0] ** 4) / (4 * slope) + k * y[-1] ** 3 * dt
    assert moved > 1e-2
    torch.testing.assert_close(0.9 - cells.x, torch.full(shape, moved).to(F64), rtol=1e-6, atol=0.0)
