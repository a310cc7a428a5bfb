"""What a user overrides of a device or of a crossbar is called wherever MemTorch called it."""

import warnings

import numpy as np
import pytest
import torch

import mho.compat.memtorch as memtorch
from compat.overriding import counting, public_methods
from mho.compat.memtorch.bh.crossbar.Crossbar import simulate_matmul
from mho.compat.memtorch.bh.crossbar.Program import naive_program
from mho.compat.memtorch.bh.memristor import _signals

B, Crossbar = memtorch.bh.memristor, memtorch.bh.crossbar.Crossbar
PLOTS = ("plot_hysteresis_loop", "plot_bipolar_switching_behaviour")


class Own(B.Memristor):
    """A user's own device, of the abstract class."""

    def __init__(self, r_off=1e4, r_on=1e2, time_series_resolution=1e-3, **kwargs):
        super().__init__(r_off, r_on, time_series_resolution)
        self.g = 1 / r_off

    def current(self, voltage):
        return voltage * self.g

    def simulate(self, voltage_signal, return_current=False):
        currents = [self.current(float(v)) for v in voltage_signal]
        self.g = min(self.g * 1.05 ** sum(np.sign(currents)), 1 / self.r_on)
        return np.array(currents)

    def set_conductance(self, conductance):
        self.g = min(max(conductance, 1 / self.r_off), 1 / self.r_on)


def tell_simulate(device):
    device.simulate([0.6, -0.6], return_current=True)


def tell_conductance(device):
    device.set_conductance(0.5 / device.r_on + 0.5 / device.r_off)


def tell_plot(device):
    B.plot_hysteresis_loop(device, 20 * device.time_series_resolution, 0.5, 1e3, False, True)
    frequency = 0.05 / device.time_series_resolution
    B.plot_bipolar_switching_behaviour(device, 0.5, frequency, return_result=True)


# What each action on a device calls of the device's own methods, beside itself.
EQUATIONS = {
    B.VTEAM: {"current", "dxdt"},
    B.LinearIonDrift: {"current", "dxdt"},
    B.Stanford_PKU: {"current", "dg_dt", "T_current"},
    B.Data_Driven: {"current", "resistance"},
    B.Data_Driven2021: {"current", "resistance", "dRdt", "r_pn", "s_pn"},
    Own: {"current"},
}
MODELS = list(EQUATIONS)


def test_the_tables_cover_every_public_method_of_devices_and_crossbars():
    told = {"simulate", "set_conductance", "get_resistance", *PLOTS}
    for model, equations in EQUATIONS.items():
        name = "Memristor" if model is Own else model.__name__
        methods = {m.split(".")[1] for m in public_methods("memtorch") if m.startswith(f"{name}.")}
        assert methods <= told | equations
    assert {m for m in public_methods("memtorch") if m.startswith("Crossbar.")} == {
        "Crossbar.update",
        "Crossbar.write_conductance_matrix",
    }


@pytest.mark.parametrize("model", MODELS)
def test_signals_call_the_equations(model):
    kind, calls = counting(model, *EQUATIONS[model])
    device = kind()
    tell_conductance(device)
    assert not calls
    tell_simulate(device)
    assert set(calls) == EQUATIONS[model]


@pytest.mark.parametrize("model", MODELS)
def test_crossbars_and_plots_call_what_devices_do(model):
    kind, calls = counting(model, "simulate", "set_conductance", "get_resistance", *PLOTS)
    crossbar = Crossbar(kind, {}, (2, 3))
    assert isinstance(crossbar.devices[0][0], kind)

    def called(act):
        calls.clear()
        act()
        return dict(calls)

    low, high = 1 / crossbar.r_off_mean, 1 / crossbar.r_on_mean
    target = torch.full((2, 3), (low * high) ** 0.5)
    assert called(lambda: crossbar.write_conductance_matrix(target)) == {"set_conductance": 6}
    assert called(lambda: crossbar.update(from_devices=False)) == {"set_conductance": 6}
    assert called(lambda: crossbar.update(from_devices=True)) == {}
    x = torch.full((1, 3), 0.1)
    assert called(lambda: simulate_matmul(x, crossbar, nl=False)) == {"simulate": 6}
    device = crossbar.devices[0][0]
    assert called(lambda: tell_plot(device)) == {"simulate": 2}
    assert called(device.get_resistance) == {"get_resistance": 1}
    options = {"pulse_duration": device.time_series_resolution, "failure_iteration_threshold": 5}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # some do not arrive so soon
        counted = called(lambda: naive_program(crossbar, (0, 0), 0.9 * high, **options))
    assert counted["simulate"] >= 4  # the device, and its neighbours
    if model is not Own:
        assert called(lambda: device.plot_hysteresis_loop(1e-9, return_result=True)) == {
            "plot_hysteresis_loop": 1,
            "simulate": 1,
        }


