"""Write–verify
============

Cells of a voltage-driven device are pulsed and read until they are within 1 % of the window of what they
shall hold.
"""

import torch

from mho import plot
from mho.devices import VTEAM
from mho.programming import WriteVerify, write_verify

device = VTEAM()
target = torch.empty(48, 64).uniform_(*device.window, generator=torch.Generator().manual_seed(0))


def written(tolerance, noise):
    """Program an array and return the report."""
    cells = device.fabricate((48, 64), seed=0)
    scheme = WriteVerify.for_device(
        device, tolerance=tolerance, read_noise=noise, on_failure="report"
    )
    return write_verify(cells, target, scheme)


# %%
# A finer tolerance takes more rounds, and noise of the verify reads more still.
fine = written(0.01, 0.0)
ax = plot.convergence(written(0.03, 0.0), label="3 %")
plot.convergence(fine, ax, label="1 %")
plot.convergence(written(0.01, 0.01), ax, label="1 %, read noise 1 %")

# %%
# How many pulses each cell took: those with far to go took more.
plot.pulses_map(fine)
