"""Retention: drift and read noise of many cells, from their records."""

import matplotlib as mpl

mpl.use("Agg")

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from scipy import optimize

from mho import fit
from mho.devices import GenericStatistical
from mho.fit import drift_cells
from mho.plot import pulsed
from mho.plot import statistical as plot

MEASURED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "lea" / "figure_3"
needs_measurements = pytest.mark.skipif(
    not MEASURED.is_dir(), reason=f"the ReRAM measurements are not here: {MEASURED}"
)
TIMES = np.r_[0.0, np.geomspace(1.0, 1e5, 24)]
TRUTH = GenericStatistical(
    g_min=2e-6,
    g_max=25e-6,
    nu=(0.06, -0.03),
    nu_std=0.012,
    t0=1.0,
    read_sigma=(0.2e-6, 0.4e-6),
)


def records(cells, device=TRUTH, seed=0, times=TIMES):
    """Readings ``[cells, times]`` as the device itself drifts and reads."""
    low, high = device.window
    population = device.fabricate((cells,), seed=seed, dtype=torch.float64)
    source = torch.Generator().manual_seed(seed)
    population.program(low + (high - low) * torch.rand(cells, generator=source).double())
    found = []
    for time in times:
        population.age(float(time) - population.seconds)
        found.append(population.read().numpy())
    return np.stack(found, axis=1)


def agrees(estimate, value, within=4.0):
    return abs(estimate.value - value) < within * estimate.error


def test_the_device_that_drifted_is_found():
    found = fit.retention(TIMES, records(300), g_max=25e-6, g_min=2e-6)
    wanted = {"nu_0": 0.06, "nu_1": -0.03, "nu_std_0": 0.012}
    wanted |= {"read_sigma_0": 0.2e-6, "read_sigma_1": 0.4e-6}
    assert set(found.estimates) == set(wanted)
    for name, value in wanted.items():
        assert agrees(found.estimates[name], value), name
        assert found.estimates[name].error < 0.2 * abs(value)
    assert found.t0 == 1.0
    assert found.device.t_read is None
    assert max(map(abs, found.calibration.deviations)) < 4
    assert found.residuals.shape == found.g.shape == (300 * 25,)
    assert found.used.mean() > 0.999
    assert not found.cells.suspicious.any()


def test_the_noise_of_the_estimates_is_not_taken_for_a_spread_of_the_cells():
    alike = TRUTH.replace(nu=0.03, nu_std=0.0, read_sigma=1e-6)
    found = fit.retention(TIMES, records(200, alike), g_max=25e-6)
    assert found.cells.nu.std() > 0.004  # what regression alone would call the spread
    assert found.device.nu_std == (0.0,)
    assert agrees(found.estimates["nu_0"], 0.03)
    assert "do not differ" in found.verdict
    spread = alike.replace(nu_std=0.01)
    found = fit.retention(TIMES, records(200, spread, seed=1), g_max=25e-6)
    assert agrees(found.estimates["nu_std_0"], 0.01)


def test_noise_does_not_make_exponents_follow_the_conductance():
    # At t0, a regression that is too steep by chance is too high, too.
    noisy = TRUTH.replace(g_min=18e-6, nu=0.03, nu_std=0.0, read_sigma=4e-6)
    slopes = []
    for seed in range(5):
        found = fit.retention(TIMES, records(200, noisy, seed), g_max=25e-6, degree=1)
        naive = np.polyfit(found.cells.g0 / 25e-6, found.cells.nu, 1)[0]
        estimate = found.estimates["nu_1"]
        slopes.append((estimate.value / estimate.error, naive / estimate.error))
    slopes = np.array(slopes)
    assert slopes[:, 1].min() > 4.0
    assert abs(slopes[:, 0].mean()) < 1.5


