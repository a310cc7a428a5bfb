"""One of two processes that train for hardware: ``recipe_worker.py rank init_file result_file``."""

import sys

import torch
from ddp_worker import group
from torch import nn
from torch.nn import functional as F

import mho
from mho.effects import ReadNoise, StuckAt, WriteNoise
from mho.train import InputRangeRule, Practice, Recipe, recipes


def train(rank):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    x, y = torch.randn(20, 6), torch.arange(20) % 3
    effects = (WriteNoise(0.05), StuckAt(0.01, 0.01), ReadNoise(0.01))
    hardware = mho.Hardware(effects=effects, adc=mho.ADC(bits=8))
    recipe = Recipe(practice=Practice(noise=2.0), ranges="learned", clip=2.0)
    analog = recipe.prepare(model, hardware, x, seed=0)  # one chip
    ddp = nn.parallel.DistributedDataParallel(analog)
    torch.manual_seed(7)  # all ranks alike: dropout's masks would be, the cells' noise is not
    optimizer = torch.optim.Adam(ddp.parameters(), lr=0.02)
    mine = slice(10 * rank, 10 * rank + 10)
    losses, seen = [], ddp(x[:2]).detach()
    for _ in range(25):
        optimizer.zero_grad()
        loss = F.cross_entropy(ddp(x[mine]), y[mine])
        loss.backward()
        optimizer.step()
        recipe.after_step(analog)
        losses.append(loss.item())
    grads = {n: p.grad.clone() for n, p in analog.named_parameters()}
    weights = {n: p.detach().clone() for n, p in analog.named_parameters()}
    cells = {n: bar.G.clone() for n, bar in mho.crossbars(analog).items()}
    read = ddp.eval()(x[:2]).detach()
    found = {"losses": losses, "seen": seen, "grads": grads, "weights": weights}
    return {**found, "cells": cells, "read": read}


def start_ranges(rank):
    """Ranges that start from what both processes see, of data of another size each."""
    torch.manual_seed(0)
    recipe = recipes.ANALOG_FOUNDATION_MODEL
    recipe = recipe.replace(ranges=InputRangeRule(batches=3, deviations=2.0))
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    analog = recipe.prepare(model, recipe.hardware(mho.Hardware()), seed=0)
    ddp = nn.parallel.DistributedDataParallel(analog)
    optimizer = torch.optim.SGD(ddp.parameters(), lr=0.0)
    seen = []
    for step in range(5):
        x = (1 + 3 * rank + step) * torch.randn(10, 6)
        optimizer.zero_grad()
        ddp(x).square().mean().backward()
        optimizer.step()
        recipe.after_step(analog)
        seen.append(2.0 * x.std())
    ranges = torch.cat([c.learned_range.detach() for c in mho.crossbars(analog).values()])
    return {"ranges": ranges, "seen": torch.stack(seen)}


def main():
    rank, store, result = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    torch.set_num_threads(1)
    with group(rank, store):
        torch.save({**train(rank), **start_ranges(rank)}, result)


if __name__ == "__main__":
    main()
