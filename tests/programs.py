"""What the programs of users share: hardware, small models, how near is near."""

import torch
from torch import nn

import mho
from mho.effects import ReadNoise, WriteNoise

IDEAL = mho.Hardware()
NOISY = mho.Hardware(dac=mho.DAC(8), adc=mho.ADC(8), effects=(WriteNoise(0.02), ReadNoise(0.01)))
USUAL = mho.Hardware(
    encoding=mho.encoding.BitSliced(bits=8, bits_per_cell=2),
    dac=mho.DAC(8, mode="bit_serial"),
    adc=mho.ADC(8),
)


def alike(found, expected, tolerance=1e-5):
    """Assert the same shape and dtype, and values within a share of the largest."""
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    worst, largest = (found - expected).abs().max(), expected.abs().max()
    assert worst <= tolerance * largest, f"{worst / largest:.1e}"


def apart(found, expected):
    """The relative error of what comes from noisy cells."""
    return float(((found - expected).norm() / expected.norm()).detach())


def mlp(inputs=20, outputs=4):
    return nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, outputs))


class Language(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.mix = nn.Embedding(30, 16), nn.Linear(16, 16)
        self.head = nn.Linear(16, 30, bias=False)

    def forward(self, tokens):
        return self.head(torch.relu(self.mix(self.table(tokens))))
