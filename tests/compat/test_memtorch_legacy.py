"""``legacy=True``: what MemTorch 1.1.6 computed, by hand, where results must be comparable."""

import copy
import math

import pytest
import torch
from torch import nn

from mho.compat import memtorch
from mho.compat.memtorch.bh.memristor.window import Jogelkar, Prodromakis
from mho.compat.memtorch.bh.nonideality.endurance_retention_models import (
    OperationMode,
    model_endurance_retention,
)
from mho.compat.memtorch.bh.nonideality.NonIdeality import NonIdeality, apply_nonidealities
from mho.compat.memtorch.mn.Module import patch_model

R_ON, R_OFF = 1e3, 1e4


def patched(layer, **options):
    return patch_model(
        nn.Sequential(copy.deepcopy(layer)),
        memristor_model=memtorch.bh.memristor.VTEAM,
        memristor_model_params={"r_on": R_ON, "r_off": R_OFF},
        module_parameters_to_patch=[type(layer)],
        verbose=False,
        **options,
    )


@pytest.mark.parametrize(
    ("x", "p", "old", "new"),
    [(0.0, 1, 4.0, 0.0), (0.25, 1, 2.25, 0.75), (0.5, 2, 1.0, 1.0), (1.0, 3, 0.0, 0.0)],
)
def test_jogelkar(x, p, old, new):
    assert Jogelkar(x, p, legacy=True) == pytest.approx(old)
    assert Jogelkar(x, p) == pytest.approx(new, abs=1e-12)
    assert type(Jogelkar(int(x), p, legacy=True)) is float


@pytest.mark.parametrize(
    ("x", "p", "j", "old", "new"),
    [(0.0, 1, 1.0, 1.5, 0.0), (0.5, 1, 2.0, 3.5, 0.5), (0.5, 2, 1.0, 3.0625, 0.4375)],
)
def test_prodromakis(x, p, j, old, new):
    assert Prodromakis(x, p, j, legacy=True) == pytest.approx(old)
    assert Prodromakis(x, p, j) == pytest.approx(new, abs=1e-12)


def endurance(resistances, legacy, mode=OperationMode.sudden, **settings):
    """Resistances of the devices of one layer after a failure."""
    layer = patched(nn.Linear(len(resistances), 1))[0]
    g = layer.crossbars[0].conductance_matrix
    g[:, 0] = 1 / torch.tensor(resistances)
    given = {"p_lrs": [1e3, 0.1, 0.0, 0.2], "p_hrs": None, "temperature": None, **settings}
    model_endurance_retention(
        layer,
        mode,
        stable_resistance_lrs=5e3,
        stable_resistance_hrs=R_OFF,
        cell_size=20,
        legacy=legacy,
        **given,
    )
    return (1 / layer.crossbars[0].conductance_matrix[:, 0]).tolist()


def test_the_midpoint_of_endurance():
    # (r_on + r_off) / 2 = 5500 ohm; r_on + r_off / 2 = 6000 ohm.
    resistances = [2e3, 5400.0, 5900.0, 6100.0]
    now = endurance(resistances, False, x=1e6, p_lrs=[1.0, 0.0, 0.0, 0.0])
    assert now == pytest.approx([5e3, 5e3, 5900.0, 6100.0])
    old = endurance(resistances, True, x=1e6, p_lrs=[1.0, 0.0, 0.0, 0.0])
    assert old == pytest.approx([5e3, 5e3, 5e3, 6100.0])


def test_the_threshold_of_endurance_without_a_temperature():
    # Of old 1e3 exp(0.1) = 1105 cycles; with the cell's size 1e3 exp(0.1 · 20) = 7389.
    for x, old, now in ((1.0e3, 2e3, 2e3), (1.2e3, 5e3, 2e3), (8e3, 5e3, 5e3)):
        assert endurance([2e3], True, x=x) == pytest.approx([old])
        assert endurance([2e3], False, x=x) == pytest.approx([now])
    # With a temperature the size counted: 1e3 exp(0.1 · 20 + 0.5 · 298/596).
    warm = {"temperature": 596, "p_lrs": [1e3, 0.1, 0.5, 0.0]}
    threshold = 1e3 * math.exp(2.25)
    for legacy in (True, False):
        assert endurance([2e3], legacy, x=0.99 * threshold, **warm) == pytest.approx([2e3])
        assert endurance([2e3], legacy, x=1.01 * threshold, **warm) == pytest.approx([5e3])


def test_the_slope_of_a_gradual_failure_stays():
    # R = R_0 (x / threshold)^(p_3 p_1 · size), from the threshold of old.
    x, threshold = 1e5, 1e3 * math.exp(0.1)
    (found,) = endurance([2e3], True, OperationMode.gradual, x=x)
    assert found == pytest.approx(2e3 * (x / threshold) ** (0.2 * 0.1 * 20), rel=1e-4)


def test_endurance_through_a_whole_model():
    model = patched(nn.Linear(4, 3))
    apply_nonidealities(
        model,
        non_idealities=[NonIdeality.Endurance],
        x=1e6,
        endurance_model=model_endurance_retention,
        endurance_model_kwargs={
            "operation_mode": OperationMode.sudden,
            "p_lrs": [1.0, 0.0, 0.0, 0.0],
            "stable_resistance_lrs": 5e3,
            "p_hrs": None,
            "stable_resistance_hrs": R_OFF,
            "cell_size": None,
            "temperature": None,
            "legacy": True,
        },
    )
    r = torch.cat([1 / c.conductance_matrix for c in model[0].crossbars])
    assert not bool(((r < 6000.0 - 1) & ((r - 5e3).abs() > 1)).any())


@pytest.mark.parametrize(
    "layer",
    [nn.Linear(6, 4, bias=False), nn.Conv2d(2, 3, 3, bias=False), nn.Conv1d(2, 3, 3, bias=False)],
)
def test_scales_that_are_not_undone(layer):
    torch.manual_seed(0)
    legacy = patched(layer, max_input_voltage=0.3, legacy=True)
    now = patched(layer, max_input_voltage=0.3)
    for model in (legacy, now):
        model.tune_()
    shape = {nn.Linear: (5, 6), nn.Conv2d: (5, 2, 6, 6), nn.Conv1d: (5, 2, 6)}[type(layer)]
    x = torch.rand(shape)
    with torch.no_grad():
        for largest in (0.2, 1.0, 4.0):
            given = x / x.max() * largest
            digital = layer(given)
            assert torch.allclose(now(given), digital, rtol=1e-3, atol=1e-5)
            # Tuned on inputs up to 1 (in fact 0.999…), driven with at most 0.3 V.
            volts_per_unit = min(0.3, largest) / largest
            wrong = digital * volts_per_unit / 0.3
            assert torch.allclose(legacy(given), wrong, rtol=3e-3, atol=1e-4)


def test_legacy_goes_into_every_kind_of_layer_and_is_copied():
    for layer in (nn.Linear(3, 2), nn.Conv3d(1, 2, 1), nn.RNN(3, 2)):
        model = copy.deepcopy(patched(layer, max_input_voltage=0.3, legacy=True))
        layers = [m for m in model.modules() if hasattr(m, "crossbars")]
        assert layers
        assert all(m.legacy for m in layers)
    assert not patched(nn.Linear(3, 2))[0].legacy
