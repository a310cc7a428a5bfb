"""MemTorch's layers, mapping and patching on mho."""

import copy
import inspect
import io
import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

import mho.compat.memtorch as memtorch
from mho.compat.memtorch.bh.nonideality.NonIdeality import NonIdeality, apply_nonidealities
from mho.compat.memtorch.bh.Quantize import quantize
from mho.compat.memtorch.map.Input import naive_scale
from mho.compat.memtorch.map.Module import naive_tune
from mho.compat.memtorch.mn.Module import patch_model, supported_module_parameters

VTEAM, Scheme = memtorch.bh.memristor.VTEAM, memtorch.bh.Scheme
IDEAL = {"memristor_model": VTEAM, "memristor_model_params": {}, "verbose": False}

LAYERS = {
    "linear": (lambda: nn.Linear(7, 5), (3, 7)),
    "linear, batches": (lambda: nn.Linear(7, 5, bias=False), (2, 3, 7)),
    "conv1d": (lambda: nn.Conv1d(3, 4, 3, stride=2, padding=1, dilation=2), (2, 3, 11)),
    "conv2d": (lambda: nn.Conv2d(3, 4, (3, 2), padding=(2, 1), dilation=(2, 1)), (2, 3, 8, 7)),
    "groups": (lambda: nn.Conv2d(4, 6, 3, groups=2, bias=False), (2, 4, 6, 5)),
    "reflect": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (2, 2, 6, 5)),
    "same": (lambda: nn.Conv2d(2, 3, (3, 2), padding="same"), (2, 2, 6, 5)),
    "one image": (lambda: nn.Conv2d(2, 3, 3), (2, 6, 5)),
    "conv3d": (lambda: nn.Conv3d(3, 4, 2, stride=(1, 2, 1), padding=1), (2, 3, 4, 5, 4)),
}


def patched(layer, **options):
    model = nn.Sequential(copy.deepcopy(layer))
    return patch_model(model, module_parameters_to_patch=[type(layer)], **{**IDEAL, **options})


def tuned(layer, **options):
    model = patched(layer, **options)
    size = {} if isinstance(layer, nn.Linear) else {"input_shape": 8}
    model.tune_({type(model[0]): size})
    return model


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("scheme", list(Scheme))
@pytest.mark.parametrize("tile_shape", [None, (5, 3)])
@pytest.mark.parametrize("name", LAYERS)
def test_tuned_layers_are_the_layers_they_stand_for(name, tile_shape, scheme):
    torch.manual_seed(0)
    make, shape = LAYERS[name]
    layer = make()
    model = tuned(layer, tile_shape=tile_shape, scheme=scheme, max_input_voltage=0.3)
    x = 4 * torch.randn(shape)  # beyond the tuning's range, and beyond 0.3 V
    torch.testing.assert_close(model(x), layer(x), rtol=1e-4, atol=1e-4)
    assert isinstance(model[0], type(layer))
    assert len(model[0].crossbars) == scheme.value * (3 if name == "conv3d" else 1)


@pytest.mark.parametrize("name", ["linear", "conv1d", "conv2d", "groups", "conv3d"])
def test_many_bits_are_no_conversion_and_few_bits_are_coarse(name):
    torch.manual_seed(0)
    make, shape = LAYERS[name]
    layer, x = make(), torch.randn(shape)
    errors = []
    for bits in (4, 8, 16):
        options = {"tile_shape": (5, 3), "ADC_resolution": bits, "quant_method": "linear"}
        model = tuned(layer, **options)
        errors.append(float((model(x) - layer(x)).detach().square().mean().sqrt()))
    assert errors[0] > 5 * errors[1] > 25 * errors[2]
    assert errors[2] < 1e-3


def test_partial_sums_of_every_tile_and_sample_are_converted():
    torch.manual_seed(1)
    layer = memtorch.mn.Linear(
        nn.Linear(10, 6), **IDEAL, tile_shape=(4, 3), ADC_resolution=5, quant_method="linear"
    )
    x = torch.randn(3, 10)
    positive, negative = (c.conductance_matrix for c in layer.crossbars)
    tiles_map = layer.crossbars[0].tiles_map
    expected = torch.zeros(3, 6)
    padded = nn.functional.pad(x, (0, 2))
    for n in range(3):
        for i in range(3):
            for j in range(2):
                k = int(tiles_map[i, j])
                current = padded[n, 4 * i : 4 * i + 4] @ (positive[k] - negative[k])
                expected[n, 3 * j : 3 * j + 3] += quantize(current, 5, 0.0, "linear")
    found = layer(x) - layer.bias
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(layer(x[:1]), layer(x)[:1])


