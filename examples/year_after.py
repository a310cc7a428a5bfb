"""The year after: trained in place, aged, read through converters, mended in place, and trained on.

One population of cells lives three years: it learns scikit-learn's digits, drifts for a year and is
compensated, drifts for another and is refreshed by pulses, drifts for a third and learns on. Then a
chip whose model was trained elsewhere, with stuck cells and a year of drift, is tuned in place: its
last layer, or pairs of low-rank matrices (LoRA) in cells of their own beside cells left alone.

    python examples/year_after.py [--quick] [--out year_after]
"""

from __future__ import annotations

import copy
import warnings

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

import mho
from example_options import parsed, save_figure
from mho.demo.data import digits
from mho.devices import SoftBoundsDevice
from mho.effects import PowerLawDrift, StuckAt
from mho.plot import style
from mho.programming import Exact
from mho.train import DifferentialPair, InSitu, fit

CELLS = SoftBoundsDevice(g_min=1e-6, g_max=101e-6, step=5e-7, d2d=0.2, c2c=0.2)
DRIFT = PowerLawDrift(nu=0.04, nu_spread=0.02)
HARDWARE = mho.Hardware(device=CELLS, dac=mho.DAC(bits=8), adc=mho.ADC(bits=8), effects=(DRIFT,))
STUCK = HARDWARE.replace(effects=(DRIFT, StuckAt(low=0.08, high=0.02)), programming=Exact())
YEAR = 365 * 86400.0
RANK = 4


class Adapted(nn.Module):
    """A layer that stays as it is, and the product of two small ones beside it (LoRA)."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the small product."""
        return self.base(x) + self.up(self.down(x))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def in_place(model: nn.Module, lr: float = 0.1, ranges=(-1.0, 1.0)) -> InSitu:
    sgd = torch.optim.SGD(model.parameters(), lr=lr)
    settings = {"layout": DifferentialPair(), "threshold": 1.0, "seed": 0}
    return InSitu(sgd, CELLS, model=model, weight_range=ranges, **settings)


@torch.no_grad()
def accuracy(model: nn.Module, data) -> float:
    return 100 * float((model.eval()(data.test_x).argmax(1) == data.test_y).float().mean())


def train(model, optimizer, data, epochs: int) -> None:
    samples = (data.train_x, data.train_y)
    fit(model, optimizer, samples, F.cross_entropy, epochs=epochs, batch=32, seed=0)


def deployed(model, optimizer, data, hardware=HARDWARE):
    """Return the optimizer's cells as a chip, its converters set to the data."""
    with warnings.catch_warnings():  # effects of fabrication break no cells that are made
        warnings.filterwarnings("ignore", "StuckAt")
        chip = optimizer.deploy(model, hardware, seed=1)
    mho.calibrate(chip, data.train_x[:256])
    return chip


def life(data, epochs: int) -> list[tuple[str, float, float, int]]:
    """Three years of one population: what happened, when (years), accuracy (%), most pulses."""
    model = network()
    optimizer = in_place(model)
    found = []

    def note(what: str, when: float, chip: nn.Module) -> None:
        pulses = max(int(w.max()) for w in (optimizer.writes(n) for n in held))
        found.append((what, when, accuracy(chip, data), pulses))
        print(f"{what:<34}{found[-1][2]:>8.1f} %{pulses:>16,}")

    held = list(optimizer.parameters_on_cells().values())
    print(f"{'':<34}{'accuracy':>10}{'pulses a cell':>16}")
    train(model, optimizer, data, epochs)
    learnt = {p: p.detach().clone() for p in optimizer.parameters_on_cells()}
    chip = deployed(model, optimizer, data)
    note("trained in place", 0.0, chip)

    mho.age(chip, YEAR)
    note("after a year", 1.0, chip)
    mho.compensate(chip)
    note("compensated", 1.0, chip)

    mho.age(chip, YEAR)
    mho.compensate(chip)
    note("after two, compensated", 2.0, chip)
    optimizer.recall(model, chip)
    for p, weights in learnt.items():  # pulses and reads, until each weight is within a step
        optimizer.cells_of(p).program(weights)
        optimizer.show(p)
    chip = deployed(model, optimizer, data)
    note("refreshed in place", 2.0, chip)

    mho.age(chip, YEAR)
    mho.compensate(chip)
    note("after three, compensated", 3.0, chip)
    optimizer.recall(model, chip)
    train(model, optimizer, data, 5)
    chip = deployed(model, optimizer, data)
    note("trained on for five epochs", 3.0, chip)
    return found


