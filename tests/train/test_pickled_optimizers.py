"""Whole optimizers go through pickle with their models, those of the version before, too."""

import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mho.devices import SoftBoundsDevice
from mho.train import AGAD, Chopped, InSitu, PulsedSGD, TikiTaka

CELLS = SoftBoundsDevice(g_min=1e-6, g_max=101e-6, step=2e-6, c2c=0.2)
X = torch.linspace(-1, 1, 60).view(10, 6)
Y = torch.arange(10) % 3


def in_situ(model):
    return InSitu(torch.optim.SGD(model.parameters(), 0.1), CELLS, threshold=1.0, model=model)


OPTIMIZERS = {
    "pulsed": lambda model: PulsedSGD(model, 0.1, device=CELLS),
    "in situ": in_situ,
    "chopped": lambda model: TikiTaka(
        model, 0.1, device=CELLS, rule=Chopped(transfer_lr=0.1, chop_probability=0.1)
    ),
    "agad": lambda model: TikiTaka(
        model, 0.1, device=CELLS, rule=AGAD(transfer_lr=0.1, chop_probability=0.1)
    ),
}


def train(model, optimizer, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(X), Y).backward()
        optimizer.step()


def as_of_0_1(optimizer):
    """Take away what optimizers have learned to remember since."""
    vars(optimizer).pop("_seen", None)
    vars(optimizer._lookout).pop("_watch")
    for arrays in getattr(optimizer, "arrays", {}).values():
        if arrays._buffers.pop("flow", None) is not None:
            del arrays.answer
            arrays._non_persistent_buffers_set.discard("flow")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_pickled_optimizer_goes_on_as_the_original(name, old):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    optimizer = OPTIMIZERS[name](model)
    train(model, optimizer, 5)
    both = pickle.loads(pickle.dumps((model, optimizer)))
    train(model, optimizer, 10)
    if old:
        as_of_0_1(both[1])
        both = pickle.loads(pickle.dumps(both))
    train(*both, 10)
    for one, two in zip(model.parameters(), both[0].parameters(), strict=True):
        assert torch.equal(one, two)
