"""Cores of a chip and their timeline
==================================

A small convolutional network on forty cores of 256 × 256 cells, layer by layer, with copies of the
layers that would hold up the others.
"""

import torch
from torch import nn

import mho
from mho import plot
from mho.chip import Cores, place

model = nn.Sequential(
    nn.Conv2d(3, 16, 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(16, 32, 3, stride=2, padding=1),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(32 * 16 * 16, 10),
).eval()
cores = Cores(count=40, rows=256, cols=256, arrays=2, read_time=133e-9)
hardware = mho.Hardware(array=mho.Array(256, 256, whole_lines=True))
image = torch.rand(1, 3, 32, 32)
mapping = place(model, cores, "layer", hardware=hardware, inputs=image, copies="balanced")

# %%
# Numbers are layers in the order in which they are read; copies are hatched.
plot.core_plan(mapping)

# %%
# Each layer starts as soon as enough of the one before is there; inferences overlap.
plot.core_timeline(mapping, inferences=3)
