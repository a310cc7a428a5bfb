"""In-situ training steps beside plain ones, in one run: MLP 784-512-10, batch 128.

    python benchmarks/in_situ.py [--rounds 41] [--threads 1] [--tables FOLDER]

A step is gradients set to zero, forward, backward and update. Prints one JSON object a line:
times, and how many pulses a weight got per step (most get none at a usual learning rate; the
lines of "dense" have so large a rate that most get one or more).
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from mho.devices import ExponentialDevice, SoftBoundsDevice, TabularDevice, presets
from mho.train.on_cells import InSitu
from mho.train.on_cells.layouts import DifferentialPair, MultiCell
from timing import medians, options, report

REAL = {"nonlinearity_set": 2.4, "nonlinearity_reset": -4.88, "c2c": 0.035}


def variants(tables):
    real = ExponentialDevice(**REAL)
    found = {
        "exponential_ideal": {"device": ExponentialDevice()},
        "exponential_real": {"device": real},
        "exponential_real_d2d": {"device": real.replace(d2d=0.1)},
        "soft_bounds_noisy": {"device": SoftBoundsDevice(c2c=0.3)},
        "tabular_fefet": {"device": presets.get("fefet_3v0")},
        "threshold": {"device": real, "threshold": 1.0},
        "pairs": {"device": real, "layout": DifferentialPair()},
        "four_cells": {"device": real, "layout": MultiCell(4)},
    }
    for stem in sorted(Path(tables).glob("**/*_set_cdf.txt")) if tables else ():
        name = stem.name.removesuffix("_set_cdf.txt")
        device = TabularDevice.from_tables(stem.parent / name)
        found[f"tabular_{name}"] = {"device": device, "granularity": 0.1}
    return found


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10))


def step_of(model, optimizer, x, y):
    def step():
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def run(name, lr, rounds, options):
    torch.manual_seed(1)
    # As sparse as handwritten digits.
    x, y = torch.rand(128, 784) * (torch.rand(128, 784) < 0.2), torch.randint(0, 10, (128,))
    model = network()
    work = {"plain": step_of(model, torch.optim.SGD(model.parameters(), lr=lr), x, y)}
    held = {}
    for key, given in options.items():
        model = network()
        held[key] = InSitu(torch.optim.SGD(model.parameters(), lr=lr), **given)
        work[key] = step_of(model, held[key], x, y)
    seconds = medians(work, rounds)
    report(name, variant="plain", lr=lr, ms=round(1e3 * seconds["plain"], 2))
    for key, opt in held.items():
        writes = opt.writes("parameter 0")
        pulses = float(writes.sum()) / writes[0].numel() / opt.updates
        report(
            name,
            variant=key,
            ms=round(1e3 * seconds[key], 2),
            times_plain=round(seconds[key] / seconds["plain"], 2),
            pulses_per_weight=round(pulses, 4),
        )


def main():
    given = options(
        __doc__, rounds=41, tables={"default": "", "help": "folder of jump tables to time as well"}
    )
    chosen = variants(given.tables)
    run("in_situ_step", 0.1, given.rounds, chosen)
    run("in_situ_step_dense", 3.0, given.rounds, chosen)


if __name__ == "__main__":
    main()
