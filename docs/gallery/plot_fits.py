"""Fits of measured cells
======================

What each kind of fit has to show: data and law, with residuals below or errors beside. The data are drawn
from known devices.
"""

import numpy as np
import torch

from mho import fit, plot
from mho.devices import GenericStatistical, presets

rng = np.random.default_rng(0)

# %%
# Pulses: one cell of AlOx/HfO₂, ten cycles, and the exponential law with its 90 % band.
cell = presets.get("alox_hfo2").fabricate((), seed=1, dtype=torch.float64)
plot.fit_report(fit.pulses(cell.respond(pulses=40, cycles=10), law="exponential"))

# %%
# A read curve: the law is chosen among several, here a sinh.
volts = np.linspace(-1.0, 1.0, 81)
amperes = 8e-6 * np.sinh(2.5 * volts) + 2e-8 * rng.standard_normal(81)
plot.fit_report(fit.iv(volts, amperes, g_min=1e-6), data=(volts, amperes))

# %%
# Programming: every pair of target and result about the bias, and σ over the target.
cells = GenericStatistical(
    g_min=2e-6, g_max=25e-6, write_sigma=(0.2e-6, 0.5e-6), write_bias=0.1e-6,
    nu=(0.06, -0.03), nu_std=0.012, read_sigma=0.2e-6,
).fabricate((150,), seed=1, dtype=torch.float64)  # fmt: skip
target = torch.linspace(2e-6, 25e-6, 150, dtype=torch.float64)
cells.program(target)
plot.programming_fit(fit.programming(target, cells.conductance().clone()))

# %%
# Retention: the records of some cells with the law of each, and the exponents of all.
time = np.r_[0.0, np.geomspace(1.0, 1e5, 20)]
records = []
for t in time:
    cells.age(t - cells.seconds)
    records.append(cells.read())
drifting = fit.retention(time, torch.stack(records, 1), g_max=25e-6)
plot.retention_fit(drifting)

# %%
# The records alone.
plot.retention_records(drifting, cells=6)

# %%
# A map of cells in both states: points on a line are of the distribution fitted.
common, own = rng.normal(size=(2, 2000))
low = np.exp(-13.0 + 0.3 * (0.6 * common + 0.8 * own))
plot.spread_report(fit.cell_map(np.exp(-10.0 + 0.2 * common), low))
