"""What users override in layers, and put in place of functions, is called as it was."""

import copy
import inspect
import sys

import numpy as np
import pytest
import torch
from torch import nn

import mho.compat.memtorch as memtorch
from compat.overriding import counting, public_methods
from mho.compat.memtorch.bh.nonideality import Endurance, Retention
from mho.compat.memtorch.bh.nonideality.NonIdeality import NonIdeality, apply_nonidealities
from mho.compat.memtorch.mn.Module import patch_model, supported_module_parameters

VTEAM = memtorch.bh.memristor.VTEAM
KINDS = {
    "Linear": (lambda: nn.Linear(4, 3), (2, 4), {}),
    "Conv1d": (lambda: nn.Conv1d(2, 3, 3), (2, 2, 9), {"input_shape": 4}),
    "Conv2d": (lambda: nn.Conv2d(2, 3, 3), (2, 2, 6, 7), {"input_shape": 4}),
    "Conv3d": (lambda: nn.Conv3d(2, 3, 2), (2, 2, 4, 3, 4), {"input_shape": 4}),
    "RNN": (lambda: nn.RNN(4, 3), (5, 2, 4), {}),
}

# Who calls a layer's methods, and how often: reads of a model; tuning it, which reads currents
# and then the digital outputs (of a recurrent layer by those of its weights); saving and copying.
CALLS = {
    **{f"{kind}.forward": {"read": 1, "tune_": 2} for kind in KINDS if kind != "RNN"},
    **{f"{kind}.tune": {"read": 0, "tune_": 1} for kind in KINDS},
    "RNN.forward": {"read": 1, "tune_": 0},
}


def test_the_table_names_every_method_of_every_layer():
    methods = {m for m in public_methods("memtorch") if m.partition(".")[0] in KINDS}
    assert methods == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_overridden_methods_are_called(name, monkeypatch):
    kind, _, method = name.partition(".")
    make, shape, small = KINDS[kind]
    made, calls = counting(getattr(memtorch.mn, kind), method)
    digital = make()
    monkeypatch.setitem(supported_module_parameters, str(type(digital)), made)
    model = patch_model(
        nn.Sequential(digital), VTEAM, {}, [type(digital)], verbose=False, tile_shape=(8, 4)
    )
    assert type(model[0]) is made
    model(torch.randn(shape))
    assert calls[method] == CALLS[name]["read"]
    calls.clear()
    model.tune_({made: small})
    assert calls[method] == CALLS[name]["tune_"]
    calls.clear()
    copy.deepcopy(model)(torch.randn(shape))
    assert calls[method] == CALLS[name]["read"]


def test_the_weights_of_a_recurrent_layer_are_tuned_once(capsys):
    model = patch_model(nn.Sequential(nn.RNN(4, 3)), VTEAM, {}, [nn.RNN])
    model.tune_()
    assert capsys.readouterr().out.count("Tuned") == 2


def test_what_overridden_methods_return_counts():
    class Doubled(memtorch.mn.Linear):
        def forward(self, input):
            return 2 * super().forward(input)

        def tune(self, input_shape=16):
            self.transform_output = lambda current: -current

    layer = Doubled(nn.Linear(4, 3, bias=False), VTEAM, {}, verbose=False)
    plain = memtorch.mn.Linear(layer, VTEAM, {}, verbose=False)  # a patched one is a Linear, too
    x = torch.randn(2, 4)
    torch.testing.assert_close(layer(x), 2 * plain(x))
    layer.tune()
    torch.testing.assert_close(layer(x), -2 * plain(x))


# ---- models of endurance and retention of one's own


@pytest.mark.parametrize("kind", ["endurance", "retention"])
def test_models_of_ones_own_are_called_by_name(kind, monkeypatch):
    calls = []

    def own(layer, x, by):
        calls.append((layer, x, by))
        return layer

    module = {"endurance": Endurance, "retention": Retention}[kind]
    monkeypatch.setattr(module, f"valid_{kind}_models", [own])
    layer = memtorch.mn.Linear(nn.Linear(4, 3), VTEAM, {}, verbose=False)
    time = {"endurance": "x", "retention": "time"}[kind]
    apply_nonidealities(
        nn.Sequential(layer),
        [NonIdeality[kind.capitalize()]],
        **{time: 5.0, f"{kind}_model": own, f"{kind}_model_kwargs": {"by": 2}},
    )
    assert calls == [(layer, 5.0, 2)]


