"""Public methods and attributes of MemTorch's devices: their equations, numbers of any kind."""

import copy
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import mho.compat.memtorch as memtorch
from compat.overriding import api
from tolerance import near

B, Crossbar = memtorch.bh.memristor, memtorch.bh.crossbar.Crossbar
MODELS = [B.LinearIonDrift, B.VTEAM, B.Stanford_PKU, B.Data_Driven, B.Data_Driven2021]
Q_OVER_K = 1.602176634e-19 / 1.380649e-23


def drawn(model, rng):
    """A device with parameters some per cent off their defaults, in the middle of its window."""
    spread = {
        name: value * rng.uniform(0.95, 1.05)
        for name, value in model.defaults.items()
        if isinstance(value, float) or name in ("r_on", "r_off")
    }
    device = model(**spread)
    device.set_conductance(1 / (device.r_on + rng.uniform(0.2, 0.8) * (device.r_off - device.r_on)))
    return device


@pytest.mark.parametrize("model", MODELS)
def test_every_documented_member_is_there_alone_and_in_a_crossbar(model):
    facts = api("memtorch")[f"memtorch.bh.memristor.{model.__name__}"][model.__name__]
    base = api("memtorch")["memtorch.bh.memristor.Memristor"]["Memristor"]
    members = {*facts["attributes"], *facts["methods"], *base["attributes"], *base["methods"]}
    for device in (model(), Crossbar(model, {}, (2, 3)).devices[0][0]):
        assert [name for name in members if not hasattr(device, name)] == []
        assert device.finite_states is None
        assert isinstance(device.g, float)


def test_vteam():
    rng = np.random.default_rng(0)
    for _ in range(20):
        device, v = drawn(B.VTEAM, rng), rng.uniform(-1, 1)
        expected = 0.0
        if v > device.v_off:
            expected = device.k_off * (v / device.v_off - 1) ** device.alpha_off
        if v < device.v_on:
            expected = device.k_on * (v / device.v_on - 1) ** device.alpha_on
        assert device.dxdt(v) == pytest.approx(expected)
        assert device.current(v) == pytest.approx(v * device.g)
        resistance = device.r_on + (device.r_off - device.r_on) * device.x / device.d
        assert device.get_resistance() == pytest.approx(resistance)
        assert device.lamda == pytest.approx(np.log(device.r_off / device.r_on))
        assert (device.pos_write_threshold, device.neg_write_threshold) == (
            device.v_off,
            device.v_on,
        )


def test_linear_ion_drift():
    rng = np.random.default_rng(1)
    for _ in range(20):
        device, v = drawn(B.LinearIonDrift, rng), rng.uniform(-1, 1)
        current = device.current(v)
        assert current == pytest.approx(
            v / (device.r_off - device.x * (device.r_off - device.r_on))
        )
        window = B.window.Jogelkar(device.x, device.p)
        speed = device.u_v * device.r_on / device.d**2 * current * window
        assert device.dxdt(current) == pytest.approx(speed)
        assert device.r_i == device.r_on


def test_stanford_pku():
    rng = np.random.default_rng(2)
    for _ in range(20):
        device, v = drawn(B.Stanford_PKU, rng), rng.uniform(-1.5, 1.5)
        gap, current = device.gap, device.current(v)
        assert device.gap_min < gap < device.gap_max
        assert current == pytest.approx(
            device.I_0 * np.exp(-gap / device.g_0) * np.sinh(v / device.V_0)
        )
        hot = device.T_current(v, current)
        assert hot == pytest.approx(device.T_init + abs(v * current) * device.R_th)
        gamma = device.gamma_init - device.beta * (gap / 1e-9) ** 3
        if gamma * abs(v) / device.t_ox < device.F_min:
            gamma = 0.0
        field = gamma * device.a_0 * v * Q_OVER_K / (device.t_ox * hot)
        hops = device.vel_0 * np.exp(-device.E_a * Q_OVER_K / hot) * np.sinh(field)
        assert device.dg_dt(v, current) == pytest.approx(-hops)