def test_errors_are_those_of_other_cells():
    scores = []
    for seed in range(16):
        g = records(60, seed=seed)
        found = fit.retention(TIMES, g, degree=1, noise_degree=1, g_max=25e-6)
        names = ("nu_0", "nu_1", "nu_std_0")
        values = (0.06, -0.03, 0.012)
        scores.append(
            [
                (found.estimates[n].value - v) / found.estimates[n].error
                for n, v in zip(names, values, strict=True)
            ]
        )
    scores = np.array(scores)
    assert np.abs(scores.mean(0)).max() < 4 / 16**0.5 + 0.2
    assert np.abs(scores.std(0) - 1).max() < 4 / 32**0.5


def few_cells(cells, seed, nu_std=0.012):
    """Readings of cells at one level, and their exponents."""
    rng = np.random.default_rng(seed)
    nu = 0.06 + nu_std * rng.standard_normal(cells)
    g = 15e-6 * np.maximum(TIMES, 1.0) ** -nu[:, None]
    return g + 2e-7 * rng.standard_normal(g.shape), nu


@pytest.mark.parametrize("cells", [3, 5, 9])
def test_the_spread_of_few_cells_is_that_of_greatest_likelihood(cells):
    for seed in range(12):
        g, _ = few_cells(cells, seed)
        found = fit.retention(TIMES, g, g_max=25e-6)
        nu, known = found.cells.nu, found.cells.nu_error**2

        def misfit(p, nu=nu, known=known):
            variance = p[1] ** 2 + known
            return 0.5 * (np.log(variance) + (nu - p[0]) ** 2 / variance).sum()

        other = optimize.minimize(misfit, [nu.mean(), nu.std()], method="Nelder-Mead").x
        assert found.estimates["nu_0"].value == pytest.approx(other[0], rel=1e-3)
        if abs(other[1]) > 0.004:
            wanted = abs(other[1]) * (cells / (cells - 1)) ** 0.5
            assert found.estimates["nu_std_0"].value == pytest.approx(wanted, rel=0.01)


@pytest.mark.parametrize("cells", [5, 10, 12, 15, 20])
def test_few_cells_that_differ_are_no_strangers_and_errors_are_theirs(cells):
    scores, means = [], []
    for seed in range(40):
        g, _ = few_cells(cells, seed)
        found = fit.retention(TIMES, g, g_max=25e-6, degree=0, noise_degree=0)
        assert not found.cells.suspicious.any()
        scores.append((found.estimates["nu_0"].value - 0.06) / found.estimates["nu_0"].error)
        means.append((found.nu - 0.06) / found.nu_error)
    assert np.std(scores) < 1.5
    assert np.std(means) < 1.5


def test_a_stranger_among_few_cells_is_seen():
    g, _ = few_cells(14, 0)
    g[3] *= np.maximum(TIMES, 1.0) ** 0.3
    found = fit.retention(TIMES, g, g_max=25e-6)
    assert found.cells.suspicious.nonzero()[0].tolist() == [3]
    assert found.estimates["nu_std_0"].value < 0.02


def test_mean_exponent_is_that_of_the_cells_not_of_the_well_known_ones():
    scores = []
    for seed in range(12):
        g = records(100, seed=seed)  # high cells drift less, and are better known
        found = fit.retention(TIMES, g, g_max=25e-6, degree=1, noise_degree=1)
        assert abs(found.nu - found.cells.nu.mean()) < 0.5 * found.nu_error
        scores.append((found.nu - (0.06 - 0.03 * 13.5 / 25.0)) / found.nu_error)
    assert np.abs(scores).max() < 4.0
    assert 0.4 < np.std(scores) < 1.6


def test_the_mean_of_cells_alike_leans_on_those_that_are_well_known():
    g0, rng = np.geomspace(1e-6, 1e-4, 40), np.random.default_rng(0)
    error = 1e-9 / g0
    nu = 0.03 + error * rng.standard_normal(40)
    found = drift_cells.mean_of_all(nu, error, g0)
    assert abs(found[0] - 0.03) < 4.0 * found[1] < 4.0 * error.mean() / 40**0.5
    assert drift_cells.mean_of_all(nu[:1], error[:1], g0[:1]) == (nu[0], error[0])
    assert drift_cells.mean_of_all(np.ones(3), np.zeros(3), g0[:3]) == (1.0, 0.0)


