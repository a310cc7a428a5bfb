"""Where the accuracy goes
=======================

A chip is never ideal in one way only. Adding one non-ideality after the other to the same design
shows which of them costs what, and which remedy is worth its price.
"""

# %%
# The stages of a crossbar's life, one added to the next.
import matplotlib.pyplot as plt
import torch

import mho
from mho.demo.data import digits

data = digits(seed=0)
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
mho.train.fit(
    model,
    torch.optim.Adam(model.parameters(), lr=5e-3),
    (data.train_x, data.train_y),
    torch.nn.functional.cross_entropy,
    epochs=12,
    batch=64,
    seed=0,
)
model.eval()

effects = mho.effects
ideal = mho.Hardware(device=mho.devices.LinearDevice(1e-6, 100e-6), array=mho.Array(64, 64))
broken = ideal.replace(effects=(effects.StuckAt(low=0.02, high=0.02),))
written = broken.replace(effects=(*broken.effects, effects.WriteNoise(0.08)))
read = written.replace(effects=(*written.effects, effects.ReadNoise(0.02)))
wires = mho.circuit.Wires(source=20.0, word=1.0, bit=1.0, sense=20.0)
wired = read.replace(array=mho.Array(64, 64, wires=wires))
converted = wired.replace(dac=mho.DAC(bits=6), adc=mho.ADC(bits=5))
designs = {
    "ideal cells": ideal,
    "+ 4 % stuck": broken,
    "+ write noise": written,
    "+ read noise": read,
    "+ wires of 1 Ω": wired,
    "+ 5-bit ADC": converted,
}


def evaluate(chip):
    return float((chip(data.test_x).argmax(1) == data.test_y).float().mean())


def calibrated(chip):
    mho.calibrate(chip, data.train_x[:300])
    return evaluate(chip)


# %%
# Each design on three chips, as it comes and with its outputs corrected by ``calibrate``.
plain, corrected = {}, {}
for name, hardware in designs.items():
    analog = mho.convert(model, hardware, seed=0).eval()
    plain[name] = mho.study.over_chips(analog, evaluate, range(3))
    corrected[name] = mho.study.over_chips(analog, calibrated, range(3))
    print(f"{name:16s} {100 * plain[name].mean():5.1f} %   {100 * corrected[name].mean():5.1f} %")

figure, ax = plt.subplots(figsize=(8.0, 3.8), layout="constrained")
mho.plot.accuracy_of_chips(plain, ax, label="as it comes", colour="#D55E00", shift=-0.2)
mho.plot.accuracy_of_chips(corrected, ax, label="calibrated", colour="#0072B2", shift=0.2)
ax.legend()
plt.show()
