# ruff: noqa
"""A user's program for MemTorch 1.1.6, unmodified: a grid of simulations on several processes.

Device faults, finite states, variability and the resolution of converters are swept, with the
numbers NumPy gives, in worker processes that import this file or inherit it.
"""

import copy
import csv
import itertools
import multiprocessing
import os
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import memtorch
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from memtorch.bh.nonideality.NonIdeality import NonIdeality, apply_nonidealities
from memtorch.map.Input import naive_scale
from memtorch.map.Parameter import naive_map
from memtorch.mn.Module import patch_model
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler

R_ON, R_OFF = 1e4, 1e6
WEIGHTS = os.path.join(os.getcwd(), "grid_model.pt")


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.fc1 = nn.Linear(64, 48)
        self.fc2 = nn.Linear(48, 10)

    def forward(self, x):
        return self.fc2(torch.tanh(self.fc1(x)))


def load_data():
    digits = load_digits()
    x = torch.from_numpy(StandardScaler().fit_transform(digits.data)).float()
    y = torch.from_numpy(digits.target)
    return x[:1300], y[:1300], x[1300:], y[1300:]


def train():
    x, y, _, _ = load_data()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    torch.save(model, WEIGHTS)
    return model


def accuracy(model):
    _, _, x, y = load_data()
    with torch.no_grad():
        return 100.0 * (model(x).argmax(1) == y).float().mean().item()


def patched_model(sigma=0.0, bits=None):
    model = torch.load(WEIGHTS, weights_only=False)
    params = {"time_series_resolution": 1e-10, "r_on": R_ON, "r_off": R_OFF}
    if sigma > 0:
        params["r_on"] = memtorch.bh.StochasticParameter(loc=R_ON, scale=sigma * R_ON, min=1)
        params["r_off"] = memtorch.bh.StochasticParameter(loc=R_OFF, scale=sigma * R_OFF, min=1)

    model = patch_model(
        copy.deepcopy(model),
        memristor_model=memtorch.bh.memristor.VTEAM,
        memristor_model_params=params,
        module_parameters_to_patch=[torch.nn.Linear],
        mapping_routine=naive_map,
        scheme=memtorch.bh.Scheme.DoubleColumn,
        tile_shape=np.array([32, 32]),
        max_input_voltage=np.float32(0.3),
        scaling_routine=naive_scale,
        ADC_resolution=bits,
        ADC_overflow_rate=np.float64(0.0),
        quant_method=None if bits is None else "linear",
        verbose=False,
    )
    model.tune_()
    return model


def faulty_fraction(model, before):
    """Count cells that are no longer what they were."""
    changed = total = 0
    for layer, old in zip([model.fc1, model.fc2], before):
        for crossbar, g in zip(layer.crossbars, old):
            changed += int((crossbar.conductance_matrix != g).sum())
            total += g.numel()
    return changed / total


def simulate(point, seed=0):
    """One point of the grid: (kind, value) to (kind, value, accuracy, worker)."""
    kind, value = point
    torch.manual_seed(seed)
    np.random.seed(seed)
    torch.set_num_threads(1)
    if kind == "bits":
        model = patched_model(bits=value)
    elif kind == "sigma":
        model = patched_model(sigma=value)
    else:
        model = patched_model()
        if kind == "states":
            model = apply_nonidealities(
                model, [NonIdeality.FiniteConductanceStates], conductance_states=value
            )
        else:
            model = apply_nonidealities(
                model,
                non_idealities=[NonIdeality.DeviceFaults],
                lrs_proportion=value / 2,
                hrs_proportion=value / 2,
                electroform_proportion=0,
            )
    return kind, value, accuracy(model), os.getpid()


def count_faults(proportion):
    """Fraction of cells at low resistance after faults, of cells that were all at high."""
    zero = nn.Linear(200, 100)
    nn.init.constant_(zero.weight, -1e-6)
    zero.weight.data[0, 0] = -1.0
    layer = memtorch.mn.Linear(
        zero, memtorch.bh.memristor.VTEAM, {"r_on": R_ON, "r_off": R_OFF}, verbose=False
    )
    before = layer.crossbars[0].conductance_matrix.clone()
    memtorch.bh.nonideality.DeviceFaults.apply_device_faults(layer, proportion, 0, 0)
    g = np.vectorize(lambda device: device.g)(layer.crossbars[0].devices)
    return float(np.isclose(g, 1 / R_ON).mean()), float((before > 0.5 / R_ON).float().mean())


if __name__ == "__main__":
    torch.manual_seed(0)
    print("digital %.2f" % accuracy(train()))
    print("patched %.2f" % accuracy(patched_model()))

    grid = [("bits", bits) for bits in np.arange(2, 9, 2)]
    grid += [("sigma", sigma) for sigma in np.linspace(0, 0.5, 3)]
    grid += [("states", states) for states in np.array([2, 5, 50], dtype=np.int32)]
    grid += [("faults", p) for p in np.linspace(0, 0.4, 3, dtype=np.float32)]

    results = defaultdict(dict)
    workers = set()
    with multiprocessing.Pool(processes=2) as pool:
        for kind, value, result, worker in pool.imap_unordered(partial(simulate, seed=1), grid):
            results[kind][float(value)] = result
            workers.add(worker)

    for kind in results:
        for value in sorted(results[kind]):
            print("%s %.3f accuracy %.2f" % (kind, value, results[kind][value]))
    print("other processes", os.getpid() not in workers)

    # What a fresh interpreter finds (as on Windows) is what a forked one found.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        kind, value, result, _ = pool.map(partial(simulate, seed=1), grid[:1])[0]
    print("spawned the same", result == results[kind][float(value)])

    with ProcessPoolExecutor(max_workers=1) as executor:
        for proportion, (found, before) in zip(
            [0.1, 0.35], executor.map(count_faults, [0.1, 0.35])
        ):
            print("faults asked %.3f found %.5f before %.5f" % (proportion, found, before))

    version = subprocess.check_output(
        [sys.executable, "-c", "import memtorch; print(memtorch.__version__)"],
        universal_newlines=True,
    )
    print("same version", version.strip() == memtorch.__version__)

    with open("grid.csv", "w") as f:
        writer = csv.DictWriter(f, fieldnames=["kind", "value", "accuracy"])
        writer.writeheader()
        for kind, values in results.items():
            for value, result in values.items():
                writer.writerow({"kind": kind, "value": value, "accuracy": result})