def test_data_driven():
    rng = np.random.default_rng(3)
    for model in (B.Data_Driven, B.Data_Driven2021):
        for _ in range(10):
            device, v = drawn(model, rng), rng.uniform(-1.5, 1.5)
            a, b = (device.a_p, device.b_p) if v > 0 else (device.a_n, device.b_n)
            assert device.current(v) == pytest.approx(device.g * a * np.sinh(b * v))
            ahead = device.resistance(v)
            device.simulate([v])
            assert device.get_resistance() == pytest.approx(ahead)
            assert (device.pos_write_threshold, device.neg_write_threshold) == (0, 0)
    for v in (0.7, -0.7, 0.0):
        device = B.Data_Driven2021()
        device.set_conductance(1 / 2000)
        A, t, bound = (600.10075, -0.0212028, [2699.2336, -672.930205])
        if v <= 0:
            A, t, bound = (-34.5988399, -0.05343997, [649.413746, -1474.32358])
        s, r = A * np.expm1(abs(v) / t), bound[0] + bound[1] * v
        assert device.s_pn(v, A, t) == pytest.approx(s)
        assert device.r_pn(v, *bound) == pytest.approx(r)
        moving = (v > 0 and r < 2000) or (v < 0 and r > 2000)
        assert device.dRdt(v) == pytest.approx(s * (r - 2000) ** 2 if moving else 0.0)
        step = device.time_series_resolution
        assert device.resistance(v) == pytest.approx(2000 + step * device.dRdt(v), rel=1e-6)


def held_by_scipy(spec, p, x, volts, seconds):
    """The state after a voltage, by LSODA, held between the bounds."""
    drive = spec.drive(volts, p)

    def rate(t, state):
        x, inside = float(state[0]), float(np.clip(state[0], 0, 1))
        slope = seconds * float(spec.rate(inside, drive, p))
        return 0.0 if (x >= 1 and slope > 0) or (x <= 0 and slope < 0) else slope

    ahead = solve_ivp(rate, (0, 1), [x], "LSODA", rtol=1e-8, atol=1e-10)
    return float(np.clip(ahead.y[0, -1], 0, 1))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("scale", [1.0, 1e-3, 30.0])
def test_every_sample_is_held_and_the_equation_solved_within(model, scale):
    rng = np.random.default_rng(4)
    for _ in range(2):
        device = drawn(model, rng)
        device.time_series_resolution *= scale
        spec, p = device._cell.equations()
        volts = (0.8 * np.sin(0.4 * np.arange(16)) + 0.1).tolist()
        x, expected = float(spec.state_at(device.g, p)), []
        for v in volts:
            expected.append(spec.conductance_at(x, p) * spec.transfer_at(v, p))
            x = held_by_scipy(spec, p, x, v, device.time_series_resolution)
        currents = device.simulate(volts, return_current=True)
        np.testing.assert_allclose(currents, expected, rtol=1e-3, atol=1e-12)
        assert spec.state_at(device.g, p) == pytest.approx(x, abs=2e-4)


@pytest.mark.parametrize("model", [*MODELS, "own"])
@pytest.mark.parametrize("place", ["alone", "crossbar"])
def test_a_signal_does_the_same_however_it_is_cut(model, place):
    if model == "own":

        class model(B.VTEAM):  # noqa: N801
            def dxdt(self, voltage):
                return 0.7 * super().dxdt(voltage)

    signal = np.concatenate([np.full(6, 0.7), np.zeros(3), np.full(6, -0.6), [0.4, 0.3, 0.2]])
    ends, traces = [], []
    for cuts in ([], [6], [1, 2, 9], range(1, len(signal))):
        device = Crossbar(model, {}, (2, 2)).devices[0][1] if place == "crossbar" else model()
        device.set_conductance(0.4 / device.r_on + 0.6 / device.r_off)
        parts = [device.simulate(v, return_current=True) for v in np.split(signal, cuts)]
        traces.append(np.concatenate(parts))
        ends.append(device.g)
    np.testing.assert_allclose(ends, ends[0], rtol=1e-9)
    np.testing.assert_allclose(traces, [traces[0]] * 4, rtol=1e-9)


