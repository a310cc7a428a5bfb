# ruff: noqa
"""
Retention of a deployed network: G(t) = G0 * (t / t0) ** -nu, with nu from cell to cell.

Accuracy with error bars over seeds, in worker processes; and the law recovered from what is read.
"""

import multiprocessing as mp
import os
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits

import xbtorch
from xbtorch.deployment import SimpleFixedPoint, compute_error
from xbtorch.patches import xbtorch_model

NU, NU_STD = np.float32(0.06), np.float32(0.015)
TIMES = np.logspace(0, 4, 5)
CHIP = (300, 300)


class Perceptron(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(n_in, n_out, bias=False))

    def forward(self, x):
        return self.model(x)


def accelerator(stateful, t=1.0, nu=NU, nu_std=NU_STD, **kwargs):
    return SimpleFixedPoint(
        g_min=50,
        g_max=100,
        adc_bits=16,
        dac_bits=16,
        stateful=stateful,
        xb_size=CHIP,
        retention_time=t,
        drift_coefficient=nu,
        drift_t0=np.float64(1.0),
        drift_variation=nu_std,
        **kwargs,
    )


def deployed(acc, weight):
    xbtorch.initialize(inference_accelerator=acc)
    net = Perceptron(weight.shape[1], weight.shape[0])
    net.model[0].weight.data = weight.clone()
    net = xbtorch_model(net)
    if acc.stateful:
        net.initialize_array_mappings()
    net.xb_eval()
    return net


def probe(net, n_in):
    """Effective weights: what unit vectors give."""
    with torch.no_grad():
        return net(torch.eye(n_in)).T


# ------------------------------------------------------------------ ternary classifier of digits
def digits():
    data = load_digits()
    X = torch.tensor(data.data, dtype=torch.float32) / 8 - 1
    y = torch.tensor(data.target)
    order = np.random.RandomState(1).permutation(len(X))
    return X[order], y[order]


def ternary_weights():
    X, y = digits()
    torch.manual_seed(0)
    w = torch.zeros(10, 64, requires_grad=True)
    optimizer = torch.optim.Adam([w], lr=0.05)
    for _ in range(150):
        hard = torch.where(w.abs() > 0.5 * w.abs().mean(), w.sign(), torch.zeros_like(w))
        used = w + (hard - w).detach()
        loss = F.cross_entropy(0.3 * X[:1400] @ used.T, y[:1400])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return hard.detach()


def study(job):
    """One seed: accuracies over time, on a chip or without one."""
    seed, stateful, weight = job
    torch.manual_seed(seed)
    X, y = digits()
    weight = torch.tensor(weight)
    found = []
    for t in TIMES:
        torch.manual_seed(seed)
        net = deployed(accelerator(stateful, t, nu_std=0.05), weight)
        with torch.no_grad():
            found.append(100 * (net(X[1400:]).argmax(1) == y[1400:]).float().mean().item())
    return os.getpid(), found


def exponents(stateful, n=96, seed=3):
    """Recover nu and its spread from reads at several times."""
    torch.manual_seed(seed)
    weight = torch.ones(n, n)
    log_ratio = []
    for t in TIMES:
        torch.manual_seed(seed)
        acc = accelerator(stateful, t)
        if stateful:
            net = deployed(acc, weight)
            (r, c) = net.get_array_mappings()[0]["Gpos"][0]
            G = acc.read_chip(r, n, c, n)
        else:
            pos, neg = acc.map_weights_to_array_stateless(weight)
            G = acc.read_chip_stateless(pos[0])
        log_ratio.append(torch.log(G / 100.0))
    log_ratio = torch.stack(log_ratio)
    nu = -np.polyfit(np.log(TIMES), log_ratio.mean((1, 2)).numpy(), 1)[0]
    std = np.polyfit(np.log(TIMES), log_ratio.flatten(1).std(1).numpy(), 1)[0]
    return nu, std


def pairs(stateful, t=10.0, n=96):
    """Zero weights are pairs of equal cells: they come apart by sqrt(2) nu_std ln t of G(t)."""
    weight = torch.zeros(n, n)
    weight[0, 0] = 1.0
    torch.manual_seed(5)
    net = deployed(accelerator(stateful, t), weight)
    effective = probe(net, n)[1:, 1:]  # in units of the window of 50 uS
    return float(effective.std()), float(effective.mean())


def main():
    for stateful in (True, False):
        name = "chip" if stateful else "cells"
        nu, std = exponents(stateful)
        print("%s_nu %.4f %.4f" % (name, nu, std))
        spread, mean = pairs(stateful)
        expected = np.sqrt(2) * NU_STD * np.log(10.0) * 10.0**-NU
        print("%s_pairs %.4f %.4f expected %.4f" % (name, spread, mean, expected))

    # two layers of one shape are different cells
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = nn.Sequential(nn.Linear(48, 48, bias=False), nn.Linear(48, 48, bias=False))

        def forward(self, x):
            return self.model(x)

    for stateful in (True, False):
        acc = accelerator(stateful, 100.0)
        xbtorch.initialize(inference_accelerator=acc)
        two = Two()
        for p in two.parameters():
            p.data.fill_(1.0)
        two = xbtorch_model(two)
        if stateful:
            two.initialize_array_mappings()
        two.xb_eval()
        a, b = (probe(layer, 48) for layer in two.model)
        r = np.corrcoef(a.flatten(), b.flatten())[0, 1]
        print("layers_%s_correlation %.3f" % ("chip" if stateful else "cells", r))

    # the same model read twice: drift belongs to the cells
    net = deployed(accelerator(True, 100.0, nu_std=0), torch.ones(20, 20))
    print("same_cells %s" % torch.equal(probe(net, 20), probe(net, 20)))
    errors, _ = compute_error(net)
    # all drifted by 100^-nu: the error of the mean weight
    print("error %.2f expected %.2f" % (errors[0][0], 100 * (1 - 100.0**-NU)))

    # a board that is left alone: only the time is changed
    acc = accelerator(True, 1.0, nu_std=0.0)
    net = deployed(acc, torch.ones(10, 10))
    fresh = probe(net, 10).mean()
    for acc.retention_time in (10, 100.0, np.float32(1000.0)):
        print("aged %g %.5f" % (acc.retention_time, probe(net, 10).mean() / fresh))

    weight = ternary_weights().numpy()
    print("states", *np.unique(weight))
    jobs = [(seed, stateful, weight) for stateful in (True, False) for seed in range(3)]
    with mp.Pool(2) as pool:
        answers = pool.map(study, jobs)
    with mp.get_context("spawn").Pool(1) as pool:  # as on Windows and macOS
        again = pool.map_async(study, jobs[:1]).get(timeout=40)
    print("workers %d" % len({pid for pid, _ in answers} - {os.getpid()}))
    print("spawned_agrees %s" % (again[0][1] == answers[0][1]))
    table = np.array([found for _, found in answers]).reshape(2, 3, len(TIMES))
    for name, part in zip(("chip", "cells"), table):
        for t, mean, std in zip(TIMES, part.mean(0), part.std(0)):
            print("accuracy_%s %g %.2f +- %.2f" % (name, t, mean, std))
        print("differs_%s %s" % (name, len(np.unique(part[:, -1])) > 1))
    print("done")


if __name__ == "__main__":
    main()
