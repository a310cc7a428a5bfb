"""Endurance and retention against the published laws, written out in numpy."""

import numpy as np
import pytest
import torch

import mho.compat.memtorch as memtorch
from mho.compat.memtorch.bh.nonideality import endurance_retention_models as models
from mho.compat.memtorch.bh.nonideality.Endurance import (
    apply_endurance_model,
    valid_endurance_models,
)
from mho.compat.memtorch.bh.nonideality.Retention import apply_retention_model

R_ON, R_OFF = 1e3, 1e5


def layer(shape=(40, 30), model=memtorch.bh.memristor.VTEAM, params=None, **kwargs):
    """A linear layer of uniform weights on crossbars."""
    digital = torch.nn.Linear(*shape)
    torch.nn.init.uniform_(digital.weight, -1, 1)
    given = {"r_on": R_ON, "r_off": R_OFF} if params is None else params
    return memtorch.mn.Linear(digital, model, given, verbose=False, **kwargs)


def stored(changed):
    return [crossbar.conductance_matrix.clone() for crossbar in changed.crossbars]


tilings = pytest.mark.parametrize("tile_shape", [None, (16, 8), (64, 64)])


@tilings
@pytest.mark.parametrize("nu", [0.0, 0.1, 0.4])
def test_drift_is_a_power_of_time(tile_shape, nu):
    changed = layer(tile_shape=tile_shape)
    before = stored(changed)
    apply_retention_model(changed, 1e4, initial_time=10.0, drift_coefficient=nu)
    for old, new in zip(before, stored(changed), strict=True):
        torch.testing.assert_close(new, old * 1000.0**-nu, rtol=1e-5, atol=0)


def test_drift_from_no_time_at_all_starts_at_a_picosecond():
    changed = layer()
    before = stored(changed)
    models.model_conductance_drift(changed, 1.0, initial_time=0, drift_coefficient=0.1)
    torch.testing.assert_close(stored(changed)[0], before[0] * 1e12**-0.1)
    for arguments in ({"x": 1.0, "initial_time": 2.0}, {"x": 1.0, "drift_coefficient": 1.5}):
        with pytest.raises(AssertionError):
            models.model_conductance_drift(changed, **arguments)


P_LRS, P_HRS = [2.0, 0.05, 1.5, 0.6], [5.0, 0.02, 1.0, -0.4]


def failed(old, x, mode, cell_size=10.0, temperature=350.0, p_lrs=P_LRS, p_hrs=P_HRS):
    """The published law, written out in numpy."""
    resistance = 1 / old.double().numpy()
    cold = 0.0 if temperature is None else min(298 / temperature, 1.0)
    result = resistance.copy()
    low = resistance < (R_ON + R_OFF) / 2
    for state, p, stable in ((low, p_lrs, 500.0), (~low, p_hrs, 3e4)):
        if p is None:
            continue
        exponent = p[1] * cell_size + p[2] * cold
        threshold = p[0] * np.exp(exponent)
        if x > threshold and mode is models.OperationMode.sudden:
            result[state] = stable
        elif x > threshold:
            slope = p[3] * exponent
            law = slope * (np.log10(x) - np.log10(threshold)) + np.log10(resistance)
            result[state] = 10 ** law[state]
    return 1 / result


@pytest.mark.parametrize("mode", list(models.OperationMode))
@pytest.mark.parametrize("x", [1.0, 10.0, 1e4])
@pytest.mark.parametrize("cell_size", [10.0, 25.0, None])
@pytest.mark.parametrize("temperature", [350.0, 250.0, None])
def test_metal_oxides_fail_by_the_published_law(mode, x, cell_size, temperature):
    changed = layer()
    before = stored(changed)
    apply_endurance_model(
        changed, x, operation_mode=mode, p_lrs=P_LRS, stable_resistance_lrs=500.0, p_hrs=P_HRS,
        stable_resistance_hrs=3e4, cell_size=cell_size, temperature=temperature,
    )  # fmt: skip
    for old, new in zip(before, stored(changed), strict=True):
        expected = failed(old, x, mode, cell_size or 10.0, temperature)
        np.testing.assert_allclose(new.double().numpy(), expected, rtol=1e-4)


