"""What noise in training gains on noisy chips, on MNIST.

V. Joshi et al., Nature Communications 2020, doi 10.1038/s41467-020-16108-9, and M. J. Rasch et al.,
Nature Communications 2023, doi 10.1038/s41467-023-40770-4: networks trained with noise on their
weights keep their accuracy on noisy cells, networks trained in software do not. How it is done is
`noise_aware.py`, one folder up (1 % stuck cells, 6-bit converters, programming error as given;
in software, on the hardware, by a recipe that trains with more noise than the chips have); here the
data are MNIST.

    python examples/reproductions/noise_aware_mnist.py --mnist FOLDER [--chips 10] [--quick]
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
from common import data, finish, options, row, spread

from mho.plot import accuracy_against, style

sys.path.insert(0, str(Path(__file__).parents[1]))
import noise_aware as example  # the folder above is where it lies

SAMPLES = 6000  # of the 60,000 training images: every noise trains its own networks
NOISE = (0.05, 0.1, 0.2)


def study(samples, seeds, epochs, chips, noises):
    """Accuracies (%) ``{method: [chips, noises]}``, chips of every seed one after another."""
    found = {}
    for method, recipe in example.RECIPES.items():
        runs = [
            example.accuracies(samples, recipe, seed, epochs, chips, noises)
            for seed in range(seeds)
        ]
        found[method] = [chip for run in runs for chip in run.tolist()]
    return found


def main(arguments=None):
    chosen = options(__doc__, "noise_aware_mnist", arguments)
    samples, name = data(chosen)
    seeds, epochs, chips, count, noises = 1, 5, chosen.chips, SAMPLES, NOISE
    if chosen.quick:
        count, noises = 2000, NOISE[-1:]
    samples = samples._replace(train_x=samples.train_x[:count], train_y=samples.train_y[:count])
    warnings.filterwarnings("ignore", message=".*has changed since it was programmed.*")
    found = study(samples, seeds, epochs, chips, noises)
    row("accuracy (%), programming error", [f"{100 * n:.0f} %" for n in noises])
    for method, chips_of in found.items():
        row(method, [spread([100 * v for v in column]) for column in zip(*chips_of, strict=True)])
    means = {m: [sum(c) / len(c) for c in zip(*v, strict=True)] for m, v in found.items()}
    gain = [100 * (a - b) for a, b in zip(means["recipe"], means["software"], strict=True)]
    row("gain of the recipe, points", [f"{g:+.1f}" for g in gain])
    with style():
        figure, ax = plt.subplots(figsize=(5.6, 3.8), layout="constrained")
        for method, values in found.items():
            percent = [100 * n for n in noises]
            accuracy_against(percent, values, ax, label=method, colour=example.COLOURS[method])
        ax.set(title=name, xlabel="programming error (% of the range)")
        ax.legend()
    rows = [
        (method, noise, chip, 100 * value)
        for method, values in found.items()
        for chip, line in enumerate(values)
        for noise, value in zip(noises, line, strict=True)
    ]
    finish(figure, chosen, ("method", "programming error", "chip", "accuracy (%)"), rows)
    return found


if __name__ == "__main__":
    main()
