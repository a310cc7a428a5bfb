"""Published statistics: drift of phase-change memory
==================================================

Before a network is blamed on a device, the device must be the published one. Joshi et al. 2020
(doi 10.1038/s41467-020-16108-9) give the programming error and the drift of a million cells as
formulas; the cells of ``pcm_joshi`` must show the same.
"""

# %%
# A hundred thousand cells at ten conductances, one day.
import matplotlib.pyplot as plt
import torch

import mho
from mho.devices import presets

device = presets.get("pcm_joshi")
targets = torch.linspace(2.5e-6, 25e-6, 10)
cells = device.fabricate((10, 10_000), seed=0)
cells.program(targets[:, None].expand(10, 10_000))
programmed = cells.conductance().clone()
sigma = programmed.std(1)

# %%
# The published standard deviation is a parabola in the target (µS, relative to 25 µS).
r = targets / 25e-6
published = (0.26348 + 1.9650 * r - 1.1731 * r**2) * 1e-6
with mho.plot.style():
    figure, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    ax.plot(1e6 * targets, 1e6 * published, color="0.3", label="published formula")
    ax.plot(1e6 * targets, 1e6 * sigma, "o", color="#0072B2", label="10,000 cells each")
    ax.set(xlabel="target (µS)", ylabel="σ of programming (µS)", title="Programming error")
    ax.legend()
    plt.show()
off = ((sigma - published) / published).abs().max()
print(f"largest deviation of σ: {float(off):.1%} (10,000 cells know σ to 0.7 %)")

# %%
# Conductances fall as a power of time, each cell with an exponent of its own.
times = [2.0**k * 20.0 for k in range(13)]
held, before = [], 0.0
for seconds in times:
    cells.age(seconds - before)
    before = seconds
    held.append(cells.conductance().clone())
held = torch.stack(held)  # times × targets × cells
with mho.plot.style():
    figure, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    for k in (0, 4, 9):
        ax.loglog(times, 1e6 * held[:, k].mean(1), label=f"{1e6 * float(targets[k]):.1f} µS")
    ax.set(xlabel="time since programming (s)", ylabel="mean conductance (µS)", title="Drift")
    ax.legend(title="target")
    plt.show()

# %%
# The exponent of every single cell, beside the published mean of the conductance it was
# programmed to.
found = -(held[-1] / held[1]).log() / torch.tensor(times[-1] / times[1]).log()
published = (-0.0155 * (programmed / 25e-6).log() + 0.0244).clamp(0.049, 0.1)
for k in (0, 1, 4, 9):
    error = float(found[k].std()) / 100
    print(
        f"{1e6 * float(targets[k]):5.1f} µS: exponent {float(found[k].mean()):.4f} ± {error:.4f}, "
        f"published {float(published[k].mean()):.4f}"
    )
