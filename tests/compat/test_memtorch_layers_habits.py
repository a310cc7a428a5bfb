"""What programs of MemTorch do with its layers besides calling them."""

import copy
import inspect
import io
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import mho.compat.memtorch as memtorch
from compat.overriding import api
from mho.compat.memtorch.bh.nonideality.DeviceFaults import (
    apply_cycle_variability,
    apply_device_faults,
)
from mho.compat.memtorch.bh.nonideality.NonIdeality import NonIdeality, apply_nonidealities
from mho.compat.memtorch.bh.nonideality.NonLinear import apply_non_linear
from mho.compat.memtorch.bh.nonideality.Retention import apply_retention_model
from mho.compat.memtorch.mn import _read
from mho.compat.memtorch.mn.Module import patch_model

VTEAM, Scheme = memtorch.bh.memristor.VTEAM, memtorch.bh.Scheme
IDEAL = {"memristor_model": VTEAM, "memristor_model_params": {}, "verbose": False}
TILED = {"tile_shape": (8, 4)}
CONVERTED = {"ADC_resolution": 8, "quant_method": "linear"}
PASSIVE = {"transistor": False, "source_resistance": 5, "line_resistance": 5}
OPTIONS = [{}, TILED, CONVERTED, {**TILED, **CONVERTED}, PASSIVE, {**PASSIVE, **TILED}]
KINDS = {
    "Linear": (lambda: nn.Linear(6, 5), (3, 6)),
    "Conv1d": (lambda: nn.Conv1d(2, 3, 3), (2, 2, 9)),
    "Conv2d": (lambda: nn.Conv2d(2, 3, 3), (2, 2, 6, 7)),
    "Conv3d": (lambda: nn.Conv3d(2, 3, 2), (2, 2, 4, 3, 4)),
    "RNN": (lambda: nn.RNN(6, 5, batch_first=True), (2, 4, 6)),
}
LAYERS = sorted(set(KINDS) - {"RNN"})


def memristive(kind, **options):
    torch.manual_seed(0)
    make, shape = KINDS[kind]
    return getattr(memtorch.mn, kind)(make(), **{**IDEAL, **options}), torch.randn(shape)


def model_of(kind="Linear", **options):
    torch.manual_seed(0)
    make, shape = KINDS[kind]
    digital = nn.Sequential(make())
    options = {**IDEAL, **options}
    model = patch_model(
        copy.deepcopy(digital), module_parameters_to_patch=[type(digital[0])], **options
    )
    return digital, model, torch.randn(shape)


# ---- outputs


@pytest.mark.parametrize("nonlinear", [False, True])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:nonlinear reads do not account")
def test_outputs_can_be_viewed_in_every_configuration(kind, options, nonlinear):
    layer, x = memristive(kind, **options)
    if nonlinear:
        layer.non_linear = True
    with torch.no_grad():
        for y in (layer(x), layer(x[:0]), layer(x[0])):
            assert y.is_contiguous()
            assert y.dtype == torch.float32
            y.view(y.numel())
        assert layer(x.transpose(-1, -2).contiguous().transpose(-1, -2)).is_contiguous()


@pytest.mark.parametrize("options", [{}, {**TILED, **CONVERTED}], ids=str)
@pytest.mark.parametrize("kind", LAYERS)
def test_the_dtype_is_that_of_the_inputs(kind, options):
    layer, x = memristive(kind, **options)
    wanted = layer(x)
    for dtype, near in ((torch.float64, 1e-3), (torch.bfloat16, 3e-2), (torch.float16, 5e-3)):
        found = layer(x.to(dtype))
        assert found.dtype == dtype
        torch.testing.assert_close(found.float(), wanted, rtol=near, atol=near * 30 / 255)
    whole = (4 * x).round()
    torch.testing.assert_close(layer(whole.long()), layer(whole))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_models_of_half_precision_keep_their_conductances(dtype):
    tiny = {"memristor_model_params": {"r_on": 1e7, "r_off": 1e8}}
    layer, x = memristive("Linear", **tiny)
    layer.tune()
    wanted, before = layer(x), layer.crossbars[0].conductance_matrix.clone()
    layer.to(dtype)
    assert layer.weight.dtype == dtype
    assert torch.equal(layer.crossbars[0].conductance_matrix, before)
    torch.testing.assert_close(layer(x.to(dtype)).float(), wanted, rtol=2e-2, atol=2e-2)
    layer.double()
    assert layer.crossbars[0].conductance_matrix.dtype == torch.float64