@pytest.mark.parametrize("name", ["linear", "conv2d", "conv3d"])
@pytest.mark.parametrize("tile_shape", [None, (5, 3)])
def test_a_sample_does_not_feel_its_batch(name, tile_shape):
    torch.manual_seed(1)
    make, shape = LAYERS[name]
    options = {"ADC_resolution": 6, "quant_method": "linear", "tile_shape": tile_shape}
    model = tuned(make(), **options)
    x = torch.randn(shape) * torch.tensor([1.0, 30.0, 5.0])[: shape[0]].reshape(
        -1, *[1] * (len(shape) - 1)
    )
    torch.testing.assert_close(model(x)[:1], model(x[:1]))


@pytest.mark.parametrize("name", ["linear", "conv2d", "groups", "conv3d"])
@pytest.mark.parametrize("method", ["linear", "tanh", None])
def test_a_batch_may_be_empty(name, method):
    make, shape = LAYERS[name]
    quant = {} if method is None else {"ADC_resolution": 6, "quant_method": method}
    model = patched(make(), max_input_voltage=0.3, tile_shape=(5, 3), **quant)
    full = model(torch.randn(shape))
    assert model(torch.randn(0, *shape[1:])).shape == (0, *full.shape[1:])


@pytest.mark.parametrize("method", memtorch.bh.Quantize.quant_methods)
@pytest.mark.parametrize("bits", [1, 6])
def test_every_converter_reads(method, bits):
    torch.manual_seed(1)
    model = tuned(nn.Linear(10, 6), tile_shape=(4, 3), ADC_resolution=bits, quant_method=method)
    out = model(torch.randn(4, 10))
    assert bool(torch.isfinite(out).all())
    assert len(out.unique()) > 1


def nodal(g, source, line):
    """Effective conductances of one passive array by dense nodal analysis."""
    m, n = g.shape
    count = 2 * m * n
    a, drive = np.zeros((count, count)), np.zeros((count, m))

    def join(i, j, conductance):
        a[i, i] += conductance
        a[j, j] += conductance
        a[i, j] -= conductance
        a[j, i] -= conductance

    word = lambda i, j: i * n + j  # noqa: E731
    bit = lambda i, j: m * n + i * n + j  # noqa: E731
    for i in range(m):
        for j in range(n):
            join(word(i, j), bit(i, j), g[i, j])
            if j + 1 < n:
                join(word(i, j), word(i, j + 1), 1 / line)
            if i + 1 < m:
                join(bit(i, j), bit(i + 1, j), 1 / line)
        a[word(i, 0), word(i, 0)] += 1 / source
        drive[word(i, 0), i] += 1 / source
    for j in range(n):
        a[bit(m - 1, j), bit(m - 1, j)] += 1 / source
    return np.linalg.solve(a, drive)[[bit(m - 1, j) for j in range(n)]].T / source


@pytest.mark.parametrize("tile_shape", [None, (4, 3)])
def test_passive_layers_solve_both_arrays_of_a_pair(tile_shape):
    torch.manual_seed(2)
    lines = {"source_resistance": 7.0, "line_resistance": 4.0}
    layer = memtorch.mn.Linear(
        nn.Linear(6, 5), **IDEAL, tile_shape=tile_shape, transistor=False, **lines
    )
    x = torch.randn(3, 6)
    expected = np.zeros((3, 5))
    for sign, crossbar in zip((1, -1), layer.crossbars, strict=True):
        g = crossbar.conductance_matrix.double().numpy()
        if tile_shape is None:
            expected += sign * x.double().numpy() @ nodal(g, 7.0, 4.0)
            continue
        padded = np.pad(x.double().numpy(), ((0, 0), (0, 2)))
        for i in range(2):
            for j in range(2):
                tile = nodal(g[int(crossbar.tiles_map[i, j])], 7.0, 4.0)
                part = padded[:, 4 * i : 4 * i + 4] @ tile
                expected[:, 3 * j : 3 * j + 3] += sign * part[:, : 5 - 3 * j]
    found = (layer(x) - layer.bias).double().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)
    ideal = memtorch.mn.Linear(nn.Linear(6, 5), **IDEAL)
    ideal.crossbars = layer.crossbars
    assert np.abs(found - (ideal(x) - ideal.bias).numpy()).max() > 0.02 * np.abs(found).max()


