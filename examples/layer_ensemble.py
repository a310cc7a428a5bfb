"""Accuracy against stuck cells: what copies, ensembles and committees save.

Repeats the image classification of O. Yousuf et al., 2025, doi 10.1038/s41467-025-56319-6 (a
784-150-10 network with ternary weights) on a task that needs no download: scikit-learn's 8 × 8
digits, enlarged to 24 × 24 and padded to 28 × 28. ``--mnist`` takes MNIST by torchvision.

    python examples/layer_ensemble.py [--mnist] [--quick] [--chips 10] [--out layer_ensemble]

Every chip of 2500 × 2500 cells carries every method in turn, placed greedily, so that methods
meet the same defects. The spread of written cells, and how far outside of the window stuck ones
lie (half below, half above), are what the published mapping errors of one copy imply. Writes
``layer_ensemble.csv`` and ``layer_ensemble.png``.

Beside the published table: this task is easier, so that all lines fall later, but in the same
order: LEA, then committees, then inner fault tolerance. Differences, and why:

* Stuck cells are spread evenly, so no copy is much better than another and the mean of all copies
  is nearly always the best: LEA and plain averaging coincide. (The published mapping errors of
  LEA, which fall as 1/sqrt(copies), say the same.) LEA-2 gains from the second cell of each pair.
* Inner fault tolerance adds copies up in place of averaging them, so it amplifies the spread of
  written cells: it loses accuracy without any stuck cell, as published. With all defects known
  beforehand it mends nearly every weight; "without foresight" cells are adjusted before those
  written after them are found stuck, which is nearer to the published fall. That it falls below
  one plain copy, as published from 20 % on, no variant here shows.
"""

import csv

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy, interpolate, pad

import mho
from example_options import parsed, save_figure
from mho.chip import Chip, Committee, mapping_error
from mho.encoding import LEA, InnerFaultTolerance, Redundant, Ternary
from mho.plot import style
from mho.plot.chip import fault_tolerance

STUCK = (0.0, 0.05, 0.1, 0.2, 0.4, 0.5)
COPIES = (1, 3, 6)
WINDOW = (50e-6, 100e-6)  # siemens
# Published mapping errors of one copy, ‖e‖ over 119 100 weights: 27.5 without stuck cells, that is
# 0.0563 of the window a cell; and e² grows by 1.39 a stuck cell, that is (1.18 windows)².
SPREAD = 0.0563
BEYOND = 0.18 * 50e-6
SPARSE = Ternary(threshold=1.8)  # four fifths of the weights become zero

# Published accuracies (%) by copies, at the stuck fractions above.
PUBLISHED = {
    "LEA": {
        1: (94.03, 87.64, 72.67, 43.36, 19.74, 15.22),
        3: (94.30, 92.92, 89.27, 80.98, 41.09, 26.04),
        6: (94.32, 93.55, 92.34, 89.60, 62.38, 45.26),
    },
    "committee": {
        1: (94.03, 88.25, 68.00, 43.90, 17.53, 16.75),
        3: (94.38, 92.47, 88.60, 68.28, 27.47, 18.93),
        6: (94.52, 93.22, 90.86, 78.53, 30.56, 21.20),
    },
    "inner fault tolerance": {
        1: (94.06, 89.56, 76.24, 42.27, 13.06, 11.69),
        3: (93.51, 89.32, 70.35, 31.64, 12.78, 9.87),
        6: (91.83, 89.69, 83.03, 36.70, 13.62, 11.47),
    },
}


def digits():
    x, y = (torch.tensor(a) for a in load_digits(return_X_y=True))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    images = x[order].float().view(-1, 1, 8, 8) / 16
    large = interpolate(images, size=(24, 24), mode="bilinear", align_corners=False)
    x, y = pad(large, (2, 2, 2, 2)).flatten(1), y[order]
    return x[:1297], y[:1297], x[1297:], y[1297:]


def mnist():
    from torchvision.datasets import MNIST

    sets = [MNIST("mnist", train=train, download=True) for train in (True, False)]
    return [t for s in sets for t in (s.data.flatten(1).float() / 255, s.targets)]


def network(data, seed, steps, hidden=150):
    """Train with ternary weights: the forward pass sees them, gradients go straight through."""
    torch.manual_seed(seed)
    plain = torch.nn.Sequential(
        torch.nn.Linear(784, hidden, bias=False),
        torch.nn.ReLU(),
        torch.nn.Linear(hidden, 10, bias=False),
    )
    model = mho.convert(plain, mho.Hardware(encoding=SPARSE), seed=seed).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    x, y = data[:2]
    for _ in range(steps):
        batch = torch.randint(len(x), (min(256, len(x)),))
        optimizer.zero_grad()
        cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
    mho.program(model)
    return mho.collapse(model.eval())  # plain torch, with ternary weights


