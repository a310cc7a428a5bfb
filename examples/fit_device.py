"""From measurements to a device: what `mho fit` does, in Python and on the command line.

The measurements here are of a simulated cell, so that the fit can be compared with the truth. Your
own go in the same way: pairs of conductance and jump, or pulse responses, or I–V sweeps.

    python examples/fit_device.py [--quick] [--out mho-fit]
"""

import torch

from example_options import parsed
from mho import fit
from mho.devices import Device, presets
from mho_cli.app import main

folder = parsed(__doc__, "mho-fit", quick="the same: it takes seconds").out

# 1. What a lab would have: one cell cycled ten times up and down, read after every pulse.
truth = presets.get("alox_hfo2").replace(c2c=0.01)
cell = truth.fabricate((), seed=1, dtype=torch.float64)
response = cell.respond(pulses=40, cycles=10)  # [set and reset, cycles, pulses + 1]

# 2. In Python: a curve fit, with how often held-out steps fell inside the intervals predicted.
found = fit.exponential(response)
print(f"truth:  {truth}\nfitted: {found.device}")
print(f"held-out steps inside their intervals: {found.calibration}")

# 3. The same cell without any law: a jump table by Gaussian-process regression.
table = fit.jump_table(*fit.pairs(response[0]))
print(f"jump table: {table.table}, {table.calibration}")

# 4. What an instrument writes: a counter that runs on, decimal commas, currents at a read voltage.
lines = ["Instrument;parameter analyser", "Read voltage;0,1 V", "", "Pulse #;I_read (nA)"]
readings = [g for up, down in zip(*response, strict=True) for g in (*up, *down[1:])]
lines += [f"{k};{1e8 * float(g):.6g}".replace(".", ",") for k, g in enumerate(readings)]
(folder / "pulses.csv").write_text("\n".join(lines), encoding="utf-16")
print(fit.read(folder / "pulses.csv"))

# 5. On the command line: the same three lines, the fit, YAML and a figure.
main(["fit", str(folder / "pulses.csv"), "--out", str(folder / "device.yaml")])

# 6. Read back, it is a device like any other.
device = Device.load(folder / "device.yaml")
print(f"{type(device).__name__} with a window of {device.window} S")
