"""Gradients are finite at exactly nothing: no input, no weight, no noise, whatever converts."""

import itertools
import warnings

import pytest
import torch
from torch import nn

import mho
from mho import ADC, DAC, Array, Hardware
from mho.effects import ReadNoise, WriteNoise
from mho.encoding import BitSliced, Differential, SingleColumn, Ternary

METHODS = ("uniform", "linear", "log", "minmax", "log_minmax", "tanh")
DACS = {
    "none": None,
    "amplitude": DAC(6),
    "sign": DAC(1),
    "unsigned": DAC(4, signed=False),
    "serial": DAC(4, mode="bit_serial"),
    "once": DAC(4, mode="bit_serial", converts_once=True),
}
ENCODINGS = {
    "differential": Differential(),
    "digital": Differential(subtract="digital"),
    "single": SingleColumn(),
    "sliced": BitSliced(bits=4, bits_per_cell=2),
    "ternary": Ternary(),
}
POLICIES = ("learned", "calibrated", "per_vector", "per_call", "full_scale", 1.0)
LAYERS = {
    "linear": (lambda: nn.Linear(6, 4), (6,)),
    "conv": (lambda: nn.Conv2d(2, 3, 3, padding=1), (2, 4, 4)),
    "lstm": (lambda: nn.LSTM(6, 4, batch_first=True), (3, 6)),
}


def hardware_of(encoding, dac, adc, policy, sigma):
    """Return the hardware, or None where the policy is refused."""
    name = "calibrated" if policy == "learned" else policy
    driven = name if name != "full_scale" else 1.0
    minmax = adc is not None and "minmax" in adc
    if minmax and name in ("full_scale", 1.0):
        return None
    return Hardware(
        encoding=encoding,
        dac=(dac or DAC()).replace(range=driven),
        adc=None if adc is None else ADC(6, method=adc, range=1e-5 if name == 1.0 else name),
        array=Array(8, 4),
        effects=(ReadNoise(sigma), ReadNoise(sigma, "value"), WriteNoise(sigma)),
    )


def trained_gradients(make, hardware, policy, x, *, zero_weight):
    layer = make()
    if zero_weight:
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)
    analog = mho.convert(layer, hardware, seed=0)
    if policy in ("learned", "calibrated"):
        mho.calibrate(analog, torch.cat((x, torch.ones_like(x))), correct=False)
    if policy == "learned":
        for crossbar in analog.crossbars.values():
            crossbar.learn_ranges()
    x = x.clone().requires_grad_()
    y = analog.train()(x)
    y = y[0] if isinstance(y, tuple) else y
    y.square().sum().backward()
    named = {"input": x, **dict(analog.named_parameters())}
    return {name: p.grad for name, p in named.items() if p.grad is not None}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("method", [None, *METHODS])
@pytest.mark.parametrize("layer", LAYERS)
def test_gradients_are_finite(layer, method, policy):
    make, shape = LAYERS[layer]
    zeros = torch.zeros(3, *shape)
    some = torch.cat((torch.randn(1, *shape, generator=torch.Generator().manual_seed(0)), zeros))
    encodings = ENCODINGS if layer == "linear" else {"digital": ENCODINGS["digital"]}
    for (encoding, dac), sigma in itertools.product(
        itertools.product(encodings.values(), DACS.values()), (0.0, 0.02)
    ):
        hardware = hardware_of(encoding, dac, method, policy, sigma)
        if hardware is None:
            continue
        for x, zero_weight in ((zeros, False), (some, False), (some, True)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = trained_gradients(make, hardware, policy, x, zero_weight=zero_weight)
            assert "input" in found
            for name, grad in found.items():
                assert grad.isfinite().all(), (hardware, name)


@pytest.mark.parametrize("method", ["uniform", "log", "tanh"])
@pytest.mark.parametrize("bits", [2, 5])
def test_the_gradient_of_a_full_scale_is_the_error_it_makes(method, bits):
    """With thresholds that move along: ``(converted - x) / range`` inside, ±1 where clipped."""
    adc = ADC(bits, method=method)
    x = torch.linspace(-0.83, 0.83, 41, dtype=torch.float64)
    x[20] = 0.0
    for value in x:
        limit = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)
        y = adc.convert(value.clone(), limit)
        (grad,) = torch.autograd.grad(y, limit)
        if method == "tanh":  # straight through where tanh(x / range) is rounded
            inner = torch.tanh(value / 0.9)
            slope = (1 - inner**2) / (1 - torch.tanh(y.detach() / 0.9) ** 2)
            expected = float(y.detach() - slope * value) / 0.9
        else:
            expected = float(y.detach() - value) / 0.9
        assert float(grad) == pytest.approx(expected, abs=1e-9)
    for value in (-5.0, 5.0):
        limit = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)
        y = adc.convert(torch.tensor(value, dtype=torch.float64), limit)
        (grad,) = torch.autograd.grad(y, limit)
        assert float(grad) == pytest.approx(float(y.detach()) / 0.9, abs=1e-9)


def test_one_bit_s_gradient_in_its_range_is_the_sign():
    for value in (-3.0, -0.2, 0.0, 0.4, 2.0):
        limit = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)
        y = ADC(1).convert(torch.tensor(value, dtype=torch.float64), limit)
        (grad,) = torch.autograd.grad(y, limit)
        assert float(grad) == (1.0 if value >= 0 else -1.0)
