"""A model for measured loops
==========================

A cycle of a cell with 2 % of noise is fitted by VTEAM. The
fit is as near as the noise lets it, and what is drawn from it switches where the measured cell does.
"""

import numpy as np
import torch

from mho import fit, plot
from mho.devices import VTEAM

u = np.linspace(0.0, 1.0, 16)
volts = np.concatenate([u, u[::-1], -u, -u[::-1]])
true = VTEAM(r_on=1e3, r_off=1e4, v_on=-0.5, v_off=0.4, k_on=-2e-8, k_off=1e-8)
cells = true.fabricate((1,), seed=0, dtype=torch.float64)
cells.x = torch.ones(1, dtype=torch.float64)
current = cells.simulate(torch.from_numpy(volts), dt=5e-3, adaptive=True).numpy()
noise = np.random.default_rng(0).standard_normal(current.shape)
current += 0.02 * np.sqrt((current**2).mean()) * noise
time = 5e-3 * np.arange(len(volts))

found = fit.loop(volts, current[:, 0], time=time, model="vteam", access="none")
plot.loop_fit(found)