def test_noise_that_grows_is_told_from_white_noise():
    growing = TRUTH.replace(t_read=250e-9, read_sigma=(0.05e-6, 0.1e-6))
    found = fit.retention(TIMES, records(400, growing), g_max=25e-6)
    assert found.device.t_read is not None
    # Only q matters, and that only from t0 to the last time; t_read itself is hardly seen.
    for time in (1.0, 1e5):
        sigmas = [
            float(np.polyval(d.read_sigma[::-1], 0.5))
            * np.log((time + d.t_read) / 2 / d.t_read) ** 0.5
            for d in (found.device, growing)
        ]
        assert sigmas[0] == pytest.approx(sigmas[1], rel=0.06)
    assert "grows as 1/f" in found.verdict
    middle = 1e5**0.5
    known = np.polyval(growing.read_sigma[::-1], 0.5)
    known *= np.log((middle + 250e-9) / 2 / 250e-9) ** 0.5 * 1e6
    said = float(re.search(r"1/f noise, ([\d.]+) µS at", found.verdict)[1])
    assert said == pytest.approx(known, rel=0.15)
    assert "its errors hold with t_read" in found.verdict


def test_each_cell_is_regressed_exactly_and_apart():
    rng = np.random.default_rng(0)
    g0, nu = rng.uniform(1e-6, 2e-5, 30), rng.normal(0.05, 0.03, 30)
    time = np.geomspace(2.0, 1e4, 7)
    g = g0[:, None] * (time / 2.0) ** -nu[:, None]
    found = fit.retention(time, g)
    assert found.cells.g0 == pytest.approx(g0, rel=1e-9)
    assert found.cells.nu == pytest.approx(nu, rel=1e-7)
    assert found.t0 == 2.0
    assert found.device.read_sigma == (0.0,)
    assert "no read noise" in found.verdict
    shuffled = rng.permutation(g.size)
    cell, t = np.repeat(np.arange(30), 7), np.tile(time, 30)
    mixed = fit.retention(t[shuffled], g.ravel()[shuffled], cell=cell[shuffled])
    assert mixed.cells.nu == pytest.approx(nu, rel=1e-7)


def test_readings_may_be_noisier_than_their_mean():
    # High resistances, of which some read below 0 S: their logarithm would be no mean.
    dark = TRUTH.replace(g_min=0.5e-6, g_max=0.6e-6, nu=0.05, nu_std=0.0, read_sigma=0.35e-6)
    g = records(500, dark)
    assert (g <= 0.0).mean() > 0.05
    found = fit.retention(TIMES, g)
    assert agrees(found.estimates["nu_0"], 0.05)
    assert found.device.read_sigma[0] == pytest.approx(0.35e-6, rel=0.03)


def test_time_zero_says_what_was_programmed():
    rng = np.random.default_rng(0)
    g = 2e-5 * np.maximum(TIMES, 1.0) ** -0.04 + 1e-8 * rng.standard_normal(len(TIMES))
    found = fit.retention(TIMES, g)
    assert found.t0 == 1.0
    assert agrees(found.estimates["nu_0"], 0.04)
    late = fit.retention(np.r_[0.0, 100.0 * TIMES[1:]], g)
    assert late.t0 == 100.0
    given = fit.retention(TIMES[1:], g[1:], t0=0.5)
    assert given.t0 == 0.5
    assert given.g0 == pytest.approx(2e-5 * 2**0.04, rel=1e-3)


