"""Arrays without selectors
========================

A write half-selects all cells of its row and column, and a read collects currents that went round by
other cells.
"""

import torch

from mho import plot
from mho.circuit import Wires, bias, disturb, sneak_read
from mho.devices import VTEAM

# %%
# One cell of 16 × 16 is reset by 1.2 V for a microsecond. Under V/2 all cells of its row
# and column lose a fifth of their conductance.
device = VTEAM(r_on=1e4, r_off=1e5, v_on=-0.5, v_off=0.5, k_on=-1e-3, k_off=1e-3)
cells = device.fabricate((16, 16), seed=0, dtype=torch.float64)
cells.write(torch.full((16, 16), 5e-5, dtype=torch.float64))
wires = Wires(word=2.0, bit=2.0)
found = disturb(cells, bias("V/2", (16, 16), 5, 9, 1.2), 1e-6, wires=wires)
plot.disturb_map(found)

# %%
# The same on a logarithmic scale: cells that did not move stay white.
plot.disturb_map(found, log=True)

# %%
# Reading each cell alone while all other lines float: what comes round is many times the cell's own
# current where that is small.
generator = torch.Generator().manual_seed(0)
g = 10 ** (-6 + 2 * torch.rand(16, 16, generator=generator, dtype=torch.float64))
row, col = (t.flatten() for t in torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij"))
plot.sneak_map(sneak_read(lambda v: g * v, (16, 16), row, col, 0.2, wires=wires))
