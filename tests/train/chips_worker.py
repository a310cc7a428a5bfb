"""One of two processes with a chip of its own: ``chips_worker.py rank init_file result_file``."""

import sys
import warnings

import torch
from ddp_worker import group
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mho.decomposition import TruncatedSVD
from mho.devices import ConstantStep, SoftBoundsDevice
from mho.train import InSitu, PulsedSGD, SharedSamples, TikiTaka, average_models
from mho.train.on_cells.coincidence import ExpectedPulses

STEPS, PARTS = 8, (slice(0, 10), slice(10, 16))  # of a batch, of different sizes
FINE = ConstantStep(g_min=1e-6, g_max=101e-6, step=1e-10)
ROUGH = SoftBoundsDevice(g_min=1e-6, g_max=101e-6, step=2e-7, d2d=0.3, c2c=0.3)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 4))


def data():
    source = torch.Generator().manual_seed(1)
    x = torch.randn(16, 12, generator=source)
    return x, x[:, :4].argmax(1)


def loss_of(model, part):
    x, y = data()
    return nn.functional.cross_entropy(model(x[part]), y[part])


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def train(model, optimizer, rank, steps=STEPS):
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model, PARTS[rank]).backward()
        optimizer.step()
    return flat(model)


def shared(make, decomposition=None):
    model = network()
    optimizer = make(model)
    optimizer.exchange = SharedSamples(decomposition)
    return model, optimizer


def ideal(rank, decomposition=None):
    """Cells without faults: what one process would do with all data."""
    model, optimizer = shared(
        lambda m: PulsedSGD(m, 0.2, device=FINE, update=ExpectedPulses(), seed=rank), decomposition
    )
    weights = train(model, optimizer, rank)
    exchange = optimizer.exchange
    return {"weights": weights, "sent": exchange.bytes_sent, "full": exchange.bytes_full}


def rough(rank, kind):
    if kind == "in situ":
        model = network()
        wrapped = DistributedDataParallel(model)
        sgd = torch.optim.SGD(model.parameters(), 0.2)
        optimizer, read = InSitu(sgd, ROUGH, seed=rank), wrapped
    else:
        made = {"pulsed": PulsedSGD, "tiki-taka": TikiTaka}[kind]
        model, optimizer = shared(lambda m: made(m, 0.2, device=ROUGH, seed=rank))
        read = model
    before = float(loss_of(model, slice(None)))
    weights = train(read, optimizer, rank, 60)
    found = {"weights": weights, "before": before, "after": float(loss_of(model, slice(None)))}
    average_models(optimizer)
    found["averaged"] = flat(model)
    return found


def poisoned(rank):
    """A gradient of one process that is not finite is passed by in both."""
    model, optimizer = shared(lambda m: PulsedSGD(m, 0.2, device=FINE, seed=rank))
    before = flat(model)
    loss_of(model, PARTS[rank]).backward()
    if rank == 1:
        model[0].weight.grad[0, 0] = torch.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer.step()
    first = model[0].weight.numel()
    same = bool((flat(model)[:first] == before[:first]).all())
    return {"passed by": same, "others moved": not torch.equal(flat(model), before)}


def main():
    rank, store, result = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    torch.set_num_threads(1)
    with group(rank, store):
        found = {kind: rough(rank, kind) for kind in ("pulsed", "tiki-taka", "in situ")}
        found["ideal"] = ideal(rank)
        found["few products"] = ideal(rank, TruncatedSVD(4))
        found["poisoned"] = poisoned(rank)
        torch.save(found, result)


if __name__ == "__main__":
    main()
