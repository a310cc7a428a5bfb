"""Equal pulses
============

How cells answer pulses that are all alike: the conductance from pulse to pulse, the jump of one pulse
from wherever it starts, and a table of measured jumps.
"""

import torch

from mho import plot
from mho.devices import presets

# %%
# Twelve cells of AlOx/HfO₂, three cycles each: the band holds 90 % of all curves.
device = presets.get("alox_hfo2")
cells = device.fabricate((12,), seed=0, dtype=torch.float64)
plot.pulse_response(cells.respond(40, cycles=3))

# %%
# The jump is large at one end and small at the other, and differs from pulse to pulse.
plot.delta_g(device)

# %%
# A ferroelectric transistor, as a table: how likely is which jump, from where?
plot.jump_table(presets.get("fefet_3v0").set_table)
