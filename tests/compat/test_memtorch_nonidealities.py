"""Non-idealities: exact where they are laws, in standard errors where they are random."""

import copy
import io
import math

import numpy as np
import pytest
import torch

import mho.compat.memtorch as memtorch
from mho.compat.memtorch.bh.nonideality import endurance_retention_models as models
from mho.compat.memtorch.bh.nonideality.DeviceFaults import (
    apply_cycle_variability,
    apply_device_faults,
)
from mho.compat.memtorch.bh.nonideality.FiniteConductanceStates import (
    apply_finite_conductance_states,
)
from mho.compat.memtorch.bh.nonideality.NonIdeality import NonIdeality, apply_nonidealities
from mho.compat.memtorch.bh.nonideality.NonLinear import apply_non_linear
from mho.compat.memtorch.bh.nonideality.Retention import apply_retention_model
from mho.compat.memtorch.mn.Module import patch_model

R_ON, R_OFF = 1e3, 1e5


def layer(shape=(40, 30), model=memtorch.bh.memristor.VTEAM, params=None, **kwargs):
    """A linear layer of uniform weights on crossbars."""
    digital = torch.nn.Linear(*shape)
    torch.nn.init.uniform_(digital.weight, -1, 1)
    given = {"r_on": R_ON, "r_off": R_OFF} if params is None else params
    return memtorch.mn.Linear(digital, model, given, verbose=False, **kwargs)


def spread_layer(**kwargs):
    params = {
        "r_on": memtorch.bh.StochasticParameter(loc=R_ON, scale=0.1 * R_ON, min=1),
        "r_off": memtorch.bh.StochasticParameter(loc=R_OFF, scale=0.1 * R_OFF, min=1),
    }
    return layer(params=params, **kwargs)


def stored(changed):
    return [crossbar.conductance_matrix.clone() for crossbar in changed.crossbars]


def seen(crossbar):
    """Conductances as the single devices say them."""
    return torch.tensor(np.vectorize(lambda device: device.g)(crossbar.devices))


tilings = pytest.mark.parametrize("tile_shape", [None, (16, 8), (64, 64)])


class Net(torch.nn.Module):
    """Layers at several depths."""

    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Linear(12, 8), torch.nn.ReLU())
        self.conv = torch.nn.Conv2d(1, 2, 3)
        self.head = torch.nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.body(x))


def patched(**kwargs):
    torch.manual_seed(0)
    params = {"r_on": R_ON, "r_off": R_OFF}
    kinds = [torch.nn.Linear, torch.nn.Conv2d]
    return patch_model(Net(), memtorch.bh.memristor.VTEAM, params, kinds, verbose=False, **kwargs)


# ---- faults


@tilings
def test_faults_have_their_proportions_exactly(tile_shape):
    faulty = apply_device_faults(spread_layer(tile_shape=tile_shape), 0.2, 0.1, 0.05)
    for crossbar in faulty.crossbars:
        g, count = crossbar.conductance_matrix, crossbar.conductance_matrix.numel()
        assert int(crossbar.stuck.sum()) == round(0.2 * count) + round(0.15 * count)
        at_lrs = torch.isclose(g, 1 / crossbar.parameter("r_on").to(g), rtol=1e-5)
        at_hrs = torch.isclose(g, 1 / crossbar.parameter("r_off").to(g), rtol=1e-5)
        assert int((at_lrs & crossbar.stuck).sum()) == round(0.2 * count)
        assert int((at_hrs & crossbar.stuck).sum()) == round(0.15 * count)


def test_faults_fall_anywhere_alike():
    hits = torch.zeros(30, 20)
    repeats = 200
    for _ in range(repeats):
        faulty = apply_device_faults(layer((30, 20)), 0.3, 0.0, 0.0)
        hits += faulty.crossbars[0].stuck
    # Every cell is hit with probability 0.3: 600 cells, none beyond five standard errors.
    error = math.sqrt(0.3 * 0.7 / repeats)
    assert float((hits / repeats - 0.3).abs().max()) < 5 * error


