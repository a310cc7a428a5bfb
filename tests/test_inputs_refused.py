"""Sample inputs of `convert`, `calibrate`, `estimate`: the forms that are taken, no other."""

import numpy as np
import pytest
import torch
from torch import nn

import mho

HARDWARE = mho.Hardware(dac=mho.DAC(8), adc=mho.ADC(8))
X = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))


def layer():
    torch.manual_seed(0)
    return mho.convert(nn.Linear(6, 4), HARDWARE)


@pytest.mark.parametrize(
    "inputs", [{"input": X}, [{"input": X}], [X], (X,), [(X, 1)], iter([X[:4], X[4:]])]
)
def test_forms_of_one_set_of_samples(inputs):
    one, other = layer(), layer()
    mho.calibrate(one, X)
    mho.calibrate(other, inputs)
    assert torch.equal(one.eval()(X), other.eval()(X))


@pytest.mark.parametrize("inputs", [None, "x", b"x", 3, 2.5, np.float32(1.0), len, np.ndarray])
def test_what_calibrate_refuses(inputs):
    analog = layer()
    before = analog.eval()(X)
    with pytest.raises(TypeError, match="inputs must be a batch"):
        mho.calibrate(analog, inputs)
    assert torch.equal(analog(X), before)


@pytest.mark.parametrize("inputs", [[], {}, [X[:0]], ["text"], iter(())])
def test_no_samples(inputs):
    with pytest.raises(ValueError, match="at least one sample"):
        mho.calibrate(layer(), inputs)


@pytest.mark.parametrize("inputs", ["x", 3, True, np.float32(1.0), len])
def test_what_convert_and_estimate_refuse(inputs):
    for ask in (mho.convert, mho.estimate):
        with pytest.raises(TypeError, match="inputs must be those of one call"):
            ask(nn.Linear(6, 4), HARDWARE, inputs=inputs)


@pytest.mark.parametrize("value", ["a", 1, None, 0.0])
def test_check_memory_is_a_truth(value):
    with pytest.raises(TypeError, match="check_memory"):
        mho.convert(nn.Linear(6, 4), HARDWARE, check_memory=value)