@pytest.mark.parametrize(("source", "line"), [(0.0, 0.0), (0.0, 3.0), (3.0, 0.0)])
def test_wires_may_have_no_resistance(source, line):
    torch.manual_seed(2)
    layer, x = nn.Conv2d(2, 3, 2), torch.randn(2, 2, 4, 4)
    lines = {"transistor": False, "source_resistance": source, "line_resistance": line}
    error = float((tuned(layer, **lines)(x) - layer(x)).detach().abs().max())
    assert (error < 1e-4) == (source == line == 0.0)


def test_reads_follow_the_conductances_however_they_are_changed():
    torch.manual_seed(3)
    for options in ({}, {"transistor": False, "source_resistance": 5.0, "line_resistance": 5.0}):
        layer = memtorch.mn.Linear(nn.Linear(6, 5, bias=False), **IDEAL, **options)
        x = torch.randn(2, 6)
        seen = [layer(x)]
        layer.crossbars[0].conductance_matrix[0, 0] *= 2
        seen.append(layer(x))
        layer.crossbars[1].conductance_matrix = 0.5 * layer.crossbars[1].conductance_matrix
        seen.append(layer(x))
        layer.crossbars[0].devices[1][2].set_conductance(1.0)
        seen.append(layer(x))
        for one, other in itertools.pairwise(seen):
            assert not torch.allclose(one, other)


def test_scaling_is_undone():
    module = memtorch.mn.Linear(nn.Linear(3, 2, bias=False), **IDEAL, max_input_voltage=0.3)
    x = torch.tensor([[1.0, -6.0, 3.0]])
    torch.testing.assert_close(naive_scale(module, x), 0.05 * x)
    small = 0.01 * x
    assert torch.equal(naive_scale(module, small), small)
    torch.testing.assert_close(naive_scale(module, small, force_scale=True), 5 * small)
    torch.testing.assert_close(module(x), 100 * module(small))
    forced = copy.deepcopy(module)
    forced.scaling_routine_params = {"force_scale": True}
    torch.testing.assert_close(forced(small), module(small))
    assert torch.equal(naive_scale(module, torch.zeros(1, 3)), torch.zeros(1, 3))
    module.max_input_voltage = -1
    with pytest.raises(AssertionError, match="max_input_voltage"):
        naive_scale(module, x)


def test_a_users_own_routines_are_used():
    def halve(module, input, factor=0.5):
        return factor * input

    def equal(weight, r_on, r_off, scheme, p_l=None):
        return torch.full_like(weight, 1 / r_on), torch.full_like(weight, 1 / r_off)

    options = {"scaling_routine": halve, "scaling_routine_params": {"factor": 0.25}}
    layer = memtorch.mn.Linear(
        nn.Linear(3, 2, bias=False), **IDEAL, mapping_routine=equal, **options
    )
    torch.testing.assert_close(layer(torch.ones(1, 3)), torch.full((1, 2), 0.75 * 0.019))


def test_tuning_finds_the_line_and_leaves_the_layer_alone(capsys):
    torch.manual_seed(4)
    layer = memtorch.mn.Linear(nn.Linear(20, 6), **{**IDEAL, "verbose": True})
    bias = layer.bias.clone()
    layer.tune(input_shape=50)
    line = layer.transform_output
    x = torch.randn(30, 20)
    unit = float(layer.weight.abs().max()) / (1 / 50 - 1 / 1000)
    assert line(torch.tensor(1.0)) == pytest.approx(unit, rel=1e-4)
    layer.tune()  # twice is once
    assert layer.transform_output(torch.tensor(1.0)) == pytest.approx(unit, rel=1e-4)
    assert torch.equal(layer.bias, bias)
    assert not layer.forward_legacy_enabled
    torch.testing.assert_close(layer(x), nn.functional.linear(x, layer.weight, layer.bias))
    printed = capsys.readouterr().out
    assert "Patched" in printed
    assert "determination: 1.0" in printed
    assert naive_tune(layer, (5, 20), verbose=False)(torch.zeros(())) == pytest.approx(0, abs=1e-4)
    assert capsys.readouterr().out == ""


