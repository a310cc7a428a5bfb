"""Noise-aware against naive training, deployed on noisy chips: the gain in points of accuracy.

One hidden layer on scikit-learn's digits and on mnist1d, trained three ways for chips with 1 % of
stuck cells, programming error and 6-bit converters: in software; on the hardware; and by a recipe
that trains on worse chips, learns the converters' ranges and clips weights. Ten chips each.
Prints a table and saves ``noise_aware.png``.

    python examples/noise_aware.py [--quick] [--out learning]
"""

from __future__ import annotations

import warnings

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

import mho
from example_options import parsed, save_figure
from mho.demo.data import digits, mnist1d
from mho.effects import StuckAt, WriteNoise
from mho.plot import accuracy_against, style
from mho.study import over_chips
from mho.train import NoiseInjection, Recipe, fit

NOISE = (0.02, 0.05, 0.1, 0.15, 0.2)
RECIPES = {
    "software": None,
    "on the hardware": Recipe(),
    "recipe": Recipe(NoiseInjection(noise=1.3), ranges="learned", clip=2.5),
}
COLOURS = {"software": "#6B6B6B", "on the hardware": "#0072B2", "recipe": "#D55E00"}
DATA = {"digits": digits, "mnist1d": mnist1d}


def hardware(noise):
    effects = (StuckAt(low=0.005, high=0.005), WriteNoise(noise))
    return mho.Hardware(dac=mho.DAC(bits=6), adc=mho.ADC(bits=6), effects=effects)


def mlp(features, seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(features, 64), nn.ReLU(), nn.Linear(64, 10))


def train(model, data, seed, epochs, after_step=None):
    fit(
        model,
        torch.optim.Adam(model.parameters(), lr=3e-3),
        (data.train_x, data.train_y),
        F.cross_entropy,
        epochs=epochs,
        batch=32,
        seed=seed,
        after_step=after_step,
    )
    return model


def on_chips(analog, data, chips):
    """Accuracies ``[chips]`` of a converted model on chips of its own."""

    def evaluate(chip):
        mho.calibrate(chip, data.train_x[:500])
        return float((chip(data.test_x).argmax(1) == data.test_y).float().mean())

    return over_chips(analog.eval(), evaluate, range(chips))


def accuracies(data, recipe, seed, epochs, chips, noises=NOISE):
    """Accuracies ``[chips, noises]`` of networks trained by a recipe, or of one in software."""
    features = data.train_x.shape[1]
    if recipe is None:
        model = train(mlp(features, seed), data, seed, epochs)
        found = [on_chips(mho.convert(model, hardware(n)), data, chips) for n in noises]
        return torch.stack(found, dim=1)
    found = []
    for noise in noises:
        analog = recipe.prepare(mlp(features, seed), hardware(noise), data.train_x[:500])
        train(analog, data, seed, epochs, recipe.after_step)
        recipe.finish(analog)
        found.append(on_chips(analog, data, chips))
    return torch.stack(found, dim=1)


def main():
    options = parsed(__doc__, "learning", quick="mnist1d alone, one seed, two errors")
    names = ["mnist1d"] if options.quick else list(DATA)
    seeds, epochs, chips = (1, 15, 4) if options.quick else (3, 15, 10)
    noises = NOISE[2::2] if options.quick else NOISE
    warnings.filterwarnings("ignore", message=".*has changed since it was programmed.*")
    found = {}
    for name in names:
        for seed in range(seeds):
            data = DATA[name](seed)
            for method, recipe in RECIPES.items():
                values = accuracies(data, recipe, seed, epochs, chips, noises)
                found.setdefault((name, method), []).append(values)
    found = {key: torch.cat(values) for key, values in found.items()}
    print(f"{'test accuracy, %':<28}" + "".join(f"noise {100 * n:.0f} %".rjust(13) for n in noises))
    for (name, method), values in found.items():
        cells = [f"{100 * c.mean():.1f} ± {100 * c.std():.1f}".rjust(13) for c in values.T]
        print(f"{name + ', ' + method:<28}" + "".join(cells))
    for name in names:
        gain = 100 * (found[name, "recipe"] - found[name, "software"]).mean(0)
        print(f"{name + ', gain, points':<28}" + "".join(f"{g:+.1f}".rjust(13) for g in gain))
    with style():
        size = (4.4 * len(names), 3.4)
        _, panels = plt.subplots(1, len(names), figsize=size, squeeze=False, layout="constrained")
        for ax, name in zip(panels[0], names, strict=True):
            for method in RECIPES:
                percent = [100 * n for n in noises]
                values = found[name, method]
                accuracy_against(percent, values, ax, label=method, colour=COLOURS[method])
            ax.set(title=name, xlabel="programming error (% of the range)")
        panels[0][0].legend()
        save_figure(panels[0][0].figure, options.out / "noise_aware.png")


if __name__ == "__main__":
    main()
