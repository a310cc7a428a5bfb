"""MemTorch's devices on mho: constructors, waveforms, windows, users' own subclasses."""

import copy
import inspect
import pickle
import time

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import mho.compat.memtorch as memtorch
from mho.compat.memtorch.bh.memristor import (
    VTEAM,
    Data_Driven,
    Data_Driven2021,
    LinearIonDrift,
    Memristor,
    Stanford_PKU,
    window,
)

MODELS = [LinearIonDrift, VTEAM, Stanford_PKU, Data_Driven, Data_Driven2021]

DEFAULTS = {
    LinearIonDrift: {
        "time_series_resolution": 1e-4,
        "u_v": 1e-14,
        "d": 10e-9,
        "r_on": 100,
        "r_off": 16e3,
        "pos_write_threshold": 0.55,
        "neg_write_threshold": -0.55,
        "p": 1,
    },
    VTEAM: {
        "time_series_resolution": 1e-10,
        "r_off": 1000,
        "r_on": 50,
        "d": 3e-9,
        "k_on": -10,
        "k_off": 5e-4,
        "alpha_on": 3,
        "alpha_off": 1,
        "v_on": -0.2,
        "v_off": 0.02,
        "x_on": 0,
        "x_off": 3e-9,
    },
}


@pytest.mark.parametrize("model", DEFAULTS)
def test_constructors_have_the_documented_defaults(model):
    parameters = inspect.signature(model).parameters
    found = {n: p.default for n, p in parameters.items() if n != "kwargs"}
    assert found == DEFAULTS[model]
    assert {n: getattr(model(), n) for n in found} == found


@pytest.mark.parametrize("model", MODELS)
def test_a_device_is_a_memristor_that_copies_and_pickles(model):
    device = model(r_on=600.0, r_off=2e4) if model is Stanford_PKU else model()
    assert isinstance(device, Memristor)
    device.set_conductance(0.5 / device.r_on + 0.5 / device.r_off)
    for other in (copy.deepcopy(device), pickle.loads(pickle.dumps(device))):
        assert type(other) is model
        assert other.g == device.g
        assert repr(other) == repr(device)
        other.set_conductance(1 / other.r_off)
        assert other.g != device.g


@pytest.mark.parametrize("model", MODELS)
def test_conductances_are_put_within_the_window(model):
    device = model()
    device.set_conductance(1.0)
    assert device.g == pytest.approx(1 / device.r_on)
    device.set_conductance(0.0)
    assert device.g == pytest.approx(1 / device.r_off)
    assert device.get_resistance() == pytest.approx(device.r_off)
    with pytest.raises(ValueError, match="conductance"):
        device.set_conductance(float("nan"))


def test_a_direct_write_of_the_drift_model_is_not_inverted():
    device = LinearIonDrift()
    device.set_conductance(1 / device.r_on)
    assert device.x == pytest.approx(1.0)
    device.set_conductance(1 / 8050.0)
    assert device.x == pytest.approx(0.5)
    device.simulate(np.full(20, 1.0))
    assert device.g > 1 / 8050.0


def test_a_drift_device_leaves_its_bounds_again():
    device = LinearIonDrift()
    assert device.g == 1 / device.r_on
    device.simulate(np.full(2000, -5.0))
    assert device.g < 0.1 / device.r_on


def test_drift_follows_strukov_with_joglekars_window():
    device = LinearIonDrift()
    device.set_conductance(1 / 5e3)
    x0, dt = device.x, device.time_series_resolution
    time = dt * np.arange(4001)
    volts = 1.5 * np.sin(2 * np.pi * 5 * time)
    current = device.simulate(volts, return_current=True)

    def resistance(x):
        return 100 * x + 16e3 * (1 - x)

    def rate(t, x):
        v = 1.5 * np.sin(2 * np.pi * 5 * t)
        moved = 1e-14 * 100 / 10e-9**2 * v / resistance(x) * (1 - (2 * x - 1) ** 2)
        return moved * (abs(v) >= 0.55)

    solution = solve_ivp(rate, (0, time[-1]), [x0], rtol=1e-8, t_eval=time, max_step=1e-3)
    np.testing.assert_allclose(current, volts / resistance(solution.y[0]), rtol=2e-3, atol=1e-8)
    below = device.g
    device.simulate(np.full(100, 0.5))
    assert device.g == pytest.approx(below, rel=1e-12)


