"""What wires take away
====================

A cell far from its driver sees less than the driver's voltage, and its current meets more
resistance on its way out. An ohmic array with wires is still one matrix: it is solved exactly,
once.
"""

# %%
# An array of cells, all at 50 µS, on lines of 2 Ω a segment, with all word lines driven at 0.2 V.
import matplotlib.pyplot as plt
import torch

import mho
from mho.circuit import Wires, effective_conductance, solve
from mho.plot import current_error, ir_drop

wires = Wires(source=50.0, word=2.0, bit=2.0, sense=50.0)
G = torch.full((64, 64), 50e-6, dtype=torch.float64)
volts = torch.full((64,), 0.2, dtype=torch.float64)
found = solve(G, wires, volts)
print(f"the worst cell sees {1e3 * found.cell_voltages.min():.1f} mV of 200 mV")

figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 3.8), layout="constrained")
ir_drop(found, ax=left)
left.set_title("Voltage over every cell")
torch.manual_seed(0)
random = torch.rand(64, 64, dtype=torch.float64) * 1e-4
current_error(random, wires, torch.rand(200, 64, dtype=torch.float64) * 0.2, ax=right)
right.set_title("Error of the column currents")
plt.show()

# %%
# The currents are ``V @ T`` with an effective conductance matrix ``T`` of the array alone, so
# that a network on wires reads as fast as one without.
T = effective_conductance(random, wires)
inputs = torch.rand(1000, 64, dtype=torch.float64)
error = (inputs @ T - solve(random, wires, inputs).currents).abs().max() / (inputs @ T).max()
print(f"V @ T beside the full solution of the circuit: {float(error):.1e} of the largest current")

# %%
# How large may an array be? Larger tiles need fewer converters, and lose more on the way.
weight = torch.randn(10, 256)
x = torch.rand(200, 256)
layer = torch.nn.Linear(256, 10, bias=False)
layer.weight.data = weight
for size in (16, 32, 64, 128, 256):
    hardware = mho.Hardware(
        device=mho.devices.LinearDevice(1e-6, 100e-6), array=mho.Array(size, size, wires=wires)
    )
    analog = mho.convert(layer, hardware, seed=0).eval()
    plain = float((analog(x) - layer(x)).norm() / layer(x).norm())
    mho.calibrate(analog, x)
    corrected = float((analog(x) - layer(x)).norm() / layer(x).norm())
    print(f"tiles of {size:3d} rows: error {plain:6.2%}, calibrated {corrected:6.2%}")
