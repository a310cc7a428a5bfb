"""Methods and functions of users' own are called wherever XBTorch called them."""

from __future__ import annotations

import copy
import io
import warnings
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from compat.nets import Net
from compat.overriding import counting, public_methods
from mho.compat import xbtorch
from mho.compat.xbtorch import nn as xbnn
from mho.compat.xbtorch.decomposition import FullOuterProduct
from mho.compat.xbtorch.deployment import (
    CollaborativeLoss,
    Daffodil,
    SimpleFixedPoint,
    compute_error,
    correction,
    encode_simple_binary,
    map_random,
)
from mho.compat.xbtorch.patches import xbtorch_model
from mho.compat.xbtorch.patches.decorators import xbtorch_layer

pytestmark = pytest.mark.filterwarnings("ignore:weights of many values")

# What is called when: by stage of a model's life, how often for a model of one matrix.
CHIP = {
    "GenericAccelerator.initialize_chip": {"construct": 1, "new chip": 1},
    "GenericAccelerator.gen_defect_map": {"construct": 1, "new chip": 1},
    "GenericAccelerator.get_xb_size": {"map": 2},
    "GenericAccelerator.map_weights_to_array": {"map": 1},
    "GenericAccelerator.read_chip": {"forward": 2, "error": 2, "plot": 1},
    "GenericAccelerator.apply_conductance_drift": {"forward": 2, "error": 2, "plot": 1},
    "GenericAccelerator.plot_array": {"plot": 1},
    "GenericAccelerator.DAC_quantize": {"forward": 1},
    "GenericAccelerator.ADC_quantize": {"forward": 1},
    "SimpleFixedPoint.DAC_quantize": {"forward": 1},
    "SimpleFixedPoint.ADC_quantize": {"forward": 1},
    "Daffodil.DAC_quantize": {"forward": 1},
    "Daffodil.ADC_quantize": {"forward": 1},
    "Daffodil.dac_invertvout": {"forward": 1},
    "Daffodil.dac_calcvout": {"forward": 1},
    "Daffodil.adc_invert_voltage": {"forward": 1},
    "Daffodil.adc_predict_voltage": {"forward": 1},
}
NO_CHIP = {
    "GenericAccelerator.map_weights_to_array_stateless": {"forward": 1, "error": 1},
    "GenericAccelerator.read_chip_stateless": {"forward": 2, "error": 2},
    "GenericAccelerator.apply_conductance_drift": {"forward": 2, "error": 2},
    "GenericAccelerator.initialize_chip": {"construct": 1, "new chip": 1},
    "GenericAccelerator.DAC_quantize": {"forward": 1},
    "GenericAccelerator.ADC_quantize": {"forward": 1},
}
ELSEWHERE = {
    "CollaborativeLogisticClassifier.forward",
    "CollaborativeLoss.forward",
    "SelectLastStep.forward",
}
X = torch.linspace(-1, 1, 30).reshape(5, 6)


def linear():
    layer = nn.Linear(6, 3, bias=False)
    layer.weight.data = (torch.arange(18).reshape(3, 6) % 3 - 1) * 0.5
    return layer


def deployed(accelerator, *layers):
    xbtorch.initialize(inference_accelerator=accelerator)
    model = xbtorch_model(Net(*(layers or (linear(),))))
    if accelerator.stateful:
        model.initialize_array_mappings()
    model.xb_eval()
    return model


def no_chip(**options):
    return SimpleFixedPoint(**{"adc_bits": 16, "dac_bits": 16, "stateful": False, **options})


@pytest.fixture(autouse=True)
def _session():
    torch.manual_seed(0)
    yield
    xbtorch.initialize()


def stages(kind, stateful, calls):
    """Return how often the counted method is called in each stage."""
    found = {}

    def lap(stage):
        found[stage] = sum(calls.values())
        calls.clear()

    options = {} if kind.__mro__[1] is Daffodil else {"xb_size": (30, 40), "stateful": stateful}
    accelerator = kind(**options)
    lap("construct")
    model = deployed(accelerator)
    lap("map")
    model(X)
    lap("forward")
    model(X)
    lap("forward again")
    compute_error(model)
    lap("error")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    accelerator.plot_array(0, 3, 0, 4)
    pyplot.close("all")
    lap("plot")
    accelerator.initialize_chip()
    lap("new chip")
    assert found["forward"] == found.pop("forward again")
    return {stage: count for stage, count in found.items() if count}


