"""From pulses on the bench to a device
====================================

A lab gives a cell identical pulses and reads it after every one. From such a record follow the
mean step, its noise from pulse to pulse, and the window, each with its standard error.
"""

# %%
# The measurement is made up here, from a published cell (AlOx/HfO2, Woo et al. 2016, doi
# 10.1109/LED.2016.2582859), so that what the fit finds can be held against the truth. Yours is a
# file: ``mho fit pulses.csv --out device.yaml``, or :func:`mho.fit.read`.
import matplotlib.pyplot as plt
import torch

from mho import fit
from mho.devices import presets
from mho.plot import fit_report

truth = presets.get("alox_hfo2")
cell = truth.fabricate((), seed=1, dtype=torch.float64)
up, down = cell.respond(pulses=40, cycles=10)
print(up.shape, "conductances in siemens: cycles × pulses")

# %%
# The fit is to every single pulse, not to the mean curve: a cell whose noise carries it into a
# bound has a biased mean curve, however many cycles it had.
found = fit.pulses((up, down), law="exponential")
print(found.estimates)
print(found.verdict)

# %%
# Data, mean and noise, and what is left.
fit_report(found)
plt.show()

# %%
# Half of the pulses were left out of the fit: did they fall where it says? Of intervals that
# should hold 90 %, about 90 % must.
print(found.calibration)

# %%
# The device goes into a file, and from there into any hardware. Beside it, the cell that was
# measured:
found.device.save("device.yaml")
print(found.device)
print(truth)
