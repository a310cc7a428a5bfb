"""Committees of networks against stuck cells on MNIST: published and ours.

Left: committees of 1 to 6 separately trained 784-150-10 ternary networks, as in O. Yousuf et al.,
Nature Communications 2025, doi 10.1038/s41467-025-56319-6, figure 4b ("CM"). Right: the claim of
D. Joksas et al., Nature Communications 2020, doi 10.1038/s41467-020-18098-0, that a committee helps
even where it has no more cells than one network: one network of 120 hidden neurons, two of 60,
three of 40, six of 20.

    python examples/reproductions/committees.py --mnist FOLDER [--chips 10] [--quick]
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
from common import data, finish, options, row, spread

from mho.plot import style

sys.path.insert(0, str(Path(__file__).parents[1]))
import layer_ensemble as example  # the folder above is where it lies

SIZES = (1, 2, 3, 4, 5, 6)
HIDDEN = {1: 120, 2: 60, 3: 40, 6: 20}  # together as many cells, whatever the size
# Published accuracies (%) of committees of so many, at the stuck fractions of the example.
PUBLISHED = {
    1: (94.03, 88.25, 68.00, 43.90, 17.53, 16.75),
    2: (94.27, 90.44, 81.10, 56.90, 21.83, 19.08),
    3: (94.38, 92.47, 88.60, 68.28, 27.47, 18.93),
    4: (94.46, 92.86, 89.50, 64.92, 31.64, 20.11),
    5: (94.46, 92.86, 90.43, 72.85, 35.99, 20.86),
    6: (94.52, 93.22, 90.86, 78.53, 30.56, 21.20),
}


def study(samples, networks, sizes, stuck, chips):
    """Accuracies (%) of committees of the first so many networks, ``{size: {stuck: [chips]}}``."""
    found = {}
    for _, size, fraction, _, value, _ in example.study(
        networks, samples, sizes, stuck, chips, methods=lambda copies: {}
    ):
        found.setdefault(size, {}).setdefault(fraction, []).append(100.0 * value)
    return found


def of_equal_cells(samples, sizes, stuck, chips, steps):
    found = {}
    for size in sizes:
        members = [example.network(samples, 10 + k, steps, HIDDEN[size]) for k in range(size)]
        found |= study(samples, members, (size,), stuck, chips)
    return found


def show(found, stuck, heading, published=None):
    row(heading, [f"{100 * s:.0f} %" for s in stuck])
    for size, values in found.items():
        row(f"committee × {size}", [spread(values[s]) for s in stuck])
        if published:
            known = [published[size][example.STUCK.index(s)] for s in stuck]
            row("    published", [f"{value:.1f}" for value in known])


def draw(larger, equal, stuck, name):
    percent = [100 * s for s in stuck]
    with style():
        figure, panels = plt.subplots(1, 2, figsize=(8.4, 3.8), sharey=True, layout="constrained")
        shades = plt.get_cmap("viridis")
        for ax, found in zip(panels, (larger, equal), strict=True):
            for size, values in found.items():
                colour = shades((size - 1) / len(SIZES))
                mean = [sum(v) / len(v) for v in (values[s] for s in stuck)]
                label = f"{size} × {HIDDEN[size]}" if found is equal else str(size)
                ax.plot(percent, mean, color=colour, marker="o", label=label)
                if found is larger:
                    known = [PUBLISHED[size][example.STUCK.index(s)] for s in stuck]
                    ax.plot(percent, known, color=colour, marker="x", linestyle=":")
            ax.set(xlabel="stuck cells (%)", ylim=(0, 100))
        panels[0].plot([], [], color="#6B6B6B", marker="x", linestyle=":", label="published")
        panels[0].set(title="networks of 150 hidden", ylabel=f"accuracy on {name} (%)")
        panels[1].set(title="as many cells in all (120 hidden)")
        for ax in panels:
            ax.legend(title="networks")
        return figure


def main(arguments=None):
    chosen = options(__doc__, "committees", arguments)
    samples, name = data(chosen)
    sizes, equal, stuck, chips, steps = SIZES, tuple(HIDDEN), example.STUCK, chosen.chips, 2000
    if chosen.quick:
        sizes, equal, stuck, steps = (1, 3), (1, 3), (0.0, 0.1), 300
    networks = [example.network(samples, seed, steps) for seed in range(max(sizes))]
    larger = study(samples, networks, sizes, stuck, chips)
    show(larger, stuck, "of 150 hidden, accuracy (%)", PUBLISHED)
    same = of_equal_cells(samples, equal, stuck, chips, steps)
    show(same, stuck, "of as many cells in all, acc. (%)")
    rows = [
        (kind, size, fraction, chip, value)
        for kind, found in (("150 hidden each", larger), ("120 hidden in all", same))
        for size, by_stuck in found.items()
        for fraction, values in by_stuck.items()
        for chip, value in enumerate(values)
    ]
    columns = ("networks", "size", "stuck", "chip", "accuracy (%)")
    finish(draw(larger, same, stuck, name), chosen, columns, rows)
    return larger, same


if __name__ == "__main__":
    main()