@tilings
def test_devices_see_their_faults(tile_shape):
    faulty = apply_device_faults(layer(tile_shape=tile_shape), 0.3, 0.2, 0.0)
    for crossbar in faulty.crossbars:
        torch.testing.assert_close(
            seen(crossbar).float(), crossbar.conductance_matrix.float(), rtol=1e-5, atol=0
        )
        crossbar.update(from_devices=True)
        assert bool(crossbar.stuck.any())


@pytest.mark.parametrize("method", memtorch.bh.Quantize.quant_methods)
def test_faults_in_padding_change_no_read(method):
    changed = layer((40, 30), tile_shape=(16, 8), ADC_resolution=4, quant_method=method)
    changed.forward_legacy_enabled = False
    x = torch.rand(5, 40)
    before = changed(x)
    for crossbar in changed.crossbars:
        g = crossbar.conductance_matrix.clone()
        broken = ~crossbar.used & (torch.rand(g.shape) < 0.3)
        assert bool(broken.any())
        crossbar.conductance_matrix = torch.where(broken, 1 / R_ON, g)
    torch.testing.assert_close(changed(x), before)
    first = changed.crossbars[0]
    read = memtorch.bh.crossbar.simulate_matmul
    found = read(x, first, ADC_resolution=4, quant_method=method)
    crossbar = copy.deepcopy(first)
    crossbar.conductance_matrix = torch.where(first.used, first.conductance_matrix, 0.0)
    torch.testing.assert_close(found, read(x, crossbar, ADC_resolution=4, quant_method=method))


def test_stuck_devices_stay_stuck():
    faulty = apply_device_faults(layer(), 0.2, 0.2, 0.0)
    before, stuck = stored(faulty), [crossbar.stuck for crossbar in faulty.crossbars]
    apply_retention_model(faulty, 1e3, initial_time=1.0, drift_coefficient=0.3)
    apply_finite_conductance_states(faulty, 3)
    for old, new, held in zip(before, stored(faulty), stuck, strict=True):
        assert torch.equal(old[held], new[held])
        assert not torch.equal(old, new)


@pytest.mark.parametrize("proportions", [(0.6, 0.5, 0.0), (-0.1, 0.0, 0.0), (0.0, 0.0, 1.1)])
def test_impossible_proportions_are_refused(proportions):
    with pytest.raises(AssertionError, match="proportion"):
        apply_device_faults(layer(), *proportions)


# ---- finite states


@tilings
@pytest.mark.parametrize("states", [2, 5, 16])
def test_finite_states_are_finite(tile_shape, states):
    changed = layer(tile_shape=tile_shape)
    before = stored(changed)
    apply_finite_conductance_states(changed, states)
    levels = np.linspace(1 / R_OFF, 1 / R_ON, states)
    for old, crossbar in zip(before, changed.crossbars, strict=True):
        used = crossbar.used
        g = crossbar.conductance_matrix[used].double().numpy()
        nearest = levels[np.abs(old[used].double().numpy()[:, None] - levels).argmin(-1)]
        np.testing.assert_allclose(g, nearest, rtol=1e-4)
        assert len(np.unique(g.round(9))) == states


def test_every_device_has_states_between_its_own_resistances():
    changed = spread_layer()
    before = stored(changed)
    apply_finite_conductance_states(changed, 4)
    for old, crossbar in zip(before, changed.crossbars, strict=True):
        low = 1 / crossbar.parameter("r_off").double()
        high = 1 / crossbar.parameter("r_on").double()
        step = (high - low) / 3
        expected = low + step * torch.round((old.double() - low) / step).clamp(0, 3)
        torch.testing.assert_close(
            crossbar.conductance_matrix.double(), expected, rtol=1e-4, atol=1e-9
        )


def test_one_state_is_one_value_and_halves_are_refused():
    changed = apply_finite_conductance_states(layer(), 1.0)
    assert len(changed.crossbars[0].conductance_matrix.unique()) == 1
    for number in (2.5, 0, -1):
        with pytest.raises(AssertionError, match="whole number"):
            apply_finite_conductance_states(layer(), number)


# ---- variability


