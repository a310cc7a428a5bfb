"""From measurements to a device: what `mho fit-device` does, in Python and on the command line.

The measurements here are of a simulated cell, so that the fit can be compared with the truth. Your
own go in the same way: pairs of conductance and jump, or pulse responses, or I–V sweeps.
"""

import csv
from pathlib import Path

import torch
import yaml

from mho import fit
from mho.cli.main import main
from mho.devices import Device, presets

folder = Path("mho-fit-device")
folder.mkdir(exist_ok=True)

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

# 4. On the command line, from a CSV file: YAML and a figure with data, mean, σ and residuals.
with (folder / "pulses.csv").open("w", newline="") as file:
    rows = csv.writer(file)
    rows.writerow(["pulse", "conductance (uS)", "direction"])
    for up, down in zip(*(1e6 * half for half in response), strict=True):
        rows.writerows((k, float(g), "set") for k, g in enumerate(up))
        rows.writerows((40 + k, float(g), "reset") for k, g in enumerate(down[1:], 1))
main(["fit-device", str(folder / "pulses.csv"), "--out", str(folder / "device.yaml")])

# 5. Read back, it is a device like any other.
device = Device.from_dict(yaml.safe_load((folder / "device.yaml").read_text()))
print(f"{type(device).__name__} with a window of {device.window} S")
