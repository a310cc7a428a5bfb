"""Curves of one state or several: laws, tables, windows, and the device they make."""

import numpy as np
import pytest
import torch

from mho import Hardware, fit
from mho.devices import ConductionDevice, Device, Sinh, TabulatedLaw

V = np.linspace(-1.0, 1.0, 81)


def sinh(g, b=2.5, v=V):
    return g / b * np.sinh(b * v)


def rough(clean, size, seed=0):
    return clean * (1.0 + size * np.random.default_rng(seed).standard_normal(clean.shape))


def states(conductances, b=2.5, size=0.01):
    v = np.tile(V, len(conductances))
    name = np.repeat(np.arange(len(conductances)), len(V))
    steep = np.broadcast_to(b, len(conductances))
    clean = [sinh(g, s) for g, s in zip(conductances, steep, strict=True)]
    return v, rough(np.concatenate(clean), size), name


def test_one_curve_makes_a_device_that_gives_the_curve_back(tmp_path):
    found = fit.iv(V, rough(sinh(3e-5), 0.01))
    assert found.law == "sinh"
    assert isinstance(found.device.law, Sinh)
    assert found.device.window == (0.0, found.parameters["g"])
    cells = found.device.fabricate((), dtype=torch.float64)
    cells.write(torch.tensor(found.parameters["g"], dtype=torch.float64))
    current = cells.current(torch.from_numpy(V)).numpy()
    assert current == pytest.approx(sinh(3e-5), rel=0.01, abs=1e-9)
    found.device.save(tmp_path / "cell.yaml")
    assert Device.load(tmp_path / "cell.yaml") == found.device
    assert Hardware(device=found.device).device.law == found.device.law
    assert "One curve shows no window" in found.verdict


def test_the_window_is_as_told_or_refused():
    i = rough(sinh(3e-5), 0.01)
    found = fit.iv(V, i, law="sinh", g_min=1e-6, g_max=5e-5)
    assert found.device.window == (1e-6, 5e-5)
    assert "window" not in found.verdict
    with pytest.raises(ValueError, match="g_min < g_max"):
        fit.iv(V, i, g_min=4e-5)
    for given in ({"g_max": 1e-9}, {"g_min": 4e-5, "g_max": 1e-4}):
        with pytest.raises(ValueError, match="g_min and g_max must enclose"):
            fit.iv(V, i, **given)
    assert fit.iv(V, i, law="sinh", g_max=2.99e-5).device.g_max == 2.99e-5  # rounded
    with pytest.raises(ValueError, match="g_max must be >= 0"):
        fit.iv(V, i, g_max=-1.0)


def test_estimates_have_errors_that_hold():
    # In units of the stated errors, estimates scatter as a normal variable does.
    off = []
    for seed in range(60):
        noise = 2e-7 * np.random.default_rng(seed).standard_normal(len(V))
        found = fit.iv(V, sinh(3e-5) + noise, law="sinh")
        off.append(
            [
                (found.estimates["g"].value - 3e-5) / found.estimates["g"].error,
                (found.estimates["b"].value - 2.5) / found.estimates["b"].error,
            ]
        )
    assert np.abs(np.mean(off, axis=0)).max() < 4 / 60**0.5
    assert np.std(off, axis=0) == pytest.approx([1.0, 1.0], abs=4 / 120**0.5)
    correlation = found.estimates.correlation[0, 1]
    assert np.corrcoef(np.array(off).T)[0, 1] == pytest.approx(correlation, abs=0.2)


def test_several_states_share_a_law_and_span_the_window():
    v, i, name = states([1e-6, 8e-6, 5e-5])
    found = fit.iv(v, i, state=name)
    assert found.law == "sinh"
    for k, g in enumerate([1e-6, 8e-6, 5e-5]):
        estimate = found.estimates[f"g[{k}]"]
        assert abs(estimate.value - g) < 4 * estimate.error
    assert found.device.window == pytest.approx((1e-6, 5e-5), rel=0.01)
    assert found.separation < 0.005
    assert "separates into g · f(v)" in found.verdict
    assert max(map(abs, found.calibration.deviations)) < 8  # relative noise is not quite normal
    assert found.current(V, 8e-6) == pytest.approx(sinh(8e-6), rel=0.01, abs=1e-12)


def test_states_that_do_not_separate_are_told():
    v, i, name = states([1e-6, 8e-6, 5e-5], b=(4.0, 2.5, 0.5), size=0.002)
    found = fit.iv(v, i, state=name, law="sinh")
    assert found.separation > 0.05
    assert "does not quite separate" in found.verdict


@pytest.mark.parametrize("low", [-1.0, 0.0])
def test_a_table_follows_a_curve_that_no_law_does(low):
    v = np.linspace(low, 1.0, 81)
    clean = 1e-5 * (v + np.tanh(8 * v) * np.maximum(np.abs(v) - 0.3, 0.0) ** 2 * 20)
    noise = 2e-7 * np.random.default_rng(1).standard_normal(len(v))
    found = fit.iv(v, clean + noise, law="table")
    best = fit.iv(v, clean + noise)
    assert isinstance(found.device.law, TabulatedLaw)
    assert found.device.law.odd == (low == 0.0)
    assert np.sqrt(((found.current(v) - clean) ** 2).mean()) < 2e-7  # less than the noise
    assert found.relative_error < best.relative_error / 3
    assert "the law table follows any curve" in best.verdict
    f = found.device.law(torch.linspace(low, 1.0, 50, dtype=torch.float64))
    assert bool((f.diff() > 0).all())


def test_the_offset_of_the_instrument_is_not_the_cells():
    found = fit.iv(V, rough(sinh(3e-5), 0.002) + 4e-7, law="sinh", offset=True)
    assert found.parameters["i0"] == pytest.approx(4e-7, rel=0.05)
    cells = found.device.fabricate((), dtype=torch.float64)
    cells.write(torch.tensor(3e-5, dtype=torch.float64))
    assert float(cells.current(0.0)) == 0.0


def test_a_diode_faces_either_way():
    for b in (6.0, -6.0):
        clean = 1e-6 * np.expm1(b * V) / b
        noise = 1e-3 * np.abs(clean).max() * np.random.default_rng(2).standard_normal(len(V))
        found = fit.iv(V, clean + noise)
        assert found.law == "diode"
        assert found.parameters["b"] == pytest.approx(b, rel=0.02)


def test_a_noisy_sweep_there_and_back_is_no_loop():
    v = np.concatenate([V, V[::-1]])
    for seed in range(20):
        assert fit.iv(v, rough(sinh(3e-5, v=v), 0.2, seed), law="sinh").law == "sinh"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"law": "cubic"}, "law must be one of"),
        ({"state": [0, 1]}, "state and voltage must be as many"),
        ({"current": np.zeros(81)}, "must not be 0 everywhere"),
        ({"voltage": V[:3], "current": V[:3]}, "too few points"),
        ({"voltage": V[:5]}, "as many"),
        ({"current": -sinh(1e-5)}, "must flow with the voltage"),
    ],
)
def test_bad_curves_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        fit.iv(**{"voltage": V, "current": sinh(1e-5), **given})


def test_the_device_is_a_conduction_device():
    assert type(fit.iv(V, sinh(1e-5)).device) is ConductionDevice
