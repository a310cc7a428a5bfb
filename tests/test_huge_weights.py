"""Weights whose reads would overflow are refused where they enter: in training, when programmed."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import mho

CONVERTERS = mho.Hardware(dac=mho.DAC(8), adc=mho.ADC(8))
NOISY = CONVERTERS.replace(effects=(mho.effects.ReadNoise(0.02),))
IDEAL = mho.Hardware()


def layer(hardware, size, dtype=torch.float32):
    torch.manual_seed(0)
    analog = mho.convert(nn.Linear(16, 4).to(dtype), hardware)
    with torch.no_grad():
        analog.weight.mul_(size / analog.weight.abs().max())
    return analog


@pytest.mark.parametrize("hardware", [CONVERTERS, NOISY], ids=["converters", "noise"])
@pytest.mark.parametrize("size", [2e12, 1e20, 1e30, torch.inf])
def test_a_training_read_refuses_them_and_says_the_number(hardware, size):
    analog = layer(hardware, min(size, 1e30)).train()
    if size == torch.inf:
        analog.weight.data[0, 0] = torch.inf
    with pytest.raises(ValueError, match=r"weights must be at most 1\.1e\+12.* got (inf|\d)"):
        analog(torch.rand(3, 16))


@pytest.mark.parametrize("hardware", [CONVERTERS, NOISY, IDEAL], ids=["adc", "noise", "ideal"])
def test_what_is_not_refused_has_finite_outputs_and_gradients(hardware):
    analog = layer(hardware, 1e12).train()
    x = torch.rand(3, 16, requires_grad=True)
    y = analog(x)
    (2.0**16 * y).sum().backward()  # as torch.amp.GradScaler scales a loss
    assert all(bool(t.isfinite().all()) for t in (y, x.grad, analog.weight.grad))


def test_one_product_bears_more():
    analog = layer(IDEAL, 1e29).train()
    x = torch.rand(3, 16)
    wanted = nn.functional.linear(x, analog.weight, analog.bias)
    assert torch.allclose(analog(x), wanted)
    with torch.no_grad():
        analog.weight.mul_(100.0)
    with pytest.raises(ValueError, match="read in training"):
        analog(x)


def test_double_precision_has_room():
    x = torch.rand(3, 16, dtype=torch.float64)
    assert bool(layer(NOISY, 1e30, torch.float64).train()(x).isfinite().all())


@pytest.mark.parametrize("hardware", [CONVERTERS, IDEAL], ids=["converters", "ideal"])
def test_programming_refuses_them_and_changes_nothing(hardware):
    analog = layer(hardware, 1e33)
    before = analog.crossbar.G.clone()
    with pytest.raises(ValueError, match=r"weights must be at most .* to be programmed"):
        mho.program(analog)
    assert torch.equal(analog.crossbar.G, before)
    with torch.no_grad():
        analog.weight.div_(1e8)
    mho.program(analog)
    y = analog.eval()(100.0 * torch.rand(3, 16))
    assert bool(y.isfinite().all())


def test_training_reads_of_fake_tensors_look_at_no_number():
    analog = layer(CONVERTERS, 1.0).train()
    with FakeTensorMode(allow_non_fake_inputs=True):
        y = analog(torch.rand(3, 16))
    assert y.shape == (3, 4)


def test_what_is_read_as_conductances_bears_any_weight():
    sliced = CONVERTERS.replace(encoding=mho.encoding.BitSliced(bits=4, bits_per_cell=2))
    for hardware in (sliced, CONVERTERS.replace(device=mho.devices.PCM())):
        analog = layer(hardware, 1e14).train()
        y = analog(torch.rand(3, 16))
        y.sum().backward()
        assert bool(y.isfinite().all() and analog.weight.grad.isfinite().all())
