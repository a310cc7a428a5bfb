"""Pulse responses of one cell: unbiased parameters with errors that hold, and the right law."""

import numpy as np
import pytest
import torch

from mho import fit
from mho.devices import presets
from mho.devices.exponential import ExponentialDevice
from mho.devices.steps import PiecewiseStep, PowStep, SoftBoundsDevice
from mho.devices.tabular import JumpTable, TabularDevice
from mho.fit.pulse import data, laws, table
from mho.fit.pulse.cell import CellData, fit_cell
from mho.fit.pulse.fitted import fit_parametric

ALOX = presets.get("alox_hfo2")
NAMES = ("g_min", "g_max", "nonlinearity_set", "nonlinearity_reset", "c2c")


def responded(device, pulses=40, cycles=10, seed=0, read_noise=0.0, shape=()):
    cells = device.fabricate(shape, seed=seed, dtype=torch.float64)
    response = cells.respond(pulses, cycles=cycles)
    response = (response.transpose(1, 2) if shape else response).numpy()
    rng = np.random.default_rng(seed + 10_000)
    return response + read_noise * rng.standard_normal(response.shape)


def scores(device, law, seeds, names, **how):
    # Errors of the estimates in standard errors, [seeds, names]; every seed is one of many cells.
    up, down = data.halves(responded(device, shape=(len(seeds),), seed=seeds[0], **how))
    rows = []
    for pair in zip(up, down, strict=True):
        found = fit_parametric(laws.LAWS[law], (CellData.of(*pair),)).estimates()
        truth = [getattr(device, name, how.get(name)) for name in names]
        errors = [found[n].value - t for n, t in zip(names, truth, strict=True)]
        rows.append([e / found[n].error for n, e in zip(names, errors, strict=True)])
    return np.array(rows)


def calibrated(z, mean=4.5, square=4):
    # Mean within so many standard errors of 0, mean square of 1 (known bounds have z near 0).
    n = len(z)
    assert np.abs(z.mean(axis=0)).max() < mean / n**0.5
    assert (z**2).mean(axis=0).max() < 1 + square * (2 / n) ** 0.5


@pytest.mark.parametrize("c2c", [0.001, 0.01, 0.05])
def test_the_exponential_fit_is_unbiased_and_knows_its_errors(c2c):
    z = scores(ALOX.replace(c2c=c2c), "exponential", range(100, 120), NAMES)
    calibrated(z)
    assert (z[:, 2:] ** 2).mean(axis=0).min() > 0.3  # errors are not too large either
    assert (np.abs(z[:, 2:]) < 2).mean() > 0.85


def test_bounds_where_pulses_pile_up_are_found_exactly():
    found = fit.exponential(responded(ALOX))
    for name in ("g_min", "g_max"):
        assert found.estimates[name].value == pytest.approx(getattr(ALOX, name), rel=1e-12)
        assert found.estimates[name].error < 1e-12 * ALOX.g_max


@pytest.mark.parametrize(
    ("c2c", "cells", "cycles"),
    [(0.05, 1, 10), pytest.param(0.05, 8, 10, marks=pytest.mark.slow)],
)
def test_noise_of_readings_is_told_from_that_of_pulses(c2c, cells, cycles):
    # At 5 % of the window many readings are near a bound, which their noise hides.
    names, noise = (*NAMES, "read_noise"), 4.6e-7
    how = {"read_noise": noise, "cycles": cycles}
    z = scores(ALOX.replace(c2c=c2c), "exponential", range(cells), names, **how)
    assert np.abs(z).max() < 4
    assert (z**2).mean() < 1 + 4 * (2 / z.size) ** 0.5


def test_step_laws_are_fitted_back():
    soft = SoftBoundsDevice(step=2e-6, asymmetry=0.1, c2c=0.3)
    names = ("g_min", "g_max", "step", "asymmetry", "c2c")
    calibrated(scores(soft, "soft_bounds", range(1000, 1020), names, pulses=60, cycles=5))
    power = PowStep(step=2e-6, asymmetry=-0.1, c2c=0.2, exponent_set=1.5, exponent_reset=0.7)
    names = ("step", "asymmetry", "exponent_set", "exponent_reset", "c2c")
    calibrated(scores(power, "power", range(12), names, pulses=80, cycles=5))


