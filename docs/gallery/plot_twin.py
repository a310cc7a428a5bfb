"""A chip's twin
=============

From 500 reads of a chip with wires, uneven amplifiers and a broken cell, a description is fitted that
predicts what it has not seen. The pictures say how well, and where not.
"""

import numpy as np
import torch

import mho
from mho import Amplifier, Array, Hardware, effects, fit, plot
from mho.circuit import Wires
from mho.devices import LinearDevice
from mho.encoding import SingleColumn

rng = np.random.default_rng(0)
known = Hardware(
    device=LinearDevice(g_min=1e-6, g_max=1e-4), encoding=SingleColumn(), array=Array(16, 16)
)
secret = known.replace(
    array=Array(16, 16, wires=Wires(source=6.0, word=2.0, bit=3.0)),
    amplifier=Amplifier(gain=tuple(rng.normal(1.0, 0.05, 16)), compression=2e3),
    effects=(effects.StuckCells(((0, 5, 3),), (0.0,)), effects.ReadNoise(0.01)),
)
g = rng.uniform(1e-6, 1e-4, (16, 16))
volts = rng.uniform(-0.2, 0.2, (500, 16))
chip = mho.Crossbar(16, 15, secret, dtype=torch.float64)
chip.store(torch.from_numpy(g)[None])
full_scale = torch.tensor(0.2, dtype=torch.float64)
chip.commit(correction=chip.correction.replace(input_range=full_scale), observed=True)
amperes = chip.reader.observe(torch.from_numpy(volts))[0][0, 0]
twin = fit.hardware(known, volts, g, amperes)

# %%
# All on one sheet.
plot.twin_sheet(twin)

# %%
# Held-out reads: measured against predicted.
plot.measured_against_predicted(twin)

# %%
# What is left, line by line, over the band in which 95 % of it is predicted to be.
plot.residuals_by_line(twin)

# %%
# The same over the current, and in the order of the measurement: nothing depends on either.
plot.residuals_by_current(twin)

# %%
plot.residuals_in_order(twin)

# %%
# The predicted probabilities of less than what was measured are even, as they should be.
plot.probability_transforms(twin)

# %%
# The broken cell is found.
plot.suspicious_map(twin)

# %%
# The gains of the amplifiers with their standard errors, and the offsets, which are none.
plot.gains_and_offsets(twin)
