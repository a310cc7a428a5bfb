"""A chip in service: forgetting, drift, wear, telegraph noise, heat; and what compensation saves.

One network on chips of each sort, read fresh, after a day and after a year: as it is, with drift
compensated by one factor a crossbar every day, and calibrated anew.

    python examples/in_service.py [--quick] [--out in_service]
"""

import copy

import matplotlib.pyplot as plt
import torch
from torch.distributions import LogNormal
from torch.nn import functional as F

import mho
from example_options import parsed
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
from mho.plot import style
from mho.train import fit

DAY, YEAR = "1 day", "1 year"
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

options = parsed(__doc__, "in_service", quick="compensated five times a year, not daily")
data = digits(seed=0)
torch.manual_seed(0)
model = mlp()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
fit(model, optimizer, (data.train_x, data.train_y), F.cross_entropy, epochs=15)


def accuracy(chip):
    return 100 * float((chip(data.test_x).argmax(1) == data.test_y).float().mean())


def aged(chip, seconds, care):
    chip = copy.deepcopy(chip)
    if care == "compensated":
        mho.maintain(chip, seconds, every="73.05 days" if options.quick else DAY)
    else:
        mho.age(chip, seconds)
    if care == "calibrated":
        mho.calibrate(chip, data.train_x[:300])
    return accuracy(chip)


heads = ("fresh", "a day", "a year", "a year, compensated", "a year, calibrated")
digital, rows = accuracy(model), {}
print(f"digital: {digital:.1f} %\n")
print(f"{'chip':<24}" + "".join(f"{head:>{max(10, len(head) + 2)}}" for head in heads))
for name, effects in CHIPS.items():
    device = mho.devices.LinearDevice(1e-6, 1e-4)
    chip = mho.convert(model, mho.Hardware(device=device, effects=effects), seed=1)
    cells = [
        accuracy(chip),
        aged(chip, DAY, None),
        aged(chip, YEAR, None),
        aged(chip, YEAR, "compensated"),
        aged(chip, YEAR, "calibrated"),
    ]
    rows[name] = cells
    row = (
        f"{f'{cell:.1f} %':>{max(10, len(head) + 2)}}"
        for cell, head in zip(cells, heads, strict=True)
    )
    print(f"{name:<24}" + "".join(row))

with style():
    figure, ax = plt.subplots(figsize=(8.0, 3.6), layout="constrained")
    for k, head in enumerate(heads):
        places = [n + 0.16 * (k - 2) for n in range(len(rows))]
        ax.plot(places, [cells[k] for cells in rows.values()], "osD^v"[k], label=head)
    ax.axhline(digital, linestyle=":", color="grey", label="digital")
    ax.set_xticks(range(len(rows)), [name.replace(" of ", "\nof ") for name in rows])
    ax.set_ylabel("accuracy (%)")
    figure.legend(loc="outside upper center", ncols=3)
    figure.savefig(options.out / "in_service.png")
    plt.close(figure)
print(f"\n{options.out}/in_service.png")