@pytest.mark.parametrize(
    ("method", "stateful"), [(m, True) for m in CHIP] + [(m, False) for m in NO_CHIP]
)
def test_methods_of_accelerators_are_called(method, stateful):
    owner, name = method.split(".")
    kind, calls = counting(Daffodil if owner == "Daffodil" else SimpleFixedPoint, name)
    assert stages(kind, stateful, calls) == (CHIP if stateful else NO_CHIP)[method]


def test_no_public_method_is_forgotten():
    kinds = ("Accelerator", "Daffodil", "SimpleFixedPoint", "Collaborative", "SelectLastStep")
    found = {m for m in public_methods("xbtorch") if any(k in m.split(".")[0] for k in kinds)}
    assert found == set(CHIP) | set(NO_CHIP) | ELSEWHERE


@pytest.mark.parametrize("how", ["class", "instance", "mother", "unrelated"])
def test_overrides_are_found_however_they_are_made(how, monkeypatch):
    called = []

    def read_chip(self, row, n_rows, col, n_cols, fast_mode=True):
        called.append((row, n_rows, col, n_cols))
        return self._chip[row : row + n_rows, col : col + n_cols]

    kind = SimpleFixedPoint
    if how == "class":
        kind = type("Mine", (SimpleFixedPoint,), {"read_chip": read_chip})
    accelerator = kind(adc_bits=16, dac_bits=16, xb_size=(30, 40))
    if how == "instance":
        accelerator.read_chip = partial(read_chip, accelerator)
    elif how == "mother":
        monkeypatch.setattr("mho.compat.xbtorch.deployment.GenericAccelerator.read_chip", read_chip)
    elif how == "unrelated":
        accelerator = Unrelated(accelerator, read_chip)
    model = deployed(accelerator)
    torch.testing.assert_close(model(X), X @ linear().weight.T, rtol=1e-3, atol=1e-3)
    assert len(called) == 2
    assert {shape[1::2] for shape in called} == {(3, 6)}


class Unrelated:
    """An accelerator of no class of XBTorch's."""

    def __init__(self, inner, read):
        self.inner, self._chip, self.read_chip = inner, inner._chip, partial(read, inner)

    def __getattr__(self, name):
        if name.startswith("__") or name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)

    def DAC_quantize(self, vector):  # noqa: N802
        return vector

    def ADC_quantize(self, vector):  # noqa: N802
        return vector


def test_what_overriding_methods_return_is_what_is_read():
    class Half(SimpleFixedPoint):
        def read_chip(self, *place, **options):
            return 0.5 * super().read_chip(*place, **options)

    class Leaky(SimpleFixedPoint):
        def apply_conductance_drift(self, G):
            return G * 0.8

    options = {"adc_bits": 16, "dac_bits": 16, "xb_size": (30, 40)}
    expected = X @ linear().weight.T
    for kind, factor in ((Half, 0.5), (Leaky, 0.8)):
        model = deployed(kind(**options))
        torch.testing.assert_close(model(X), factor * expected, rtol=1e-3, atol=1e-3)
    model = deployed(Leaky(**{**options, "stateful": False}))
    torch.testing.assert_close(model(X), 0.8 * expected, rtol=1e-3, atol=1e-3)


def test_own_methods_may_know_other_settings():
    class Pulses(SimpleFixedPoint):
        def DAC_quantize(self, vector):  # noqa: N802
            assert self.input_encoding_scheme == "pwm"
            return vector

        def gen_defect_map(self, stuck_percentage):
            return [[0], [1]], [77.0]

    accelerator = Pulses(16, 16, input_encoding_scheme="pwm", stuck_mode="mine", xb_size=(30, 40))
    assert float(accelerator.read_chip(0, 2, 0, 2)[0, 1]) == 77.0
    accelerator._chip[0, 1] = 75.0
    model = deployed(accelerator)
    assert float(accelerator._chip[0, 1]) == 77.0
    assert model(X).shape == (5, 3)
    for wrong in ({"input_encoding_scheme": "pwm"}, {"stuck_mode": "mine"}):
        with pytest.raises(ValueError, match="must be one of"):
            SimpleFixedPoint(**wrong)


@pytest.mark.parametrize("stateful", [True, False])
def test_both_ways_of_reading_find_the_same_cells(stateful):
    options = {"write_noise": 5.0, "retention_time": 50.0, "drift_coefficient": 0.05}
    options |= {"drift_variation": 0.03, "stateful": stateful, "programming_seed": 3}
    outputs = []
    for name in ((), ("read_chip", "read_chip_stateless")):
        torch.manual_seed(1)
        kind, _ = counting(SimpleFixedPoint, *name)
        model = deployed(kind(16, 16, xb_size=(30, 40), **options))
        outputs.append(model(X))
        assert torch.equal(outputs[-1], model(X))
    torch.testing.assert_close(outputs[0], outputs[1])
    model.model[0].inference_accelerator.read_noise = 5.0
    assert not torch.equal(model(X), model(X))


