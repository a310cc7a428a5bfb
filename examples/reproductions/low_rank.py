"""Training in place with gradients of low rank on MNIST: accuracy over epochs.

B. D. Hoskins et al., Frontiers in Neuroscience 2019, doi 10.3389/fnins.2019.00793, and S. Huang et
al., ACM JETC 2023, doi 10.1145/3577214: a gradient of a few outer products, found as the samples
stream by (streaming batch PCA), trains a network nearly as well as the whole gradient, and writes
to a crossbar are saved. Here a 784-128-10 network learns in situ on ideal pulse-count cells (500
levels), with whole gradients and with gradients of rank 1, 2, 4 and 10, by streaming batch PCA and
by a truncated SVD of the whole gradient.

    python examples/reproductions/low_rank.py --mnist FOLDER [--quick] [--out reproduced]
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import torch
from common import accuracy, data, finish, mlp, options, row
from torch.nn.functional import cross_entropy

from mho.decomposition import StreamingBatchPCA, TruncatedSVD
from mho.devices import ExponentialDevice
from mho.plot import style
from mho.train import InSitu, fit

RANKS = (1, 2, 4, 10)
METHODS = {
    "streaming batch PCA": lambda rank: StreamingBatchPCA(rank, sub_batch=rank),
    "truncated SVD": TruncatedSVD,
}
BATCH, LR = 128, 0.3


def curve(samples, decomposition, epochs, seed=0):
    """Test accuracy (%) after every epoch."""
    model = mlp(784, 128, 10, seed=seed)
    optimizer = InSitu(
        torch.optim.SGD(model.parameters(), lr=LR),
        ExponentialDevice(),
        decomposition=decomposition,
        model=model,
        weight_range=(-1.0, 1.0),
        threshold=1.0,
        seed=seed,
    )
    both = samples.train_x, samples.train_y
    history = fit(
        model,
        optimizer,
        both,
        cross_entropy,
        epochs=epochs,
        batch=BATCH,
        seed=seed,
        evaluate=lambda m: accuracy(m, samples),
    )
    return history.metric


def software(samples, epochs):
    model = mlp(784, 128, 10)
    both = samples.train_x, samples.train_y
    return fit(
        model,
        torch.optim.SGD(model.parameters(), lr=LR),
        both,
        cross_entropy,
        epochs=epochs,
        batch=BATCH,
        evaluate=lambda m: accuracy(m, samples),
    ).metric


def draw(curves, ranks, name):
    with style():
        figure, panels = plt.subplots(1, 2, figsize=(8.4, 3.8), sharey=True, layout="constrained")
        shades = plt.get_cmap("viridis")
        for ax, method in zip(panels, METHODS, strict=True):
            for k, rank in enumerate(ranks):
                values = curves[method, rank]
                epochs = range(1, len(values) + 1)
                ax.plot(
                    epochs, values, color=shades(k / len(ranks)), marker="o", label=f"rank {rank}"
                )
            whole = curves["whole gradient", None]
            ax.plot(epochs, whole, color="#D55E00", linestyle="--", label="whole gradient")
            plain = curves["software", None]
            ax.plot(epochs, plain, color="#6B6B6B", linestyle=":", label="software")
            ax.set(title=method, xlabel="epoch", xticks=list(epochs))
        panels[0].set(ylabel=f"accuracy on {name} (%)")
        figure.legend(
            *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=8
        )
        return figure


def main(arguments=None):
    chosen = options(__doc__, "low_rank", arguments, chips=False)
    samples, name = data(chosen)
    ranks, epochs = ((1, 4), 1) if chosen.quick else (RANKS, 3)
    curves = {
        ("software", None): software(samples, epochs),
        ("whole gradient", None): curve(samples, None, epochs),
    }
    row("accuracy (%) after epoch", range(1, epochs + 1), width=8)
    for (method, _), values in list(curves.items()):
        row(method, [f"{value:.1f}" for value in values], width=8)
    for method, make in METHODS.items():
        for rank in ranks:
            curves[method, rank] = curve(samples, make(rank), epochs)
            cells = [f"{value:.1f}" for value in curves[method, rank]]
            row(f"{method}, rank {rank}", cells, width=8)
    rows = [
        (method, rank or "", epoch, value)
        for (method, rank), values in curves.items()
        for epoch, value in enumerate(values, 1)
    ]
    columns = ("method", "rank", "epoch", "accuracy (%)")
    finish(draw(curves, ranks, name), chosen, columns, rows)
    return curves


if __name__ == "__main__":
    main()