def test_vteam_moves_at_the_published_speeds():
    device = VTEAM()
    device.set_conductance(1 / 525.0)
    w0, samples = device.x, 400
    device.simulate(np.full(samples, 0.1))
    moved = 5e-4 * (0.1 / 0.02 - 1) * samples * 1e-10
    assert device.x - w0 == pytest.approx(moved, rel=1e-6)
    device.simulate(np.full(samples, -0.21))
    back = -10 * (0.21 / 0.2 - 1) ** 3 * samples * 1e-10
    assert device.x - w0 == pytest.approx(moved + back, rel=1e-6)
    held = device.g
    device.simulate(np.full(samples, -0.1))
    assert device.g == pytest.approx(held, rel=1e-12)
    assert device.current(0.1) == pytest.approx(0.1 * device.g)
    assert device.dxdt(0.1) == pytest.approx(5e-4 * 4)


@pytest.mark.parametrize("eta", [1, -1])
def test_data_driven_2018_follows_its_equation(eta):
    device = Data_Driven(eta=eta)
    device.set_conductance(1 / 6e3)
    volts, dt, samples = 1.2 * eta, 1e-8, 3000
    current = device.simulate(np.full(samples, volts), return_current=True)

    def rate(t, r):
        return 743.47 * np.expm1(6.51 * 1.2) * np.expm1(5.11e-4 * (16719 - r))

    at = dt * np.arange(samples)
    r = solve_ivp(rate, (0, at[-1]), [6e3], rtol=1e-9, t_eval=at).y[0]
    np.testing.assert_allclose(current, 0.24 / r * np.sinh(3 * volts), rtol=1e-4)


def test_data_driven_2021_follows_its_equation():
    device = Data_Driven2021(a_n=0.5, b_n=1.5)
    device.set_conductance(1 / 2900.0)
    samples, dt = 3000, 1e-10
    current = device.simulate(np.full(samples, 1.0), return_current=True)
    s, bound = 600.10075 * np.expm1(1 / -0.0212028), 2699.2336 - 672.930205
    at = dt * np.arange(samples)
    r = solve_ivp(lambda t, r: s * (bound - r) ** 2, (0, at[-1]), [2900.0], rtol=1e-9, t_eval=at)
    np.testing.assert_allclose(current, 0.32046175 / r.y[0] * np.sinh(2.71689828), rtol=1e-4)
    assert device.current(-0.4) == pytest.approx(0.5 * device.g * np.sinh(1.5 * -0.4))


def test_stanford_pku_reads_at_its_read_voltage():
    device = Stanford_PKU()
    assert device.gap == pytest.approx(max(2e-10, device.gap_min))
    device.set_conductance(1e-4)
    assert device.current(0.1) == pytest.approx(0.1 * 1e-4)
    expected = 1e-3 * np.exp(-device.gap / 0.25e-9) * np.sinh(0.3 / 0.25)
    assert device.current(0.3) == pytest.approx(expected)
    before = device.gap
    device.simulate(np.full(5, 1.5))
    assert device.gap < before
    device.simulate(np.full(5, -1.5))
    assert device.gap > device.gap_min
    with pytest.raises(AssertionError, match="gap"):
        Stanford_PKU(r_on=1.0)


def test_stanford_pku_has_noise_only_in_its_dynamic_model():
    def final(switch, seed):
        torch.manual_seed(seed)
        device = Stanford_PKU(model_switch=switch, time_series_resolution=1e-11)
        device.set_conductance(1e-4)
        device.simulate(np.full(30, -0.8))
        return device.g

    assert final(0, 1) == final(0, 2)
    assert final(1, 1) == final(1, 1)
    assert final(1, 1) != final(1, 2)


