"""One cell: what it does with a voltage
=====================================

A memristive cell has an inner state that a voltage moves, and a current that depends on both.
Here is a hafnium-oxide filament (the Stanford–PKU model with its published parameters, Jiang et
al. 2014, doi 10.1109/SISPAD.2014.6931558) under a triangular sweep, as on a probe station.
"""

# %%
# A device is a frozen set of numbers in SI units. It prints what it is.
import matplotlib.pyplot as plt
import torch

from mho.devices import presets, waveforms
from mho.plot import bipolar_switching, hysteresis_loop

device = presets.get("hfox_stanford_pku")
print(device)

# %%
# ``fabricate`` makes cells of it, ``simulate`` sweeps them. Switching takes nanoseconds while the
# sweep takes milliseconds: every cell takes as many steps as it needs. The filament's random term
# makes each cell set at a voltage of its own.
cells = device.fabricate((5,), seed=0)
time, volts = waveforms.triangle(1.6, 125.0, dt=4e-5)
current = cells.simulate(volts, dt=4e-5)
print(f"{len(time)} samples of {current.shape[1]} cells")

figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 3.8), layout="constrained")
hysteresis_loop(volts, current, ax=left)
bipolar_switching(volts, current, ax=right)
left.set_title("A pinched loop")
right.set_title("Set and reset")
plt.show()

# %%
# A faster sweep leaves the filament less time: it sets at a higher voltage. That is why a cell
# that keeps its state for years at low voltage can be written in nanoseconds at a higher one.
for rate in (12.5, 125.0, 1250.0, 12500.0):
    step = 4e-5 * 125.0 / rate
    time, volts = waveforms.triangle(1.6, rate, dt=step)
    cells = device.fabricate((10,), seed=1)
    current = cells.simulate(volts, dt=step)
    up = volts[: len(volts) // 4]
    at = up[(current[: len(up)] > 1e-4).int().argmax(0)]
    print(f"{4 * 1.6 * rate:9.0f} V/s   set at {at.mean():.2f} ± {at.std():.2f} V")

# %%
# What the cell conducts at low voltage is what a crossbar stores. Writing sets it anywhere in its
# window.
cells = device.fabricate((3,), seed=0)
target = torch.linspace(*device.window, 3)
cells.write(target)
for wanted, held in zip(target, cells.conductance(), strict=True):
    print(f"asked for {1e6 * float(wanted):8.2f} µS, conducts {1e6 * float(held):8.2f} µS")
