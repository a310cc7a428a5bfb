"""Few cells and the population they are of: mean, spread and correlation, with their errors."""

import numpy as np
import pytest
import torch

from mho import fit
from mho.cells.spread import Spread, spread_about
from mho.devices import Device, presets
from mho.devices.steps import SoftBoundsDevice
from mho.devices.tabular import TabularDevice
from mho.fit.pulse.population import population

ALOX = presets.get("alox_hfo2").replace(c2c=0.01)


def measured(device, cells, cycles=4, pulses=40, seed=0):
    population = device.fabricate((cells,), seed=seed, dtype=torch.float64)
    return population.respond(pulses, cycles=cycles).transpose(1, 2), population


def drawn(cells, mean, spread, errors, seed):
    # Estimates of cells with known errors.
    rng = np.random.default_rng(seed)
    return mean + spread * rng.standard_normal(cells) + errors * rng.standard_normal(cells)


@pytest.mark.parametrize("cells", [5, 10, 20])
def test_spread_is_what_errors_of_the_estimates_leave(cells):
    # Errors as large as the spread itself: the plain standard deviation would be 1.4 times too big.
    errors = 0.3 * np.linspace(0.5, 1.5, cells)
    means, spreads, z = [], [], []
    for seed in range(200):
        x = drawn(cells, 2.0, 0.3, errors, seed)
        found = population(("step",), x[:, None], (errors**2)[:, None, None])
        means.append((found.mean[0] - 2.0) / found.mean_error[0])
        spreads.append(found.spread[0] ** 2)
        z.append((found.spread[0] - 0.3) / found.spread_error[0])
    assert abs(np.mean(means)) < 4 / 200**0.5
    assert (np.abs(means) < 2).mean() > 0.89
    assert (np.abs(means) < 1).mean() == pytest.approx(0.68, abs=4 * (0.22 / 200) ** 0.5)
    assert np.mean(spreads) == pytest.approx(0.09, abs=3 * np.std(spreads) / 200**0.5 + 0.01)
    assert (np.abs(z) < 2).mean() > 0.85


def test_cells_that_do_not_differ_have_no_spread():
    alike = 0
    for seed in range(100):
        x = drawn(8, 1.0, 0.0, 0.1, seed)
        found = population(("step",), x[:, None], np.full((8, 1, 1), 0.01))
        alike += not found.differs[0]
    assert alike >= 93  # 98 expected
    exact = population(("g_min",), np.full((8, 1), 1e-6), np.full((8, 1, 1), 1e-40))
    assert (exact.spread[0], exact.differs) == (0.0, (False,))


def test_correlation_of_cells_is_told_from_that_of_estimates():
    rng = np.random.default_rng(3)
    joint = rng.multivariate_normal([1.0, 2.0], [[0.04, 0.036], [0.036, 0.09]], 40)
    own = np.array([[0.01, -0.009], [-0.009, 0.01]])  # the estimates err the other way
    x = joint + rng.multivariate_normal([0.0, 0.0], own, 40)
    found = population(("g_max", "step"), x, np.tile(own, (40, 1, 1)))
    assert found.correlation[0, 1] == pytest.approx(0.6, abs=0.25)
    first, second = (found.parameters()[name] for name in ("g_max", "step"))
    assert first.shared == second.shared
    assert first.loading * second.loading == pytest.approx(found.correlation[0, 1], abs=1e-3)


def test_a_population_is_fitted_back_from_few_cells():
    device = ALOX.replace(
        nonlinearity_set=spread_about(1.94, 0.4, low=-9.0, high=9.0),
        g_max=spread_about(59e-6, 4e-6, low=0.0),
    )
    truth = {
        "nonlinearity_set": 1.94,
        "nonlinearity_set_spread": 0.4,
        "g_max": 59e-6,
        "g_max_spread": 4e-6,
        "nonlinearity_reset": -0.61,
    }
    z = []
    for seed in range(20, 22):
        response, cells = measured(device, 8, cycles=3, seed=seed)
        found = fit.exponential(response)
        # Of the very cells measured the spread is known far better than of their population.
        for name, close in (("g_max", 0.05), ("nonlinearity_set", 0.35)):
            true = float(cells.parameter(name).std())
            assert found.estimates[f"{name}_spread"].value == pytest.approx(true, rel=close)
        estimates = found.estimates
        z.append([(estimates[n].value - t) / estimates[n].error for n, t in truth.items()])
        assert isinstance(found.device.nonlinearity_set, Spread)
        assert isinstance(found.device.g_max, Spread)
        assert not isinstance(found.device.c2c, Spread)
        assert len(found.cells) == 8
    assert np.abs(z).max() < 4
    assert (np.abs(z) < 2).mean() > 0.8
    assert "From cell to cell differ" in found.verdict


def test_estimates_of_each_cell_are_those_of_that_cell():
    device = ALOX.replace(nonlinearity_set=spread_about(1.94, 0.6, low=-9.0, high=9.0))
    response, cells = measured(device, 5)
    found = fit.exponential(response)
    label = cells.parameter("nonlinearity_set")
    for k, estimates in enumerate(found.cells):
        estimate = estimates["nonlinearity_set"]
        assert abs(estimate.value - float(label[k])) < 4 * estimate.error


def test_the_fitted_population_is_a_device(tmp_path):
    device = SoftBoundsDevice(step=spread_about(2e-6, 0.8e-6, low=0.0), c2c=0.3)
    found = fit.pulses(measured(device, 8, pulses=50)[0], law="soft_bounds")
    assert isinstance(found.device, SoftBoundsDevice)
    # A wide spread of what must be positive is log-normal.
    assert found.device.step.distribution == "LogNormal"
    assert found.device.step.nominal == pytest.approx(found.estimates["step"].value, rel=1e-6)
    cells = found.device.fabricate((2000,), seed=1, dtype=torch.float64)
    step = cells.parameter("step")
    assert bool((step > 0).all())
    assert float(step.std()) == pytest.approx(found.estimates["step_spread"].value, rel=0.15)
    found.device.save(tmp_path / "device.yaml")
    assert Device.load(tmp_path / "device.yaml") == found.device


def test_a_table_of_several_cells_has_a_gain():
    response, _ = measured(ALOX, 4, seed=2)
    found = fit.pulses(response, law="jump_table")
    assert isinstance(found.device, TabularDevice)
    assert found.estimates["gain"].value == pytest.approx(
        1.0, abs=5 * found.estimates["gain"].error
    )
    assert not isinstance(found.device.gain, Spread)
