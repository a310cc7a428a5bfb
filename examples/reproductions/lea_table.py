"""Layer-ensemble averaging on MNIST: accuracy against stuck cells, published and ours.

O. Yousuf et al., Nature Communications 2025, doi 10.1038/s41467-025-56319-6, figure 4b: a
784-150-10 network with ternary weights, as one copy, as copies averaged output by output (LEA), as
a committee of networks and with inner fault tolerance. How it is done is `layer_ensemble.py`, one
folder up; here the data are those of the paper, and the published table stands beside.

    python examples/reproductions/lea_table.py --mnist FOLDER [--chips 10] [--quick]
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from common import data, finish, options, row

from mho.plot import style

sys.path.insert(0, str(Path(__file__).parents[1]))
import layer_ensemble as example  # the folder above is where it lies

METHODS = (
    "LEA",
    "inner fault tolerance",
    "  without foresight",
)  # of the example's, and committees
COLOURS = {"LEA": "#0072B2", "committee": "#D55E00", "inner fault tolerance": "#009E73"}
BLIND = "without foresight"  # inner fault tolerance that finds stuck cells only as it writes them


def methods(copies):
    return {name: e for name, e in example.methods(copies).items() if name in METHODS}


def study(samples, networks, copies, stuck, chips):
    """Accuracies (%) of every chip, ``{(method, copies): {stuck: [chips]}}``."""
    rows = example.study(networks, samples, copies, stuck, chips, methods)
    found = {}
    for method, number, fraction, _, value, _ in rows:
        found.setdefault((method, number), {}).setdefault(fraction, []).append(100.0 * value)
    return found


def summary(found):
    """Mean and standard deviation over the chips, ``{(method, copies): {stuck: (mean, sd)}}``."""
    values = {key: {s: torch.tensor(v).double() for s, v in x.items()} for key, x in found.items()}
    return {
        key: {s: (float(v.mean()), float(v.std(unbiased=len(v) > 1))) for s, v in by_stuck.items()}
        for key, by_stuck in values.items()
    }


def show(said, stuck):
    row("accuracy (%), mean ± sd of chips", [f"{100 * s:.0f} %" for s in stuck])
    for (method, number), values in said.items():
        cells = ["{:.1f} ± {:.1f}".format(*values[s]) for s in stuck]
        row(f"{method} × {number}", cells)
        if method != BLIND:
            known = example.PUBLISHED[method][number]
            row("    published", [f"{known[example.STUCK.index(s)]:.1f}" for s in stuck])


def draw(said, copies, stuck, name):
    percent = [100 * s for s in stuck]
    with style():
        size = (3.6 * len(copies), 3.8)
        figure, panels = plt.subplots(
            1, len(copies), figsize=size, sharey=True, squeeze=False, layout="constrained"
        )
        for ax, number in zip(panels[0], copies, strict=True):
            for method, colour in COLOURS.items():
                mean, sd = zip(*(said[method, number][s] for s in stuck), strict=True)
                line = {"color": colour, "marker": "o", "capsize": 2, "label": method}
                ax.errorbar(percent, mean, sd, **line)
                known = [example.PUBLISHED[method][number][example.STUCK.index(s)] for s in stuck]
                ax.plot(percent, known, color=colour, marker="x", linestyle=":")
            blind = [said[BLIND, number][s][0] for s in stuck]
            green = COLOURS["inner fault tolerance"]
            ax.plot(percent, blind, color=green, linestyle="--", label=BLIND)
            ax.set(title=f"× {number}", xlabel="stuck cells (%)", ylim=(0, 100))
        panels[0][0].set(ylabel=f"accuracy on {name} (%)")
        panels[0][0].plot([], [], color="#6B6B6B", marker="x", linestyle=":", label="published")
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=5)
        return figure


def main(arguments=None):
    chosen = options(__doc__, "lea_table", arguments)
    samples, name = data(chosen)
    copies, stuck, chips, steps = example.COPIES, example.STUCK, chosen.chips, 2000
    if chosen.quick:
        copies, stuck, steps = (1, 3), (0.0, 0.2), 300
    networks = [example.network(samples, seed, steps) for seed in range(max(copies))]
    print(f"without a chip: {100 * example.accuracy(networks[0], samples):.1f} %")
    said = summary(study(samples, networks, copies, stuck, chips))
    show(said, stuck)
    rows = [
        (method, number, fraction, *values)
        for (method, number), by_stuck in said.items()
        for fraction, values in by_stuck.items()
    ]
    columns = ("method", "copies", "stuck", "mean accuracy (%)", "sd of chips (%)")
    finish(draw(said, copies, stuck, name), chosen, columns, rows)
    return said


if __name__ == "__main__":
    main()