def tuned(data, epochs: int) -> dict[str, float]:
    """Recover a chip with stuck cells, a year old, by tuning part of it in place."""
    model = network()
    train(model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), data, epochs)
    found = {"trained elsewhere": accuracy(model, data)}
    chip = mho.convert(model, STUCK, seed=3)
    mho.calibrate(chip, data.train_x[:256])
    found["on stuck cells"] = accuracy(chip, data)
    mho.age(chip, YEAR)
    found["a year later"] = accuracy(chip, data)
    mho.compensate(chip)
    found["compensated"] = accuracy(chip, data)
    reach = {n: float(p.detach().abs().max()) for n, p in model.named_parameters() if p.dim() > 1}
    spans = {name: (-value, value) for name, value in reach.items()}

    last = copy.deepcopy(model)
    optimizer = in_place(last, ranges=spans)
    optimizer.recall(last, chip)  # the chip's own cells, stuck and drifted as they are
    last[0].requires_grad_(False)
    train(last, optimizer, data, epochs)
    found["last layer tuned"] = accuracy(deployed(last, optimizer, data, STUCK), data)

    lora = copy.deepcopy(last)
    for place in (0, 2):
        lora[place] = Adapted(copy.deepcopy(model[place]), RANK)
    base = {f"{name.split('.')[0]}.base.weight": span for name, span in spans.items()}
    optimizer = in_place(lora, ranges={**base, "*": (-1.0, 1.0)})
    bare = nn.Sequential(lora[0].base, nn.ReLU(), lora[2].base)
    taken = in_place(copy.deepcopy(bare), ranges=spans)
    plain = taken._model
    taken.recall(plain, chip)
    for place in (0, 2):
        weights = taken.weights(f"{place}.weight")
        optimizer.weights(f"{place}.base.weight").take(weights.cells.fork(), weights.reference)
        optimizer.show(lora[place].base.weight)
        lora[place].base.requires_grad_(False)
    train(lora, optimizer, data, epochs)
    found[f"LoRA of rank {RANK} in cells"] = accuracy(deployed(lora, optimizer, data, STUCK), data)
    for name, percent in found.items():
        print(f"{name:<34}{percent:>8.1f} %")
    return found


def draw(lived, recovered, path) -> None:
    """Draw what happened in three years, with the pulses it took, and what tuning recovers."""
    with style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.4), layout="constrained")
        names = [f"{what} (year {when:.0f})" for what, when, _, _ in lived]
        drawn = left.barh(names, [percent for _, _, percent, _ in lived], height=0.6)
        told = [f"{percent:.1f}, {pulses} pulses" for _, _, percent, pulses in lived]
        left.bar_label(drawn, told, padding=3, fontsize=8)
        left.set(title="trained in place", xlim=(0, 150))
        drawn = right.barh(list(recovered), list(recovered.values()), height=0.6)
        right.bar_label(drawn, fmt="%.1f", padding=3, fontsize=8)
        right.set(title="elsewhere, tuned in place", xlim=(0, 115))
        for ax in (left, right):
            ax.invert_yaxis()
            ax.set(xlabel="test accuracy (%)", xticks=range(0, 101, 25))
        save_figure(figure, path)


def main(args=None):
    options = parsed(__doc__, "year_after", args, "five epochs instead of ten")
    data = digits(0)
    epochs = 5 if options.quick else 10
    lived = life(data, epochs)
    print()
    recovered = tuned(data, epochs)
    draw(lived, recovered, options.out / "year_after.png")
    return lived, recovered


if __name__ == "__main__":
    main()