@tilings
@pytest.mark.parametrize("parallelize", [True, False])
def test_cycle_variability_draws_resistances_and_keeps_what_fits(tile_shape, parallelize):
    changed = layer((120, 100), tile_shape=tile_shape)
    before = stored(changed)
    apply_cycle_variability(
        changed,
        parallelize=parallelize,
        r_off_kwargs={"loc": R_OFF, "scale": 1e4},
        r_on_kwargs={"loc": R_ON, "scale": 100.0},
    )
    for old, crossbar in zip(before, changed.crossbars, strict=True):
        used = crossbar.used
        count = int(used.sum())
        for name, mean, std in (("r_on", R_ON, 100.0), ("r_off", R_OFF, 1e4)):
            drawn = crossbar.parameter(name)[used].double()
            assert abs(drawn.mean() - mean) < 4 * std / math.sqrt(count)
            assert abs(drawn.std() - std) < 4 * std / math.sqrt(2 * count)
        low, high = (1 / crossbar.parameter(name).to(old) for name in ("r_off", "r_on"))
        expected = torch.minimum(torch.maximum(old, low), high)
        torch.testing.assert_close(
            crossbar.conductance_matrix[used], expected[used], rtol=1e-6, atol=0.0
        )


def test_resistances_that_are_none_count_as_the_mean():
    changed = apply_cycle_variability(
        layer(),
        r_off_kwargs={"loc": R_OFF, "scale": 1.0},
        r_on_kwargs={"loc": 0.0, "scale": 300.0},
    )
    crossbar = changed.crossbars[0]
    assert bool((crossbar.parameter("r_on") > 0).all())
    assert bool(torch.isfinite(crossbar.conductance_matrix).all())
    share = float((crossbar.parameter("r_on") == R_ON).float().mean())
    assert abs(share - 0.5) < 0.08


def test_bounds_and_other_distributions():
    changed = apply_cycle_variability(
        layer(),
        torch.distributions.Uniform,
        min=900,
        max=1.5e5,
        r_off_kwargs={"low": 5e4, "high": 3e5},
        r_on_kwargs={"low": 500.0, "high": 1500.0},
    )
    crossbar = changed.crossbars[0]
    assert crossbar.parameter("r_on").min() == 900
    assert crossbar.parameter("r_off").max() == 1.5e5


@pytest.mark.parametrize(
    "arguments",
    [{}, {"r_on_kwargs": {"loc": 1.0, "scale": 1.0}}, {"r_off_kwargs": {"invalid_arg": None}}],
)
def test_distributions_without_their_parameters_are_refused(arguments):
    with pytest.raises(AssertionError, match="kwargs: Normal"):
        apply_cycle_variability(layer(), **arguments)


# ---- nonlinear devices


def sinh_law(v, b=3.0):
    return np.sinh(b * v) / b


@tilings
@pytest.mark.parametrize("simulate", [True, False])
def test_nonlinear_reads_follow_the_devices_law(tile_shape, simulate):
    # Data_Driven: i = (a / R) sinh(b v); normalised to its slope at 0 V.
    torch.manual_seed(1)
    model = memtorch.bh.memristor.Data_Driven
    changed = layer((20, 13), model, {}, tile_shape=tile_shape)
    changed.forward_legacy_enabled = False
    before = stored(changed)
    apply_non_linear(changed, simulate=simulate)
    v = torch.linspace(-0.8, 0.8, 40).reshape(2, 20)
    g = _difference(before, changed)
    expected = torch.tensor(sinh_law(v.double().numpy())) @ g.double()
    found = changed(v) - changed.bias
    slope = float((found.double() * expected).sum() / expected.square().sum())
    assert slope > 0
    torch.testing.assert_close(
        found.double(), slope * expected, rtol=1e-4, atol=1e-4 * float(found.abs().max())
    )
    for old, new in zip(before, stored(changed), strict=True):
        assert torch.equal(old, new)


def _difference(matrices, changed):
    rows, columns = changed.crossbars[0].rows, changed.crossbars[0].columns
    whole = []
    for g, crossbar in zip(matrices, changed.crossbars, strict=True):
        if crossbar.tile_shape is None:
            whole.append(g)
            continue
        numbers = crossbar.tiles_map.long()
        tiled = torch.cat([torch.cat([g[int(k)] for k in line], dim=1) for line in numbers])
        whole.append(tiled[:rows, :columns])
    return whole[0] - whole[1]


