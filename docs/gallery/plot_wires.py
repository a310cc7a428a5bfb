"""What wires do
=============

A 64 × 64 array with 2 Ω from cell to cell: word lines are driven from the left, bit lines are read at
the bottom, and the cells of the far corner see two thirds of what is asked for.
"""

import torch

from mho import plot
from mho.circuit import Wires, solve

generator = torch.Generator().manual_seed(0)
conductances = torch.rand(64, 64, generator=generator) * 1e-4
wires = Wires(source=10.0, word=2.0, bit=2.0, sense=10.0)
solution = solve(conductances, wires, torch.full((64,), 0.2))

# %%
# The voltage over each cell, where 0.2 V are on all word lines.
plot.ir_drop(solution)

# %%
# It is lost on both lines: the word lines fall from the left, the bit lines rise from the bottom.
plot.node_voltages(solution, "word")

# %%
plot.node_voltages(solution, "bit")

# %%
# What is lost of the current, for a hundred random inputs: more, the further a column is from the drivers.
inputs = 0.2 * torch.rand(100, 64, generator=generator)
plot.current_error(conductances, wires, inputs)
