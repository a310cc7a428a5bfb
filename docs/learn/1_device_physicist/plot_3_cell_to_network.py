"""
What a network makes of a device
================================

The number that decides about a device is rarely one of its own: it is what a network loses on cells of it,
beside the same network on ideal ones, over several chips and as time passes.
"""

# %%
# A small classifier of handwritten digits, trained in plain PyTorch.
import matplotlib.pyplot as plt
import torch

import mho
from mho import study
from mho.demo.data import digits
from mho.devices import presets

data = digits(seed=0)
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
mho.train.fit(
    model,
    optimizer,
    (data.train_x, data.train_y),
    torch.nn.functional.cross_entropy,
    epochs=15,
    batch=64,
    seed=0,
)
model.eval()

# %%
# Three published devices, six chips each. The cells are programmed the device's own way: phase-change cells
# by their measured statistics, the pulse-count cell open loop.
names = ("pcm_joshi", "reram_wan", "alox_hfo2")
found = {}
for name in names:
    hardware = mho.Hardware(
        device=presets.get(name), array=mho.Array(64, 64), dac=mho.DAC(8), adc=mho.ADC(8)
    )
    found[name] = study.accuracy(
        model,
        hardware,
        data.test_x,
        data.test_y,
        calibration=data.train_x[:300],
        seeds=range(6),
    )
    loss, error = found[name].loss
    print(f"{name:10s} loses {100 * loss:5.2f} ± {100 * error:.2f} points to ideal cells")

# %%
# Every dot is a chip. A spread of a point between chips is usual: one chip is no result.
figure, ax = plt.subplots(figsize=(7.0, 3.6), layout="constrained")
groups = {"ideal cells": found[names[0]].ideal}
groups |= {name: result.chips[:, 0] for name, result in found.items()}
mho.plot.accuracy_of_chips(groups, ax)
ax.axhline(100 * found[names[0]].digital, color="0.4", linestyle=":", linewidth=1.2)
ax.set_title("Accuracy just after programming; dotted: plain PyTorch")
plt.show()
