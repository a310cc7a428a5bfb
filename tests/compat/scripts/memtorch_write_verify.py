# ruff: noqa
"""A user's program for MemTorch 1.1.6, unmodified: writing, verifying, and what it costs.

A programming routine of one's own pulses a device and reads it until its conductance is right, and
adds up the energy of all pulses from the currents of ``simulate``.
"""

import copy
import csv
import random
import time

import memtorch
import numpy as np
import torch
import torch.nn as nn
from memtorch.bh.crossbar.Crossbar import Crossbar, Scheme
from memtorch.bh.crossbar.Program import gen_programming_signal, naive_program
from memtorch.map.Parameter import naive_map
from memtorch.mn.Module import patch_model

ledger = []  # one entry a device: (point, pulses, joules, relative error)


def energy_of(voltage_signal, current, dt):
    """Sum of V * I * dt (J)."""
    return float(np.sum(np.array(voltage_signal) * np.array(current)) * dt)


def write_verify(
    crossbar,
    point,
    conductance,
    rel_tol=0.02,
    pulse_duration=1e-9,
    up=-0.23,
    down=0.4,
    max_pulses=2000,
    **kwargs,
):
    """Pulse one device (a negative voltage raises VTEAM's conductance) until it is right."""
    device = crossbar.devices[point]
    dt = device.time_series_resolution
    pulses, joules = 0, 0.0
    while abs(device.g - conductance) > rel_tol * conductance and pulses < max_pulses:
        level = up if device.g < conductance else down
        _, signal = gen_programming_signal(1, pulse_duration, 0, level, dt)
        current = device.simulate(signal, return_current=True)
        joules += energy_of(signal, current, dt)
        pulses += 1

    ledger.append((point, pulses, joules, abs(device.g - conductance) / conductance))
    return device


def polarity(device, amplitude, duration):
    """Which sign of a voltage raises the conductance, tried on a copy."""
    trial = copy.deepcopy(device)
    trial.set_conductance((1 / device.r_on + 1 / device.r_off) / 2)
    before = trial.g
    trial.simulate(np.ones(max(int(duration / device.time_series_resolution), 1)) * amplitude)
    return 1 if trial.g > before else -1


random.seed(0)
np.random.seed(0)
torch.manual_seed(0)
params = {"time_series_resolution": 1e-10, "r_on": 1e3, "r_off": 1e4}

# 1. A crossbar, all of it written by the routine.
crossbar = Crossbar(memtorch.bh.memristor.VTEAM, params, shape=(10, 10))
wanted = torch.zeros(10, 10).uniform_(1.2e-4, 9e-4)
crossbar.write_conductance_matrix(
    wanted,
    transistor=False,
    programming_routine=write_verify,
    programming_routine_params={"rel_tol": 0.02},
)
print("devices written", len(ledger))
print("points", len(set(entry[0] for entry in ledger)))
print("worst error %.4f" % max(entry[3] for entry in ledger))
g = np.vectorize(lambda d: d.g)(crossbar.devices)
print("worst deviation %.4f" % np.max(np.abs(g / wanted.numpy().T - 1)))
print("matrix follows", bool(np.allclose(crossbar.conductance_matrix.numpy(), g)))
with open("ledger.csv", "w") as f:
    csv.writer(f).writerows(ledger)

# 2. Energy, sample by sample: the same signal in one call, or in many of one sample each.
device = memtorch.bh.memristor.VTEAM(**params)
device.set_conductance(5e-4)
twin = copy.deepcopy(device)
signal = np.concatenate([np.full(20, 0.4), np.zeros(5), np.full(20, -0.23)])
whole = energy_of(signal, device.simulate(signal, return_current=True), 1e-10)
parts, lowest, highest = 0.0, 0.0, 0.0
for voltage in signal:
    g_0 = twin.g
    current = twin.simulate([voltage], return_current=True)
    parts += voltage * current[0] * 1e-10
    lowest += voltage**2 * min(g_0, twin.g) * 1e-10
    highest += voltage**2 * max(g_0, twin.g) * 1e-10

print("energy ratio %.6f" % (whole / parts))
print("same end %.2e" % abs(device.g - twin.g))
print("energy within", lowest * 0.999 <= parts <= highest * 1.001)

