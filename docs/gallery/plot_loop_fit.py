"""A model for measured loops
==========================

Four cycles of a cell with 2 % of noise, which does not switch twice at the same voltage, are fitted by
VTEAM: orange is one law for all cycles, blue are those of each. Cells drawn from the fit switch where the
measured cycles do.
"""

import numpy as np
import torch

from mho import fit, plot
from mho.devices import VTEAM, Spread

quarter = np.linspace(0.0, 1.0, 12)
volts = np.concatenate([quarter, quarter[::-1], -quarter, -quarter[::-1]])
time = 0.02 * np.arange(len(volts))
threshold = Spread("Normal", (("loc", 0.4), ("scale", 0.04)))
true = VTEAM(r_on=1e3, r_off=1e4, v_on=-0.5, v_off=threshold, k_on=-2e-8, k_off=1e-8)
cells = true.fabricate((4,), seed=0, dtype=torch.float64)
cells.x = torch.ones(4, dtype=torch.float64)
current = cells.simulate(torch.from_numpy(volts), dt=0.02, adaptive=True).numpy()
noise = np.random.default_rng(0).standard_normal(current.shape)
current += 0.02 * np.sqrt((current**2).mean()) * noise

known = {"alpha_on": 1.0, "alpha_off": 1.0, "k_on": -2e-8}
found = fit.loop(
    [volts] * 4, list(current.T), time=[time] * 4, model="vteam", access="none", fixed=known
)
plot.loop_fit(found)