def test_channels_with_arrays_of_their_own_share_a_scale():
    torch.manual_seed(4)
    layer = nn.Conv3d(2, 3, 2)
    with torch.no_grad():
        layer.weight[:, 1] *= 0.01
    model = tuned(layer)
    x = torch.randn(1, 2, 3, 3, 3)
    torch.testing.assert_close(model(x), layer(x), rtol=1e-4, atol=1e-5)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU()), nn.MaxPool2d(2))
        self.heads = nn.ModuleDict({"a": nn.Linear(27, 4)})
        self.again = self.heads["a"]
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        x = self.drop(self.features(x).flatten(1))
        return self.heads["a"](x) + self.again(x)


def patched_net():
    torch.manual_seed(5)
    net = Net().eval()
    kinds = [nn.Linear, nn.Conv2d]
    model = patch_model(copy.deepcopy(net), module_parameters_to_patch=kinds, **IDEAL)
    return net, model, torch.rand(2, 1, 8, 8)


def test_models_are_patched_at_any_depth_and_shared_layers_stay_shared():
    net, model, x = patched_net()
    model.tune_({"Conv2d": {"input_shape": 8}, memtorch.mn.Linear: {"input_shape": 64}})
    assert type(model.features[0][0]) is memtorch.mn.Conv2d
    assert model.again is model.heads["a"]
    assert not model.training
    torch.testing.assert_close(model(x), net(x), rtol=1e-4, atol=1e-5)
    alone = patch_model(nn.Linear(3, 2), module_parameters_to_patch=[nn.Linear], **IDEAL)
    assert type(alone) is memtorch.mn.Linear
    alone.tune_()
    assert patch_model(model, module_parameters_to_patch=[nn.Linear], **IDEAL) is model


def test_legacy_forwards_are_digital_until_given_up():
    net, model, x = patched_net()
    torch.testing.assert_close(model.features[0][0].weight, net.features[0][0].weight)
    assert not any(p.requires_grad for p in model.heads.parameters())
    model.forward_legacy(True)
    assert torch.equal(model(x), net(x))
    model.forward_legacy(False)
    assert not torch.allclose(model(x), net(x))
    model.tune_()
    before = model(x)
    model.disable_legacy()
    assert model.heads["a"].weight is None
    assert not hasattr(model, "forward_legacy")
    assert torch.equal(model(x), before)
    with pytest.raises(ValueError, match="weight was given up"):
        model.tune_()
    model.set_cuda_malloc_heap_size(50)
    assert model.again.cuda_malloc_heap_size == 50


@pytest.mark.parametrize("tuned_first", [True, False])
def test_models_are_saved_copied_and_loaded(tuned_first):
    _, model, x = patched_net()
    if tuned_first:
        model.tune_()
    apply_nonidealities(
        model,
        [NonIdeality.DeviceFaults],
        lrs_proportion=0.1,
        hrs_proportion=0.0,
        electroform_proportion=0.0,
    )
    out = model(x)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    assert torch.equal(loaded(x), out)
    assert torch.equal(copy.deepcopy(model)(x), out)
    loaded.tune_()
    _, other, _ = patched_net()
    assert not torch.equal(other(x), out)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(x), out)
    double = model.double()
    torch.testing.assert_close(double(x.double()), out.double(), rtol=1e-4, atol=1e-4)
    assert double.again.crossbars[0].conductance_matrix.dtype == torch.float64


def test_gradients_reach_the_inputs_through_every_read():
    torch.manual_seed(6)
    for options in (
        {},
        {"ADC_resolution": 8, "quant_method": "linear", "tile_shape": (4, 3)},
        {"transistor": False, "source_resistance": 1.0, "line_resistance": 1.0},
    ):
        layer = memtorch.mn.Linear(nn.Linear(6, 5), **IDEAL, **options)
        x = torch.randn(2, 6, requires_grad=True)
        layer(x).sum().backward()
        assert float(x.grad.abs().min()) > 0