# 3. The same for devices of a patched layer, cell by cell: five refresh pulses on every cell.
net = nn.Sequential(nn.Linear(8, 4))
ledger.clear()
patched = patch_model(
    copy.deepcopy(net),
    memristor_model=memtorch.bh.memristor.VTEAM,
    memristor_model_params=params,
    module_parameters_to_patch=[nn.Linear],
    mapping_routine=naive_map,
    transistor=False,
    programming_routine=write_verify,
    programming_routine_params={"rel_tol": 0.01, "pulse_duration": 5e-10},
    source_resistance=1e-3,
    line_resistance=1e-3,
    verbose=False,
)
patched.tune_()
x = torch.zeros(200, 8).uniform_(-1, 1)
with torch.no_grad():
    r = np.corrcoef(patched(x).numpy().ravel(), net(x).numpy().ravel())[0, 1]
print("layer devices %d correlation %.5f" % (len(ledger), r))
energies = [entry[2] for entry in ledger]
print("total energy %.4e parts %.4e" % (sum(energies), sum(np.array(energies))))
print("energies positive", all(e >= 0 for e in energies))
for crossbar in patched[0].crossbars:
    before = crossbar.conductance_matrix.clone()
    spent = 0.0
    for i in range(crossbar.devices.shape[0]):
        for j in range(crossbar.devices.shape[1]):
            _, pulse = gen_programming_signal(5, 1e-9, 1e-9, 0.1, 1e-10)
            current = crossbar.devices[i][j].simulate(torch.tensor(pulse), return_current=True)
            spent += energy_of(pulse, current, 1e-10)
    crossbar.update(from_devices=True)
    change = (crossbar.conductance_matrix - before).max().item()
    # What the pulses would cost had nothing moved: it moved down.
    bound = float(before.sum()) * 0.1**2 * 5e-9
    print("disturb energy %.4e bound %.4e rises %.1e" % (spent, bound, max(change, 0)))

# 4. Tiled: a point is (tile, row, column) then.
ledger.clear()
tiled = Crossbar(memtorch.bh.memristor.VTEAM, params, shape=(6, 7), tile_shape=(4, 4))
target = memtorch.bh.crossbar.Tile.gen_tiles(torch.full((7, 6), 3e-4), (4, 4))[0]
for tile, row, column in np.ndindex(*tiled.devices.shape):
    if target[tile, row, column] > 0:
        write_verify(tiled, (tile, row, column), target[tile, row, column], rel_tol=0.05)
tiled.update(from_devices=True)
mask = target > 0
error = (tiled.conductance_matrix[mask] / target[mask] - 1).abs().max()
print("tiled devices %d error %.4f" % (len(ledger), error))

# 5. Other models: how many pulses to half of the range, and back.
for model, amplitude, duration in [
    (memtorch.bh.memristor.LinearIonDrift, 1.0, 1e-3),
    (memtorch.bh.memristor.Data_Driven, 1.4, 1e-6),
    (memtorch.bh.memristor.VTEAM, 0.25, 1e-9),
]:
    device = Crossbar(model, {}, (2, 2)).devices[0][1]
    sign = polarity(device, amplitude, duration)
    low, high = 1 / device.r_off, 1 / device.r_on
    device.set_conductance(low + 0.2 * (high - low))
    goal, counts = low + 0.5 * (high - low), [0, 0]
    _, pulse = gen_programming_signal(1, duration, 0, 1.0, device.time_series_resolution)
    pulse = np.asarray(pulse) if len(pulse) else np.ones(1)
    while device.g < goal and counts[0] < 20000:
        device.simulate(pulse * sign * amplitude)
        counts[0] += 1
    while device.g > goal and counts[1] < 20000:
        device.simulate(pulse * -sign * amplitude)
        counts[1] += 1
    print("%s sign %d up %d down %d" % (model.__name__, sign, counts[0], counts[1]))

# 6. The routine that comes along.
crossbar = Crossbar(memtorch.bh.memristor.LinearIonDrift, {}, shape=(3, 3))
device = naive_program(crossbar, (1, 2), 2e-3, rel_tol=0.02, simulate_neighbours=False)
print(
    "naive error %.4f" % abs(crossbar.devices[1][2].g / 2e-3 - 1),
    device.g == crossbar.devices[1, 2].g,
)