def test_no_drift_is_said_and_not_extrapolated():
    rng = np.random.default_rng(3)
    g = 5e-5 + 2e-7 * rng.standard_normal((40, 25))
    found = fit.retention(TIMES, g)
    assert "no drift is visible" in found.verdict
    assert found.device.nu == (0.0,)
    assert not found.device.acts_on("age")
    assert agrees(found.estimates["nu_0"], 0.0)
    assert found.estimates["nu_0"].error < 1e-3
    assert "at one level" in found.verdict
    assert found.device.window[0] == 0.0


def test_a_running_clock_must_be_said_to_be_one():
    rng = np.random.default_rng(0)
    time = np.arange(400.0)
    cell = np.repeat(["a", "b", "c", "d"], 100)
    level = np.repeat([1e-5, 1.5e-5, 2e-5, 2.5e-5], 100)
    own = np.tile(np.arange(100.0), 4)
    g = level * np.maximum(own, 1.0) ** -0.05 + 1e-8 * rng.standard_normal(400)
    with pytest.raises(ValueError, match="clock='running'"):
        fit.retention(time, g, cell=cell)
    found = fit.retention(time, g, cell=cell, clock="running")
    assert agrees(found.estimates["nu_0"], 0.05)
    assert list(found.labels) == ["a", "b", "c", "d"]
    assert found.time.max() == 99.0
    other = fit.retention(time, g, cell=cell, clock="programming")
    assert other.cells.nu[1:].min() > 0.1


def test_cells_that_drift_unlike_the_others_and_glitches_are_left_out():
    g = records(100)
    g[7] *= np.maximum(TIMES, 1.0) ** 0.25
    g[20, 11] += 1e-5
    found = fit.retention(TIMES, g, g_max=25e-6)
    assert found.cells.suspicious.nonzero()[0].tolist() == [7]
    assert (~found.used).nonzero()[0].tolist() == [20 * 25 + 11]
    assert agrees(found.estimates["nu_0"], 0.06)
    assert "1 cells drift unlike the others" in found.verdict
    assert "1 readings are far" in found.verdict


def test_steep_drift_is_held_at_what_a_device_may_have():
    time = np.geomspace(1.0, 1e4, 15)
    rng = np.random.default_rng(0)
    g0 = np.linspace(5e-6, 25e-6, 80)
    nu = 0.02 + 0.12 * g0 / 25e-6
    g = g0[:, None] * time ** -nu[:, None] * (1 + 0.002 * rng.standard_normal((80, 15)))
    found = fit.retention(time, g)
    assert isinstance(found.device, GenericStatistical)  # which refuses what is steeper
    assert "held at that bound" in found.verdict
    assert len(found.device.nu) > 1


def test_noise_that_lasts_widens_the_errors():
    rng = np.random.default_rng(0)
    time = np.linspace(1.0, 500.0, 300)
    errors, scores = [], []
    for _ in range(30):
        noise, last = np.empty(300), 0.0
        for k in range(300):
            last = 0.8 * last + 0.6 * rng.standard_normal()
            noise[k] = last
        found = fit.retention(time, 2e-5 * time**-0.02 + 2e-7 * noise)
        assert "successive residuals are correlated" in found.verdict
        scores.append((found.nu - 0.02) / found.nu_error)
        errors.append(found.nu_error)
    assert np.std(scores) < 1.6
    assert np.abs(np.mean(scores)) < 4 * 1.6 / 30**0.5


def test_leverage_is_that_of_the_hat_matrix():
    rng = np.random.default_rng(0)
    elapsed = rng.uniform(0.0, 9.0, 12)
    weight = rng.uniform(0.5, 2.0, 12)
    g = 1e-5 * np.exp(-0.05 * elapsed)
    data = drift_cells.Records(elapsed, g, np.zeros(12, int), weight)
    found = drift_cells.regress(data)
    jacobian = np.column_stack([g, -g * elapsed]) * np.sqrt(weight)[:, None]
    hat = jacobian @ np.linalg.inv(jacobian.T @ jacobian) @ jacobian.T
    assert found.leverage(data) == pytest.approx(np.diag(hat), rel=1e-6)