@pytest.mark.parametrize("scheme", list(Scheme))
@pytest.mark.parametrize("bits", [None, 12])
@pytest.mark.parametrize("name", ["linear", "conv2d", "conv3d"])
def test_simulated_reads_are_every_cells_own_current(name, bits, scheme):
    torch.manual_seed(7)
    make, shape = LAYERS[name]
    model = memtorch.bh.memristor.Data_Driven
    quant = {"ADC_resolution": bits, "quant_method": None if bits is None else "linear"}
    options = {"memristor_model": model, "tile_shape": (5, 3), "scheme": scheme}
    plain = patched(make(), **options)
    bent = copy.deepcopy(plain)
    for key, value in quant.items():
        setattr(bent[0], key, value)
    apply_nonidealities(bent, [NonIdeality.NonLinear], simulate=True)
    x = torch.empty(shape).uniform_(-1, 1)
    plain[0].bias = bent[0].bias = None
    expected = plain(0.24 * torch.sinh(3.0 * x))  # reads are linear in f(v)
    scale = float(expected.abs().max())
    torch.testing.assert_close(
        bent(x), expected, rtol=1e-3, atol=(1e-5 if bits is None else 3e-3) * scale
    )
    torch.testing.assert_close(bent(x), bent(x))


def stretched(crossbar, v):
    return v * float(crossbar.conductance_matrix.flatten()[0]) * 1e3


@pytest.mark.parametrize("bits", [None, 16])
@pytest.mark.parametrize("tile_shape", [None, (5, 3)])
def test_the_crossbars_of_a_pair_may_have_laws_of_their_own(bits, tile_shape):
    torch.manual_seed(7)
    layer = memtorch.mn.Linear(nn.Linear(7, 5, bias=False), **IDEAL, tile_shape=tile_shape)
    x, plain = torch.randn(3, 7), layer(torch.eye(7))
    positive, negative = layer.crossbars
    first, second = stretched(positive, 1.0), stretched(negative, 1.0)
    assert abs(first - second) > 0.1
    both = copy.deepcopy(layer)
    both.crossbars[1].conductance_matrix = torch.zeros_like(negative.conductance_matrix)
    alone = both(torch.eye(7))
    layer.non_linear = stretched
    layer.ADC_resolution, layer.quant_method = bits, None if bits is None else "linear"
    expected = first * x @ alone - second * x @ (alone - plain)
    torch.testing.assert_close(layer(x), expected, rtol=1e-3, atol=1e-4)


class Cubic(memtorch.bh.memristor.Memristor):
    """A user's own device: a current with a cubic part, and reads that move it."""

    def __init__(self, r_off=1e4, r_on=1e2, time_series_resolution=1e-3, **kwargs):
        super().__init__(r_off, r_on, time_series_resolution)
        self.g = 1 / r_on

    def simulate(self, voltage_signal, return_current=False):
        current = self.g * (np.asarray(voltage_signal) + 0.5 * np.asarray(voltage_signal) ** 3)
        self.g *= 1.1
        return current if return_current else None

    def set_conductance(self, conductance):
        self.g = conductance