@tilings
@pytest.mark.parametrize("simulate", [True, False])
def test_ohmic_devices_read_alike_and_no_current_is_cut(tile_shape, simulate):
    changed = layer((40, 7), tile_shape=tile_shape, max_input_voltage=0.3)
    changed.forward_legacy_enabled = False
    x = torch.rand(5, 40) * 0.3
    linear = changed(x)
    apply_non_linear(changed, simulate=simulate)
    torch.testing.assert_close(changed(x), linear, rtol=1e-4, atol=1e-8)
    # Many devices on one line conduct more than any one of them could.
    assert float((linear - changed.bias).abs().max()) > 0.3 / R_ON


def test_nonlinear_models_are_copied_and_saved():
    changed = apply_non_linear(layer((6, 4)), simulate=True)
    changed.forward_legacy_enabled = False
    x = torch.rand(3, 6)
    file = io.BytesIO()
    torch.save(changed, file)
    file.seek(0)
    for other in (copy.deepcopy(changed), torch.load(file, weights_only=False)):
        torch.testing.assert_close(other(x), changed(x))


def test_nonlinear_devices_with_finite_states():
    changed = apply_non_linear(layer(), num_conductance_states=3, simulate=True)
    assert len(changed.crossbars[0].conductance_matrix.unique()) == 3
    with pytest.raises(AssertionError, match="sweep_duration"):
        apply_non_linear(layer(), sweep_duration=0)


# ---- a user's own devices, held object by object


class Diode(memtorch.bh.memristor.Memristor):
    """A user's device: I = g sinh(2 v) / 2, and it counts its simulations."""

    def __init__(self, time_series_resolution=1e-3, r_on=1e3, r_off=1e5, **kwargs):
        args = memtorch.bh.unpack_parameters(locals())
        super().__init__(args.r_off, args.r_on, args.time_series_resolution)
        self.g, self.simulated = 1 / args.r_off, 0

    def simulate(self, voltage_signal, return_current=False):
        self.simulated += 1
        return np.array([self.g * np.sinh(2 * float(v)) / 2 for v in voltage_signal])

    def set_conductance(self, conductance):
        self.g = conductance

    def plot_hysteresis_loop(self, return_result=False):
        pass

    def plot_bipolar_switching_behaviour(self, return_result=False):
        pass


@pytest.mark.parametrize("tile_shape", [None, (4, 3)])
def test_faults_and_states_of_a_users_own_devices(tile_shape):
    changed = layer((6, 5), Diode, {}, tile_shape=tile_shape)
    apply_finite_conductance_states(changed, 3)
    apply_device_faults(changed, 0.3, 0.0, 0.0)
    for crossbar in changed.crossbars:
        g = crossbar.conductance_matrix
        torch.testing.assert_close(seen(crossbar).to(g), g, rtol=1e-5, atol=0)
        levels = torch.linspace(1 / R_OFF, 1 / R_ON, 3)
        distance = (g[crossbar.used][:, None] - levels).abs().amin(-1)
        assert float(distance.max()) < 1e-8
        assert int(crossbar.stuck.sum()) == round(0.3 * g.numel())


def test_cycle_variability_of_a_users_own_devices():
    changed = apply_cycle_variability(
        layer((6, 5), Diode, {}),
        r_off_kwargs={"loc": R_OFF, "scale": 1e3},
        r_on_kwargs={"loc": 2 * R_ON, "scale": 10.0},
    )
    for device in changed.crossbars[0].devices.flat:
        assert abs(device.r_on - 2 * R_ON) < 100
        assert device.g <= 1 / device.r_on * (1 + 1e-5)


def test_nonlinear_reads_of_a_users_own_devices_move_nothing():
    changed = apply_non_linear(layer((6, 5), Diode, {}), simulate=True)
    changed.forward_legacy_enabled = False
    v = torch.linspace(-1, 1, 12).reshape(2, 6)
    expected = torch.sinh(2 * v) / 2 @ _difference(stored(changed), changed)
    found = changed(v) - changed.bias
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-7)
    assert {device.simulated for device in changed.crossbars[0].devices.flat} == {0}


