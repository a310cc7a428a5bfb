"""What users are used to at deployment: arrays for tensors, names, refusals, gradients."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import mho
from compat.nets import Net
from compat.overriding import counting
from mho.compat import xbtorch
from mho.compat.xbtorch.deployment import (
    Daffodil,
    SimpleFixedPoint,
    correction,
    encode_LEA1,
    encode_LEA2,
    encode_MAO,
    encode_simple_binary,
    map_random,
    metrics,
    train_collaborative,
)
from mho.compat.xbtorch.deployment import test_collaborative as collaborative_accuracy
from mho.compat.xbtorch.deployment.weight_encoding import quantize_to_nearest
from mho.compat.xbtorch.patches import xbtorch_model

WEIGHT = torch.tensor([[0.5, -0.5, 0.0, 0.5], [0.0, 0.0, 0.5, 0.5], [-0.5, 0.5, -0.5, 0.0]])
X = torch.linspace(-1, 1, 20).reshape(5, 4)


def small(**options):
    return SimpleFixedPoint(**{"adc_bits": 14, "dac_bits": 14, "xb_size": (40, 50), **options})


def deployed(accelerator, weight=WEIGHT, mode="avg", **options):
    xbtorch.initialize(inference_accelerator=accelerator)
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight.data = weight.clone()
    model = xbtorch_model(Net(layer))
    if accelerator.stateful:
        model.initialize_array_mappings(mode, **options)
    model.xb_eval()
    return model


@pytest.fixture(autouse=True)
def _session():
    torch.manual_seed(0)
    yield
    xbtorch.initialize()


# ── numbers and arrays ───────────────────────────────────────────────────────────────────────


def test_arrays_and_numbers_for_tensors():
    chip, free = (small(drift_coefficient=0.05, retention_time=10.0, stateful=s) for s in (1, 0))
    curve = np.linspace(-1, 1, 7)
    for convert in (chip.DAC_quantize, chip.ADC_quantize):
        torch.testing.assert_close(convert(curve), convert(torch.from_numpy(curve)))
    expected = 100 * 10**-0.05
    for G in (100.0, 100, np.full(3, 100.0), np.float32(100)):
        found = chip.apply_conductance_drift(G)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(free.read_chip_stateless(np.full(3, 100.0)), expected, rtol=1e-6)
    for eye in (np.eye(3), np.eye(3, dtype=np.int64), torch.eye(3, dtype=torch.int64)):
        chip.map_weights_to_array(eye, [(0, 0)], [(5, 0)])
        assert float(chip._chip[1, 1]) == 100.0
        assert float(chip._chip[5:8, :3].max()) == 50.0
        (positive,), _ = free.map_weights_to_array_stateless(eye)
        assert positive.tolist() == [[100, 50, 50], [50, 100, 50], [50, 50, 100]]
        assert encode_LEA2(chip, eye)[0][0].tolist() == positive.tolist()
        assert metrics.error_mapping(chip, eye, [(0, 0)], [(5, 0)])[0][0] < 20


@pytest.mark.parametrize("make", [float, np.float64, lambda v: np.full(3, v)])
def test_the_board_takes_numbers(make):
    board = Daffodil(read_noise=0, write_noise=0)
    for method in ("dac_calcvout", "dac_invertvout", "DAC_quantize", "ADC_quantize"):
        found = getattr(board, method)(make(0.2))
        wanted = getattr(board, method)(torch.tensor(0.2))
        np.testing.assert_allclose(found, wanted.expand(np.shape(found)), rtol=1e-5)
    assert float(board.adc_invert_voltage(board.adc_predict_voltage(100))) == 100


def test_nearest_states_of_numbers_and_arrays():
    values, expected = [51.0, 99.0, 1000.0, 20.0], [50.0, 100.0, 100.0, 50.0]
    assert [quantize_to_nearest(v, 50.0, 10.0, 6) for v in values] == expected
    assert quantize_to_nearest(np.array(values), 50.0, 10.0, 6).tolist() == expected
    assert quantize_to_nearest(torch.tensor(values), 50.0, 10.0, 6).tolist() == expected


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"g_min": 100, "g_max": 50}, ValueError, "g_max must be > 100, got 50"),
        ({"stuck_percentage": 2}, ValueError, "stuck_percentage must be"),
        ({"v_read": 0}, ValueError, "v_read must be > 0"),
        ({"xb_size": 5}, TypeError, "xb_size must be two numbers, got 5"),
    ],
)
def test_refusals_are_in_the_users_words(wrong, error, message):
    with pytest.raises(error, match=f"^{message}"):
        small(**wrong)


def test_broken_cells_are_as_many_as_the_share_says():
    assert len(small(xb_size=(10, 10), stuck_percentage=0.29).defect_map[1]) == 29
    assert xbtorch.__version__ == mho.__version__


# ── encodings ────────────────────────────────────────────────────────────────────────────────


def by_keyword(accelerator, sw_weight, pos_idxs, neg_idxs, additional_args):
    return encode_simple_binary(accelerator, sw_weight)


def of_numpy(accelerator, sw_weight):
    positive, negative = encode_simple_binary(accelerator, sw_weight)
    return [positive[0].numpy()], [negative[0].numpy()]


def one_matrix(accelerator, sw_weight):
    return tuple(side[0] for side in encode_simple_binary(accelerator, sw_weight))


def stacked(accelerator, sw_weight, pos_idxs):
    w, copies = sw_weight.numpy(), max(1, len(pos_idxs))
    return np.stack([50 + 50 * (w > 0)] * copies), np.stack([50 + 50 * (w < 0)] * copies)


@pytest.mark.parametrize("stateful", [True, False])
@pytest.mark.parametrize("encode", [by_keyword, of_numpy, one_matrix, stacked])
def test_encodings_of_ones_own_may_be_short(encode, stateful):
    model = deployed(small(weight_encoding_scheme=encode, stateful=stateful))
    torch.testing.assert_close(model(X), X @ WEIGHT.T, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("encode", [encode_LEA2, encode_MAO])
@pytest.mark.parametrize("states", [2, np.int64(4), 4.0])
def test_without_a_chip_there_is_one_copy(encode, states):
    scheme = partial(encode, states=states)
    model = deployed(small(stateful=False, weight_encoding_scheme=scheme))
    torch.testing.assert_close(model(X), X @ WEIGHT.T, rtol=1e-3, atol=1e-3)
    with pytest.raises(TypeError, match="states must be an integer"):
        encode(small(), WEIGHT, states=2.5)


def test_layer_ensembles_say_what_they_need():
    accelerator = small(weight_encoding_scheme=encode_LEA1)
    args = {"alpha": np.int64(2), "beta": np.float64(3)}
    with pytest.raises(ValueError, match=r"xb_mapping_scheme=partial\(map_random, beta=3\)"):
        deployed(accelerator, additional_args=args)
    accelerator.xb_mapping_scheme = partial(map_random, beta=np.int64(3))
    model = deployed(accelerator, mode="reduced_avg", additional_args=args)
    torch.testing.assert_close(model(X), X @ WEIGHT.T, rtol=1e-3, atol=1e-3)


# ── reads ────────────────────────────────────────────────────────────────────────────────────


def test_writes_to_the_chip_are_read_however_they_are_made():
    accelerator = small()
    model = deployed(accelerator)
    expected = model(X)
    accelerator._chip.data.mul_(0.5)
    torch.testing.assert_close(model(X), 0.5 * expected, rtol=1e-3, atol=1e-3)
    accelerator._chip.numpy()[:] *= 2
    torch.testing.assert_close(model(X), expected, rtol=1e-3, atol=1e-3)
    accelerator._chip = accelerator._chip * 0.25
    torch.testing.assert_close(model(X), 0.25 * expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("stateful", [True, False])
def test_arrays_are_combined_once(stateful):
    scheme = partial(encode_LEA2, states=4)
    options = {"drift_coefficient": 0.05, "retention_time": 2.0, "drift_variation": 0.01}
    options |= {"stuck_percentage": 0.1} if stateful else {}
    model = deployed(small(stateful=stateful, weight_encoding_scheme=scheme, **options))
    model(X)
    found = model.model[0]._xb_found["weight"]
    model(X)
    assert model.model[0]._xb_found["weight"] is found
    model.model[0].inference_accelerator.retention_time = 3.0
    model(X)
    assert model.model[0]._xb_found["weight"] is not found


def test_a_new_chip_wants_to_be_written():
    accelerator = small()
    model = deployed(accelerator)
    accelerator.initialize_chip()
    with pytest.warns(UserWarning, match="call initialize_array_mappings"):
        model(X)


@pytest.mark.parametrize("stateful", [True, False])
def test_noisy_reads_of_old_are_clamped(stateful):
    outputs = []
    for names in ((), ("read_chip", "read_chip_stateless")):
        torch.manual_seed(2)
        kind, _ = counting(SimpleFixedPoint, *names)
        accelerator = kind(
            *(16, 16),
            **{"xb_size": (90, 90), "stateful": stateful, "read_noise": 10, "legacy": True},
        )
        model = deployed(accelerator, (torch.arange(1200).reshape(30, 40) % 3 - 1) * 0.5)
        matrix = model.model[0]._xb_read("weight")
        assert float(matrix.abs().max()) <= 50
        outputs.append(model(torch.eye(40)))
    assert torch.equal(*outputs)


@pytest.mark.parametrize("inputs", ["instant", "linear"])
def test_no_gradient_is_lost(inputs):
    model = deployed(small(input_encoding_scheme=inputs))
    x = X.clone().requires_grad_()
    model(x).square().sum().backward()
    expected = 2 * X @ WEIGHT.T @ WEIGHT
    torch.testing.assert_close(x.grad, expected, rtol=1e-2, atol=1e-2)


# ── patching ─────────────────────────────────────────────────────────────────────────────────


def test_names_of_layers_stay_under_wage():
    xbtorch.initialize(wage_quantize=True)
    parts = OrderedDict(fc1=nn.Linear(4, 4), act=nn.ReLU(), fc2=nn.Linear(4, 2))
    model = Net()
    model.model = nn.Sequential(parts)
    for _ in range(2):  # again: the same quantisers
        names = [name for name, _ in xbtorch_model(model).model.named_children()]
        assert names == ["quantizer_first", "fc1", "act", "quantizer_act", "fc2", "quantizer_last"]
    assert isinstance(model.model.fc2, xbtorch.nn.Linear)
    numbered = xbtorch_model(Net(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)))
    assert [name for name, _ in numbered.model.named_children()] == list("012345")
    xbtorch.initialize()
    names = [name for name, _ in xbtorch_model(model).model.named_children()]
    assert names == ["fc1", "act", "fc2"]


def test_excluded_layers_are_named_by_name_or_path():
    xbtorch.initialize(inference_accelerator=small(stateful=False))

    def patched(exclude):
        model = xbtorch_model(Net(nn.Linear(4, 4), nn.Linear(4, 4)), True, exclude)
        return [isinstance(layer, xbtorch.nn.Linear) for layer in model.model]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert patched(["model.1"]) == patched(["1"]) == [True, False]
    with pytest.warns(UserWarning, match="exclude names what the model has not: 'modle'"):
        assert patched(["modle"]) == [True, True]


def test_layers_without_weights_are_not_reported(capsys):
    xbtorch.initialize()
    xbtorch_model(Net(nn.LSTM(2, 2, batch_first=True), xbtorch.nn.SelectLastStep(), nn.Upsample()))
    assert capsys.readouterr().out == ""


def test_models_share_a_list_of_places():
    first = deployed(small())
    second = xbtorch_model(Net(nn.Linear(4, 3)))
    with pytest.raises(TypeError, match="give all models of a chip the same one"):
        second.initialize_array_mappings(existing_mappings=first.get_array_mappings())


def test_collaborative_classifiers_behind_convolutions():
    images, labels = torch.randn(6, 1, 4, 4), torch.arange(6) % 2
    model = Net(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2))
    _, code = correction.dnn_favorable_searching_code(np.ones((2, 2)), 3)
    correction.add_collaborative_logistic_classifiers(model, 3, idx=-1)
    loss = correction.CollaborativeLoss(code, model)
    data = [(images, labels)]
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(60):
        train_collaborative(model, data, optimizer, loss, code, "cpu")
    assert collaborative_accuracy(model, data, code, "cpu") == 1.0
