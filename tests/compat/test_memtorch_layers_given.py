"""Layers as programs give them and cells as programs write them."""

import copy
import typing
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

import mho.compat.memtorch as memtorch
from compat.overriding import counting
from mho.compat.memtorch.bh.crossbar import _views
from mho.compat.memtorch.bh.nonideality.FiniteConductanceStates import (
    apply_finite_conductance_states,
)
from mho.compat.memtorch.bh.nonideality.NonLinear import apply_non_linear
from mho.compat.memtorch.bh.nonideality.Retention import apply_retention_model
from mho.compat.memtorch.mn.Module import patch_model

VTEAM = memtorch.bh.memristor.VTEAM
IDEAL = {"memristor_model": VTEAM, "memristor_model_params": {}, "verbose": False}
CONVERTED = {"tile_shape": (4, 3), "ADC_resolution": 8, "quant_method": "linear"}


def patched(model, *kinds, **options):
    kinds = kinds or (nn.Linear,)
    return patch_model(model, module_parameters_to_patch=kinds, **IDEAL, **options)


# ---- layers


class Plain(nn.Linear):
    """A subclass that computes as its base does."""


class Own(nn.Linear):
    """A subclass that computes something else."""

    def forward(self, input):
        return 2 * super().forward(input)


def test_subclasses_are_patched_unless_they_compute_otherwise():
    model = nn.Sequential(Plain(4, 3), nn.Linear(3, 3), Own(3, 2))
    x = torch.randn(2, 4)
    with pytest.warns(UserWarning, match=r"2 \(Own\): stay digital") as told:
        patched(model)
    assert len(told) == 1
    kinds = [memtorch.mn.Linear, memtorch.mn.Linear, Own]
    assert [type(layer) for layer in model] == kinds
    model.tune_()
    assert model(x).shape == (2, 2)


def test_a_layer_with_a_forward_of_its_own_stays_digital():
    layer = Plain(4, 3)
    layer.forward = lambda x: x
    with pytest.warns(UserWarning, match="stay digital"):
        model = patched(nn.Sequential(layer))
    assert model[0] is layer


@pytest.mark.parametrize("given", [nn.Linear, [nn.Linear], (nn.Linear, nn.RNN), "table"], ids=str)
def test_types_to_patch_may_be_one_or_many_or_the_table(given):
    table = memtorch.mn.Module.supported_module_parameters
    given = table if given == "table" else given
    model = patch_model(nn.Sequential(nn.Linear(3, 2)), module_parameters_to_patch=given, **IDEAL)
    assert type(model[0]) is memtorch.mn.Linear
    with pytest.raises(ValueError, match=r"must be types of layers, got 'Linear'"):
        patch_model(model, module_parameters_to_patch=["Linear"], **IDEAL)


def test_a_model_in_which_nothing_is_patched_is_told():
    for given in ({}, [nn.Conv2d]):
        with pytest.warns(UserWarning, match="nothing was patched"):
            patch_model(nn.Sequential(nn.Linear(3, 2)), module_parameters_to_patch=given, **IDEAL)


def test_what_has_no_memristive_layer_is_refused():
    with pytest.raises(ValueError, match=r"LSTM.*not supported"):
        patched(nn.Sequential(nn.LSTM(3, 2)), nn.LSTM)


def test_models_with_attention_are_patched_around_it():
    torch.manual_seed(0)
    digital = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
    digital.eval()
    model, x = copy.deepcopy(digital), torch.randn(2, 5, 8)
    with pytest.warns(UserWarning, match=r"self_attn\.out_proj .*stay digital"):
        patched(model)
    model.tune_()
    with torch.no_grad():  # where torch would take a fused kernel
        wanted, found = digital(x), model(x)
        torch.testing.assert_close(found, wanted, rtol=1e-2, atol=1e-2)
        for layer in model.layers:
            for crossbar in layer.linear1.crossbars:
                crossbar.conductance_matrix.fill_(1e-3)
        assert not torch.allclose(model(x), found)