def methods(copies):
    base = Ternary()
    return {
        "average": Redundant(base, copies),
        "LEA": LEA(base, copies),
        "LEA-2": LEA(base, copies, tuned=True),
        "inner fault tolerance": InnerFaultTolerance(base, copies),
        "  without foresight": InnerFaultTolerance(base, copies, foresight=False),
    }


@torch.no_grad()
def accuracy(model, data):
    x, y = data[2:]
    return float((model(x).argmax(1) == y).float().mean())


def on_chip(chip, model, analog, data):
    chip.place(analog)
    error = torch.tensor([e.norm for e in mapping_error(analog).values()]).norm() / len_of(model)
    found = accuracy(analog, data)
    chip.remove(analog)
    return found, float(error)


def len_of(model):
    """The norm of all weights: errors are given relative to it."""
    return torch.cat([p.detach().flatten() for p in model.parameters()]).norm()


def study(networks, data, copies, stuck, chips, methods=methods):
    rows = []
    for fraction in stuck:
        faults = mho.effects.StuckAt(
            low=fraction / 2,
            high=fraction / 2,
            g_low=WINDOW[0] - BEYOND,
            g_high=WINDOW[1] + BEYOND,
        )
        hardware = mho.Hardware(
            device=mho.devices.LinearDevice(*WINDOW),
            effects=(faults, mho.effects.WriteNoise(sigma=SPREAD)),
        )
        kinds = {}
        for number in copies:
            models = {name: (networks[0], e) for name, e in methods(number).items()}
            models["committee"] = (Committee(networks[:number]), Ternary())
            for method, (model, encoding) in models.items():
                analog = mho.convert(model, hardware.replace(encoding=encoding))
                kinds[method.strip(), number] = model, analog
        for seed in range(chips):
            chip = Chip(hardware=hardware, seed=seed)
            for kind, (model, analog) in kinds.items():
                rows.append((*kind, fraction, seed, *on_chip(chip, model, analog, data)))
    return rows


def table(rows, copies, stuck):
    names = list(dict.fromkeys(row[0] for row in rows))
    print(f"{'accuracy (%), mean of the chips':<36}" + "".join(f"{100 * s:>7.0f} %" for s in stuck))
    for number in copies:
        for name in names:
            means = []
            for fraction in stuck:
                found = [r[4] for r in rows if r[:3] == (name, number, fraction)]
                means.append(100 * sum(found) / len(found))
            print(f"{name + ' × ' + str(number):<36}" + "".join(f"{m:>9.1f}" for m in means))
            if number in PUBLISHED.get(name, {}):
                known = [PUBLISHED[name][number][STUCK.index(s)] for s in stuck]
                print(f"{'    published, MNIST':<36}" + "".join(f"{m:>9.1f}" for m in known))


def draw(rows, copies, stuck, path):
    names = list(dict.fromkeys(row[0] for row in rows))
    with style():
        figure, all_axes = plt.subplots(
            1, len(copies), figsize=(4.6 * len(copies), 4.0), layout="constrained", squeeze=False
        )
        for number, ax in zip(copies, all_axes[0], strict=True):
            found = {
                name: [[r[4] for r in rows if r[:3] == (name, number, s)] for s in stuck]
                for name in names
            }
            known = {
                name: [by_copies[number][STUCK.index(s)] / 100 for s in stuck]
                for name, by_copies in PUBLISHED.items()
            }
            fault_tolerance(found, stuck, ax, published=known)
            ax.set_title(f"{number} cop{'y' if number == 1 else 'ies'}")
            if number != copies[0]:
                ax.get_legend().remove()
        save_figure(figure, path)


def main(arguments=None):
    more = {
        "--mnist": {"action": "store_true", "help": "MNIST by torchvision, not digits"},
        "--chips": {"type": int, "help": "Monte-Carlo chips (10)"},
    }
    options = parsed(__doc__, "layer_ensemble", arguments, more=more)
    copies, stuck, chips = COPIES, STUCK, options.chips or 10
    steps = 2000 if options.mnist else 800
    if options.quick:
        copies, stuck, chips, steps = (1, 3), (0.0, 0.2), options.chips or 1, 120
    data = mnist() if options.mnist else digits()
    networks = [network(data, seed, steps) for seed in range(max(copies))]
    print(f"without a chip: {100 * accuracy(networks[0], data):.1f} %")
    rows = study(networks, data, copies, stuck, chips)
    table(rows, copies, stuck)
    draw(rows, copies, stuck, options.out / "layer_ensemble.png")
    with (options.out / "layer_ensemble.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("method", "copies", "stuck", "chip", "accuracy", "mapping_error"))
        writer.writerows(rows)
    return rows


if __name__ == "__main__":
    main()