def test_an_empty_batch_has_the_layers_shape():
    layer, x = memristive("RNN")
    assert layer(x[:0]).shape == (0, 4, 5)
    with pytest.raises(ValueError, match="input must have shape"):
        memristive("Linear")[0](torch.randn(3, 7))


# ---- members


@pytest.mark.parametrize("kind", KINDS)
def test_documented_attributes_and_signatures(kind):
    facts = api("memtorch")[f"memtorch.mn.{kind}"][kind]
    layer, _ = memristive(kind)
    assert not [name for name in facts["attributes"] if not hasattr(layer, name)]
    for method, text in facts["methods"].items():
        names = [part.split("=")[0].strip() for part in text[4:-1].split(", ")]
        found = inspect.signature(getattr(type(layer), method)).parameters
        names = [p.removeprefix("*").removeprefix("*") for p in names]
        assert names == list(found)


def test_recurrent_layers_name_their_arrays():
    torch.manual_seed(0)
    digital = nn.RNN(3, 4, num_layers=2, bidirectional=True)
    layer = memtorch.mn.RNN(digital, **IDEAL, **TILED, **CONVERTED)
    assert [array.in_features for array in layer.w_ih] == [3, 8]
    assert [array.in_features for array in layer.w_hh_reverse] == [4, 4]
    assert layer.w_ih_reverse[1] is layer.arrays["weight_ih_l1_reverse"]
    assert layer.b_hh[1] is layer.bias_hh_l1
    assert (layer.tile_shape, layer.ADC_resolution, layer.scheme) == ((8, 4), 8, Scheme(2))
    layer.ADC_resolution = 3  # as every read goes by it
    assert {array.ADC_resolution for array in layer.arrays.values()} == {3}
    plain = memtorch.mn.RNN(nn.RNN(3, 4, bias=False), **IDEAL)
    assert (plain.b_ih, plain.w_ih_reverse, plain.b_ih_reverse) == ([None], [], [])
    assert len(plain.w_ih) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_flag_makes_reads_nonlinear(kind):
    driven = {"memristor_model": memtorch.bh.memristor.Data_Driven}
    layer, x = memristive(kind, **driven)
    assert not hasattr(layer, "non_linear")
    assert not hasattr(layer, "simulate")
    straight = layer(x)
    layer.non_linear = True
    bent = layer(x)
    assert not torch.allclose(bent, straight)
    layer.simulate = True
    assert torch.equal(layer(x), bent)
    layer.non_linear = False
    assert torch.equal(layer(x), straight)
    applied, _ = memristive(kind, **driven)
    apply_nonidealities(nn.Sequential(applied), NonIdeality.NonLinear, simulate=True)
    assert torch.equal(applied(x), bent)
    holder = applied.w_ih[0] if kind == "RNN" else applied
    assert holder.non_linear is True
    assert holder.simulate is True