# ── both in one device ───────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def parts():
    rng = np.random.default_rng(0)
    target = rng.uniform(2e-6, 30e-6, 500)
    written = fit.programming(target, target + 0.3e-6 * rng.standard_normal(500))
    return written, fit.retention(TIMES, records(150), g_min=2e-6, g_max=25e-6)


def test_one_device_of_both_is_at_every_conductance_what_each_is(parts):
    written, drifting = parts
    device = fit.statistical(programming=written, retention=drifting)
    assert device.window == written.device.window
    assert device.write_sigma == written.device.write_sigma
    assert device.t0 == drifting.t0
    g = torch.linspace(2e-6, 25e-6, 9, dtype=torch.float64)
    for one, two in zip(device.drift_moments(g), drifting.device.drift_moments(g), strict=True):
        assert torch.allclose(one, two, rtol=1e-12, atol=0.0)
    context = device.fabricate((9,), dtype=torch.float64).context()
    assert torch.allclose(
        device.read_std(g, context), drifting.device.read_std(g, context), atol=0.0
    )
    assert fit.statistical(retention=drifting, g_min=1e-6).g_min == 1e-6
    assert fit.statistical(programming=written.device) == written.device
    with pytest.raises(ValueError, match="needs a fit"):
        fit.statistical()
    with pytest.raises(TypeError, match="programming"):
        fit.statistical(programming=drifting)


@pytest.mark.parametrize("g_max", [40e-6, 22e-6])
def test_another_window_leaves_the_polynomials_what_was_fitted(parts, g_max):
    written, drifting = parts
    both = {"programming": written, "retention": drifting}
    g = torch.linspace(2e-6, 20e-6, 9, dtype=torch.float64)
    for given in (
        both,
        {"programming": written.device.replace(write_sigma=(1e-7, 4e-7))},
        {"retention": drifting},
    ):
        usual, other = fit.statistical(**given), fit.statistical(**given, g_max=g_max)
        assert other.g_max == g_max
        for one, two in zip(usual.drift_moments(g), other.drift_moments(g), strict=True):
            assert torch.allclose(one, two, rtol=1e-12, atol=0.0)
        context = usual.fabricate((9,), dtype=torch.float64).context()
        for name in ("write_std", "read_std", "program"):
            one, two = (getattr(device, name)(g, context) for device in (usual, other))
            assert torch.allclose(torch.as_tensor(one), torch.as_tensor(two), rtol=1e-12, atol=0.0)
    given = fit.statistical(**both, g_max=g_max, read_sigma=(1e-9, 2e-9))
    assert given.read_sigma == (1e-9, 2e-9)  # as it was said, of the device's own window
    with pytest.raises(ValueError, match="g_max"):
        fit.statistical(**both, g_max=1e-7)


def test_records_that_reach_zero_are_read_as_they_are(tmp_path):
    time = np.geomspace(1.0, 1e4, 12)
    g = 1e-7 * time**-0.05
    g[4], g[7] = 0.0, -5e-10
    rows = "\n".join(f"{t:.17g},{v:.17g}" for t, v in zip(time, g, strict=True))
    (tmp_path / "r.csv").write_text(f"time (s),G (S)\n{rows}\n")
    found = fit.read(tmp_path / "r.csv")
    assert found.kind == "retention"
    np.testing.assert_array_equal(found.arrays["g"], g)
    assert found.said[2] == "noted: 1 reading a little below 0 kept: noise (line 9)"


def test_a_window_far_beyond_what_was_measured_is_refused_with_the_way_out(parts):
    written, drifting = parts
    wide = written.device.replace(g_max=90e-6, write_sigma=1e-7, write_bias=0.0)
    falling = drifting.device.replace(nu=0.0, nu_std=(0.02, -0.01))
    with pytest.raises(ValueError, match=r"fit.retention\(…, g_max=9e-05\)"):
        fit.statistical(programming=wide, retention=falling)


