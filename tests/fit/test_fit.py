"""From measured data to a device."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from mho import fit
from mho.devices.exponential import ExponentialDevice
from mho.devices.tabular import TabularDevice
from mho.fit.kriging import profiles

MEASURED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "lea" / "figure_3"

needs_measurements = pytest.mark.skipif(
    not MEASURED.is_dir(), reason=f"the ReRAM measurements are not here: {MEASURED}"
)


def mean_of(g):
    return 2e-6 * (1 - g / 1e-4) ** 2


def sigma_of(g):
    return 2e-7 + 8e-7 * g / 1e-4


def made(number, seed=0, noise="norm"):
    rng = np.random.default_rng(seed)
    g = rng.uniform(0, 1e-4, number)
    draw = rng.standard_normal(number) if noise == "norm" else rng.exponential(size=number) - 1
    return g, mean_of(g) + sigma_of(g) * draw


def test_profiles_are_found():
    result = fit.jump_table(*made(20_000), seed=1)
    g = np.array(result.table.g)
    # Within 4 standard errors of about 20 independent places along G.
    assert np.abs((result.mean - mean_of(g)) / sigma_of(g)).max() < 4 * (20 / 20_000) ** 0.5
    assert np.abs(result.sigma / sigma_of(g) - 1).max() < 4 * (20 / 40_000) ** 0.5
    assert abs(result.residuals.std() - 1) < 0.02
    assert stats.kstest(result.residuals, "norm").pvalue > 0.001


def test_noise_is_estimated_without_bias():
    # Groups of 8 pairs know their variance to 50 % each, and its logarithm is 0.13 too low.
    logarithms = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = rng.uniform(size=400)
        _, sigma = profiles(x, 2 * x + rng.standard_normal(400), np.linspace(0.1, 0.9, 9))
        logarithms.append(np.log(sigma).mean())
    assert abs(np.mean(logarithms)) < 4 * (1 / 800 / 20) ** 0.5


@pytest.mark.parametrize("number", [120, 1000])
def test_held_out_pairs_are_covered(number):
    results = [fit.jump_table(*made(number, seed), seed=seed) for seed in range(6)]
    count = sum(result.calibration.count for result in results)
    for k, level in enumerate(results[0].calibration.levels):
        inside = sum(r.calibration.coverage[k] * r.calibration.count for r in results) / count
        assert abs(inside - level) < 4 * (level * (1 - level) / count) ** 0.5


def test_overconfident_shape_is_exposed_and_the_empirical_shape_covers():
    g, dg = made(6000, noise="exponential")
    normal = fit.jump_table(g, dg).calibration
    empirical = fit.jump_table(g, dg, shape="empirical").calibration
    assert max(map(abs, normal.deviations)) > 6
    assert max(map(abs, empirical.deviations)) < 4


def test_the_table_gives_back_what_it_was_fitted_to():
    g, dg = made(5000)
    up = fit.jump_table(g, dg, shape="empirical").table
    device = TabularDevice(up, up, g_min=0.0, g_max=1.0)
    cells = device.fabricate((20_000,), dtype=torch.float64)
    cells.write(torch.tensor(5e-5, dtype=torch.float64))
    cells.pulse(1)
    drawn = (cells.g - 5e-5).numpy()
    assert drawn.mean() == pytest.approx(mean_of(5e-5), abs=5e-8)
    assert drawn.std() == pytest.approx(sigma_of(5e-5), rel=0.06)


def test_the_columns_resolve_narrow_rows():
    rng = np.random.default_rng(0)
    g = rng.uniform(0, 1, 3000)
    dg = 1 - g + 0.005 * rng.standard_normal(3000)
    table = fit.jump_table(g, dg).table
    low, high = table.quantiles([0.1587, 0.8413]).T
    assert (high - low) / 2 == pytest.approx(np.full(100, 0.005), rel=0.15)


def test_a_known_device_is_fitted_back():
    device = ExponentialDevice(nonlinearity_set=2.4, nonlinearity_reset=-4.88, levels=100)
    response = device.fabricate((), dtype=torch.float64).respond(100)
    result = fit.exponential(response)
    for name in ("g_min", "g_max", "nonlinearity_set", "nonlinearity_reset"):
        assert getattr(result.device, name) == pytest.approx(getattr(device, name), rel=1e-5)
    assert result.device.levels == 100
    assert result.device.c2c < 1e-6
    assert np.abs(np.concatenate(result.residuals)).max() < 1e-6 * device.g_max
    assert result.calibration is None


def test_a_noisy_device_is_fitted_back_and_covers_held_out_cycles():
    device = ExponentialDevice(nonlinearity_set=1.5, nonlinearity_reset=-2.5, levels=64, c2c=0.004)
    response = device.fabricate((), seed=3, dtype=torch.float64).respond(64, cycles=60)
    result = fit.exponential(response)
    assert result.device.nonlinearity_set == pytest.approx(1.5, abs=0.15)
    assert result.device.nonlinearity_reset == pytest.approx(-2.5, abs=0.15)
    assert result.device.c2c == pytest.approx(0.004, rel=0.05)
    assert max(map(abs, result.calibration.deviations)) < 4


def test_exponential_takes_halves_of_unlike_length():
    device = ExponentialDevice(nonlinearity_set=3.0, nonlinearity_reset=-1.0, levels=40)
    up, _ = device.fabricate((), dtype=torch.float64).respond(40)
    cells = device.replace(levels_reset=25).fabricate((), dtype=torch.float64)
    cells.pulse(40)
    down = [float(cells.g)]
    for _ in range(25):
        cells.pulse(-1)
        down.append(float(cells.g))
    result = fit.exponential((up, down))
    assert (result.device.levels, result.device.levels_reset) == (40, 25)
    assert result.device.nonlinearity_reset == pytest.approx(-1.0, rel=1e-4)


@pytest.mark.parametrize(
    ("law", "parameters"),
    [
        ("ohmic", {"g": 3e-4}),
        ("sinh", {"g": 2e-5, "b": 2.7}),
        ("poole_frenkel", {"g": 1e-5, "beta": 2.0}),
        ("space_charge", {"g": 1e-4, "c": 3.0}),
        ("diode", {"g": 1e-4, "b": -1.5}),
    ],
)
def test_laws_are_found_and_told_apart(law, parameters):
    v = np.linspace(-1.2, 1.2, 121)
    clean = {
        "ohmic": lambda g: g * v,
        "sinh": lambda g, b: g / b * np.sinh(b * v),
        "poole_frenkel": lambda g, beta: g * v * np.exp(beta * np.sqrt(np.abs(v))),
        "space_charge": lambda g, c: g * (v + c * v * np.abs(v)),
        "diode": lambda g, b: g / b * (np.exp(b * v) - 1),
    }[law](**parameters)
    noise = 0.003 * np.abs(clean).max()
    i = clean + noise * np.random.default_rng(5).standard_normal(121)
    result = fit.iv(v, i)
    assert result.law == law
    for name, value in parameters.items():
        assert result.parameters[name] == pytest.approx(value, rel=0.05)
    assert max(map(abs, result.calibration.deviations)) < 4
    assert result.current(v) == pytest.approx(clean, abs=4 * noise)


def test_offset_of_the_instrument():
    v = np.linspace(0, 1, 50)
    result = fit.iv(v, 1e-4 * v + 7e-6, law="ohmic", offset=True)
    assert result.parameters == pytest.approx({"g": 1e-4, "i0": 7e-6})


def test_retention_exponent_with_its_error():
    rng = np.random.default_rng(0)
    t = np.geomspace(1, 1e5, 60)
    errors = []
    for _ in range(50):
        g = 5e-5 * t**-0.031 * (1 + 0.01 * rng.standard_normal(60))
        result = fit.retention(t, g)
        errors.append((result.nu - 0.031) / result.nu_error)
        assert result.noise == pytest.approx(0.01, rel=0.5)
    assert abs(np.mean(errors)) < 4 / 50**0.5
    assert np.std(errors) == pytest.approx(1, abs=0.4)


@needs_measurements
def test_measured_low_resistance_state_is_nearly_ohmic():
    for cycle in range(1, 20):
        v, i = np.loadtxt(MEASURED / "c" / f"iv_positive_cycle{cycle}.txt").T
        rise = np.arange(len(v)) < v.argmax()
        kept = rise & (v < 0.5)
        result = fit.iv(v[kept], i[kept], offset=True)
        assert result.relative_error < 0.02
        assert 2e-4 < result.parameters["g"] < 6e-4


@needs_measurements
def test_measured_high_resistance_state_is_superlinear():
    for cycle in range(1, 20):
        v, i = np.loadtxt(MEASURED / "c" / f"iv_positive_cycle{cycle}.txt").T
        back = slice(v.argmax(), None)
        ohmic = fit.iv(v[back], i[back], law="ohmic")
        best = fit.iv(v[back], i[back])
        assert best.law in ("sinh", "poole_frenkel", "space_charge", "diode")
        assert best.relative_error < 0.12
        assert best.relative_error < ohmic.relative_error / 2


@needs_measurements
def test_measured_retention_is_flat():
    for state in range(4):
        time, g, _ = np.loadtxt(MEASURED / "b" / f"retention_grouped_state{state}.txt").T
        result = fit.retention(time - time[0] + 1, g * 1e-6)
        assert abs(result.nu) < 0.003
        assert result.noise < 0.006


def test_pairs_of_a_response():
    g, dg = fit.pairs([[1.0, 3.0, 4.0], [0.0, 1.0, 1.5]])
    assert g.tolist() == [1.0, 3.0, 0.0, 1.0]
    assert dg.tolist() == [2.0, 1.0, 1.0, 0.5]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: fit.jump_table(*made(30)), "too few pairs.*got 30"),
        (lambda: fit.jump_table(np.ones(100), np.ones(100)), "not all alike"),
        (lambda: fit.jump_table(np.arange(100.0), np.ones(99)), "as many, got 100 and 99"),
        (lambda: fit.jump_table(np.arange(100.0), np.full(100, np.nan)), "dg must be finite.*100"),
        (lambda: fit.jump_table(*made(100), shape="round"), "shape must be one of"),
        (lambda: fit.jump_table(*made(100), held_out=0.0), "held_out must be >= 0.05"),
        (lambda: fit.exponential(np.zeros((2, 5))), "too few pulses.*has 4"),
        (lambda: fit.exponential(np.zeros((3, 50))), "2 halves, got 3"),
        (lambda: fit.exponential(np.zeros((2, 50))), "must rise"),
        (lambda: fit.iv([0, 1, 2], [0, 1, 2]), "too few points"),
        (lambda: fit.iv(np.ones(50), np.ones(50)), "at 1 voltages"),
        (lambda: fit.iv(np.arange(50), np.zeros(50)), "must not be 0 everywhere"),
        (lambda: fit.iv(np.arange(50), np.ones(49)), "as many, got 50 and 49"),
        (lambda: fit.iv(np.arange(50), np.ones(50), law="magic"), "law must be one of"),
        (lambda: fit.retention([1, 2, 3], [1, 1, 1]), "too few readings.*got 3"),
        (lambda: fit.retention(np.arange(9) - 1.0, np.ones(9)), "time must be >= 0"),
        (lambda: fit.iv([], []), "voltage must not be empty"),
    ],
)
def test_too_little_or_bad_data_is_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.gaussian_process", None)
    with pytest.raises(ImportError, match=r'scikit-learn is missing: pip install "mho\[viz\]"'):
        fit.jump_table(*made(200))


def test_groups_lose_little_beside_a_process_of_all_pairs():
    # The same two processes, in which every pair stands for itself.
    process = pytest.importorskip("sklearn.gaussian_process")
    kernels = process.kernels
    g, dg = made(500, seed=4)
    x, scale = g[:, None] / 1e-4, dg.std()
    kernel = kernels.ConstantKernel(1.0) * kernels.RBF(0.3, (0.03, 30.0))
    at = np.linspace(2e-6, 98e-6, 49)
    noise = (sigma_of(g) / scale) ** 2  # known to the reference
    full = process.GaussianProcessRegressor(kernel, alpha=noise).fit(x, (dg - dg.mean()) / scale)
    mean, error = full.predict(at[:, None] / 1e-4, return_std=True)
    binned, sigma = profiles(g, dg, at)
    assert np.abs((binned - dg.mean()) / scale - mean).max() < 2 * error.max()
    assert np.abs((binned - dg.mean()) / scale - mean).mean() < error.mean()
    assert np.abs(np.log(sigma / sigma_of(at))).mean() < 0.15


def test_a_jump_table_says_how_good_it_is():
    good = fit.jump_table(*made(2000))
    assert good.device is None
    assert len(good.estimates) == 0
    assert "needs set and reset" in good.verdict
    skewed = fit.jump_table(*made(6000, noise="exponential"))
    assert "shape='empirical' may hold" in skewed.verdict
    g, dg = made(2000)
    stopped = fit.jump_table(g, np.minimum(g + 2 * dg, 0.98e-4) - g)
    assert "stopped by a bound" in stopped.verdict
