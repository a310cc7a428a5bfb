"""A chip in service: forgetting, drift, wear, telegraph noise, heat; and what compensation saves.

One network on chips of each sort, read fresh, after a day and after a year: as it is, with drift
compensated by one factor a crossbar every day, and calibrated anew.

    python examples/in_service.py
"""

import copy

import torch
from torch.distributions import LogNormal
from torch.nn import functional as F

import mho
from mho.demo.data import digits
from mho.demo.models import mlp
from mho.devices import Spread
from mho.effects import (
    CycleVariability,
    Endurance,
    FailureLaw,
    PowerLawDrift,
    Retention,
    TelegraphNoise,
    Temperature,
)
from mho.train import fit

DAY, YEAR = 86_400.0, 3.15576e7
# Illustrative laws: cells of 10 nm; thresholds, slopes and spreads of a usual size.
WEAR = FailureLaw(p0=1e5, p2=1.0, p3=0.15)
FORGET = FailureLaw(p0=Spread(LogNormal(12.0, 1.5)), p2=0.5, p3=0.1)
CHIPS = {
    "drift": (PowerLawDrift(nu=0.05, nu_spread=0.015),),
    "retention": (Retention(lrs=FORGET, temperature=330.0),),
    "10 million cycles": (Endurance(lrs=WEAR, cycles=1e7), PowerLawDrift(nu=0.02)),
    "window of every cycle": (
        CycleVariability(r_on=Spread(LogNormal(9.21, 0.1)), r_off=Spread(LogNormal(13.8, 0.3))),
        PowerLawDrift(nu=0.02),
    ),
    "telegraph noise": (TelegraphNoise(0.1, fraction=0.5), PowerLawDrift(nu=0.02)),
    "60 °C": (
        Temperature(333.0, coefficient=2e-3, activation_energy=0.05),
        PowerLawDrift(nu=0.02),
    ),
}

data = digits(seed=0)
torch.manual_seed(0)
model = mlp()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
fit(model, optimizer, (data.train_x, data.train_y), F.cross_entropy, epochs=15)


def accuracy(chip):
    return f"{100 * float((chip(data.test_x).argmax(1) == data.test_y).float().mean()):.1f} %"


def aged(chip, seconds, care):
    chip = copy.deepcopy(chip)
    if care == "compensated daily":
        mho.maintain(chip, seconds, every=DAY)
    else:
        mho.age(chip, seconds)
    if care == "calibrated":
        mho.calibrate(chip, data.train_x[:300])
    return accuracy(chip)


heads = ("fresh", "a day", "a year", "a year, compensated daily", "a year, calibrated")
print(f"digital: {accuracy(model)}\n")
print(f"{'chip':<24}" + "".join(f"{head:>{max(10, len(head) + 2)}}" for head in heads))
for name, effects in CHIPS.items():
    device = mho.devices.LinearDevice(1e-6, 1e-4)
    chip = mho.convert(model, mho.Hardware(device=device, effects=effects), seed=1)
    cells = [
        accuracy(chip),
        aged(chip, DAY, None),
        aged(chip, YEAR, None),
        aged(chip, YEAR, "compensated daily"),
        aged(chip, YEAR, "calibrated"),
    ]
    row = (f"{cell:>{max(10, len(head) + 2)}}" for cell, head in zip(cells, heads, strict=True))
    print(f"{name:<24}" + "".join(row))