# Who calls what: of each non-ideality of a whole model, the function and what it is given.
SWEEP = {f"sweep_{n}": 2.0 for n in ("duration", "voltage_signal_amplitude")}
SWEEP["sweep_voltage_signal_frequency"] = 3.0
FUNCTIONS = {
    "FiniteConductanceStates": (
        "apply_finite_conductance_states",
        {"conductance_states": 4},
        {"n_conductance_states": 4},
    ),
    "DeviceFaults": (
        "apply_device_faults",
        {"lrs_proportion": 0.1, "hrs_proportion": 0.2, "electroform_proportion": 0.3},
        {"lrs_proportion": 0.1, "hrs_proportion": 0.2, "electroform_proportion": 0.3},
    ),
    "NonLinear": (
        "apply_non_linear",
        {**SWEEP, "num_conductance_states": 5},
        {**SWEEP, "num_conductance_states": 5, "simulate": False},
    ),
    "Endurance": (
        "apply_endurance_model",
        {"x": 5, "endurance_model": abs, "endurance_model_kwargs": {"a": 1}},
        {"x": 5, "endurance_model": abs, "endurance_model_kwargs": {"a": 1}},
    ),
    "Retention": (
        "apply_retention_model",
        {"time": 6, "retention_model": abs, "retention_model_kwargs": {"b": 2}},
        {"time": 6, "retention_model": abs, "retention_model_kwargs": {"b": 2}},
    ),
}


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_non_idealities_of_models_call_those_of_layers(kind, monkeypatch):
    name, given, wanted = FUNCTIONS[kind]
    module = sys.modules[apply_nonidealities.__module__]
    signature, calls = inspect.signature(getattr(module, name)), []

    def instead(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        calls.append(bound.arguments)

    monkeypatch.setattr(module, name, instead)
    layers = [memtorch.mn.Linear(nn.Linear(4, 3), VTEAM, {}, verbose=False) for _ in range(2)]
    apply_nonidealities(nn.Sequential(*layers), [NonIdeality[kind]], **given)
    assert calls == [{"layer": layer, **wanted} for layer in layers]


def test_the_table_names_every_non_ideality():
    assert set(FUNCTIONS) == {kind.name for kind in NonIdeality}


# ---- devices of one's own under nonlinear reads


class Leaky(memtorch.bh.memristor.Memristor):
    """Every device has a law of its own: I = g v + leak."""

    made = 0
    answers = 0

    def __init__(self, r_off=1e4, r_on=1e2, time_series_resolution=1e-3, **kwargs):
        super().__init__(r_off, r_on, time_series_resolution)
        self.leak = 1e-4 * (Leaky.made % 7)
        Leaky.made += 1
        self.g = 1 / r_off

    def simulate(self, voltage_signal, return_current=False):
        Leaky.answers += 1
        current = self.g * np.asarray(voltage_signal) + self.leak
        self.g = 0.0  # a read that writes
        return current if return_current else None

    def set_conductance(self, conductance):
        self.g = conductance


def test_the_reference_of_a_single_column_is_a_device_too():
    single = memtorch.bh.Scheme.SingleColumn
    layer = memtorch.mn.Linear(
        nn.Linear(4, 3, bias=False), Leaky, {}, verbose=False, scheme=single, tile_shape=(3, 2)
    )
    layer.non_linear = True
    x = torch.randn(2, 4)
    g, first = layer.crossbars[0], layer.crossbars[0].devices.flat[0]
    straight = layer.crossbar_operation([g], lambda c: c.conductance_matrix)
    wanted = x @ _whole(g, straight) + _leaks(g) - 4 * first.leak
    torch.testing.assert_close(layer(x), wanted, rtol=1e-4, atol=1e-6)
    assert layer(x[:0]).shape == (0, 3)


@pytest.mark.parametrize("converted", [False, True])
@pytest.mark.parametrize("tile_shape", [None, (3, 2)])
def test_every_device_answers_for_itself(tile_shape, converted):
    torch.manual_seed(0)
    layer = memtorch.mn.Linear(
        nn.Linear(4, 3, bias=False), Leaky, {}, verbose=False, tile_shape=tile_shape
    )
    x = torch.randn(2, 4)
    straight = layer(x)
    layer.non_linear = layer.simulate = True
    if converted:
        layer.ADC_resolution, layer.quant_method = 14, "linear"
    leaks = layer.crossbar_operation(layer.crossbars, _leaks)
    Leaky.answers = 0
    for _ in range(2):  # a read leaves no trace
        found = layer(x)
        near = 1e-3 if converted else 1e-5
        torch.testing.assert_close(found, straight + leaks, rtol=near, atol=near * 0.1)
    assert Leaky.answers == 2 * 2 * 2 * 4 * 3


def _leaks(crossbar):
    leaks = torch.tensor([d.leak for d in np.asarray(crossbar.devices).flat])
    return _whole(crossbar, leaks.view(crossbar.conductance_matrix.shape)).sum(0)


def _whole(crossbar, tiles):
    if crossbar.tile_shape is not None:
        tiles = torch.cat([torch.cat([tiles[int(k)] for k in r], 1) for r in crossbar.tiles_map])
    return tiles[:4, :3]
