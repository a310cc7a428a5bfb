"""Recurrent layers in models: calibration, conversion, checkpoints, compilation, refusals."""

import io
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

import mho

FLOAT = torch.float64


def _flat(value):
    return [value] if isinstance(value, torch.Tensor) else [t for v in value for t in _flat(v)]


def _agree(found, wanted, tolerance=1e-10):
    for y, w in zip(_flat(found), _flat(wanted), strict=True):
        torch.testing.assert_close(y, w, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_calibration_sets_sensible_ranges_and_reduces_the_error(kind):
    layer = kind(5, 8, 2, dtype=FLOAT).eval()
    x = torch.randn(20, 16, 5, dtype=FLOAT)
    hardware = mho.Hardware(
        dac=mho.DAC(bits=8, percentile=100.0),
        adc=mho.ADC(bits=8),
        effects=(mho.effects.WriteNoise(0.02), mho.effects.PowerLawDrift(0.01)),
    )
    analog = mho.convert(layer, hardware, seed=2)
    mho.age(analog, 1000.0)
    wanted = layer(x)[0]
    before = (analog(x)[0] - wanted).square().mean()
    mho.calibrate(analog, x)
    after = (analog(x)[0] - wanted).square().mean()
    assert after < 0.5 * before
    assert float(analog.crossbar_ih_l0.input_range) == pytest.approx(float(x.abs().max()))
    largest = float(wanted.abs().max())  # of the last layer's hidden state, fed back
    assert float(analog.crossbar_hh_l1.input_range) == pytest.approx(largest, rel=0.15)
    for crossbar in analog.crossbars.values():
        assert bool((crossbar.adc_range > 0).all())


def test_a_model_with_lstm_and_linear():
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(5, 6, batch_first=True, bidirectional=True)
            self.head = nn.Linear(12, 3)

        def forward(self, x):
            self.lstm.flatten_parameters()  # as many models do
            y, (h, _) = self.lstm(x)
            return self.head(y) + h.sum()

    model = Tagger().double().eval()
    x = torch.randn(2, 7, 5, dtype=FLOAT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is left digital
        analog = mho.convert(model, mho.Hardware())
    assert isinstance(analog.lstm, mho.nn.LSTM)
    _agree(analog(x), model(x))
    summary = mho.summary(analog)
    assert [entry.name for entry in summary.layers][:2] == [
        "lstm.crossbar_ih_l0",
        "lstm.crossbar_hh_l0",
    ]
    assert isinstance(mho.collapse(analog).lstm, nn.LSTM)
    loss = analog.train()(x).square().mean()
    loss.backward()
    torch.optim.Adam(analog.parameters()).step()
    assert {"lstm.crossbar_hh_l0_reverse", "head"} < set(mho.program(analog))


def test_subclass_with_a_forward_of_its_own_stays_digital():
    class Doubled(nn.LSTM):
        def forward(self, x, hx=None):
            y, h = super().forward(x, hx)
            return 2 * y, h

    model = nn.ModuleList([Doubled(3, 2), nn.Linear(2, 1)])
    with pytest.warns(UserWarning, match=r"left digital: Doubled '0' \("):
        mho.convert(model, mho.Hardware())


def test_weights_and_biases_may_be_parametrised_later():
    layer = mho.nn.LSTM(3, 2, hardware=mho.Hardware())
    x = torch.randn(4, 1, 3)
    before = layer(x)
    for name in ("weight_hh_l0", "bias_hh_l0"):
        nn.utils.parametrize.register_parametrization(layer, name, nn.Identity())
    _agree(layer(x), before)


def test_stale_weights_are_warned_of_once():
    layer = mho.nn.LSTM(3, 2, hardware=mho.Hardware()).eval()
    x = torch.randn(4, 1, 3)
    with torch.no_grad():
        layer.weight_hh_l0.mul_(2)
    with pytest.warns(UserWarning, match="weight_hh_l0 has changed since it was programmed"):
        layer(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(x)
        layer.program()
        layer(x)


def test_collapse_says_which_offsets_have_no_place():
    hardware = mho.Hardware(effects=(mho.effects.WriteNoise(0.3),), adc=mho.ADC(bits=8))
    layer = mho.nn.LSTM(5, 6, proj_size=3, hardware=hardware, seed=1).eval()
    mho.calibrate(layer, torch.randn(12, 8, 5))
    with pytest.warns(UserWarning, match=r"output offsets of crossbar_hr_l0, up to .* left out"):
        layer.to_digital()


def test_pickle_and_checkpoint():
    hardware = mho.Hardware(adc=mho.ADC(bits=8), effects=(mho.effects.WriteNoise(0.05),))
    layer = mho.nn.GRU(3, 4, 2, hardware=hardware, seed=1).eval()
    x = torch.randn(5, 2, 3)
    _agree(pickle.loads(pickle.dumps(layer))(x), layer(x), tolerance=0)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other = mho.nn.GRU(3, 4, 2, hardware=hardware, seed=2).eval()
    other.load_state_dict(torch.load(file, weights_only=True))
    _agree(other(x), layer(x), tolerance=0)


def test_moves_to_another_dtype():
    layer = mho.nn.LSTM(3, 4, hardware=mho.Hardware(adc=mho.ADC(bits=8))).eval().to(FLOAT)
    y, (h, c) = layer(torch.randn(5, 2, 3, dtype=FLOAT))
    assert y.dtype == h.dtype == c.dtype == FLOAT


@pytest.mark.parametrize("adc", [None, mho.ADC(bits=8)])
def test_compiles_as_one_graph(adc):
    layer = mho.nn.GRU(3, 4, hardware=mho.Hardware(adc=adc)).eval()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = torch.randn(3, 2, 3)
    with torch.no_grad():
        _agree(compiled(x), layer(x), tolerance=1e-6)


def test_wrong_input_is_named():
    hardware = mho.Hardware()
    rnn = mho.nn.RNN(3, 2, 2, hardware=hardware)
    lstm = mho.nn.LSTM(3, 4, batch_first=True, bidirectional=True, proj_size=2, hardware=hardware)
    x = torch.zeros(5, 2, 3)
    with pytest.raises(ValueError, match=r"\[time, batch, 3\] or \[time, 3\], got \[5, 2, 4\]"):
        rnn(torch.zeros(5, 2, 4))
    with pytest.raises(ValueError, match=r"\[batch, time, 3\] or \[time, 3\], got \[3\]"):
        lstm(torch.zeros(3))
    with pytest.raises(ValueError, match=r"hx must have shape \[2, 2, 2\], got \[1, 2, 2\]"):
        rnn(x, torch.zeros(1, 2, 2))
    with pytest.raises(ValueError, match=r"hx\[1\] must have shape \[2, 5, 4\], got \[2, 5, 2\]"):
        lstm(x, (torch.zeros(2, 5, 2), torch.zeros(2, 5, 2)))
    with pytest.raises(ValueError, match=r"at least one time step, got \[0, 2, 3\]"):
        rnn(torch.zeros(0, 2, 3))
    with pytest.raises(
        ValueError, match=r"packed input must have shape \[\.\.\., 3\], got \[3, 4\]"
    ):
        rnn(pack_sequence([torch.zeros(2, 4), torch.zeros(1, 4)]))
    with pytest.raises(TypeError, match="input must be Tensor or PackedSequence"):
        rnn([x])
    with pytest.raises(ValueError, match="nonlinearity"):
        mho.nn.RNN(3, 2, nonlinearity="sin", hardware=hardware)


def test_empty_batch():
    for adc in (None, mho.ADC(bits=8, range=1e-3)):
        layer = mho.nn.LSTM(3, 4, bidirectional=True, hardware=mho.Hardware(adc=adc)).eval()
        y, (h, c) = layer(torch.zeros(5, 0, 3))
        assert (y.shape, h.shape, c.shape) == ((5, 0, 8), (2, 0, 4), (2, 0, 4))


def test_prints_as_torch_does():
    layer = mho.nn.LSTM(3, 4, 2, batch_first=True, bias=False, hardware=mho.Hardware())
    first = repr(layer).splitlines()[1].strip()
    assert first == repr(layer.to_digital())[len("LSTM(") : -1]
    assert [len(part) for part in layer.all_weights] == [2, 2]
