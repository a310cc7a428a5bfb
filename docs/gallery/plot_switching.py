"""Hysteresis and switching
========================

A voltage-driven cell under a slow triangle of voltage, the same on a logarithmic axis, and the windows
that keep a state between its ends.
"""

import torch

from mho import plot
from mho.devices import VTEAM
from mho.devices.windows import Biolek, Joglekar, Prodromakis

quarter = torch.linspace(0.0, 1.0, 60, dtype=torch.float64)
volts = torch.cat([quarter, quarter.flip(0), -quarter, -quarter.flip(0)])
device = VTEAM(r_on=1e3, r_off=1e4, v_on=-0.5, v_off=0.4, k_on=-2e-8, k_off=1e-8)
cells = device.fabricate((1,), seed=0, dtype=torch.float64)
cells.write(torch.tensor(1e-3))
current = cells.simulate(volts, dt=5e-3, adaptive=True)

# %%
# The loop is pinched at zero; arrows say which way it is run through.
plot.hysteresis_loop(volts, current)

# %%
# Set and reset as steps of the current's logarithm.
plot.bipolar_switching(volts, current)

# %%
# Biolek's window depends on the direction (dashed: falling), the others do not.
plot.window_functions([Joglekar(p=2), Biolek(p=2), Prodromakis(p=2)])