def test_pulses_are_rectangles():
    """A pulse of one sample moves VTEAM by its speed times the sample, whatever follows."""
    for pause in (0, 20):
        device = B.VTEAM(r_on=1e3, r_off=1e4)
        device.set_conductance(5e-4)
        before = device.x
        device.simulate([0.4] + [0.0] * pause)
        assert device.x - before == near(5e-4 * (0.4 / 0.02 - 1) * 1e-10, rel=1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_a_signal_of_one_sample_is_a_pulse(model):
    rng = np.random.default_rng(5)
    for v in (0.9, -0.9, 1.4):
        device = drawn(model, rng)
        cells = device._as_cells()
        cells.apply_pulse(v, float(device.time_series_resolution))
        device.simulate([v])
        spec, p = device._cell.equations()
        assert spec.state_at(device.g, p) == pytest.approx(float(cells.x), abs=1e-4)


@pytest.mark.parametrize("model", MODELS)
def test_populations_and_single_cells_have_every_cells_own_parameters(model):
    spread = {
        name: memtorch.bh.StochasticParameter(
            torch.distributions.Normal, loc=value, scale=0.05 * abs(value), min=0.1 * value
        )
        for name, value in model.defaults.items()
        if name in ("r_on", "r_off", "k_off", "k_p", "A_p", "u_v", "V_0")
    }
    torch.manual_seed(0)
    crossbar = Crossbar(model, spread, (3, 2), random_crossbar_init=True)
    cells = crossbar.cells()
    step = float(crossbar.time_series_resolution)
    expected = cells.current(0.3)
    found = [device.current(0.3) for device in crossbar.devices.flat]
    np.testing.assert_allclose(found, expected.flatten(), rtol=1e-6)
    cells.apply_pulse(0.7, step)
    for device in crossbar.devices.flat:
        device.simulate([0.7])
    moved = crossbar.conductance_matrix
    np.testing.assert_allclose(moved, cells.conductance(), rtol=2e-4)


NUMBERS = {
    "list": list,
    "tuple": tuple,
    "array": np.array,
    "float32 array": lambda v: np.array(v, np.float32),
    "column": lambda v: np.array(v)[:, None],
    "tensor": lambda v: torch.tensor(v, dtype=torch.float64),
    "tensor that wants a gradient": lambda v: torch.tensor(v, requires_grad=True),
    "list of numpy numbers": lambda v: list(map(np.float64, v)),
    "list of tensors": lambda v: list(map(torch.tensor, v)),
    "list of lists": lambda v: [[x] for x in v],
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_signals_are_lists_tuples_arrays_and_tensors(kind):
    volts, signal = [0.5, -0.25, 0.125], NUMBERS[kind]([0.5, -0.25, 0.125])
    expected = B.VTEAM().simulate(volts, return_current=True)
    np.testing.assert_allclose(B.VTEAM().simulate(signal, return_current=True), expected, rtol=1e-9)
    for one in (0.5, np.float32(0.5), torch.tensor(0.5), np.array(0.5)):
        assert len(B.VTEAM().simulate(one, return_current=True)) == 1
    assert B.VTEAM().simulate([], return_current=True).shape == (0,)


@pytest.mark.parametrize("number", [np.float64, np.float32, torch.tensor, np.array])
def test_parameters_and_voltages_are_numbers_of_any_kind(number):
    params = {"r_on": number(64.0), "r_off": number(1024.0), "time_series_resolution": number(0.5)}
    device = B.VTEAM(**params)
    assert type(device.r_on) is float
    assert (device.r_on, device.r_off) == (64.0, 1024.0)
    device.set_conductance(number(0.0078125))
    device.r_on = number(32.0)
    assert (device.g, device.r_on) == (0.0078125, 32.0)
    assert device.current(number(0.5)) == 0.5 * 0.0078125
    assert device.dxdt(number(0.25)) == pytest.approx(device.dxdt(0.25), rel=1e-6)
    for one in (np.array([0.0078125]), torch.tensor([[0.0078125]])):
        device.set_conductance(one)
        assert device.g == 0.0078125
    device.g = number(0.015625)
    assert type(device.g) is float
    crossbar = Crossbar(B.VTEAM, params, (np.int64(2), np.int32(3)))
    assert (crossbar.r_on_mean, crossbar.r_off_mean) == (64.0, 1024.0)
    crossbar.devices[0][0].set_conductance(number(0.0078125))
    assert crossbar.conductance_matrix[0, 0] == 0.0078125
    bounds = B.Data_Driven(r_p=np.array([16719.0, 0.0]), r_n=torch.tensor([29304.0, 23692.0]))
    assert bounds.simulate([1.0], return_current=True)[0] > 0
    integer = B.VTEAM(r_on=np.int64(60), r_off=np.int64(1000))
    assert integer.g == 1 / 60


@pytest.mark.parametrize("model", MODELS)
def test_arrays_of_voltages_are_taken_elementwise(model):
    device, volts = drawn(model, np.random.default_rng(6)), np.linspace(-0.5, 0.5, 5)
    expected = [device.current(float(v)) for v in volts]
    np.testing.assert_allclose(device.current(volts), expected, rtol=1e-12)
    found = device.current(torch.from_numpy(volts).float())
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    for name in ("dxdt", "dRdt", "resistance"):
        if hasattr(device, name):
            method = getattr(device, name)
            np.testing.assert_allclose(method(volts), [method(float(v)) for v in volts])


def test_resistances_the_other_way_round_are_turned():
    """MemTorch's own tutorial makes ``VTEAM(r_on=5000, r_off=1000)``."""
    with pytest.warns(UserWarning, match="r_on=5000 is larger than r_off=1000"):
        device = B.VTEAM(r_on=5000, r_off=1000)
    assert (device.r_on, device.r_off, device.g) == (1000, 5000, 1 / 1000)
    device.simulate(np.full(10, 0.5))
    assert 1 / 5000 < device.g < 1 / 1000
    with pytest.warns(UserWarning, match="r_on"):
        layer = memtorch.mn.Linear(
            torch.nn.Linear(3, 2), B.VTEAM, {"r_on": 5000, "r_off": 1000}, verbose=False
        )
    g = layer.crossbars[0].conductance_matrix
    assert float(g.min()) >= 1 / 5000 * (1 - 1e-6)
    assert float(g.max()) <= 1 / 1000 * (1 + 1e-6)


def test_parameters_of_one_cell_that_no_tensor_can_hold():
    crossbar = Crossbar(B.Data_Driven, {}, (2, 3))
    first, second = crossbar.devices[0][0], crossbar.devices[1][0]
    first.eta = -1
    assert (first.eta, second.eta) == (-1, 1)
    assert crossbar.per_device
    for device in (first, second):
        device.set_conductance(1 / 6e3)
        device.simulate(np.full(50, 1.2))
    assert first.g > 1 / 6e3 > second.g
    crossbar.update(from_devices=True)
    assert crossbar.conductance_matrix[0, 0] == pytest.approx(first.g)
    coarse = Crossbar(B.Stanford_PKU, {}, (2, 3))
    coarse.devices[0][0].time_series_resolution = 1e-6
    assert coarse.devices[0][1].time_series_resolution == 1e-4
    assert not coarse.per_device
    coarse.devices[0][0].simulate([1.0])
    coarse.cells()


def test_signals_that_do_not_move_a_cell_leave_it_to_the_bit():
    crossbar = Crossbar(B.VTEAM, {}, (2, 3))
    crossbar.conductance_matrix[0, 0] = 5e-4  # a fault, below its window
    device = crossbar.devices[0][0]
    assert device.simulate([0.0, 0.01], return_current=True) is not None
    assert crossbar.conductance_matrix[0, 0].item() == float(np.float32(5e-4))
    assert device.current(0.1) == pytest.approx(5e-5)


@pytest.mark.parametrize("model", MODELS)
def test_a_crossbars_devices_copy_and_pickle_alone(model):
    device = Crossbar(model, {}, (20, 30)).devices[0][0]
    device.set_conductance(0.5 / device.r_on + 0.5 / device.r_off)
    others = (copy.copy(device), copy.deepcopy(device), pickle.loads(pickle.dumps(device)))
    assert len(pickle.dumps(device)) < 2000  # not the whole crossbar
    for other in others:
        assert other.g == pytest.approx(device.g, rel=1e-7)
        assert repr(other) == repr(device)
        other.set_conductance(1 / other.r_off)
        assert other.g != device.g


def test_windows_take_numbers_and_arrays():
    x = np.linspace(0, 1, 5)
    for function in (B.window.Jogelkar, B.window.Prodromakis):
        np.testing.assert_allclose(function(x), [function(float(v)) for v in x], atol=1e-15)
    np.testing.assert_allclose(
        B.window.Biolek(1.0, x), [B.window.Biolek(1.0, float(v)) for v in x], atol=1e-15
    )
    assert SimpleNamespace(p=B.window.Jogelkar(np.float32(0.5), np.int64(2))).p == 1.0
