"""Reads in bounded memory: the same outputs and gradients, whatever the limit."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import mho
import naive
from live import peak
from mho import ADC, DAC, Array, Crossbar, Hardware
from mho.crossbar import blocks, read
from mho.effects import ReadNoise, WriteNoise
from mho.encoding import BitSliced, Differential, SingleColumn

F64 = torch.float64
SERIAL = {"mode": "bit_serial"}
DACS = {
    "amplitude": DAC(bits=5, range=1.0),
    "ideal": None,
    "signs and magnitudes": DAC(bits=4, range=1.0, **SERIAL),
    "two's complement": DAC(bits=4, range=1.0, code="twos_complement", **SERIAL),
    "unsigned": DAC(bits=3, range=1.0, signed=False, **SERIAL),
    "one bit": DAC(bits=1, range=1.0, **SERIAL),
    "converted once": DAC(bits=4, range=1.0, converts_once=True, **SERIAL),
    "own ranges": DAC(bits=4, **SERIAL),
    "the call's range": DAC(bits=4, range="per_call", **SERIAL),
}
ADCS = {
    "exact": None,
    "known": ADC(bits=6, range=3e-5),
    "each vector's": ADC(bits=6),
    "the call's": ADC(bits=6, range="per_call"),
    "linear": ADC(bits=6, range="per_call", method="linear"),
    "log": ADC(bits=6, range="per_call", method="log"),
    "minmax": ADC(bits=6, range="per_call", method="minmax"),
    "minmax of vectors": ADC(bits=6, range="per_vector", method="minmax"),
    "log minmax": ADC(bits=6, range="per_call", method="log_minmax"),
    "log minmax of vectors": ADC(bits=6, range="per_vector", method="log_minmax"),
    "tanh": ADC(bits=6, range=3e-5, method="tanh"),
    "sign": ADC(bits=1, range=3e-5),
}
ENCODINGS = {
    "pairs": Differential(),
    "two converters": Differential(subtract="digital"),
    "slices": BitSliced(bits=5, bits_per_cell=2),
    "offset": SingleColumn(),
}
LITTLE = 3000


def seeded(*shape, seed=0):
    return torch.rand(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture
def tiny(monkeypatch):
    """Make pieces a few vectors and a few lines large."""
    monkeypatch.setattr(read, "CURRENTS_AT_ONCE", 50)
    monkeypatch.setattr(blocks, "AT_ONCE", 50)
    monkeypatch.setattr(blocks, "HELD", 50)
    monkeypatch.setattr(blocks, "_WIDEST", 3)


def crossbar(hardware, memory, groups=1):
    made = Crossbar(20, 5, hardware, dtype=F64, groups=groups)
    made.program(seeded(20 * groups, 5))
    made.limit_memory(memory)
    return made


def gradients(made, x):
    x = x.clone().requires_grad_()
    y = made(x)
    y.backward(seeded(*y.shape, seed=3))
    return y.detach(), x.grad


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("adc", ADCS)
@pytest.mark.parametrize("dac", DACS)
def test_blocks_give_what_the_definitions_give(tiny, dac, adc, encoding):
    hardware = Hardware(
        dac=DACS[dac],
        adc=ADCS[adc],
        encoding=ENCODINGS[encoding],
        array=Array(8, 8),
        effects=(WriteNoise(0.03),),  # no current falls between two levels
    )
    x = seeded(7, 20, seed=1)
    whole, made = crossbar(hardware, 10**9), crossbar(hardware, LITTLE)
    with torch.no_grad():
        y = made(x)
    own = ADCS[adc] is not None and isinstance(ADCS[adc].range, float)
    limit = 1.0 if DACS[dac] is not None and isinstance(DACS[dac].range, float) else None
    wanted = naive.read(
        x, made.G, made.scale, hardware, limit=limit, full_scale=ADCS[adc].range if own else None
    )
    np.testing.assert_allclose(y, wanted, rtol=1e-9, atol=1e-12)
    found, of_x = gradients(made, x)
    torch.testing.assert_close(found, y, rtol=1e-9, atol=1e-12)
    _, expected = gradients(whole, x)
    torch.testing.assert_close(of_x, expected, rtol=1e-9, atol=1e-12)


CONVOLUTIONS = {
    "1d": (nn.Conv1d(3, 4, 5, stride=2, padding=2), (2, 3, 19)),
    "2d": (nn.Conv2d(4, 6, 3, padding=1, groups=2), (2, 4, 6, 5)),
    "2d, apart": (nn.Conv2d(2, 5, (3, 2), dilation=(1, 2), stride=(2, 1)), (3, 2, 9, 7)),
    "2d, around": (nn.Conv2d(2, 5, 3, padding="same", padding_mode="circular"), (2, 2, 5, 5)),
    "2d, points": (nn.Conv2d(9, 5, 1, bias=False), (2, 9, 4, 4)),
    "3d": (nn.Conv3d(1, 4, 2), (2, 1, 4, 4, 5)),
}
CHIPS = {
    "converters": {"dac": DAC(bits=5, range=1.0), "adc": ADC(bits=6, range=3e-5)},
    "serial": {"dac": DACS["signs and magnitudes"], "adc": ADC(bits=6, range=3e-5)},
    "own ranges": {"dac": DAC(bits=5), "adc": ADC(bits=6)},
    "serial, own ranges": {"dac": DAC(bits=4, **SERIAL), "adc": ADC(bits=6)},
    "the call's": {"dac": DAC(bits=5), "adc": ADC(bits=6, range="per_call")},
    "amplified": {
        "dac": DAC(bits=5),
        "adc": ADC(bits=6, range="per_call"),
        "amplifier": mho.Amplifier(gain=1.1, compression=1e3),
    },
    "wires": {"adc": ADC(bits=6), "array": Array(4, 4, wires=mho.circuit.Wires(word=5.0))},
}


@pytest.mark.parametrize("bias", ["digital", "array"])
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_convolutions_in_blocks(tiny, kind, chip, bias):
    layer, shape = CONVOLUTIONS[kind]
    parts = {"array": Array(8, 8), "effects": (WriteNoise(0.03),), **CHIPS[chip]}
    hardware = Hardware(encoding=Differential(subtract="digital"), bias=bias, **parts)
    whole = mho.convert(copy.deepcopy(layer).double(), hardware).eval()
    cut = copy.deepcopy(whole)
    mho.limit_memory(whole, 10**9)
    mho.limit_memory(cut, LITTLE)
    x = seeded(*shape, seed=1)
    with torch.no_grad():
        torch.testing.assert_close(cut(x), whole(x), rtol=1e-9, atol=1e-12)
    for one, other in zip(gradients(cut, x), gradients(whole, x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("chip", ["converters", "serial", "serial, own ranges", "amplified"])
def test_training_steps_in_blocks(tiny, chip):
    """Gradients of weights, biases and inputs are those of one read, step for step."""
    layers = [copy.deepcopy(CONVOLUTIONS["2d"][0]), nn.ReLU(), nn.Flatten(), nn.Linear(180, 5)]
    hardware = Hardware(array=Array(8, 8), encoding=BitSliced(bits=4), **CHIPS[chip])
    whole = mho.convert(nn.Sequential(*layers).double(), hardware).train()
    cut = copy.deepcopy(whole)
    mho.limit_memory(whole, 10**9)
    mho.limit_memory(cut, LITTLE)
    x = seeded(3, 4, 6, 5, seed=1)
    for one, other in zip(gradients(cut, x), gradients(whole, x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    pairs = zip(cut.named_parameters(), whole.parameters(), strict=True)
    for (name, parameter), other in pairs:
        torch.testing.assert_close(parameter.grad, other.grad, rtol=1e-9, atol=1e-12, msg=name)