def test_states_part_at_the_midpoint():
    # Resistances between (r_on + r_off) / 2 and r_on + r_off / 2 are high ones.
    changed = layer(params={"r_on": 1e3, "r_off": 3e3})
    middle = torch.full_like(changed.crossbars[0].conductance_matrix, 1 / 2.2e3)
    changed.crossbars[0].conductance_matrix = middle
    apply_endurance_model(
        changed, 1e9, operation_mode=models.OperationMode.sudden, p_lrs=[1, 0, 0, 0],
        stable_resistance_lrs=100.0, p_hrs=[1, 0, 0, 0], stable_resistance_hrs=9e3,
        cell_size=None, temperature=None,
    )  # fmt: skip
    torch.testing.assert_close(1 / stored(changed)[0], torch.full_like(middle, 9e3))


@tilings
def test_padding_stays_what_it_is(tile_shape):
    changed = layer(tile_shape=tile_shape)
    before = stored(changed)
    apply_endurance_model(
        changed, 1e9, operation_mode=models.OperationMode.sudden, p_lrs=[1, 0, 0, 0],
        stable_resistance_lrs=100.0, p_hrs=None, stable_resistance_hrs=9e3, cell_size=None,
        temperature=None,
    )  # fmt: skip
    for old, new, crossbar in zip(before, stored(changed), changed.crossbars, strict=True):
        assert torch.equal(old[~crossbar.used], new[~crossbar.used])
        high = crossbar.used & (1 / old > (R_ON + R_OFF) / 2)
        assert torch.equal(old[high], new[high])


def test_the_gradual_law_of_plain_tensors():
    resistance = torch.tensor([1e3, 2e4])
    found = models.model_endurance_retention_gradual(
        resistance, 100.0, 2.0, 0.05, 1.5, 0.6, threshold=5.0, temperature_constant=0.8
    )
    torch.testing.assert_close(found, resistance * 20 ** (0.6 * (0.05 * 10 + 1.5 * 0.8)))


@pytest.mark.parametrize("v_stop", [0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("v_stop_optimal", [0.4, 0.6])
@pytest.mark.parametrize("cell_size", [10, 20, None])
def test_scaling_with_the_stop_voltage(v_stop, v_stop_optimal, cell_size):
    size = cell_size or 10
    found = models.scale_p_0(3.0, 0.2, v_stop, 0.0, 1.0, v_stop_optimal, cell_size)

    def parabola(u):
        return 1 - (2 * u - 1) ** 2

    k = np.log10(3.0 * np.exp(0.2 * size)) / parabola(v_stop_optimal)
    assert found == pytest.approx(10 ** (k * parabola(v_stop)) / np.exp(0.2 * size), rel=1e-9)
    at_best = models.scale_p_0(3.0, 0.2, v_stop_optimal, 0.0, 1.0, v_stop_optimal, cell_size)
    assert at_best == pytest.approx(3.0)
    with pytest.raises(AssertionError, match="v_stop"):
        models.scale_p_0(3.0, 0.2, 1.5, 0.0, 1.0, 0.5)
    with pytest.raises(AssertionError, match="v_stop_optimal"):
        models.scale_p_0(3.0, 0.2, 0.5, 0.0, 1.0, 1.0)


def test_models_must_be_known_and_may_be_the_users():
    def own(layer, x, factor):
        for crossbar in layer.crossbars:
            crossbar.conductance_matrix = crossbar.conductance_matrix * factor**x
        return layer

    changed = layer()
    before = stored(changed)
    with pytest.raises(AssertionError, match="valid_endurance_models"):
        apply_endurance_model(changed, 2, own, factor=0.5)
    valid_endurance_models.append(own)
    try:
        apply_endurance_model(changed, 2, own, factor=0.5)
    finally:
        valid_endurance_models.remove(own)
    torch.testing.assert_close(stored(changed)[0], before[0] / 4)
