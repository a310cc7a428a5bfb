"""Which layer errs, and why
=========================

What each stage of the read adds to the error of each layer of a small network, in percent of the layer's
exact outputs, an hour after it was programmed.
"""

import torch

import mho
from mho import plot

torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Linear(64, 48),
    torch.nn.ReLU(),
    torch.nn.Linear(48, 48),
    torch.nn.ReLU(),
    torch.nn.Linear(48, 10),
).eval()
inputs = torch.rand(200, 64)
hardware = mho.Hardware(
    dac=mho.DAC(bits=8),
    adc=mho.ADC(bits=6),
    effects=(
        mho.effects.WriteNoise(sigma=0.02),
        mho.effects.PowerLawDrift(nu=0.06, t0=1.0),
        mho.effects.ReadNoise(sigma=0.005),
    ),
)
analog = mho.convert(model, hardware, seed=0)
mho.calibrate(analog, inputs)
mho.age(analog, seconds=3600)

# %%
# The darkest field of a row is what to mend first.
plot.layer_errors(mho.analysis.layers(analog, inputs))