def test_noise_of_a_signal_is_that_of_its_samples_and_grows_with_the_root_of_time():
    def gap(cuts, seed, step=1e-11):
        torch.manual_seed(seed)
        device = Stanford_PKU(model_switch=1, time_series_resolution=step)
        device.set_conductance(1e-4)
        for part in np.split(np.zeros(40), cuts):
            device.simulate(part)
        return device.gap

    assert gap([], 1) == pytest.approx(gap(range(1, 40), 1), rel=1e-12)
    # At the default resolution the noise is far wider than the range, and still soon drawn.
    start = time.process_time()
    assert gap([], 1, 1e-4) > 0
    assert time.process_time() - start < 0.5
    moved = [gap([], seed) for seed in range(200)]
    onset = 1 + np.exp((450 - 298) / 500)
    expected = 0.02 / onset * 1e-11 * 40**0.5
    assert np.std(moved) == pytest.approx(expected, rel=0.2, abs=0.0)


@pytest.mark.parametrize("model", [LinearIonDrift, VTEAM, Data_Driven, Data_Driven2021])
def test_hysteresis_is_pinched_and_moves_the_device(model):
    volts, current = model().plot_hysteresis_loop(return_result=True)
    assert 100 < len(volts) == len(current) < 3000
    strong = np.abs(volts) > 0.05 * volts.max()
    assert (np.sign(current[strong]) == np.sign(volts[strong])).all()
    g = current[strong] / np.sinh(volts[strong])
    assert g.max() > 1.1 * g.min()
    volts, current = model().plot_bipolar_switching_behaviour(return_result=True)
    assert volts.max() == pytest.approx(-volts.min(), rel=0.01)
    assert len(volts) == len(current)


def test_plots_are_drawn(monkeypatch):
    plt = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.setattr(plt, "show", lambda: None)
    assert VTEAM().plot_hysteresis_loop() is None
    assert VTEAM().plot_bipolar_switching_behaviour() is None
    assert plt.gca().get_yscale() == "log"
    plt.close("all")


@pytest.mark.parametrize("model", MODELS)
def test_signals_may_have_any_shape_and_numpy_keeps_its_settings(model):
    before = np.geterr()
    device = model()
    assert len(device.simulate(np.zeros((100, 1)), return_current=True)) == 100
    assert device.simulate(torch.zeros(3)) is None
    assert len(device.simulate(0.0, return_current=True)) == 1
    assert np.geterr() == before
    with pytest.raises(ValueError, match="finite"):
        device.simulate([float("nan")])


def test_windows_vanish_where_they_should():
    x = np.linspace(0, 1, 21)
    for p in (1, 2, 5):
        np.testing.assert_allclose([window.Jogelkar(v, p) for v in x], 1 - (2 * x - 1) ** (2 * p))
        expected = 0.7 * (1 - ((x - 0.5) ** 2 + 0.75) ** p)
        np.testing.assert_allclose([window.Prodromakis(v, p, 0.7) for v in x], expected, atol=1e-15)
        np.testing.assert_allclose([window.Biolek(1.0, v, p) for v in x], 1 - x ** (2 * p))
        np.testing.assert_allclose([window.Biolek(-1.0, v, p) for v in x], 1 - (x - 1) ** (2 * p))
    for function in (window.Jogelkar, window.Prodromakis):
        assert function(0.0) == pytest.approx(0.0)
        assert function(1.0) == pytest.approx(0.0)


def test_stochastic_parameters_are_drawn_for_each_device_and_means_asked_for():
    spread = memtorch.bh.StochasticParameter(torch.distributions.Normal, loc=100.0, scale=5.0)
    torch.manual_seed(3)
    drawn = [VTEAM(r_on=spread).r_on for _ in range(200)]
    assert abs(np.mean(drawn) - 100) < 4 * 5 / np.sqrt(200)
    assert VTEAM(r_on=spread, reference=True).r_on == 100.0
    torch.manual_seed(3)
    assert VTEAM(r_on=spread).r_on == drawn[0]


@pytest.mark.parametrize("bad", [{"r_on": -1}, {"time_series_resolution": 0}])
def test_impossible_devices_are_refused(bad):
    for error in (ValueError, AssertionError):
        with pytest.raises(error, match=next(iter(bad))):
            VTEAM(**bad)


@pytest.mark.parametrize("bad", [{"eta": 2}, {"r_p": [1, 2, 3]}, {"r_n": 5}])
def test_impossible_data_driven_devices_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Data_Driven(**bad)