# ---- state_dict


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, TILED], ids=str)
def test_state_dicts_are_those_of_the_digital_layer(kind, options):
    digital, model, x = model_of(kind, **options)
    state = model.state_dict()
    assert list(state) == list(digital.state_dict())
    assert sum(v.numel() for v in state.values()) == sum(
        v.numel() for v in digital.state_dict().values()
    )
    other = copy.deepcopy(digital)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    other.load_state_dict(state)
    for name, value in digital.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)
    fresh = model_of(kind, **options)[1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the weights are the same: nothing to say
        fresh.load_state_dict(digital.state_dict())
    assert torch.equal(_first(fresh(x)), _first(model(x)))


def _first(output):
    return output[0] if isinstance(output, tuple) else output


@pytest.mark.parametrize("kind", KINDS)
def test_digital_weights_loaded_into_a_patched_model_leave_its_crossbars(kind):
    digital, model, x = model_of(kind)
    before = _first(model(x))
    other = type(digital)(KINDS[kind][0]())
    twin = copy.deepcopy(model)
    with pytest.warns(UserWarning, match="crossbars keep what they hold"):
        twin.load_state_dict(other.state_dict(), assign=True)
    with pytest.warns(UserWarning, match="crossbars keep what they hold"):
        model.load_state_dict(other.state_dict())
    bias = 0.0
    if kind != "RNN":
        bias = (model[0].bias - digital[0].bias).view(-1, *[1] * (x.dim() - 2))
        torch.testing.assert_close(model(x), before + bias)
    model.forward_legacy(True)
    torch.testing.assert_close(_first(model(x)), _first(other(x)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["file", "copy", "memory", "prefix"])
def test_a_saved_model_gets_its_cells_back_to_the_bit(kind, how):
    def spread():
        params = {"r_on": memtorch.bh.StochasticParameter(loc=50.0, scale=5.0, min=1.0)}
        return model_of(kind, **TILED, memristor_model_params=params)

    _, model, x = spread()
    small = {} if kind in ("Linear", "RNN") else {"input_shape": 4}
    model.tune_({kind: small})
    for layer in model.modules():
        if hasattr(layer, "crossbars"):
            apply_device_faults(layer, 0.1, 0.1, 0.0)
    wanted = _first(model(x))
    state, fresh = model.state_dict(), spread()[1]
    if how == "file":
        file = io.BytesIO()
        torch.save(state, file)
        state = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    elif how == "copy":
        state = copy.deepcopy(state)
    elif how == "prefix":
        state = nn.ModuleDict({"module": model}).state_dict()
        nn.modules.utils.consume_prefix_in_state_dict_if_present(state, "module.")
    for crossbar in _crossbars(fresh):
        crossbar.conductance_matrix = torch.zeros_like(crossbar.conductance_matrix)
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.add_(1.0)
    assert not torch.equal(_first(fresh(x)), wanted)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # cells came with the weights
        fresh.load_state_dict(state)
    assert torch.equal(_first(fresh(x)), wanted)
    for mine, saved in zip(_crossbars(fresh), _crossbars(model), strict=True):
        assert torch.equal(mine.conductance_matrix, saved.conductance_matrix)
        assert torch.equal(mine.stuck, saved.stuck)
        assert torch.equal(mine.parameter("r_on"), saved.parameter("r_on"))


def _crossbars(model):
    return [c for layer in model.modules() for c in getattr(layer, "crossbars", ())]


def test_the_line_of_a_tuned_model_goes_with_its_cells():
    _, model, x = model_of()
    plain, before = copy.deepcopy(model.state_dict()), model(x)
    model.tune_()
    tuned = model(x)
    model.load_state_dict(plain)
    assert torch.equal(model(x), before)
    assert not torch.equal(before, tuned)
    model[0].transform_output = torch.sin
    mine = model(x)
    model.load_state_dict(copy.deepcopy(model.state_dict()))
    assert torch.equal(model(x), mine)


@pytest.mark.parametrize("options", [{}, {**TILED, **CONVERTED}], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_may_follow_a_read_of_inference(kind, options):
    layer, x = memristive(kind, **options)
    with torch.inference_mode():
        before = layer(x)
    x.requires_grad_()
    after = layer(x)
    assert torch.equal(before, after)
    after.sum().backward()
    assert bool((x.grad != 0).any())


def test_conductances_of_other_tiles_are_not_taken():
    _, model, x = model_of(**TILED)
    _, other, _ = model_of(tile_shape=(3, 3))
    before = other(x)
    with torch.no_grad():
        model[0].weight.add_(1.0)
    with pytest.warns(UserWarning, match="crossbars keep"):
        other.load_state_dict(model.state_dict())
    assert torch.equal(other[0].weight, model[0].weight)
    assert torch.equal(other(x), before)


@pytest.mark.parametrize("kind", KINDS)
def test_whole_models_are_copied_and_saved_with_their_methods(kind):
    _, model, x = model_of(kind)
    file = io.BytesIO()
    torch.save(model, file)
    for other in (
        copy.deepcopy(model),
        torch.load(io.BytesIO(file.getvalue()), weights_only=False),
    ):
        assert torch.equal(_first(other(x)), _first(model(x)))
        other.forward_legacy(True)
        assert all(m.forward_legacy_enabled for m in other if hasattr(m, "legacy"))
        assert not any(m.forward_legacy_enabled for m in model if hasattr(m, "legacy"))
        other.double()
        other.forward_legacy(False)
        assert _first(other(x.double())).dtype == torch.float64


# ---- numbers


def test_numpys_numbers_are_numbers():
    given = {
        "tile_shape": np.array([8, 4]),
        "max_input_voltage": np.float32(0.3),
        "ADC_resolution": np.int64(8),
        "ADC_overflow_rate": np.float32(0.0),
        "quant_method": "linear",
        "p_l": np.float64(0.9),
    }
    plain = {**given, "tile_shape": [8, 4], "max_input_voltage": 0.3, "ADC_resolution": 8}
    plain |= {"ADC_overflow_rate": 0, "p_l": torch.tensor(0.9)}
    x = memristive("Linear")[1]
    one, other = (memristive("Linear", **options)[0] for options in (given, plain))
    torch.testing.assert_close(one(x), other(x))
    assert (type(one.ADC_resolution), one.tile_shape) == (int, (8, 4))
    wired = {
        "transistor": False,
        "source_resistance": np.int32(5),
        "line_resistance": np.array(5.0),
    }
    torch.testing.assert_close(
        memristive("Conv2d", **wired)[0](torch.ones(1, 2, 4, 4)),
        memristive("Conv2d", **PASSIVE)[0](torch.ones(1, 2, 4, 4)),
    )
    one.tune(np.int64(16))
    apply_device_faults(one, np.float32(0.1), np.array(0.1), torch.tensor(0.1))
    apply_retention_model(one, np.float64(1e3), initial_time=np.int64(1))
    apply_non_linear(one, np.float32(1), np.int64(1), np.float64(2), np.int64(4))
    apply_cycle_variability(
        other,
        min=np.float32(1.0),
        r_on_kwargs={"loc": np.float32(50), "scale": np.array(1.0)},
        r_off_kwargs={"loc": np.int64(1000), "scale": np.float64(0.0)},
    )
    assert bool((other.crossbars[0].parameter("r_off") == 1000).all())
    one.ADC_resolution = np.int64(2)
    one(x)


@pytest.mark.parametrize(
    "bad",
    [
        {"tile_shape": 8},
        {"tile_shape": np.array([8, 4, 2])},
        {"tile_shape": (8.5, 4)},
        {"tile_shape": (True, 4)},
        {"ADC_resolution": 2.5, "quant_method": "linear"},
        {"ADC_resolution": "8", "quant_method": "linear"},
        {"max_input_voltage": np.array([0.1, 0.2])},
        {"max_input_voltage": np.nan},
        {"ADC_overflow_rate": 1.5, "ADC_resolution": 8, "quant_method": "linear"},
        {"transistor": False, "source_resistance": np.inf, "line_resistance": 1.0},
    ],
    ids=str,
)
def test_what_is_no_number_is_refused_by_its_name(bad):
    with pytest.raises(ValueError, match=next(iter(bad)).replace("transistor", "source")):
        memristive("Linear", **bad)


# ---- cells with curves of their own

V_0 = memtorch.bh.StochasticParameter(loc=0.25, scale=0.05, min=0.1)
B_P = memtorch.bh.StochasticParameter(loc=2.6, scale=0.3, min=0.5)
SPREAD = {
    "Stanford_PKU": (memtorch.bh.memristor.Stanford_PKU, {"V_0": V_0}),
    "Data_Driven": (memtorch.bh.memristor.Data_Driven, {"a_p": V_0, "b_n": B_P}),
}


def _model_with(name):
    model, wanted = SPREAD[name]
    known = inspect.signature(model).parameters
    return model, {n: value for n, value in wanted.items() if n in known}


@pytest.mark.parametrize("scheme", list(Scheme))
@pytest.mark.parametrize("options", [{}, TILED, {**TILED, **CONVERTED}], ids=str)
@pytest.mark.parametrize("name", SPREAD)
def test_nonlinear_reads_use_every_cells_own_curve(name, options, scheme):
    model, params = _model_with(name)
    assert params
    shape = {"memristor_model": model, "memristor_model_params": params, "scheme": scheme}
    layer, _ = memristive("Linear", **options, **shape)
    layer.bias = None
    layer.non_linear = True
    x = torch.linspace(-0.9, 0.9, 12).view(2, 6)
    found = layer(x)
    expected = torch.zeros(2, 5, dtype=torch.float64)
    # Cell by cell, by what each device says of itself.
    for sign, crossbar in zip((1, -1), layer.crossbars, strict=False):
        places = _places(crossbar)
        for row in range(6):
            for column in range(5):
                device = crossbar.devices[tuple(places[row, column].tolist())]
                for vector in range(2):
                    current = device.current(float(x[vector, row]))
                    expected[vector, column] += sign * current
    if scheme is Scheme.SingleColumn:
        crossbar = layer.crossbars[0]
        middle = (1 / crossbar.r_on_mean + 1 / crossbar.r_off_mean) / 2
        expected -= middle * crossbar.transfer(x).double().sum(1, keepdim=True)
    scale = float(expected.abs().max())
    coarse = 2e-2 if "quant_method" in options else 1e-5
    torch.testing.assert_close(found.double(), expected, rtol=coarse, atol=coarse * scale)
    # The nominal curve is another one.
    nominal = crossbar.transfer(x) @ _read.matrices_of(layer)[0]
    assert float((found - nominal).abs().max()) > 3e-2 * scale


def _places(crossbar):
    """Indices of the cells of a matrix in the crossbar's tensors, ``[rows, columns, dims]``."""
    shape = crossbar.conductance_matrix.shape
    numbers = torch.arange(crossbar.conductance_matrix.numel()).view(shape)
    if crossbar.tile_shape is not None:
        rows = [torch.cat([numbers[int(k)] for k in row], 1) for row in crossbar.tiles_map]
        numbers = torch.cat(rows)[: crossbar.rows, : crossbar.columns]
    return torch.stack(torch.unravel_index(numbers, shape), -1)


@pytest.mark.parametrize("kind", ["Conv2d", "Conv3d", "RNN"])
def test_own_curves_in_every_kind_of_layer(kind):
    model, params = _model_with("Stanford_PKU")
    layer, x = memristive(kind, memristor_model=model, memristor_model_params=params)
    layer.non_linear = True
    spread = layer(0.5 * x)
    for crossbar in _crossbars(layer):
        crossbar.parameters["V_0"] = 0.25
    nominal = layer(0.5 * x)
    assert spread.shape == nominal.shape
    assert not torch.allclose(spread, nominal, rtol=1e-3)


def test_spread_that_shapes_no_curve_is_read_at_once():
    spread = memtorch.bh.StochasticParameter(loc=50.0, scale=2.0, min=1.0)
    params = {"memristor_model_params": {"r_on": spread}}
    layer, x = memristive("Linear", **params)
    layer.non_linear = True
    assert _read.driven(layer, x) is not None


def test_gradients_pass_through_cells_of_their_own():
    model, params = _model_with("Stanford_PKU")
    layer, _ = memristive("Linear", memristor_model=model, memristor_model_params=params)
    layer.non_linear = True
    x = torch.linspace(-0.9, 0.9, 6).double().view(1, 6).requires_grad_()
    assert torch.autograd.gradcheck(layer, (x,), rtol=1e-3, atol=1e-6)


# ---- what users put in place of something


def test_reads_join_crossbars_by_the_layers_operation():
    layer, x = memristive("Linear")
    layer.bias = None
    before = layer(x)
    difference = layer.crossbar_operation(
        layer.crossbars, lambda crossbar: crossbar.conductance_matrix
    )
    torch.testing.assert_close(before, x @ difference)
    scaled = layer.crossbar_operation(
        layer.crossbars, lambda crossbar, by: by * crossbar.conductance_matrix, (0, 1), by=2.0
    )
    torch.testing.assert_close(scaled, 2 * difference)
    layer.crossbar_operation = lambda crossbars, act, idx=(0, 1), **more: act(
        crossbars[idx[0]], **more
    )
    positive = layer.crossbars[0].conductance_matrix
    torch.testing.assert_close(layer(x), x @ positive)
    layer.ADC_resolution, layer.quant_method = 16, "linear"
    torch.testing.assert_close(layer(x), x @ positive, rtol=1e-3, atol=1e-4)


def test_outputs_are_transformed_by_what_users_set():
    layer, x = memristive("Linear")
    plain = layer(x)
    layer.transform_output = lambda current: 3.0 * current
    torch.testing.assert_close(layer(x) - layer.bias, 3 * (plain - layer.bias))


def test_routines_are_called_by_their_documented_names():
    calls = []

    def mapping(weight, r_on, r_off, scheme, p_l=None):
        calls.append(("map", tuple(weight.shape), r_on, r_off, scheme, p_l))
        return memtorch.map.Parameter.naive_map(weight, r_on, r_off, scheme, p_l)

    def scaling(module, input, factor):
        calls.append(("scale", type(module).__name__, tuple(input.shape), factor))
        return factor * input

    def programming(crossbar, point, conductance, loud):
        calls.append(("program", point, loud))
        crossbar.devices[point].set_conductance(conductance)
        return crossbar.devices

    options = {
        "mapping_routine": mapping,
        "scaling_routine": scaling,
        "scaling_routine_params": {"factor": 0.5},
        "p_l": 0.5,
        "transistor": False,
        "source_resistance": 1,
        "line_resistance": 1,
        "programming_routine": programming,
        "programming_routine_params": {"loud": False},
    }
    layer, x = memristive("Linear", **options)
    layer(x)
    assert calls[0] == ("map", (5, 6), 50.0, 1000.0, Scheme.DoubleColumn, 0.5)
    assert calls[-1] == ("scale", "Linear", (3, 6), 0.5)
    assert [call[1] for call in calls if call[0] == "program"][:2] == [(0, 0), (0, 1)]
    assert sum(call[0] == "program" for call in calls) == 60


def test_one_kept_matrix_is_made_anew_when_it_must():
    layer, x = memristive("Linear")
    layer(x)
    first = layer._kept["arranged"][2]
    layer(x)
    assert layer._kept["arranged"][2] is first
    layer.crossbars[0].conductance_matrix.mul_(2.0)
    layer(x)
    assert layer._kept["arranged"][2] is not first
    with torch.inference_mode():
        other, _ = memristive("Linear")
        before = other(x)
        other.crossbars[0].conductance_matrix.mul_(2.0)
        assert not torch.equal(other(x), before)