@pytest.mark.parametrize("how", ["function", "partial", "lambda"])
def test_encodings_of_ones_own(how):
    calls = []

    def encode(accelerator, sw_weight, pos_idxs=[], neg_idxs=[], additional_args={}):  # noqa: B006
        calls.append((len(pos_idxs), dict(additional_args)))
        return encode_simple_binary(accelerator, sw_weight, pos_idxs, neg_idxs, additional_args)

    def lonely(accelerator, sw_weight):
        calls.append((0, {}))
        return encode_simple_binary(accelerator, sw_weight)

    scheme = {
        "function": encode,
        "partial": partial(encode),
        "lambda": lambda *args, **options: encode(*args, **options),
    }[how]
    accelerator = SimpleFixedPoint(16, 16, xb_size=(30, 40), weight_encoding_scheme=scheme)
    model = deployed(accelerator)
    model.initialize_array_mappings(additional_args={"zero_tol": 0.01})
    assert calls == [(1, {}), (1, {"zero_tol": 0.01})]
    calls.clear()
    model(X)
    assert not calls
    for given in (scheme, lonely):
        model = deployed(no_chip(weight_encoding_scheme=given))
        model(X)
        found = model(X)
        assert calls == [(0, {})] * 2  # cells without a chip are programmed for every forward
        torch.testing.assert_close(found, X @ linear().weight.T, rtol=1e-3, atol=1e-3)
        calls.clear()


def test_mapping_schemes_of_ones_own():
    calls = []

    def below(accelerator, layer_shape, beta=1, current_mappings=[]):  # noqa: B006
        row = sum(shape[0] for _, shape in current_mappings)
        current_mappings.append(((row, 0), layer_shape))
        calls.append(tuple(layer_shape))
        return [torch.tensor([row, 0]).numpy()]

    model = deployed(SimpleFixedPoint(16, 16, xb_size=(30, 40), xb_mapping_scheme=below))
    assert calls == [(3, 6)] * 2
    places = model.get_array_mappings()[0]
    assert [list(map(int, places[side][0])) for side in ("Gpos", "Gneg")] == [[0, 0], [3, 0]]
    torch.testing.assert_close(model(X), X @ linear().weight.T, rtol=1e-3, atol=1e-3)
    fixed = iter([[(0, 0)], [(9, 9)]])
    accelerator = SimpleFixedPoint(xb_size=(30, 40), xb_mapping_scheme=lambda *_: next(fixed))
    places = deployed(accelerator).get_array_mappings()
    assert places == [{"Gpos": [(0, 0)], "Gneg": [(9, 9)]}]


def test_masks_of_ones_own_say_which_rows_are_averaged():
    masks = torch.tensor([[1.0, 1, 0], [0, 1, 0], [1, 1, 1]])

    def encode(accelerator, sw_weight, pos_idxs, neg_idxs, additional_args):
        positive, negative = encode_simple_binary(accelerator, sw_weight, pos_idxs, neg_idxs)
        for k in range(3):
            positive[k] *= k + 1
        return positive, negative, masks, torch.ones_like(masks)

    accelerator = SimpleFixedPoint(
        *(20, 20),
        xb_size=(40, 60),
        weight_encoding_scheme=encode,
        xb_mapping_scheme=partial(map_random, beta=3),
    )
    model = deployed(accelerator)
    model.initialize_array_mappings("reduced_avg")
    mean = (masks * torch.arange(1.0, 4.0)[:, None]).sum(0) / masks.sum(0)
    positive, negative = ((sign * linear().weight > 0) * 50 + 50 for sign in (1, -1))
    expected = X @ (mean[:, None] * positive - negative).T * 0.5 / 50
    torch.testing.assert_close(model(X), expected, rtol=1e-3, atol=1e-3)


# ── layers ───────────────────────────────────────────────────────────────────────────────────


class Doubling(nn.Linear):
    def __init__(self, *args, factor=2.0, **options):
        super().__init__(*args, **options)
        self.factor = factor

    def forward(self, x):
        return self.factor * super().forward(x)


class Functional(nn.Linear):
    def forward(self, x):
        return F.linear(x, weight=self.weight, bias=self.bias).abs()


class Blind(nn.Linear):
    def forward(self, x):
        return x @ self.weight.T


Decorated = xbtorch_layer(Doubling)


