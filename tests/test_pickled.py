"""What plain pickle carries to another process goes on as the original does: noise, too.

Plain pickle, unlike `torch.save`, makes of two tensors that share their memory two apart.
"""

import pickle

import pytest
import torch
from torch import nn

import mho
from mho.effects import PowerLawDrift, ReadNoise, TelegraphNoise, WriteNoise

CONVERTERS = {"dac": mho.DAC(bits=6), "adc": mho.ADC(bits=6)}
HARDWARES = {
    "noise": mho.Hardware(effects=(ReadNoise(0.02),)),
    "noise behind converters": mho.Hardware(
        array=mho.Array(rows=4, cols=4), effects=(ReadNoise(0.02),), **CONVERTERS
    ),
    "traps": mho.Hardware(effects=(TelegraphNoise(0.1, tau=2.0),), **CONVERTERS),
    "phase change": mho.Hardware(device=mho.devices.PCM(), **CONVERTERS),
    "all": mho.Hardware(
        effects=(WriteNoise(0.02), PowerLawDrift(nu=0.06, t0=1.0), ReadNoise(0.01)), **CONVERTERS
    ),
}
X = torch.linspace(-1, 1, 24).view(4, 6)
LAYERS = {
    "linear": (lambda: nn.Linear(6, 3), X),
    "convolution": (lambda: nn.Conv1d(4, 3, 3), X),
    "transposed": (lambda: nn.ConvTranspose1d(4, 3, 3), X),
    "recurrent": (lambda: nn.GRU(6, 3), X),
    "attention": (lambda: nn.TransformerEncoderLayer(6, 2, 4, dropout=0.0), X),
}


def outputs(found):
    if isinstance(found, torch.Tensor):
        return [found]
    return [tensor for part in found for tensor in outputs(part)]


@torch.no_grad()
def lived(model, x):
    """Read, age and write a model; all that it gave."""
    found = []
    for stage in (lambda m: None, lambda m: mho.age(m, 10.0), mho.program, lambda m: None):
        stage(model)
        found += outputs(model(x))
    return [*found, *(crossbar.cells.streams for crossbar in mho.crossbars(model).values())]


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("hardware", HARDWARES)
def test_a_pickled_model_reads_on_as_the_original(hardware, layer, calibrated):
    torch.manual_seed(0)
    make, x = LAYERS[layer]
    model = mho.convert(make(), HARDWARES[hardware], seed=1).eval()
    if calibrated:
        mho.calibrate(model, x)
    with torch.no_grad():
        model(x)  # reads keep what they found out
    twin = pickle.loads(pickle.dumps(model))
    for one, two in zip(lived(model, x), lived(twin, x), strict=True):
        assert torch.equal(one, two)