def test_more_pulses_than_levels_are_noticed():
    halves = data.halves(responded(ALOX, pulses=100))
    found = fit_cell(laws.EXPONENTIAL, CellData.of(halves[0][0], halves[1][0]), noise=0.0)
    names = (*laws.EXPONENTIAL.natural,)
    error = np.sqrt(np.diag(found.covariance))
    for name, truth in (("nonlinearity_set", 1.94), ("levels", 40), ("levels_reset", 40)):
        at = names.index(name)
        assert 0 < error[at] < 0.2 * abs(truth) + 1
        assert abs(found.numbers[at] - truth) < 3 * error[at]


def test_curves_that_do_not_come_to_an_end_keep_their_steps():
    # 40 of 100 pulses: the window is a convention then, the step at a conductance is not.
    device = ALOX.replace(levels=100, levels_reset=100, c2c=0.002)
    cell = device.fabricate((), seed=3, dtype=torch.float64)
    cell.write(torch.tensor(20e-6, dtype=torch.float64))
    response = cell.respond(40, cycles=4)
    found = fit.exponential(response)
    assert found.device.g_max >= float(response.max())
    assert "no pulse is seen stopped at g_max" in found.verdict
    inner = torch.linspace(22e-6, 38e-6, 9, dtype=torch.float64)
    for up in (True, False):
        way = torch.full((9,), up)
        steps = [d.change(inner, way, d.constants()) for d in (found.device, device)]
        doubt = 4 * 0.002 * (device.g_max - device.g_min) / 160**0.5
        assert (steps[0] - steps[1]).abs().max() < 3 * doubt
    wide = found.device.g_max - found.device.g_min
    assert found.device.c2c * wide == pytest.approx(0.002 * (device.g_max - device.g_min), rel=0.1)


@pytest.mark.parametrize("law", list(laws.LAWS))
def test_a_law_steps_as_its_device_does(law):
    chosen = laws.LAWS[law]
    theta = np.array([0.0, 1.0, *chosen.starts[0], np.log(0.1), -np.inf])
    theta[2:-2] += 0.01 * np.arange(len(theta) - 4)
    numbers = dict(zip(chosen.natural, chosen.numbers(theta, 0.0, 1.0), strict=True))
    fields = {
        "exponential": lambda: {k: round(v) if "levels" in k else v for k, v in numbers.items()},
        "piecewise": lambda: {
            **{k: numbers[k] for k in ("g_min", "g_max", "step", "c2c")},
            **{
                f"factors_{way}": tuple(numbers[f"factors_{way}[{k}]"] for k in range(laws.NODES))
                for way in ("set", "reset")
            },
        },
    }.get(law, lambda: numbers)()
    device = chosen.device(**fields)
    if law == "exponential":
        theta[4:6] = np.log([device.levels, device.levels_reset])
    g = torch.linspace(0.02, 0.98, 25, dtype=torch.float64)
    for up in (True, False):
        way = torch.full((25,), up)
        mean, sigma = chosen.model(torch.from_numpy(theta[None]))(g, way)
        change = device.change(g, way, device.constants())
        noise = torch.zeros_like(g) + device.noise(g, change, device.constants())
        # Devices take plain numbers by direction in single precision.
        torch.testing.assert_close(mean[0], change, rtol=1e-6, atol=1e-12)
        torch.testing.assert_close(sigma[0], noise.abs(), rtol=1e-6, atol=1e-12)


def bumpy(noise=0.6e-6):
    # Jumps of no law: a step that is largest in the middle of the window, with even noise.
    g = np.linspace(1e-6, 50e-6, 30)
    dg = np.linspace(-8e-6, 8e-6, 801)
    mean = 2.5e-6 * np.exp(-(((g - 25e-6) / 8e-6) ** 2)) + 0.3e-6
    normal = torch.distributions.Normal(0.0, 1.0)
    up, down = (
        normal.cdf(torch.from_numpy((dg - sign * mean[:, None]) / noise)).numpy()
        for sign in (1, -1)
    )
    return TabularDevice(JumpTable(g, dg, up), JumpTable(g, dg, down))


@pytest.mark.parametrize(
    ("device", "law"),
    [
        (ALOX, "exponential"),
        (SoftBoundsDevice(step=2e-6, c2c=0.3), "soft_bounds"),
        (bumpy(), "jump_table"),
    ],
    ids=["exponential", "soft bounds", "table"],
)
def test_the_law_is_chosen_by_pulses_left_out(device, law):
    found = fit.pulses(responded(device, pulses=40, cycles=5, seed=1))
    assert found.law == law
    rows = {row.law: row for row in found.choice}
    assert set(rows) == {"soft_bounds", "exponential", "power", "piecewise", "jump_table"}
    assert rows[law].behind <= max(rows[law].behind_error, 1e-3)
    assert type(found.device) is (TabularDevice if law == "jump_table" else type(device))
    assert max(map(abs, found.calibration.deviations)) < 4