@pytest.mark.parametrize("scheme", list(Scheme))
@pytest.mark.parametrize("tile_shape", [None, (3, 4)])
@pytest.mark.parametrize("name", ["linear", "conv1d"])
def test_layers_of_a_users_own_devices_work(name, tile_shape, scheme):
    torch.manual_seed(9)
    make, shape = LAYERS[name]
    layer, x = make(), torch.randn(shape)
    options = {"memristor_model": Cubic, "tile_shape": tile_shape, "scheme": scheme}
    model = tuned(layer, **options)
    torch.testing.assert_close(model(x), layer(x), rtol=1e-4, atol=1e-5)
    model[0].bias, unit = None, model[0].transform_output
    model[0].transform_output = lambda current: unit.slope * current
    expected = model(x + 0.5 * x**3)
    apply_nonidealities(model, [NonIdeality.NonLinear], simulate=True)
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)  # no trace left
    model[0].ADC_resolution, model[0].quant_method = 14, "linear"
    torch.testing.assert_close(model(x), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}, {"bias": False}])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_recurrent_layers_run_on_crossbars(options, nonlinearity):
    torch.manual_seed(8)
    digital = nn.RNN(4, 6, nonlinearity=nonlinearity, **options)
    x = torch.randn(5, 3, 4)
    layer = memtorch.mn.RNN(copy.deepcopy(digital), **IDEAL, tile_shape=(4, 4))
    layer.tune()
    output, hidden = digital(x)
    torch.testing.assert_close(layer(x), output, rtol=1e-4, atol=1e-5)
    model = patch_model(nn.ModuleList([digital]), module_parameters_to_patch=[nn.RNN], **IDEAL)
    model.tune_()
    h_0 = torch.randn_like(hidden)
    for found, wanted in zip(model[0](x, h_0), digital(x, h_0), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    single = model[0](x[:, 0])[0]
    torch.testing.assert_close(single, digital(x[:, 0])[0], rtol=1e-4, atol=1e-5)


def test_recurrent_layers_take_what_torch_s_take():
    torch.manual_seed(9)
    digital = nn.RNN(4, 6, 2, bidirectional=True, batch_first=True)
    layer = memtorch.mn.RNN(digital, **IDEAL)
    layer.tune()
    layer.return_hidden = True
    h_0 = torch.randn(4, 3, 6)
    packed = pack_sequence([torch.randn(n, 4) for n in (2, 5, 3)], enforce_sorted=False)
    for x in (torch.randn(3, 5, 4), packed):
        (output, hidden), (expected, h_n) = layer(x, h_0), digital(x, h_0)
        torch.testing.assert_close(hidden, h_n, rtol=1e-4, atol=1e-5)
        if x is packed:
            output, expected = output.data, expected.data
        torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)
    by_direction = h_0.unflatten(0, (2, 2)).transpose(0, 1)  # directions first
    torch.testing.assert_close(layer(packed, by_direction)[1], hidden)


def test_the_table_of_supported_layers():
    names = ("Linear", "Conv1d", "Conv2d", "Conv3d", "RNN")
    kinds = {name: getattr(nn, name) for name in names}
    assert {str(kinds[v.__name__]): v for v in supported_module_parameters.values()} == (
        supported_module_parameters
    )
    for value in supported_module_parameters.values():
        assert kinds[value.__name__] in value.__bases__
    order = [list(inspect.signature(getattr(memtorch.mn, f"Conv{d}d")).parameters) for d in (2, 3)]
    assert order[0] == order[1]


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        ({"transistor": False}, "source_resistance"),
        ({"transistor": False, "source_resistance": -1.0, "line_resistance": 1.0}, "R_source"),
        ({"quant_method": "linear", "ADC_resolution": 0}, "ADC_resolution"),
        ({"quant_method": "cubic", "ADC_resolution": 4}, "quant_method"),
        ({"scheme": "double"}, "scheme"),
        ({"tile_shape": (0, 3)}, "tile_shape"),
    ],
)
def test_what_cannot_be_is_refused(bad, match):
    for error in (ValueError, AssertionError):
        with pytest.raises(error, match=match):
            patched(nn.Linear(3, 2), **bad)


def test_other_layers_are_refused():
    with pytest.raises(ValueError, match="LSTM"):
        patch_model(nn.Sequential(nn.LSTM(3, 2)), module_parameters_to_patch=[nn.LSTM], **IDEAL)
    with pytest.raises(AssertionError, match="linear_layer"):
        memtorch.mn.Linear(nn.Conv2d(1, 1, 1), VTEAM, {})
    with pytest.raises(AssertionError, match="convolutional_layer"):
        memtorch.mn.Conv2d(nn.Conv1d(1, 1, 1), VTEAM, {})
    with pytest.warns(UserWarning, match="ADC_resolution"):
        patched(nn.Linear(3, 2), ADC_resolution=8)
    with pytest.raises(ValueError, match="input"):
        patched(nn.Conv2d(1, 1, 1))(torch.zeros(2, 3, 4, 4))
