"""Whole optimizers go through pickle with their models, those of the version before, too."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mho.devices import SoftBoundsDevice
from mho.train import (
    AGAD,
    Chopped,
    DifferentialPair,
    InSitu,
    PulsedSGD,
    ResidualLearning,
    TikiTaka,
    TileSGD,
)
from mho.train.on_cells.arrays import parts

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
    for cells in cells_of(optimizer):
        del cells.draws, cells.reference_written


def cells_of(optimizer):
    if isinstance(optimizer, InSitu):
        return list(optimizer.held.cells().values())
    return [cells for array in optimizer.arrays.values() for cells in parts(array).values()]


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
    for one, two in zip(cells_of(optimizer), cells_of(both[1]), strict=True):
        assert one.state_dict().keys() == two.state_dict().keys()


OTHER = {
    "device": (lambda m: PulsedSGD(m, 0.1, device=CELLS.replace(step=1e-6)), r"devices.0.step"),
    "range": (lambda m: PulsedSGD(m, 0.1, device=CELLS, weight_range=(-2, 2)), r"cells.*range"),
    "layout": (lambda m: PulsedSGD(m, 0.1, device=CELLS, layout=DifferentialPair()), "layout.type"),
    "step": (lambda m: PulsedSGD(m, 0.1, device=CELLS, granularity=0.1), "takes a pulse of"),
    "endurance": (lambda m: PulsedSGD(m, 0.1, device=CELLS, endurance=9), "endurance: expected 9"),
    "rule": (lambda m: TikiTaka(m, 0.1, device=CELLS), "rule: expected {'type': 'TikiTakaV2'"),
    "gamma": (
        lambda m: TileSGD(m, 0.1, device=CELLS, rule=ResidualLearning(gamma=0.1)), "rule.gamma",
    ),
}  # fmt: skip


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", OTHER)
def test_a_checkpoint_of_other_cells_is_refused_by_name(name):
    make, said = OTHER[name]
    model, other = network(), network()
    saved, optimizer = PulsedSGD(model, 0.1, device=CELLS), make(other)
    if name == "gamma":
        saved = TileSGD(model, 0.1, device=CELLS, rule=ResidualLearning(gamma=0.5))
    train(model, saved, 3)
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(ValueError, match=said):
        optimizer.load_state_dict(saved.state_dict())
    after = optimizer.state_dict()
    assert after.keys() == before.keys()
    for one in before["arrays"]:
        for key, value in before["arrays"][one].items():
            assert torch.equal(after["arrays"][one][key], value)


@pytest.mark.parametrize("name", ["pulsed", "agad"])
def test_what_is_damaged_in_a_checkpoint_changes_nothing(name):
    model = network()
    optimizer = OPTIMIZERS[name](model)
    train(model, optimizer, 3)
    before, held = copy.deepcopy(optimizer.state_dict()), model[2].weight.detach().clone()
    train(model, optimizer, 3)
    wrong, now = copy.deepcopy(before), copy.deepcopy(optimizer.state_dict())
    cells = "cells.g" if name == "pulsed" else "slow.cells.g"
    wrong["arrays"]["2.weight"][cells][..., 0] = -1.0
    with pytest.raises(ValueError, match=r"cells.g: expected finite conductances"):
        optimizer.load_state_dict(wrong)
    for key, value in now["arrays"]["0.weight"].items():
        assert torch.equal(optimizer.state_dict()["arrays"]["0.weight"][key], value)
    optimizer.load_state_dict(before)
    assert torch.equal(model[2].weight, held)