@pytest.mark.parametrize("model", [m for m in MODELS if m is not Own])
def test_overrides_that_change_nothing_change_nothing(model):
    """Equations taken one by one, by a user's methods, give what the model gives."""
    kind, calls = counting(model, *EQUATIONS[model])
    for voltage in (0.7, -0.7, 0.1):
        pair = kind(), model()
        traces = []
        for device in pair:
            tell_conductance(device)
            signal = np.full(30, voltage)
            traces.append(device.simulate(signal, return_current=True))
        np.testing.assert_allclose(*traces, rtol=2e-4)
        assert pair[0].g == pytest.approx(pair[1].g, rel=2e-4)
    assert set(calls) == EQUATIONS[model]


def test_users_equations_are_obeyed():
    class Frozen(B.VTEAM):
        def dxdt(self, voltage):
            return 0.0

    class Slow(B.VTEAM):
        def dxdt(self, voltage):
            return np.float64(0.5 * super().dxdt(voltage))

    class Triple(B.VTEAM):
        def current(self, voltage):
            return 3 * voltage * self.g

    class Fast(B.LinearIonDrift):
        def dxdt(self, current):
            return torch.tensor(1e3 * super().dxdt(current))

    class Cold(B.Stanford_PKU):
        def T_current(self, voltage, current):  # noqa: N802 - MemTorch's name
            return self.T_init

    class Jump(B.Data_Driven):
        def resistance(self, voltage):
            return 2e3 if voltage > 0 else 3e3

    class Doubled(B.Data_Driven2021):
        def dRdt(self, voltage):  # noqa: N802
            return 2 * super().dRdt(voltage)

    frozen = Frozen()
    frozen.simulate(np.ones(2000))
    assert frozen.g == 1 / 50
    slow, plain = Slow(), B.VTEAM()
    slow.simulate(np.full(200, 0.3))
    plain.simulate(np.full(100, 0.3))
    assert slow.x == pytest.approx(plain.x, rel=1e-9)
    triple = Triple()
    assert triple.simulate([1e-3], return_current=True) == [pytest.approx(3e-3 / 50)]
    fast, usual = Fast(time_series_resolution=1e-7), B.LinearIonDrift()
    for device in (fast, usual):
        device.set_conductance(1e-3)
        device.simulate(np.ones(50))
    assert fast.x == pytest.approx(usual.x, rel=1e-5)
    cold, hot = (kind(time_series_resolution=1e-9) for kind in (Cold, B.Stanford_PKU))
    for device in (cold, hot):
        device.set_conductance(1e-3)
        device.simulate(np.full(3, -1.2))
    assert cold.gap < hot.gap
    jump = Jump()
    jump.simulate([1.0, -1.0])
    assert jump.g == pytest.approx(1 / 3e3)
    doubled, twice = Doubled(), B.Data_Driven2021()
    for device, samples in ((doubled, 100), (twice, 200)):
        device.set_conductance(1 / 2900)
        device.simulate(np.full(samples, 1.0))
    assert doubled.g == pytest.approx(twice.g, rel=1e-4)


def test_equations_that_jump_or_rest_end_soon():
    class Settling(B.VTEAM):
        """Falls to the middle of its range a thousand times faster than the samples."""

        def dxdt(self, voltage):
            return 1e13 * (self.d / 2 - self.x)

    class Sliding(B.VTEAM):
        """As fast, with a speed that jumps at the middle."""

        def dxdt(self, voltage):
            return 1e4 * np.sign(self.d / 2 - self.x)

    for kind in (Settling, Sliding):
        device = kind()
        device.simulate(np.ones(3))
        assert device.x == pytest.approx(device.d / 2, rel=1e-2)


def test_one_devices_own_methods_and_attributes_count():
    crossbar = Crossbar(B.VTEAM, {}, (2, 3))
    device, other = crossbar.devices[0][0], crossbar.devices[0][1]
    for each in (device, other):
        each.set_conductance(5e-3)
    device.dxdt = lambda voltage: 0.0
    for each in (device, other):
        each.simulate(np.full(5, 0.5))
    assert device.g == pytest.approx(5e-3)
    assert other.g < 0.995 * 5e-3
    for name, value in {"x": 1e-9, "r_off": 2e3, "v_off": 0.5, "lamda": 7.0}.items():
        setattr(other, name, value)
        assert getattr(other, name) == pytest.approx(value)
    before = other.g
    other.simulate([0.4])
    assert other.g == before


