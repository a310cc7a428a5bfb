"""Training for hardware as one of two processes; a part of ``sharded_worker.py``."""

import torch
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn import functional as F

import mho
from mho.effects import ReadNoise, StuckAt, WriteNoise
from mho.train import InputRangeRule, NoiseInjection, Recipe, recipes


def train(rank):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    x, y = torch.randn(20, 6), torch.arange(20) % 3
    effects = (WriteNoise(0.05), StuckAt(0.01, 0.01), ReadNoise(0.01))
    hardware = mho.Hardware(effects=effects, adc=mho.ADC(bits=8))
    recipe = Recipe(injection=NoiseInjection(noise=2.0), ranges="learned", clip=2.0)
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


def start_ranges(rank, *, shard=False):
    """Ranges that start from what both processes see, of data of another size each."""
    torch.manual_seed(0)
    recipe = recipes.ANALOG_FOUNDATION_MODEL
    recipe = recipe.replace(ranges=InputRangeRule(batches=3, deviations=2.0))
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    analog = recipe.prepare(model, recipe.hardware(mho.Hardware()), seed=0)
    if shard:
        fully_shard(analog[0])
        whole = fully_shard(analog)
    else:
        whole = nn.parallel.DistributedDataParallel(analog)
    optimizer = torch.optim.SGD(whole.parameters(), lr=0.0)
    seen = []
    for step in range(5):
        x = (1 + 3 * rank + step) * torch.randn(10, 6)
        optimizer.zero_grad()
        whole(x).square().mean().backward()
        optimizer.step()
        recipe.after_step(analog)
        seen.append(2.0 * x.std())
    ranges = [bar.correction.input_range for bar in mho.crossbars(analog).values()]
    return {"ranges": torch.stack(ranges), "seen": torch.stack(seen)}


def find(rank):
    sharded = start_ranges(rank, shard=True)["ranges"]
    return {**train(rank), **start_ranges(rank), "sharded ranges": sharded}
