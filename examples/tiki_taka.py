"""Training on asymmetric cells: plain pulsed SGD fails, the Tiki-Taka family does not.

    python examples/tiki_taka.py [--quick] [--seeds 3] [--steps 500] [--out tiki_taka]

A small network learns handwritten digits (scikit-learn's, 8 × 8 pixels) on cells with soft bounds,
a hundred steps across their window, noise of 30 % in every step, and set steps three times as
large as reset steps. Prints the accuracy of the last 200 steps and draws it over all of them.
"""

import statistics

import matplotlib.pyplot as plt
import torch
from torch import nn

from example_options import parsed, save_figure
from mho.demo.data import digits
from mho.devices import SoftBoundsDevice
from mho.plot import style
from mho.plot.styles import MORE_COLOURS
from mho.train import AGAD, Chopped, PulsedSGD, TikiTaka, TikiTakaV1, TikiTakaV2

SYMMETRIC = SoftBoundsDevice(g_min=1e-6, g_max=101e-6, step=1e-6, c2c=0.3)
ASYMMETRIC = SYMMETRIC.replace(asymmetry=0.5)
LR = 0.2  # of all methods alike: what rules need besides is derived from the cells


def tiki_taka(rule):
    return lambda model, seed: TikiTaka(model, LR, device=ASYMMETRIC, rule=rule, seed=seed)


METHODS = {
    "digital SGD": lambda model, seed: torch.optim.SGD(model.parameters(), lr=LR),
    "pulsed SGD, symmetric cells": lambda m, seed: PulsedSGD(m, LR, device=SYMMETRIC, seed=seed),
    "pulsed SGD": lambda m, seed: PulsedSGD(m, LR, device=ASYMMETRIC, seed=seed),
    "Tiki-Taka v1": tiki_taka(TikiTakaV1()),
    "Tiki-Taka v2": tiki_taka(TikiTakaV2()),
    "c-TTv2": tiki_taka(Chopped()),
    "AGAD": tiki_taka(AGAD()),
    "Tiki-Taka v2, wrong reference": tiki_taka(TikiTakaV2(reference_error=0.3)),
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
    with style():
        figure, ax = plt.subplots(figsize=(7.4, 4.2), layout="constrained")
        colours = (*MORE_COLOURS, "#8B5A2B")
        for colour, (name, runs) in zip(colours, curves.items(), strict=True):
            runs = torch.tensor(runs)
            steps = torch.arange(1, runs.shape[1] + 1) * every
            ax.plot(steps, runs.mean(0), color=colour, label=name)
            low, high = runs.amin(0), runs.amax(0)
            ax.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
        ax.set(xlabel="step", ylabel="test accuracy (%)", ylim=(0.0, 100.0))
        figure.legend(loc="outside right center")
        save_figure(figure, path)


def main():
    more = {
        "--seeds": {"type": int, "help": "of each method (3)"},
        "--steps": {"type": int, "default": 500, "help": "of training (500)"},
    }
    options = parsed(__doc__, "tiki_taka", quick="one seed", more=more)
    seeds = options.seeds or (1 if options.quick else 3)
    data, curves = digits(0), {}
    print(f"{'test accuracy (%)':<32}{'mean':>6}   of each seed (last 200 steps)")
    for name, make in METHODS.items():
        runs = [train(make, data, seed, options.steps) for seed in range(seeds)]
        last = [statistics.mean(run[-4:]) for run in runs]
        curves[name] = runs
        each = " ".join(f"{value:5.1f}" for value in last)
        print(f"{name:<32}{statistics.mean(last):6.1f}   {each}", flush=True)
    draw(curves, 50, options.out / "tiki_taka.png")


if __name__ == "__main__":
    main()
