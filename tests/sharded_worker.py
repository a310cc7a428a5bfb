"""One of two processes that share a model: ``sharded_worker.py rank init_file result_file``."""

import sys
import warnings
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp

sys.path.insert(0, str(Path(__file__).parent / "train"))

import recipe_worker
from ddp_worker import group
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    set_model_state_dict,
)
from torch.distributed.fsdp import fully_shard
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

import mho
from mho.effects import ReadNoise, StuckAt, WriteNoise

CONVERTED = mho.Hardware(dac=mho.DAC(8), adc=mho.ADC(8))
NOISY = CONVERTED.replace(effects=(WriteNoise(0.05), ReadNoise(0.02), StuckAt(0.02, 0.02)))
WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
STEPS = 4


class Net(nn.Module):
    """A convolution, an LSTM and a linear layer."""

    def __init__(self):
        super().__init__()
        self.image = nn.Conv2d(1, 4, 3, padding=1)
        self.time = nn.LSTM(12, 6, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        rows = self.image(x).tanh().transpose(1, 2).flatten(2)
        return self.head(self.time(rows)[0][:, -1])


class Language(nn.Module):
    """A table, an encoder layer, and a head of the table's own weights."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(12, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
        self.head = nn.Linear(8, 12, bias=False)
        self.head.weight = self.table.weight

    def forward(self, x):
        return self.head(self.block(self.table(x)))


TOKENS = torch.randint(12, (8, 6), generator=torch.Generator().manual_seed(2))


def language(hardware, dtype=torch.float32, device="cpu"):
    """Return a model of which no cells are stored."""
    torch.manual_seed(0)
    with torch.device(device):
        digital = Language().to(dtype)
    return mho.convert(digital, hardware, seed=3, program=False, embeddings=True)


def train_language(model, part):
    """Two steps, then the cells, then a read of all."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        y = model.train()(TOKENS[part]).float().flatten(0, 1)
        F.cross_entropy(y, TOKENS[part].roll(1, 1).flatten()).backward()
        optimizer.step()
    mho.program(model)
    return model.eval()(TOKENS).detach()


def too_large(path, hardware, dtype, part):
    """A model that no process holds whole: made without weights, sharded, loaded, trained."""
    first = language(hardware, dtype)
    fully_shard(first.block)
    dcp.save(get_model_state_dict(fully_shard(first)), checkpoint_id=path)
    model = language(hardware, dtype, "meta")
    fully_shard(model.block)
    fully_shard(model).to_empty(device="cpu")
    state = get_model_state_dict(model)
    dcp.load(state, checkpoint_id=path)
    set_model_state_dict(model, state)
    return train_language(model, part)


def network(hardware):
    torch.manual_seed(0)
    analog = mho.convert(Net(), hardware, seed=3)
    mho.calibrate(analog, data()[0])
    for crossbar in mho.crossbars(analog).values():
        crossbar.learn_ranges()
    return analog


def data():
    source = torch.Generator().manual_seed(1)
    return torch.randn(16, 1, 3, 3, generator=source), torch.arange(16) % 3


def sharded(hardware):
    model = network(hardware)
    for part in (model.image, model.time, model.head):
        fully_shard(part)
    return fully_shard(model)


def train(model, part, seed=5):
    x, y = data()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    torch.manual_seed(seed)
    for _ in range(STEPS):
        optimizer.zero_grad()
        F.cross_entropy(model(x[part]), y[part]).backward()
        optimizer.step()


def refused(work):
    """Return with what words something is refused."""
    try:
        work()
    except ValueError as error:
        return str(error)
    return "not refused"


def cells(model):
    return {name: bar.G.clone() for name, bar in mho.crossbars(model).items()}


def find(rank, folder):
    part, (x, _) = slice(rank, None, 2), data()
    model = sharded(CONVERTED)
    train(model, part)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        before = model.eval()(x).detach()
        mho.program(model)
        after = model(x).detach()
    found = {
        "warned": [str(w.message) for w in said],
        "before": before,
        "after": after,
        "state": get_model_state_dict(model, options=WHOLE),
        "cells": cells(model),
    }
    mho.age(model, 100.0)
    mho.calibrate(model, x)
    found["summary"] = str(mho.summary(model))
    found["convert"] = refused(lambda: mho.convert(model, CONVERTED))
    found["collapse"] = refused(lambda: mho.collapse(model))
    other = sharded(CONVERTED)
    set_model_state_dict(other, network_state(CONVERTED), options=WHOLE)
    found["loaded"] = other.eval()(x).detach()
    noisy = sharded(NOISY)
    torch.manual_seed(7)
    found["drawn"] = noisy.train()(x).detach()
    train(noisy, part)
    mho.program(noisy)
    found["noisy cells"] = cells(noisy)
    found["noisy read"] = noisy.eval()(x).detach()
    ddp = DistributedDataParallel(network(CONVERTED))
    train(ddp, part)
    mho.program(ddp)
    found["ddp cells"] = cells(ddp.module)
    found["ddp read"] = ddp.eval()(x).detach()
    noisy = DistributedDataParallel(network(NOISY))
    train(noisy, part)
    mho.program(noisy)
    found["ddp noisy cells"] = cells(noisy.module)
    found["ddp noisy read"] = noisy.eval()(x).detach()
    found["large"] = too_large(folder / "whole", CONVERTED, torch.float32, part)
    found["large half"] = too_large(folder / "half", NOISY, torch.bfloat16, part)
    found["recipe"] = recipe_worker.find(rank)
    return found


def network_state(hardware):
    """What one process alone saves after its training."""
    model = network(hardware)
    train(model, slice(None))
    mho.program(model)
    return model.state_dict()


def main():
    rank, store, result = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    torch.set_num_threads(1)
    with group(rank, store):
        torch.save(find(rank, Path(store).parent), result)


if __name__ == "__main__":
    main()
