"""Learning on memory cells: how well, with which device, at which rank of the gradient.

Trains one hidden layer on scikit-learn's digits and on mnist1d: in software, with WAGE 2-8-8-8,
and in situ on three devices, with whole gradients and with gradients of rank 1, 2, 4 and 10 by
three decompositions. In situ, changes are added up digitally until
they are worth a pulse, but for the rows "written at once", where each step writes a random whole
number of pulses. Prints a table, writes ``accuracy.csv`` and a picture for each data set.

    python examples/learning_on_hardware.py [--quick] [--out learning]
"""

from __future__ import annotations

import csv

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from example_options import parsed
from mho.decomposition import NMF, StreamingBatchPCA, TruncatedSVD
from mho.demo.data import digits, mnist1d
from mho.devices import ExponentialDevice, presets
from mho.plot import accuracy_against, style
from mho.train import WAGE, InSitu, fit, quantise
from mho.train.quantised.wage import initialise, sse

RANKS = (1, 2, 4, 10)
DECOMPOSITIONS = {
    "truncated SVD": TruncatedSVD,
    "streaming batch PCA": lambda rank: StreamingBatchPCA(rank, sub_batch=rank),
    "NMF": NMF,
}
# Cells that answer exactly, cells of silver in silicon, ferroelectric transistors.
DEVICES = {
    "exponential, ideal": ExponentialDevice(),
    "exponential, real": presets.get("ag_a_si"),
    "tabular, FeFET": presets.get("fefet_2v5"),
}
DATA = {"digits": digits, "mnist1d": mnist1d}
EPOCHS = {"digits": 20, "mnist1d": 20}
BATCH = 32


def mlp(features, seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(features, 64), nn.ReLU(), nn.Linear(64, 10))


@torch.no_grad()
def accuracy(model, data):
    return float((model.eval()(data.test_x).argmax(1) == data.test_y).float().mean())


def train(model, optimizer, data, name, seed, loss=F.cross_entropy, schedule=None):
    fit(
        model,
        optimizer,
        (data.train_x, data.train_y),
        loss,
        epochs=EPOCHS[name],
        batch=BATCH,
        seed=seed,
        schedule=schedule,
    )
    return accuracy(model, data)


def software(data, name, seed):
    model = mlp(data.train_x.shape[1], seed)
    return train(model, torch.optim.SGD(model.parameters(), lr=0.1), data, name, seed)


def wage(data, name, seed):
    # WAGE's numbers lie within ±1: signals of standard deviation 1 would be clipped.
    scale = min(1.0, 0.3 / float(data.train_x.std()))
    data = data._replace(train_x=scale * data.train_x, test_x=scale * data.test_x)
    scheme = WAGE(2, 8, 8, 8)
    model = initialise(quantise(mlp(data.train_x.shape[1], seed), scheme), seed=seed)
    plain = torch.optim.SGD(model.parameters(), lr=8.0)
    steps = EPOCHS[name] * -(-len(data.train_x) // BATCH)
    # As in the paper, the rate of 8 is divided by 8 twice.
    schedule = torch.optim.lr_scheduler.MultiStepLR(plain, [steps // 2, 5 * steps // 6], 1 / 8)
    optimizer = scheme.optimizer(plain, seed=seed)
    return train(model, optimizer, data, name, seed, sse, schedule)


def in_situ(device, decomposition=None, threshold=1.0):
    def run(data, name, seed):
        model = mlp(data.train_x.shape[1], seed)
        optimizer = InSitu(
            torch.optim.SGD(model.parameters(), lr=0.1),
            device,
            decomposition=decomposition() if decomposition else None,
            model=model,
            weight_range=(-1.0, 1.0),
            threshold=threshold,
            seed=seed,
        )
        return train(model, optimizer, data, name, seed)

    return run


def experiments(devices, ranks):
    """All rows of the table: ``(method, device, rank)`` and what trains them."""
    rows = {("software", "–", None): software, ("WAGE 2-8-8-8", "–", None): wage}
    for device, spec in devices.items():
        rows["in situ, written at once", device, None] = in_situ(spec, threshold=None)
        rows["in situ", device, None] = in_situ(spec)
        for method, make in DECOMPOSITIONS.items():
            for rank in ranks:
                rows[method, device, rank] = in_situ(spec, lambda m=make, r=rank: m(r))
    return rows


def main():
    told = "digits alone, one seed, five epochs, ranks 1 and 10, two devices"
    options = parsed(__doc__, "learning", quick=told)
    seeds = range(1 if options.quick else 3)
    names = ["digits"] if options.quick else list(DATA)
    devices, ranks = DEVICES, RANKS
    if options.quick:
        EPOCHS["digits"] = 5
        devices, ranks = dict(list(DEVICES.items())[:2]), (1, 10)
    found = {}
    table = experiments(devices, ranks)
    runs = [(name, seed, row) for name in names for seed in seeds for row in table]
    sets = {(name, seed): DATA[name](seed) for name in names for seed in seeds}
    for name, seed, row in tqdm(runs, disable=None):
        found.setdefault((name, row), []).append(table[row](sets[name, seed], name, seed))
    found = {key: torch.tensor(values, dtype=torch.float64) for key, values in found.items()}
    show(found, names, table)
    write(found, options.out / "accuracy.csv")
    for name in names:
        draw(found, name, devices, ranks, options.out / f"ranks_{name}.png")
    print(f"\n{options.out}/accuracy.csv, " + ", ".join(f"ranks_{n}.png" for n in names))


def show(found, names, rows):
    print(f"\n{'test accuracy, %':<54}" + "".join(f"{name:>14}" for name in names))
    for row in rows:
        method, device, rank = row
        label = f"{method}, {device}" + (f", rank {rank}" if rank else "")
        cells = [found[name, row] for name in names]
        spread = [f"{100 * c.mean():.1f} ± {100 * c.std(unbiased=len(c) > 1):.1f}" for c in cells]
        print(f"{label:<54}" + "".join(f"{text:>14}" for text in spread))


def write(found, path):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["data", "method", "device", "rank", "seed", "accuracy"])
        for (name, (method, device, rank)), values in found.items():
            for seed, value in enumerate(values.tolist()):
                writer.writerow([name, method, device, rank or "", seed, f"{value:.4f}"])


def draw(found, name, devices, ranks, path):
    colours = ("#0072B2", "#D55E00", "#009E73")
    with style():
        size = (0.5 + 3.5 * len(devices), 3.4)
        figure, panels = plt.subplots(
            1, len(devices), figsize=size, sharey=True, layout="constrained"
        )
        for ax, device in zip(panels, devices, strict=True):
            whole = found[name, ("in situ", device, None)].mean()
            for colour, method in zip(colours, DECOMPOSITIONS, strict=True):
                columns = [found[name, (method, device, rank)] for rank in ranks]
                values = torch.stack(columns, dim=1)
                accuracy_against(ranks, values, ax, label=method, colour=colour)
            ax.axhline(100 * whole, color="#6B6B6B", linestyle=":", label="whole gradient")
            ax.set(title=device, xlabel="rank of the gradient", xscale="log")
            ax.set_xticks(ranks, [str(rank) for rank in ranks])
            ax.minorticks_off()
            ax.get_legend().remove()  # one for all
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
        figure.savefig(path)
        plt.close("all")


if __name__ == "__main__":
    main()