def test_methods_put_on_a_class_from_outside_count(monkeypatch):
    before = Crossbar(B.VTEAM, {}, (2, 3)).devices[0][0]
    device = B.VTEAM()
    with monkeypatch.context() as patched:
        patched.setattr(B.VTEAM, "dxdt", lambda self, voltage: 0.0)
        patched.setattr(B.Data_Driven2021, "current", lambda self, voltage: 7.0)
        crossbar = Crossbar(B.VTEAM, {}, (2, 3))
        assert crossbar.per_device
        for each in (device, before, crossbar.devices[0][0]):
            g = each.g
            each.simulate([0.3] * 10)
            assert each.g == g
        assert B.Data_Driven2021().simulate([0.1], return_current=True) == [7.0]
        assert B.Data_Driven().simulate([0.1], return_current=True) != [7.0]

        class Heir(B.VTEAM):
            pass

        heir = Heir()
        heir.simulate([0.3])
        assert heir.g == device.g
    assert not Crossbar(B.VTEAM, {}, (2, 3)).per_device
    for each in (device, heir):
        g = each.g
        each.simulate([0.3])
        assert each.g < g


def test_a_subclass_that_overrides_nothing_is_held_as_tensors():
    class Mine(B.VTEAM):
        """VTEAM with a note."""

        note = "from the lab"

        def power(self, voltage):
            return voltage * self.current(voltage)

    class Other(Mine):
        def set_conductance(self, conductance):
            self.g = conductance

    crossbar = Crossbar(Mine, {"r_on": 70.0}, (2, 3))
    assert not crossbar.per_device
    device = crossbar.devices[0][0]
    assert type(device) is Mine
    assert (device.note, device.r_on) == ("from the lab", 70.0)
    assert device.power(0.1) == pytest.approx(0.01 * device.g)
    assert Crossbar(Other, {}, (2, 3)).per_device


def test_equations_that_raise_leave_the_device_as_it_was(monkeypatch):
    monkeypatch.setattr(_signals, "STEPS", 3)

    class Failing(B.VTEAM):
        def dxdt(self, voltage):
            if self.x > self.d / 2 + 1e-12:
                raise RuntimeError("out of the lab's range")
            return 1.0

    class Stiff(B.VTEAM):
        def dxdt(self, voltage):
            return 1e12 * (self.d - self.x)

    for kind, error in ((Failing, RuntimeError), (Stiff, ValueError)):
        device = kind()
        device.x = device.d / 2
        before = device.g
        with pytest.raises(error):
            device.simulate([0.5])
        assert device.g == before


def test_attributes_that_follow_from_parameters_are_assigned_to_them():
    device = B.VTEAM()
    device.pos_write_threshold, device.neg_write_threshold = 0.5, -0.5
    assert (device.v_off, device.v_on) == (0.5, -0.5)
    before = device.g
    device.simulate([0.4] * 5)
    assert device.g == before
    device.v_off = 0.3
    assert device.pos_write_threshold == 0.3
    filament = B.Stanford_PKU()
    filament.gap_max = 1.5e-9
    assert filament.gap_max == pytest.approx(1.5e-9)
    filament.set_conductance(0.0)
    assert filament.gap == pytest.approx(1.5e-9)
    drift = B.LinearIonDrift()
    drift.r_i = 200.0
    assert drift.r_on == 200.0


class Noisy(Own):
    """Writes are 10 % too high."""

    def set_conductance(self, conductance):
        self.g = 1.1 * conductance


def test_reads_see_what_devices_made_of_a_write():
    crossbar = Crossbar(Noisy, {}, (2, 3))
    crossbar.write_conductance_matrix(torch.full((2, 3), 1e-3))
    torch.testing.assert_close(
        crossbar.conductance_matrix, torch.full((3, 2), 1.1e-3), rtol=1e-6, atol=0.0
    )
    x = torch.ones(1, 3)
    torch.testing.assert_close(simulate_matmul(x, crossbar), torch.full((1, 2), 3.3e-3))


@pytest.mark.parametrize("model", [B.VTEAM, Own])
def test_crossbars_of_a_users_own_class(model):
    kind, calls = counting(Crossbar, "update", "write_conductance_matrix")

    def routine(crossbar, point, conductance):
        crossbar.devices[point].set_conductance(conductance)
        return crossbar.devices

    crossbar = kind(model, {}, (2, 3))
    calls.clear()
    target = torch.full((2, 3), 2e-3)
    crossbar.write_conductance_matrix(target)
    assert calls["update"] >= 1
    calls.clear()
    crossbar.write_conductance_matrix(1.5 * target, False, routine)
    assert calls["update"] >= 1
    torch.testing.assert_close(
        crossbar.conductance_matrix, torch.full((3, 2), 3e-3), rtol=1e-6, atol=0.0
    )

    class Refreshing(Crossbar):
        """As MemTorch's own methods were written."""

        def write_conductance_matrix(self, conductance_matrix, *args, **kwargs):
            self.conductance_matrix = conductance_matrix.T.clone()
            self.max_abs_conductance = torch.abs(self.conductance_matrix).flatten().max()
            self.update(from_devices=False)

    own = Refreshing(model, {}, (2, 3))
    own.write_conductance_matrix(target)
    assert own.max_abs_conductance == pytest.approx(2e-3)
    np.testing.assert_allclose(own.g_np(own.devices), np.full((3, 2), 2e-3), rtol=1e-6)
