"""Recurrent cells on crossbars against torch's, and the equations of one time step."""

import math

import pytest
import torch
from torch import nn

import mho
from mho.recurrence.steps import gru_step, lstm_step
from mho.testing import LayerContract


def _observed(layer):
    """Force the general path."""
    for crossbar in layer.crossbars.values():
        crossbar.commit(observed=True)
    return layer


class _Cell(LayerContract):
    calibrated = False  # the input alone leaves the hidden state at zero; tested below

    def inputs(self):
        return torch.randn(3, 5), torch.randn(3, 4)


class TestTanhCell(_Cell):
    def layer(self):
        return nn.RNNCell(5, 4)


class TestReluCell(_Cell):
    def layer(self):
        return nn.RNNCell(5, 4, bias=False, nonlinearity="relu")


class TestLSTMCell(_Cell):
    def layer(self):
        return nn.LSTMCell(5, 4)

    def inputs(self):
        return torch.randn(3, 5), (torch.randn(3, 4), torch.randn(3, 4))


class TestLSTMCellWithoutState(_Cell):
    def layer(self):
        return nn.LSTMCell(5, 4, bias=False)

    def inputs(self):
        return (torch.randn(3, 5),)


class TestGRUCell(_Cell):
    def layer(self):
        return nn.GRUCell(5, 4)


class TestGRUCellUnbatched(_Cell):
    def layer(self):
        return nn.GRUCell(5, 4)

    def inputs(self):
        return torch.randn(5), torch.randn(4)


def test_lstm_step_by_hand():
    h, c = lstm_step(torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.zeros(4), (torch.zeros(1),) * 2)

    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    cell = sigmoid(0.1) * math.tanh(0.3)
    assert float(c) == pytest.approx(cell)
    assert float(h) == pytest.approx(sigmoid(0.4) * math.tanh(cell))


def test_gru_step_resets_the_hidden_product_with_its_bias():
    shut = torch.tensor([-1e3, -1e3, 0.5])  # r = 0, z = 0: only the input's n is left
    (h,) = gru_step(shut, torch.tensor([0.0, 0.0, 7.0]), (torch.tensor([9.0]),))
    assert float(h) == pytest.approx(math.tanh(0.5))


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.LSTMCell, nn.GRUCell])
@pytest.mark.parametrize("bias", ["digital", "array"])
def test_native_and_general_path_agree(kind, bias):
    cell = kind(6, 5, dtype=torch.float64).eval()
    hardware = mho.Hardware(
        array=mho.Array(4, 4), effects=(mho.effects.WriteNoise(0.1),), bias=bias
    )
    x = torch.randn(7, 6, dtype=torch.float64)
    analog = mho.convert(cell, hardware)
    mho.calibrate(analog, x)  # the native path folds gains and offsets in
    native = analog(x)
    general = _observed(analog)(x)
    torch.testing.assert_close(native, general, rtol=1e-12, atol=1e-12)


def test_calibration_of_a_model_that_loops_over_a_cell():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.LSTMCell(5, 6, dtype=torch.float64)

        def forward(self, x):
            state = None
            for step in x:
                state = self.cell(step, state)
            return state[0]

    model = Loop().eval()
    x = torch.randn(10, 16, 5, dtype=torch.float64)
    hardware = mho.Hardware(
        dac=mho.DAC(10), adc=mho.ADC(10), effects=(mho.effects.PowerLawDrift(0.03),)
    )
    analog = mho.convert(model, hardware)
    mho.age(analog, 1000.0)
    wanted = model(x)
    before = (analog(x) - wanted).square().sum()
    mho.calibrate(analog, x)
    assert (analog(x) - wanted).square().sum() < 0.1 * before


def test_cells_take_torch_s_arguments():
    hardware = mho.Hardware()
    cell = mho.nn.RNNCell(3, 2, True, "relu", hardware=hardware, seed=1, dtype=torch.float64)
    assert cell.nonlinearity == "relu"
    assert cell.weight_ih.dtype == cell.crossbar_ih.G.dtype == torch.float64
    assert mho.nn.GRUCell(3, 2, bias=False, hardware=hardware).bias_ih is None
    assert str(mho.nn.LSTMCell(3, 2, hardware=hardware)).startswith("LSTMCell(\n  3, 2")
    with pytest.raises(ValueError, match=r"nonlinearity must be one of 'tanh', 'relu'; got 'sin'"):
        mho.nn.RNNCell(3, 2, nonlinearity="sin", hardware=hardware)


def test_wrong_shapes_are_named():
    cell = mho.nn.LSTMCell(3, 2, hardware=mho.Hardware())
    x = torch.zeros(4, 3)
    with pytest.raises(ValueError, match=r"\[batch, 3\] or \[3\], got \[4, 5\]"):
        cell(torch.zeros(4, 5))
    with pytest.raises(ValueError, match=r"hx\[1\] must have shape \[4, 2\], got \[4, 3\]"):
        cell(x, (torch.zeros(4, 2), torch.zeros(4, 3)))
    with pytest.raises(TypeError, match="hx must be tuple or list"):
        cell(x, torch.zeros(4, 2))
    with pytest.raises(ValueError, match=r"hx must be \(h_0, c_0\), got 3 items"):
        cell(x, (torch.zeros(4, 2),) * 3)
    with pytest.raises(TypeError, match="input must be Tensor"):
        cell([1.0, 2.0, 3.0])


def test_empty_batch():
    cell = mho.nn.GRUCell(3, 2, hardware=mho.Hardware()).eval()
    assert cell(torch.zeros(0, 3)).shape == (0, 2)