def test_pruned_and_parametrised_layers_are_patched_as_they_compute():
    torch.manual_seed(0)
    pruned = prune.random_unstructured(nn.Linear(6, 5), "weight", 0.5)

    class Halved(nn.Module):
        def forward(self, weight):
            return weight / 2

    halved = nn.Linear(6, 5)
    parametrize.register_parametrization(halved, "weight", Halved())
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(6, 5))
    for digital in (pruned, halved, normed):
        layer = patched(nn.Sequential(digital))[0]
        layer.tune()
        x = torch.randn(3, 6)
        torch.testing.assert_close(layer(x), digital(x), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(layer.weight, digital.weight)


def test_pruned_recurrent_layers_are_patched_as_they_compute():
    torch.manual_seed(0)
    digital = prune.random_unstructured(nn.RNN(4, 3), "weight_ih_l0", 0.5)
    layer, x = memtorch.mn.RNN(digital, **IDEAL), torch.randn(5, 2, 4)
    layer.tune()
    torch.testing.assert_close(layer(x), digital(x)[0], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("kind", ["Linear", "RNN"])
def test_the_device_may_be_assigned(kind):
    layer = getattr(memtorch.mn, kind)(getattr(nn, kind)(4, 3), **IDEAL)
    layer.device = "cpu"
    assert layer.device == torch.device("cpu")
    layer.device = torch.device("meta")
    assert layer.device.type == next(layer.parameters()).device.type == "meta"


def test_attributes_of_a_layer_are_kept_and_its_recurrent_weights_are_its_own():
    digital = nn.RNN(4, 3)
    digital.nickname = "head"
    before = [weight.clone() for weight in digital._flat_weights]
    layer = memtorch.mn.RNN(digital, **IDEAL)
    layer.double()
    assert layer.nickname == "head"
    assert all(map(torch.equal, before, digital._flat_weights))
    assert digital._flat_weights[0] is digital.weight_ih_l0


def test_recurrent_layers_follow_parameters_put_in_place_of_others():
    layer, x = memtorch.mn.RNN(nn.RNN(4, 3), **IDEAL), torch.randn(5, 2, 4)
    other = nn.RNN(4, 3)
    with pytest.warns(UserWarning, match="crossbars keep"):
        layer.load_state_dict(other.state_dict(), assign=True)
    layer.forward_legacy_enabled = True
    torch.testing.assert_close(layer(x), other(x)[0])
    layer.forward_legacy_enabled = False
    for twin in (layer, copy.deepcopy(layer)):
        before = twin(x)
        twin.bias_ih_l0 = nn.Parameter(torch.full((3,), 10.0))
        assert twin.b_ih[0] is twin.bias_ih_l0
        assert not torch.allclose(twin(x), before)


def test_what_is_not_finite_stays_in_its_sample():
    layer = memtorch.mn.Linear(nn.Linear(3, 2), max_input_voltage=0.3, **IDEAL)
    x = torch.tensor([[1.0, 2.0, 3.0], [1.0, torch.inf, 0.0], [torch.nan, 0.0, 0.0]])
    assert layer(x).isfinite().all(-1).tolist() == [True, False, False]


def test_a_layer_made_of_a_memristive_one_begins_anew():
    driven = {**IDEAL, "memristor_model": memtorch.bh.memristor.Data_Driven}
    first = memtorch.mn.Linear(nn.Linear(3, 2), **driven)
    fresh, x = memtorch.mn.Linear(first, **driven), torch.linspace(-0.9, 0.9, 3)
    straight = fresh(x)
    first.tune()
    first = apply_non_linear(first, simulate=True)
    again = memtorch.mn.Linear(first, **driven)
    assert not hasattr(again, "non_linear")
    assert torch.equal(again(x), straight)


def test_unknown_arguments_have_no_effect_and_are_named():
    with pytest.warns(UserWarning, match="banana, foo: no argument"):
        layer = memtorch.mn.Linear(nn.Linear(3, 2), foo=3, banana=1, **IDEAL)
    for kind, digital in (("Conv1d", nn.Conv1d(1, 2, 2)), ("RNN", nn.RNN(3, 2))):
        with pytest.warns(UserWarning, match="foo"):
            getattr(memtorch.mn, kind)(digital, foo=3, **IDEAL)
    with pytest.warns(UserWarning, match="foo"):
        model = patched(nn.Sequential(nn.Linear(3, 2)), foo=3)
    assert not layer.legacy
    assert not model[0].legacy


@pytest.mark.parametrize("kind", ["tiled", "whole"])
def test_no_bits_are_no_conversion(kind):
    tiles = {"tile_shape": (4, 3)} if kind == "tiled" else {}
    digital, x = nn.Linear(6, 5), torch.randn(2, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer = memtorch.mn.Linear(digital, quant_method="linear", **tiles, **IDEAL)
    plain = memtorch.mn.Linear(digital, **tiles, **IDEAL)
    torch.testing.assert_close(layer(x), plain(x))
    layer.ADC_resolution = 2
    assert not torch.allclose(layer(x), plain(x))
    layer.ADC_resolution = None
    torch.testing.assert_close(layer(x), plain(x))


# ---- cells


def _fill(g):
    g.data[:] = 1e-3


def _one(g):
    g.data[0, 0] += 1e-8


def _numpy(g):
    g.numpy()[:] *= 0.5


def _elsewhere(g):
    g.data = torch.full_like(g, 1e-3)


def _swap_rows(g):
    g.data[[0, 1]] = g.data[[1, 0]]


def _swap_columns(g):
    g.data[..., [0, 2]] = g.data[..., [2, 0]]


WRITES = [_fill, _one, _numpy, _elsewhere, _swap_rows, _swap_columns]


def test_cells_that_nobody_holds_are_not_looked_at_again(monkeypatch):
    layer = memtorch.mn.Linear(nn.Linear(4, 3), **IDEAL)
    x, looks = torch.randn(2, 4), []
    monkeypatch.setattr(_views, "fingerprint", lambda g: looks.append(g) or torch.zeros(1))
    layer(x), layer(x)
    assert not looks
    assert layer.crossbars[0].conductance_matrix.shape == (4, 3)
    layer(x)
    assert len(looks) == 1


@pytest.mark.parametrize("options", [{}, CONVERTED], ids=str)
@pytest.mark.parametrize("write", WRITES)
def test_reads_follow_writes_that_torch_does_not_count(write, options):
    torch.manual_seed(0)
    layer = memtorch.mn.Linear(nn.Linear(40, 30), **IDEAL, **options)
    key = "matrices" if options else "arranged"
    x = torch.randn(3, 40)
    layer(x)
    before = layer._kept[key][-1]
    write(layer.crossbars[0].conductance_matrix)
    found = layer(x)
    assert not torch.equal(layer._kept[key][-1], before)
    layer._kept = {}
    assert torch.equal(layer(x), found)


def test_nonlinear_reads_follow_writes_to_parameters():
    spread = memtorch.bh.StochasticParameter(loc=0.25, scale=0.05, min=0.1)
    stanford = {"memristor_model": memtorch.bh.memristor.Stanford_PKU}
    params = {"memristor_model_params": {"V_0": spread}}
    layer = memtorch.mn.Linear(nn.Linear(6, 5), **{**IDEAL, **stanford, **params})
    layer.non_linear = True
    x = torch.linspace(-0.9, 0.9, 6)
    before = layer(x)
    for crossbar in layer.crossbars:
        crossbar.parameters["V_0"].data.fill_(0.25)
    found = layer(x)
    assert not torch.allclose(found, before, rtol=1e-3)
    for crossbar in layer.crossbars:
        crossbar.parameters["V_0"] = 0.25
    torch.testing.assert_close(layer(x), found, rtol=1e-4, atol=1e-7)


def test_one_state_is_the_mean_of_cells_that_weights_use():
    digital = nn.Linear(6, 4)
    plain = apply_finite_conductance_states(memtorch.mn.Linear(digital, **IDEAL), 1)
    tiled = memtorch.mn.Linear(digital, tile_shape=(4, 3), **IDEAL)
    apply_finite_conductance_states(tiled, 1)
    for one, other in zip(plain.crossbars, tiled.crossbars, strict=True):
        g = other.conductance_matrix[other.used]
        torch.testing.assert_close(g, one.conductance_matrix.flatten(), rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("tile_shape", [None, (4, 3)])
def test_nothing_drifts_in_no_time(tile_shape):
    layer = memtorch.mn.Linear(nn.Linear(6, 4), tile_shape=tile_shape, **IDEAL)
    before = [crossbar.conductance_matrix.clone() for crossbar in layer.crossbars]
    apply_retention_model(layer, 1.0, initial_time=1, drift_coefficient=0.3)
    for g, crossbar in zip(before, layer.crossbars, strict=True):
        torch.testing.assert_close(crossbar.conductance_matrix, g, rtol=1e-6, atol=0.0)
    with pytest.raises(ValueError, match="initial_time"):
        apply_retention_model(layer, 0.5, initial_time=1)


# ---- sweeps of one's own


class Swept(memtorch.bh.memristor.Memristor):
    """A device that conducts by ``g v`` when simulated, and by ``g v³`` (± 10 %) when swept."""

    calls: typing.ClassVar = []

    def __init__(self, r_on=1e3, r_off=1e5, time_series_resolution=1e-3, **kwargs):
        super().__init__(r_off, r_on, time_series_resolution)
        self.g = 1 / r_off

    def simulate(self, voltage_signal, return_current=False):
        return np.array([self.g * float(v) for v in voltage_signal])

    def set_conductance(self, conductance):
        self.g = conductance

    def plot_hysteresis_loop(
        self, duration, voltage_signal_amplitude, voltage_signal_frequency, return_result=False
    ):
        self.calls.append((duration, voltage_signal_amplitude, voltage_signal_frequency))
        phase = 2 * np.pi * voltage_signal_frequency * np.linspace(0, duration, 1001)
        voltage = voltage_signal_amplitude * np.sin(phase)
        return voltage, self.g * voltage**3 * (1 + 0.1 * np.sign(np.cos(phase)))

    def plot_bipolar_switching_behaviour(self, return_result=False):
        pass


@pytest.mark.parametrize("tile_shape", [None, (4, 3)])
@pytest.mark.parametrize("scheme", list(memtorch.bh.Scheme))
def test_sweeps_of_ones_own_are_the_curves_of_reads(tile_shape, scheme):
    torch.manual_seed(0)
    swept = {"memristor_model": Swept, "tile_shape": tile_shape, "scheme": scheme}
    layer = memtorch.mn.Linear(nn.Linear(6, 4, bias=False), **{**IDEAL, **swept})
    x = torch.linspace(-0.9, 0.9, 12).view(2, 6)
    straight = layer(x**3)
    Swept.calls.clear()
    apply_non_linear(layer, 2, 1.0, 0.5)
    assert set(Swept.calls) == {(2, 1.0, 0.5)}
    assert len(Swept.calls) >= 24 * len(layer.crossbars)
    near = {"rtol": 1e-3, "atol": 1e-3 * float(straight.abs().max())}
    torch.testing.assert_close(layer(x), straight, **near)
    if scheme is memtorch.bh.Scheme.DoubleColumn:  # curves follow the conductances
        other = copy.deepcopy(layer)
        for crossbar in other.crossbars:
            crossbar.conductance_matrix.mul_(0.5)
            crossbar.update(from_devices=False)
        torch.testing.assert_close(other(x), 0.5 * straight, **near)
    apply_non_linear(layer, simulate=True)
    straight = memtorch.mn.Linear.forward(layer, x)
    layer.non_linear = False
    torch.testing.assert_close(straight, layer(x))


def test_a_sweep_that_only_draws_leaves_reads_to_simulation():
    class Drawn(Swept):
        def plot_hysteresis_loop(self, return_result=False):
            return None

    layer = memtorch.mn.Linear(nn.Linear(3, 2), **{**IDEAL, "memristor_model": Drawn})
    x = torch.linspace(-0.9, 0.9, 3)
    straight = layer(x)
    apply_non_linear(layer)
    torch.testing.assert_close(layer(x), straight)


def test_an_overridden_sweep_of_a_model_is_called():
    made, calls = counting(VTEAM, "plot_hysteresis_loop")
    layer = memtorch.mn.Linear(nn.Linear(3, 2), **{**IDEAL, "memristor_model": made})
    apply_non_linear(layer, 1e-9, 0.1, 1e9)
    assert calls["plot_hysteresis_loop"] >= 12
    calls.clear()
    apply_non_linear(layer, 1e-9, 0.1, 1e9, simulate=True)
    assert layer(0.05 * torch.ones(3)).shape == (2,)
    assert not calls
