"""Recurrent layers on crossbars against torch's: every option, both paths, packed sequences."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
)

import mho
from mho.testing import LayerContract

FLOAT = torch.float64


class _Layer(LayerContract):
    def inputs(self):
        return (torch.randn(6, 4, 5),)


class TestTanhRNN(_Layer):
    def layer(self):
        return nn.RNN(5, 4)


class TestReluRNN(_Layer):
    def layer(self):
        return nn.RNN(5, 4, nonlinearity="relu", bias=False)


class TestLSTM(_Layer):
    def layer(self):
        return nn.LSTM(5, 4, 2, dropout=0.3, bidirectional=True)


class TestProjectedLSTM(_Layer):
    def layer(self):
        return nn.LSTM(5, 4, batch_first=True, proj_size=2)


class TestGRU(_Layer):
    def layer(self):
        return nn.GRU(5, 4, 2)


class TestGRUWithState(LayerContract):
    calibrated = False

    def layer(self):
        return nn.GRU(5, 4, bidirectional=True)

    def inputs(self):
        return torch.randn(6, 3, 5), torch.randn(2, 3, 4)


class TestPackedLSTM(LayerContract):
    calibrated = False

    def layer(self):
        return nn.LSTM(5, 4, 2, bidirectional=True)

    def inputs(self):
        return (pack_sequence([torch.randn(n, 5) for n in (2, 5, 1)], enforce_sorted=False),)


def _flat(value):
    if isinstance(value, PackedSequence):
        return [value.data]
    if isinstance(value, torch.Tensor):
        return [value]
    return [tensor for item in value for tensor in _flat(item)]


def _general(layer):
    """Force the general path."""
    for module in layer.modules():
        if isinstance(module, mho.Crossbar):
            module.commit(observed=True)
    return layer


def _agree(found, wanted, tolerance=1e-10):
    for y, w in zip(_flat(found), _flat(wanted), strict=True):
        torch.testing.assert_close(y, w, rtol=tolerance, atol=tolerance)


@st.composite
def _cases(draw):
    """A torch layer, its arguments, and whether the bias is on the array."""
    kind = draw(st.sampled_from([nn.RNN, nn.LSTM, nn.GRU]))
    options = {
        "num_layers": draw(st.integers(1, 3)),
        "bidirectional": draw(st.booleans()),
        "batch_first": draw(st.booleans()),
        "bias": draw(st.booleans()),
    }
    if kind is nn.RNN:
        options["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    if kind is nn.LSTM:
        options["proj_size"] = draw(st.sampled_from([0, 2]))
    torch.manual_seed(draw(st.integers(0, 1000)))
    layer = kind(3, 4, dtype=FLOAT, **options)
    form = draw(st.sampled_from(["padded", "unbatched", "packed", "packed sorted"]))
    lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    batch: tuple[int, ...] = (len(lengths),)
    if form == "unbatched":
        x, batch = torch.randn(lengths[0], 3, dtype=FLOAT), ()
    elif form == "padded":
        size = (lengths[0], len(lengths), 3)
        x = torch.randn(size, dtype=FLOAT)
        x = x.transpose(0, 1) if layer.batch_first else x
    else:
        sequences = [torch.randn(n, 3, dtype=FLOAT) for n in lengths]
        if form == "packed sorted":
            sequences.sort(key=len, reverse=True)
        x = pack_sequence(sequences, enforce_sorted=form == "packed sorted")
    hx = None
    if draw(st.booleans()):
        lead = (layer.num_layers * (1 + layer.bidirectional), *batch)
        hx = torch.randn(*lead, layer.proj_size or 4, dtype=FLOAT)
        if kind is nn.LSTM:
            hx = (hx, torch.randn(*lead, 4, dtype=FLOAT))
    return layer, x, hx, draw(st.sampled_from(["digital", "array"]))


@given(_cases(), st.booleans(), st.booleans())
@settings(max_examples=120, deadline=None)
def test_ideal_hardware_computes_what_torch_does(case, general, training):
    layer, x, hx, bias = case
    layer.train(training)
    analog = mho.convert(layer, mho.Hardware(array=mho.Array(3, 3), bias=bias))
    if general:
        _general(analog)
    _agree(analog(x, hx), layer(x, hx))


@given(_cases(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_gradients_are_torch_s(case, general):
    layer, x, hx, bias = case
    analog = mho.convert(layer.train(), mho.Hardware(bias=bias))
    if general:
        _general(analog)
    data = x.data if isinstance(x, PackedSequence) else x
    given_tensors = [data, *(_flat(hx) if hx is not None else [])]
    for tensor in given_tensors:
        tensor.requires_grad_()
    found = []
    for model in (layer, analog):
        # Each output counts differently, so that no two gradients can cancel.
        outputs = _flat(model(x, hx))
        loss = sum((i + 1) * y.sin().sum() for i, y in enumerate(outputs))
        parameters = list(model.parameters())
        found.append(torch.autograd.grad(loss, [*given_tensors, *parameters]))
    names = [name for name, _ in layer.named_parameters()]
    assert [name for name, _ in analog.named_parameters()] == names
    _agree(found[1], found[0])


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_a_24_bit_converter_takes_the_general_path_to_the_same_place(kind):
    layer = kind(6, 5, 2, bidirectional=True, dtype=FLOAT).eval()
    x = torch.randn(7, 3, 6, dtype=FLOAT)
    precise = mho.convert(layer, mho.Hardware(array=mho.Array(4, 4), adc=mho.ADC(bits=24)))
    native = mho.convert(layer, mho.Hardware())
    assert not precise._is_native
    assert native._is_native
    _agree(precise(x), native(x), tolerance=1e-5)


@pytest.mark.parametrize("bias", ["digital", "array"])
@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_native_path_folds_the_correction_in(kind, bias):
    layer = kind(6, 5, 2, bias=bias == "array", dtype=FLOAT).eval()
    x = torch.randn(9, 8, 6, dtype=FLOAT)
    hardware = mho.Hardware(effects=(mho.effects.WriteNoise(0.1),), bias=bias)
    analog = mho.convert(layer, hardware)
    mho.calibrate(analog, x)
    assert all(crossbar.reader.corrected for crossbar in analog.crossbars.values())
    assert analog._is_native
    native, plain = analog(x), mho.collapse(analog)(x)
    _agree(_general(analog)(x), native)
    _agree(plain, native)


def test_quantising_drivers_exclude_the_native_path():
    layer = mho.nn.LSTM(4, 3, hardware=mho.Hardware(dac=mho.DAC(bits=4)))
    assert all(crossbar.collapsed for crossbar in layer.crossbars.values())
    assert not layer._is_native


@pytest.mark.parametrize("sorted_first", [True, False])
def test_packed_sequences_each_end_at_their_own_end(sorted_first):
    """Every sequence alone gives the same outputs and final states."""
    lengths = [5, 3, 3, 1] if sorted_first else [3, 1, 5, 3]
    analog = mho.nn.GRU(3, 4, 2, bidirectional=True, hardware=mho.Hardware(), dtype=FLOAT).eval()
    _general(analog)
    sequences = [torch.randn(n, 3, dtype=FLOAT) for n in lengths]
    padded = nn.utils.rnn.pad_sequence(sequences)
    y, h = analog(pack_padded_sequence(padded, torch.tensor(lengths), enforce_sorted=sorted_first))
    y, found = pad_packed_sequence(y)
    assert found.tolist() == lengths
    for i, sequence in enumerate(sequences):
        _agree((y[: lengths[i], i], h[:, i]), analog(sequence))


def test_dropout_is_between_layers_and_in_training_only():
    layer = nn.LSTM(3, 4, 3, dropout=0.5, dtype=FLOAT)
    x = torch.randn(5, 2, 3, dtype=FLOAT)
    analog = _general(mho.convert(layer, mho.Hardware()))
    torch.manual_seed(1)
    wanted = layer(x)
    torch.manual_seed(1)
    _agree(analog(x), wanted)
    _agree(analog.eval()(x), layer.eval()(x))


@pytest.mark.parametrize("general", [False, True])
def test_training_is_one_chip_a_call(general):
    """From unit vectors, a linear layer's t-th output is the t-th power of one noisy matrix."""
    hardware = mho.Hardware(effects=(mho.effects.WriteNoise(0.02),))
    layer = mho.nn.RNN(
        3, 4, nonlinearity="relu", bias=False, hardware=hardware, dtype=FLOAT
    ).train()
    with torch.no_grad():
        layer.weight_hh_l0.fill_(0.5)  # noise leaves it positive: the ReLU never acts
    if general:
        _general(layer)
    x, units = torch.zeros(4, 4, 3, dtype=FLOAT), torch.eye(4, dtype=FLOAT)[None]
    matrices = []
    for _ in range(2):
        y, _ = layer(x, units)
        matrices.append(y[0])
        for t in range(4):
            torch.testing.assert_close(y[t], torch.linalg.matrix_power(y[0], t + 1))
    assert not torch.equal(*matrices)


def test_read_noise_is_new_at_every_time_step():
    hardware = mho.Hardware(effects=(mho.effects.ReadNoise(0.05),))
    layer = mho.nn.RNN(3, 4, hardware=hardware, dtype=FLOAT).eval()
    seen = []
    layer.crossbar_hh_l0.register_forward_hook(lambda c, x, y: seen.append(y - x[0] @ c.weight))
    layer(torch.randn(6, 2, 3, dtype=FLOAT), torch.ones(1, 2, 4, dtype=FLOAT))
    errors = torch.stack(seen)
    assert errors.shape == (6, 2, 4)
    assert len(errors.flatten().unique()) == errors.numel()
