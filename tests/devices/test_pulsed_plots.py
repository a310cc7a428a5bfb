"""Pictures of pulse-count devices: what is drawn, where, in which unit."""

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from mho import fit
from mho.devices.exponential import ExponentialDevice
from mho.devices.tabular import JumpTable
from mho.plot import pulsed

DEVICE = ExponentialDevice(
    nonlinearity_set=2.4, nonlinearity_reset=-4.88, d2d=0.2, c2c=0.005, levels=20
)
TABLE = JumpTable(
    g=(0.0, 1e-5, 3e-5), dg=(-1e-6, 0.0, 1e-6), cdf=((0, 0.2, 1), (0, 0.5, 1), (0, 0.7, 1))
)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_pulse_response_draws_every_curve_and_the_median():
    response = DEVICE.fabricate((3,), dtype=torch.float64).respond(20, cycles=2)
    ax = pulsed.pulse_response(response)
    assert len(ax.lines) == 2 * (6 + 1)
    assert ax.get_ylabel() == "conductance (nS)"
    assert ax.lines[-1].get_xdata()[-1] == 40
    median = np.median(response[1].reshape(6, 21).numpy(), axis=0)
    assert ax.lines[-1].get_ydata() == pytest.approx(median * 1e9)


def test_delta_g_draws_the_mean_jump():
    ax = pulsed.delta_g(DEVICE.replace(c2c=0.0, d2d=0.0), cells=3, points=5)
    g = torch.linspace(3e-9, 38e-9, 5, dtype=torch.float64)
    spec = DEVICE.replace(c2c=0.0, d2d=0.0)
    mean = spec.change(g, torch.ones(5, dtype=torch.bool), spec.constants())
    unit = {"nS": 1e9, "pS": 1e12}[ax.get_ylabel().split("(")[1].rstrip(")")]
    drawn = np.asarray(ax.lines[0].get_ydata())
    assert drawn[:4] == pytest.approx(mean[:4].numpy() * unit)
    assert drawn[4] == pytest.approx(0, abs=1e-9)


def test_functions_draw_where_they_are_told():
    _, ax = plt.subplots()
    assert pulsed.delta_g(DEVICE, cells=5, points=5, ax=ax) is ax
    _, axes = plt.subplots(1, 2)
    assert pulsed.jump_table(TABLE, axes=tuple(axes)) == tuple(axes)


def test_jump_table_draws_heat_map_and_cdfs():
    heat, side = pulsed.jump_table(TABLE, at=(0.0, 3e-5))
    assert len(heat.collections) == 1
    assert heat.get_xlabel() == "conductance (µS)"
    assert [line.get_label() for line in side.lines] == ["0 µS", "30 µS"]
    probability, jump = side.lines[0].get_data()
    expected = np.interp(probability, [0, 0.2, 1], [-1e3, 0.0, 1e3])
    unit = {"nS": 1.0, "µS": 1e3}[heat.get_ylabel().split("(")[1].rstrip(")")]
    assert jump * unit == pytest.approx(expected, abs=1e-6)


def test_fit_reports():
    rng = np.random.default_rng(0)
    g = rng.uniform(0, 1e-5, 200)
    top, bottom = pulsed.fit_report(fit.jump_table(g, 1e-7 * rng.standard_normal(200)))
    assert "95%" in top.get_title("left")
    assert bottom.get_ylabel() == "residual (σ)"
    response = DEVICE.fabricate((), dtype=torch.float64).respond(20, cycles=5)
    top, bottom = pulsed.fit_report(fit.exponential(response))
    assert len(bottom.lines) == 3
    v = np.linspace(0, 1, 50)
    result = fit.iv(v, 1e-4 * v)
    top, bottom = pulsed.fit_report(result, data=(v, 1e-4 * v))
    assert top.get_ylabel() == "current (µA)"
    with pytest.raises(ValueError, match="IVFit needs its data"):
        pulsed.fit_report(result)
    t = np.geomspace(1, 1e4, 30)
    top, bottom = pulsed.fit_report(fit.retention(t, 1e-5 * t**-0.05), data=(t, 1e-5 * t**-0.05))
    assert any("ν = 0.05" in line.get_label() for line in top.lines)
    assert top.get_ylabel() == "conductance (µS)"
