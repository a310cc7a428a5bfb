"""Training on resistive cells on MNIST: which rule, on which cell.

T. Gokmen, Y. Vlasov, Frontiers in Neuroscience 2016, doi 10.3389/fnins.2016.00333: a 784-256-128-10
network of logistic neurons is trained by coincidences of stochastic pulses on cells of 1200 nearly
symmetric steps with 30 % spread and noise. T. Gokmen, W. Haensch, 2020,
doi 10.3389/fnins.2020.00103 (Tiki-Taka), and T. Gokmen, 2021, doi 10.3389/frai.2021.699148 (v2):
on asymmetric cells the plain rule fails, theirs match what symmetric cells reach; M. J. Rasch et
al., 2024, doi 10.1038/s41467-024-51221-z, chop the inputs besides (c-TTv2, AGAD).

The papers take one sample a step for tens of epochs; here it is batches of 32 for two.

    python examples/reproductions/in_situ_rules.py --mnist FOLDER [--quick] [--out reproduced]
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import torch
from common import accuracy, data, finish, mlp, options, row
from torch import nn
from torch.nn.functional import cross_entropy

from mho.devices import SoftBoundsDevice, presets
from mho.plot import style
from mho.train import AGAD, Chopped, PulsedSGD, TikiTaka, TikiTakaV1, TikiTakaV2, fit

BATCH, LR = 32, 0.5
SYMMETRIC = presets.get("gokmen_vlasov")
# Soft bounds, 1200 steps, and set steps three times as large as reset steps.
ASYMMETRIC = SoftBoundsDevice(g_min=1e-6, g_max=101e-6, step=100e-6 / 1200, asymmetry=0.5, c2c=0.3)
# A learns fast, the network slowly: fast_lr belongs to A, lr · transfer_lr to the transfer.
SLOW, RATES = 0.1, {"fast_lr": 1.0, "transfer_lr": 0.3}


def tiki_taka(rule):
    return lambda model: TikiTaka(model, SLOW, device=ASYMMETRIC, rule=rule, seed=0)


METHODS = {
    "digital SGD": lambda m: torch.optim.SGD(m.parameters(), lr=LR),
    "pulsed SGD, symmetric cells": lambda m: PulsedSGD(m, LR, device=SYMMETRIC, seed=0),
    "pulsed SGD, asymmetric": lambda m: PulsedSGD(m, LR, device=ASYMMETRIC, seed=0),
    "Tiki-Taka v1, asymmetric": tiki_taka(TikiTakaV1(**RATES)),
    "Tiki-Taka v2, asymmetric": tiki_taka(TikiTakaV2(**RATES)),
    "c-TTv2, asymmetric": tiki_taka(Chopped(**RATES, chop_probability=0.02)),
    "AGAD, asymmetric": tiki_taka(AGAD(**RATES, chop_probability=0.1)),
}


def curve(make, samples, epochs, parts=4):
    """Test accuracy (%) after every quarter of an epoch."""
    model = mlp(784, 256, 128, 10, activation=nn.Sigmoid)
    optimizer = make(model)
    found = []
    order = torch.randperm(len(samples.train_x), generator=torch.Generator().manual_seed(0))
    for epoch in range(epochs):
        for part in order.chunk(parts):
            both = samples.train_x[part], samples.train_y[part]
            fit(model, optimizer, both, cross_entropy, epochs=1, batch=BATCH, seed=epoch)
            found.append(accuracy(model, samples))
    return found


def draw(curves, parts, name):
    with style():
        figure, ax = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
        colours = ("#6B6B6B", "#000000", "#D55E00", "#56B4E9", "#0072B2", "#009E73", "#CC79A7")
        for (method, values), colour in zip(curves.items(), colours, strict=False):
            epochs = [(k + 1) / parts for k in range(len(values))]
            ax.plot(epochs, values, color=colour, label=method)
        ax.set(xlabel="epoch", ylabel=f"accuracy on {name} (%)")
        ax.legend(fontsize=8)
        return figure


def main(arguments=None):
    chosen = options(__doc__, "in_situ_rules", arguments, chips=False)
    samples, name = data(chosen)
    methods, epochs, parts = METHODS, 2, 4
    if chosen.quick:
        names = ("digital SGD", "pulsed SGD, asymmetric", "Tiki-Taka v2, asymmetric")
        methods, epochs = {n: METHODS[n] for n in names}, 1
        samples = samples._replace(
            train_x=samples.train_x[:15_000], train_y=samples.train_y[:15_000]
        )
    row("accuracy (%) after epoch", range(1, epochs + 1), width=10)
    curves = {}
    for method, make in methods.items():
        curves[method] = curve(make, samples, epochs, parts)
        row(method, [f"{v:.1f}" for v in curves[method][parts - 1 :: parts]], width=10)
    rows = [
        (method, (k + 1) / parts, value)
        for method, values in curves.items()
        for k, value in enumerate(values)
    ]
    finish(draw(curves, parts, name), chosen, ("method", "epoch", "accuracy (%)"), rows)
    return curves


if __name__ == "__main__":
    main()