@pytest.mark.parametrize("kind", [Doubling, Functional])
@pytest.mark.parametrize("replace_all", [True, False])
def test_layers_of_ones_own_are_deployed_with_their_forward(kind, replace_all):
    model = Net(kind(6, 3))
    model.model[0].weight.data = linear().weight.data
    expected = model(X)
    accelerator = SimpleFixedPoint(16, 16, stateful=not replace_all, xb_size=(30, 40))
    driven = []
    accelerator.DAC_quantize = lambda v: driven.append(1) or v
    xbtorch.initialize(inference_accelerator=accelerator)
    patched = xbtorch_model(model, replace_all=replace_all)
    assert isinstance(patched.model[0], kind)
    torch.testing.assert_close(patched(X), expected)
    assert not driven
    if not replace_all:
        patched.initialize_array_mappings()
    patched.xb_eval()
    torch.testing.assert_close(patched(X), expected, rtol=1e-3, atol=1e-3)
    assert len(driven) == 1


def test_decorated_layers_call_what_overrides_their_forward():
    xbtorch.initialize(inference_accelerator=no_chip())
    kinds = {kind: counting(kind, "forward") for kind in (Decorated, xbnn.Linear)}
    for kind, (counted, calls) in kinds.items():
        layer = counted(6, 3, bias=False)
        layer.weight.data = linear().weight.data
        model = xbtorch_model(Net(layer))
        model.xb_eval()
        factor = 2.0 if kind is Decorated else 1.0
        torch.testing.assert_close(model(X), factor * X @ layer.weight.T, rtol=1e-3, atol=1e-3)
        assert calls["forward"] == 1


@pytest.mark.parametrize("kind", [Doubling, Functional, nn.Linear])
def test_samples_are_those_of_the_product(kind):
    xbtorch.initialize(decomposition_algorithm=FullOuterProduct())
    layer = xbtorch_model(Net(kind(6, 3))).model[0]
    layer(X).square().sum().backward()
    torch.testing.assert_close(layer.weight.delta.T @ layer.weight.input, layer.weight.grad)


def test_weights_that_are_computed_are_deployed():
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(6, 3))
    expected = layer(X)
    accelerator = no_chip(weight_encoding_args={"bits": 12, "zero_tol": 0.0})
    model = deployed(accelerator, layer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = model(X)
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=2e-3)
    assert not torch.equal(found, expected)


def test_a_forward_that_does_without_torchs_functions_says_so():
    xbtorch.initialize(inference_accelerator=no_chip())
    model = xbtorch_model(Net(Blind(6, 3)))
    model.xb_eval()
    with pytest.warns(UserWarning, match="Blind is deployed, but"):
        model(X)


@pytest.mark.parametrize("packed", [True, False])
def test_recurrent_layers_of_ones_own(packed):
    class Last(nn.LSTM):
        def forward(self, x):
            output, state = super().forward(x)
            return output, state[0] + 1.0

    layer = Last(5, 4)
    for name, p in layer.named_parameters():
        if name.startswith("weight"):
            p.data = (torch.arange(p.numel()).reshape(p.shape) % 3 - 1) * 0.5
    x = torch.randn(3, 2, 5)
    x = pack_sequence([x[:2, 0], x[:, 1]], enforce_sorted=False) if packed else x
    expected = layer(x)
    model = deployed(no_chip(adc_bits=20, dac_bits=20), layer)
    for found, wanted in zip(model(x), expected, strict=True):
        found, wanted = (y.data if hasattr(y, "data") else y for y in (found, wanted))
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)
    assert model.xb_forward


def test_convolutions_are_contiguous_and_padded_as_torch_does():
    layer = nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular", groups=2)
    layer.weight.data = (torch.arange(36).reshape(4, 1, 3, 3) % 3 - 1) * 0.5
    x = torch.randn(2, 2, 5, 5)
    expected = layer(x)
    found = deployed(no_chip(adc_bits=20, dac_bits=20), layer)(x)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    assert found.is_contiguous()
    assert found.view(2, -1).shape == (2, 100)


# ── patching ─────────────────────────────────────────────────────────────────────────────────


def test_layers_left_digital_are_named_once_by_kind():
    model = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Conv1d(4, 4, 1), "c": nn.Conv1d(4, 4, 1)})
    model["d"] = nn.MultiheadAttention(4, 2)
    model["skipped"] = nn.GRU(4, 4)
    xbtorch.initialize(inference_accelerator=no_chip())
    with pytest.warns(UserWarning, match="left as they are, digital") as record:
        xbtorch_model(model, replace_all=True, exclude=["skipped"])
    (text,) = [str(w.message) for w in record]
    assert "Conv1d (b, c)" in text
    assert "MultiheadAttention (d)" in text
    assert "GRU" not in text
    for nothing in (nn.Sequential(nn.ReLU()), nn.Sequential(nn.Conv1d(1, 1, 1))):
        with pytest.warns(UserWarning, match="replaced nothing"):
            xbtorch_model(nothing, replace_all=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        xbtorch_model(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), replace_all=True)