def test_the_pictures_show_records_laws_and_exponents(parts):
    left, right = plot.retention_fit(parts[1], cells=5)
    assert left.get_xscale() == "log"
    assert len([line for line in left.lines if len(line.get_xdata()) == 100]) == 5
    assert "mean ν" in right.get_legend_handles_labels()[1]
    top, _ = pulsed.fit_report(parts[1])
    assert "mean ν of 150 cells" in top.get_legend().get_texts()[0].get_text()
    plt.close("all")


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: fit.retention([0, 0, 0, 0, 0], np.ones(5)), "no time passes"),
        (lambda: fit.retention([0, 1, 2, 3, np.inf], np.ones(5)), "time must be finite"),
        (lambda: fit.retention([-1, 1, 2, 3, 4], np.ones(5)), "time must be >= 0"),
        (lambda: fit.retention([1, 2, 3, 4, 5], -np.ones(5)), "mean of a cell's readings"),
        (lambda: fit.retention([0, 1, 1, 1, 1], np.ones(5)), "time must pass for every cell"),
        (lambda: fit.retention([1, 2, 3, 4, 5], np.ones(5), t0=0.0), "t0 must be > 0"),
        (lambda: fit.retention([1, 2, 3, 4, 5], np.ones(5), t0=9.0), "time must pass"),
        (lambda: fit.retention([1, 2, 3, 4, 5], np.ones(5), clock="wall"), "clock must be one of"),
        (lambda: fit.retention([1, 2, 3, 4, 5], np.ones(5), cell=[1, 2, 1, 2, 1]), "at least 3"),
        (lambda: fit.retention([1, 2, 3], np.ones((2, 4))), "time must be 4"),
        (lambda: fit.retention([1, 2, 3], np.ones((2, 3)), cell=[1, 2]), "cell must not be given"),
        (
            lambda: fit.retention([1, 2, 3, 4, 5], np.ones(5), degree=1),
            "degree must be >= 0 and <= 0",
        ),
        (lambda: fit.retention([1, 2, 3, 4, 5], np.ones(5), g_max=0.5), "g_max must be >= the"),
        (lambda: fit.retention([1, 2, 3, 4, 5], np.ones(5), g_min=2.0), "g_min must be < g_max"),
        (lambda: fit.retention([1, 2, 3, 4, 5], np.ones(5), seed=-1), "seed must be >= 0"),
    ],
)
def test_bad_data_is_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()


@needs_measurements
def test_measured_states_of_reram_do_not_drift():
    files = [np.loadtxt(MEASURED / "b" / f"retention_grouped_state{k}.txt") for k in range(4)]
    time = np.concatenate([data[:, 0] for data in files])
    g = np.concatenate([data[:, 1] for data in files]) * 1e-6
    cell = np.repeat(np.arange(4), [len(data) for data in files])
    with pytest.raises(ValueError, match="clock='running'"):
        fit.retention(time, g, cell=cell)
    found = fit.retention(time, g, cell=cell, clock="running")
    assert found.time.max() == 119.0
    assert abs(found.nu) < 0.001
    assert found.noise < 0.005
    assert found.device.window == pytest.approx((121e-6, 237e-6), rel=0.01)
    assert 0.2e-6 < np.polyval(found.device.read_sigma[::-1], 0.7) < 0.7e-6


def test_polynomials_that_go_on_beyond_what_was_measured_are_told():
    drifting = GenericStatistical(g_min=0.0, g_max=25e-6, nu=(0.06, -0.03))
    wide = GenericStatistical(g_min=0.0, g_max=60e-6, write_sigma=1e-7)
    with pytest.warns(UserWarning, match="nu of retention go up to 2.5e-05 S"):
        fit.statistical(programming=wide, retention=drifting)