def test_the_verdict_names_what_is_missed_and_what_fits():
    found = fit.exponential(responded(bumpy(0.2e-6), pulses=50, cycles=6))
    assert "misses the" in found.verdict
    assert "A jump table fits better" in found.verdict
    assert "% of the window" in found.verdict
    good = fit.exponential(responded(ALOX, cycles=6))
    assert "which the noise explains" in good.verdict
    assert "does not predict pulses left out any better" in good.verdict


def test_curves_and_residuals_allow_for_the_bounds():
    response = responded(ALOX, cycles=60, seed=5)
    found = fit.exponential(response)
    for half, curve, sigma, residual in zip(
        response, found.curves, found.deviations, found.residuals, strict=True
    ):
        np.testing.assert_allclose(half.mean(axis=0) - curve, residual, atol=1e-18)
        # Other cells of the fitted device, pulsed by their own code, have these curves.
        assert np.abs(residual / np.maximum(sigma, 1e-8)).max() < 5 * (1 / 60 + 1 / 4000) ** 0.5


def test_a_piecewise_law_is_fitted_back():
    device = PiecewiseStep(
        step=1e-6,
        c2c=0.2,
        factors_set=(1.6, 1.4, 1.2, 0.9, 0.6, 0.3),
        factors_reset=(0.4, 0.7, 1.0, 1.2, 1.2, 1.1),
    )
    halves = data.halves(responded(device, pulses=150, cycles=10, seed=2))
    found = fit_cell(laws.PIECEWISE, CellData.of(halves[0][0], halves[1][0]), noise=0.0)
    numbers = dict(zip(laws.PIECEWISE.natural, found.numbers, strict=False))
    for way, factors in (("set", device.factors_set), ("reset", device.factors_reset)):
        steps = [numbers["step"] * numbers[f"factors_{way}[{k}]"] for k in range(6)]
        np.testing.assert_allclose(steps, 1e-6 * np.array(factors), rtol=0.15, atol=0.05e-6)


def test_without_scikit_learn_no_table_is_tried(monkeypatch):
    monkeypatch.setattr(table, "available", lambda: False)
    found = fit.exponential(responded(ALOX, cycles=4))
    assert [row.law for row in found.choice] == ["exponential"]
    assert "No jump table was tried: it needs scikit-learn" in found.verdict
    with pytest.raises(ImportError, match="scikit-learn"):
        fit.pulses(responded(ALOX, cycles=4), law="jump_table")


@pytest.mark.parametrize(
    ("response", "error", "match"),
    [
        (None, TypeError, "response must be a pair"),
        (("a", "b"), TypeError, "set half of response must be an array of numbers"),
        ((np.arange(9.0),) * 3, ValueError, "2 halves, got 3"),
        ((np.arange(5.0), np.arange(5.0)), ValueError, "too few pulses.*has 4"),
        ((np.arange(9.0), np.arange(9.0)), ValueError, "reset half of response must fall"),
        ((np.arange(9.0), np.full(9, np.inf)), ValueError, "finite, but 9 of 9"),
        ((np.arange(9.0) - 20, np.arange(9.0)), ValueError, "must hold conductances"),
        ((np.ones((2, 1, 9)), np.ones((3, 1, 9))), ValueError, "as many cells, got 2"),
        ((np.ones((1, 2, 1, 9)), np.ones(9)), ValueError, r"got shape \[1, 2, 1, 9\]"),
    ],
)
def test_bad_responses_are_refused(response, error, match):
    with pytest.raises(error, match=match):
        fit.pulses(response)


def test_bad_arguments_and_swapped_axes_are_refused():
    with pytest.raises(ValueError, match="law must be one of"):
        fit.pulses(responded(ALOX), law="magic")
    with pytest.raises(ValueError, match="seed must be >= 0"):
        fit.pulses(responded(ALOX), seed=-1)
    cells = ALOX.replace(d2d=0.3).fabricate((3,), dtype=torch.float64)
    with pytest.raises(ValueError, match="transpose the first two axes"):
        fit.pulses(cells.respond(40, cycles=4))


def test_a_noise_free_ramp_is_a_straight_line():
    up = np.linspace(1e-6, 2e-6, 20)
    found = fit.exponential((up, up[::-1]))
    assert isinstance(found.device, ExponentialDevice)
    assert (found.device.levels, found.device.levels_reset) == (19, 19)
    assert found.device.window == pytest.approx((1e-6, 2e-6), rel=1e-6)
    assert abs(found.device.nonlinearity_set) < 1e-6
