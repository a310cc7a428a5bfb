"""Gradients of every read path: gradcheck where it is smooth, straight-through where it rounds."""

import pytest
import torch
from torch.autograd import gradcheck

from mho import ADC, DAC, Array, Crossbar, Hardware
from mho.effects import FiniteStates, ReadNoise, StuckAt, WriteNoise
from mho.encoding import BitSliced, Differential, Scaling, SingleColumn, Ternary

ENCODINGS = {
    "differential": Differential(),
    "digital": Differential(Scaling(per_column=True), subtract="digital"),
    "single": SingleColumn(),
    "sliced": BitSliced(bits=6, bits_per_cell=2),
    "ternary": Ternary(),
}
encodings = pytest.mark.parametrize("encoding", ENCODINGS)
paths = pytest.mark.parametrize("effects", [(), (ReadNoise(0.0),)], ids=["collapsed", "tiled"])


def made(encoding, rows=5, cols=3, **kind):
    hardware = Hardware(encoding=ENCODINGS[encoding], array=Array(2, 2), **kind)
    crossbar = Crossbar(rows, cols, hardware, dtype=torch.float64)
    weight = torch.randn(rows, cols, dtype=torch.float64)
    crossbar.program(weight)
    return crossbar, weight


def inputs(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


@encodings
@paths
def test_reads_with_respect_to_inputs(encoding, effects):
    crossbar, weight = made(encoding, effects=effects)
    assert gradcheck(crossbar, (inputs(2, 5),))
    assert gradcheck(lambda x: x @ crossbar.T, (inputs(2, 3),))
    assert gradcheck(lambda x: crossbar.read_through(x, weight), (inputs(2, 5),))


@pytest.mark.parametrize("encoding", ["differential", "digital", "single"])
@paths
def test_reads_through_with_respect_to_weights(encoding, effects):
    crossbar, weight = made(encoding, effects=effects)
    x = inputs(2, 5)
    assert gradcheck(lambda w: crossbar.read_through(x.detach(), w), (weight.requires_grad_(),))
    assert gradcheck(crossbar.read_through, (x, weight))


@encodings
@paths
def test_weights_have_the_ideal_gradient(encoding, effects):
    # Rounded encodings too: straight through, as if y = x @ weight.
    crossbar, weight = made(encoding, effects=effects)
    x, upstream = inputs(4, 5), torch.randn(4, 3, dtype=torch.float64)
    (grad,) = torch.autograd.grad(
        crossbar.read_through(x, weight.requires_grad_()), weight, upstream
    )
    assert torch.allclose(grad, x.T @ upstream)


CONVERTERS = {
    "amplitude": (DAC(6), ADC(8, range="per_call")),
    "unsigned": (DAC(6, range=10.0), ADC(8, range="full_scale")),
    "serial": (DAC(6, mode="bit_serial"), ADC(8, range="full_scale")),
    "twos": (DAC(6, mode="bit_serial", code="twos_complement"), ADC(8, range="full_scale")),
    "once": (DAC(6, mode="bit_serial", converts_once=True), ADC(8, range="full_scale")),
    "log": (DAC(6), ADC(8, range="full_scale", method="log")),
    "linear": (DAC(6), ADC(8, range="full_scale", method="linear")),
    "minmax": (DAC(6), ADC(8, method="minmax")),
}


@encodings
@pytest.mark.parametrize("converters", CONVERTERS)
def test_converters_are_straight_through_inside_their_ranges(encoding, converters):
    dac, adc = CONVERTERS[converters]
    crossbar, weight = made(encoding, dac=dac, adc=adc)
    x, upstream = inputs(4, 5), torch.randn(4, 3, dtype=torch.float64)
    (grad,) = torch.autograd.grad(x @ crossbar, x, upstream)
    assert torch.allclose(grad, upstream @ crossbar.weight.T)
    weight.requires_grad_()
    y = crossbar.read_through(x, weight)
    (grad,) = torch.autograd.grad(y, weight, upstream)
    # The weights see the inputs as the driver delivers them.
    driven = crossbar.reader.ranges.driven(x)
    assert torch.allclose(grad, driven.T @ upstream, atol=1e-12)


@pytest.mark.parametrize("mode", ["amplitude", "bit_serial"])
def test_clipped_inputs_have_no_gradient(mode):
    crossbar, _ = made("differential", dac=DAC(6, range=1.0, mode=mode))
    x = torch.tensor([[0.5, 1.5, -0.5, -3.0, 0.1]], dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad((x @ crossbar).sum(), x)
    wanted = crossbar.weight.sum(1) * torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0]).double()
    assert torch.allclose(grad, wanted.unsqueeze(0))


def test_clipped_currents_have_no_gradient():
    crossbar, _ = made("differential", rows=2, adc=ADC(8, range=1e-12))
    x = inputs(3, 2)
    (grad,) = torch.autograd.grad((x @ crossbar).sum(), x)
    assert torch.equal(grad, torch.zeros_like(grad))


@encodings
def test_gradients_through_noise_faults_and_states(encoding):
    effects = (StuckAt(0.2, 0.2), FiniteStates(8), WriteNoise(0.02), ReadNoise(0.02))
    crossbar, weight = made(encoding, effects=effects, dac=DAC(6), adc=ADC(8, range="per_call"))
    x = inputs(40, 5)
    weight.requires_grad_()
    crossbar.read_through(x, weight).square().sum().backward()
    for grad in (x.grad, weight.grad):
        assert torch.isfinite(grad).all()
        assert grad.abs().sum() > 0


def test_stuck_weights_have_no_gradient():
    crossbar, weight = made("differential", effects=(StuckAt(low=1.0),))
    weight.requires_grad_()
    (grad,) = torch.autograd.grad(crossbar.read_through(inputs(4, 5), weight).sum(), weight)
    assert torch.equal(grad, torch.zeros_like(grad))


def test_what_is_stored_takes_no_part():
    crossbar, weight = made("differential", effects=(WriteNoise(0.05),))
    before = crossbar.G.clone()
    crossbar.read_through(inputs(4, 5), weight.requires_grad_()).sum().backward()
    assert torch.equal(crossbar.G, before)
    assert not crossbar.G.requires_grad
