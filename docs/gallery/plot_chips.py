"""Networks on a finite chip
=========================

Two networks share a chip whose cells are partly broken: their crossbars are cut into regions, which are
placed where there is room.
"""

import torch
from torch import nn

import mho
from mho import plot
from mho.chip import Chip
from mho.demo.data import digits
from mho.demo.models import build
from mho.demo.train import accuracy, train
from mho.effects import StuckAt
from mho.encoding import LEA, Differential, Redundant

torch.manual_seed(0)
hardware = mho.Hardware(effects=(StuckAt(low=0.02, high=0.01),))
chip = Chip(256, 256, hardware, seed=0)
first = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))
chip.place(mho.convert(first, hardware), name="digits")
chip.place(mho.convert(nn.Linear(40, 60), hardware), "random", name="signals")

# %%
# Every network has a colour; grey is the share of broken cells.
plot.floor_plan(chip)

# %%
# Accuracy for digits against broken cells: three copies of a layer, read as their mean or as a layer
# ensemble, lose 14 points where one copy loses half of them all.
data = digits(seed=0)
model = build("MLP", seed=0)
train(model, data, epochs=8, seed=0)


def accuracies(encoding, stuck):
    """Return the accuracy on three chips with so many broken cells."""
    faulty = mho.Hardware(encoding=encoding, effects=(StuckAt(low=stuck / 2, high=stuck / 2),))
    chips = [mho.convert(model, faulty, seed=seed) for seed in range(3)]
    return [accuracy(chip, data) for chip in chips]


stuck = [0.0, 0.05, 0.10, 0.20]
encodings = {
    "one copy": Differential(),
    "mean of 3 copies": Redundant(Differential(), 3),
    "layer ensemble, 3 copies": LEA(Differential(), 3),
}
found = {name: [accuracies(e, s) for s in stuck] for name, e in encodings.items()}
plot.fault_tolerance(found, stuck)
