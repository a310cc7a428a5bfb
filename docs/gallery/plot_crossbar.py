"""What a crossbar holds
=====================

A layer's weights on two arrays of cells, one for the positive and one for the negative part, with one
cell in fifty broken and 3 % of write noise.
"""

import torch

import mho
from mho import plot
from mho.devices import LinearDevice
from mho.effects import StuckAt, WriteNoise

torch.manual_seed(0)
weight = torch.randn(64, 48) * 0.1
hardware = mho.Hardware(
    device=LinearDevice(g_min=1e-6, g_max=1e-4),
    array=mho.Array(32, 32),
    effects=(StuckAt(low=0.01, high=0.01), WriteNoise(0.03)),
)
crossbar = mho.Crossbar(64, 48, hardware, seed=0)
report = crossbar.program(weight)

# %%
# The positive array. Lines are borders of tiles, crosses are cells that no programming moves.
plot.conductance_map(crossbar)

# %%
# Half of the cells rest at the lowest conductance: the axis of counts is logarithmic.
plot.target_histogram(report)

# %%
# A stuck cell moves its weight far; all others are as near as the write noise lets them.
plot.weight_error(crossbar, weight)
