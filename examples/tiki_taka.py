"""Training on asymmetric cells: plain pulsed SGD fails, the Tiki-Taka family does not.

    python examples/tiki_taka.py [--seeds 3] [--steps 500] [--figure tiki_taka.png]

A small network learns handwritten digits (scikit-learn's, 8 × 8 pixels) on cells with soft bounds,
a hundred steps across their window, noise of 30 % in every step, and set steps three times as
large as reset steps. The figure is saved if matplotlib is installed.
"""

import argparse
import statistics

import torch
from torch import nn

from mho.demo.data import digits
from mho.devices import SoftBoundsDevice
from mho.train.on_cells.pulsed_sgd import PulsedSGD
from mho.train.on_cells.tiki_taka import AGAD, Chopped, TikiTaka, TikiTakaV1, TikiTakaV2

SYMMETRIC = SoftBoundsDevice(g_min=1e-6, g_max=101e-6, step=1e-6, c2c=0.3)
ASYMMETRIC = SYMMETRIC.replace(asymmetry=0.5)
# A learns fast, the network slowly: fast_lr belongs to A, lr · transfer_lr to the transfer.
RATES = {"fast_lr": 1.0, "transfer_lr": 0.3}


def tiki_taka(rule):
    return lambda model, seed: TikiTaka(model, 0.1, device=ASYMMETRIC, rule=rule, seed=seed)


METHODS = {
    "digital SGD": lambda model, seed: torch.optim.SGD(model.parameters(), lr=0.2),
    "pulsed SGD, symmetric cells": lambda m, seed: PulsedSGD(m, 0.1, device=SYMMETRIC, seed=seed),
    "pulsed SGD": lambda m, seed: PulsedSGD(m, 0.1, device=ASYMMETRIC, seed=seed),
    "Tiki-Taka v1": tiki_taka(TikiTakaV1(**RATES)),
    "Tiki-Taka v2": tiki_taka(TikiTakaV2(**RATES)),
    "c-TTv2": tiki_taka(Chopped(**RATES, chop_probability=0.02)),
    "AGAD": tiki_taka(AGAD(**RATES, chop_probability=0.1)),
    "Tiki-Taka v2, wrong reference": tiki_taka(TikiTakaV2(**RATES, reference_error=0.3)),
}


def train(make, data, seed, steps, every=50):
    """Return the test accuracy (%) along the way."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
    optimizer = make(model, seed)
    curve = []
    for step in range(1, steps + 1):
        batch = torch.randint(len(data.train_x), (32,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(data.train_x[batch]), data.train_y[batch]).backward()
        optimizer.step()
        if step % every == 0:
            with torch.no_grad():
                hits = model(data.test_x).argmax(1) == data.test_y
            curve.append(100.0 * float(hits.float().mean()))
    return curve


def draw(curves, every, path):
    """Save accuracy over steps, the mean of the seeds and the band they span."""
    try:
        from matplotlib import pyplot as plt
    except ImportError:
        print("(no figure: matplotlib is not installed)")
        return
    figure, axes = plt.subplots(figsize=(7.0, 4.2), layout="constrained")
    for name, runs in curves.items():
        runs = torch.tensor(runs)
        steps = torch.arange(1, runs.shape[1] + 1) * every
        (line,) = axes.plot(steps, runs.mean(0), label=name)
        low, high = runs.amin(0), runs.amax(0)
        axes.fill_between(steps, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set(xlabel="Step", ylabel="Test accuracy (%)", ylim=(0.0, 100.0))
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, dpi=150)
    print(f"figure: {path}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--figure", default="tiki_taka.png")
    options = parser.parse_args()
    data, curves = digits(0), {}
    print(f"{'test accuracy (%)':<32}{'mean':>6}   of each seed (last 200 steps)")
    for name, make in METHODS.items():
        runs = [train(make, data, seed, options.steps) for seed in range(options.seeds)]
        last = [statistics.mean(run[-4:]) for run in runs]
        curves[name] = runs
        each = " ".join(f"{value:5.1f}" for value in last)
        print(f"{name:<32}{statistics.mean(last):6.1f}   {each}", flush=True)
    draw(curves, 50, options.figure)


if __name__ == "__main__":
    main()