# ---- whole models


@pytest.mark.parametrize("tile_shape", [None, (8, 4)])
def test_a_whole_model_at_every_depth(tile_shape):
    model = patched(tile_shape=tile_shape)
    kinds = [NonIdeality.FiniteConductanceStates, NonIdeality.DeviceFaults]
    arguments = {
        "conductance_states": 4,
        "lrs_proportion": 0.1,
        "hrs_proportion": 0.1,
        "electroform_proportion": 0.1,
    }
    assert apply_nonidealities(model, non_idealities=kinds, **arguments) is model
    assert [name for name, _ in model.named_children()] == ["body", "conv", "head"]
    for memristive in (model.body[0], model.conv, model.head):
        for crossbar in memristive.crossbars:
            g = crossbar.conductance_matrix
            assert len(np.unique(g[crossbar.used].double().numpy().round(8))) <= 4
            assert bool(crossbar.stuck.any())
    assert torch.isfinite(model(torch.rand(2, 12))).all()


def test_every_kind_on_a_whole_model():
    model = patched(tile_shape=(8, 4), ADC_resolution=8, quant_method="linear")
    law = {
        "operation_mode": models.OperationMode.gradual,
        "p_lrs": [2.0, 0.05, 1.5, 0.6],
        "stable_resistance_lrs": 100,
        "p_hrs": [5.0, 0.02, 1.0, -0.4],
        "stable_resistance_hrs": 1000,
        "cell_size": None,
        "temperature": 350,
    }
    drift = {"initial_time": 1.0, "drift_coefficient": 0.1}
    for kinds, arguments in (
        (NonIdeality.NonLinear, {"simulate": True}),
        (
            (NonIdeality.NonLinear,),
            {
                "sweep_duration": 2,
                "sweep_voltage_signal_amplitude": 1,
                "sweep_voltage_signal_frequency": 0.5,
            },
        ),
        (
            [NonIdeality.Endurance],
            {
                "x": 1e4,
                "endurance_model": models.model_endurance_retention,
                "endurance_model_kwargs": law,
            },
        ),
        (
            [NonIdeality.Retention],
            {
                "time": 1e4,
                "retention_model": models.model_conductance_drift,
                "retention_model_kwargs": drift,
            },
        ),
    ):
        changed = apply_nonidealities(copy.deepcopy(model), kinds, **arguments)
        assert torch.isfinite(changed(torch.rand(2, 12))).all()


@pytest.mark.parametrize(
    ("kinds", "arguments", "named"),
    [
        ([NonIdeality.FiniteConductanceStates], {}, "conductance_states"),
        ([NonIdeality.DeviceFaults], {"lrs_proportion": 0.1}, "hrs_proportion"),
        ([NonIdeality.NonLinear], {"simulate": False}, "sweep_duration"),
        (["DeviceFaults"], {}, "no NonIdeality"),
    ],
)
def test_what_is_missing_is_said(kinds, arguments, named):
    with pytest.raises(AssertionError, match=named):
        apply_nonidealities(patched(), kinds, **arguments)


def test_what_is_unknown_is_said():
    with pytest.warns(UserWarning, match="no non-ideality takes frequency"):
        apply_nonidealities(patched(), NonIdeality.NonLinear, simulate=True, frequency=3)


def test_models_that_are_not_patched_are_not_passed_over():
    with pytest.raises(ValueError, match="patch it first"):
        apply_nonidealities(Net(), [NonIdeality.NonLinear], simulate=True)
    with pytest.raises(ValueError, match="memristive layer"):
        apply_finite_conductance_states(torch.nn.Linear(2, 2), 3)


def test_the_enumeration_is_as_documented():
    names = [kind.name for kind in memtorch.bh.nonideality.NonIdeality]
    assert names == [
        "FiniteConductanceStates", "DeviceFaults", "NonLinear", "Endurance", "Retention",
    ]  # fmt: skip
    assert [mode.value for mode in models.OperationMode] == [1, 2]