def test_transformers_call_their_deployed_layers():
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    accelerator = no_chip()
    calls = []
    accelerator.ADC_quantize = lambda v: calls.append(1) or v
    xbtorch.initialize(inference_accelerator=accelerator)
    with pytest.warns(UserWarning, match="MultiheadAttention"):
        xbtorch_model(model, replace_all=True)
    model.xb_eval()
    with torch.no_grad():
        model(torch.randn(2, 3, 8))
    assert len(calls) == 2


def test_shared_layers_and_tied_weights_stay_so():
    shared = nn.Linear(4, 4)
    model = nn.ModuleDict({"a": nn.Sequential(shared), "b": shared, "c": nn.Linear(4, 4)})
    model["c"].weight = shared.weight
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    xbtorch.initialize()
    xbtorch_model(model, replace_all=True)
    assert model["a"][0] is model["b"]
    assert isinstance(model["b"], xbnn.Linear)
    assert model["c"].weight is model["b"].weight is optimizer.param_groups[0]["params"][0]
    assert not isinstance(shared, xbnn.Linear)
    shared.weight = nn.Parameter(torch.zeros(4, 4))  # of the layer that was replaced
    assert bool((model["b"].weight != 0).any())


def test_checkpoints_go_both_ways_and_hold_tensors_only():
    digital = Net(nn.Linear(6, 4), nn.Conv2d(1, 1, 1), nn.LSTM(3, 3))
    saved = digital.state_dict()
    xbtorch.initialize(inference_accelerator=SimpleFixedPoint(xb_size=(50, 50)))
    patched = xbtorch_model(copy.deepcopy(digital))
    patched.initialize_array_mappings()
    patched.xb_eval()
    state = patched.state_dict()
    assert list(state) == list(saved)
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    digital.load_state_dict(torch.load(file, weights_only=True))
    patched.load_state_dict(saved)


@pytest.mark.parametrize("stateful", [True, False])
def test_patched_models_of_own_layers_are_copied_and_saved(stateful):
    accelerator = SimpleFixedPoint(16, 16, stateful=stateful, xb_size=(30, 40), write_noise=3.0)
    model = deployed(accelerator, Doubling(6, 3, factor=3.0), xbnn.Linear(3, 2))
    expected = model(X)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for other in (copy.deepcopy(model), torch.load(file, weights_only=False)):
        assert type(other.model[0]) is type(model.model[0])
        torch.testing.assert_close(other(X), expected)
        other.model[0].inference_accelerator.initialize_chip()
        torch.testing.assert_close(model(X), expected)
    again = copy.deepcopy(accelerator)
    assert again.get_xb_size() == accelerator.get_xb_size()


@pytest.mark.parametrize(
    ("scheme", "bits", "warned"), [(encode_simple_binary, None, True), (None, 8, False)]
)
def test_float_weights_mapped_by_sign_are_reported(scheme, bits, warned):
    options = {"weight_encoding_scheme": scheme} if scheme else {}
    args = {"bits": bits} if bits else None
    accelerator = no_chip(weight_encoding_args=args, **options)
    for layer, expected in ((nn.Linear(30, 20), warned), (linear(), False)):
        model = deployed(accelerator, layer)
        with warnings.catch_warnings(record=True) as record:
            warnings.simplefilter("always")
            model(torch.randn(2, layer.in_features))
        found = [str(w.message) for w in record]
        assert bool(found) == expected
        assert all('weight_encoding_args={"bits": 8}' in text for text in found)


def test_collaborative_layers_call_what_overrides_their_forward():
    classifier, calls = counting(correction.CollaborativeLogisticClassifier, "forward")
    output = classifier(4, 3)(torch.randn(2, 4))
    loss, more = counting(CollaborativeLoss, "forward")
    loss(torch.zeros(2, 3), nn.Linear(1, 1))(output, torch.tensor([0, 1])).backward()
    last, calls_of_last = counting(xbnn.SelectLastStep, "forward")
    nn.Sequential(nn.LSTM(2, 2, batch_first=True), last())(torch.randn(1, 3, 2))
    assert calls["forward"] == more["forward"] == calls_of_last["forward"] == 1
