"""States of other optimizers are refused when they are loaded, not missed at the next step."""

import copy
import itertools

import pytest
import torch
from torch import nn, optim

from mho import train
from mho.devices import SoftBoundsDevice
from mho.train.states import refuse_other

DEVICE = SoftBoundsDevice()
X = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
KINDS = (
    optim.SGD, optim.Adam, optim.AdamW, optim.NAdam, optim.RAdam, optim.Adamax, optim.Adadelta,
    optim.Adagrad, optim.ASGD, optim.RMSprop, optim.Rprop, optim.Adafactor, optim.LBFGS,
)  # fmt: skip
# What one needs the other keeps: to load it means something.
KIN = {(a, b) for a, b in itertools.permutations(("Adam", "AdamW", "RAdam"), 2)}
KIN |= {("NAdam", "RAdam")}


def stepped(make, sizes=(3, 2)):
    torch.manual_seed(0)
    model = nn.Linear(*sizes)
    optimizer = make(model)

    def closure():
        optimizer.zero_grad()
        loss = model(X[:, : sizes[0]]).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return optimizer, closure


def plain(kind, **settings):
    return lambda model: kind(model.parameters(), lr=0.1, **settings)


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_are_told_apart_and_what_is_taken_steps(kind):
    for other in KINDS:
        found, closure = stepped(plain(kind))
        given = stepped(plain(other))[0].state_dict()
        if other is not kind and (other.__name__, kind.__name__) not in KIN:
            with pytest.raises(ValueError, match="state_dict is of another optimizer than"):
                refuse_other(found, given)
            continue
        refuse_other(found, given)
        found.load_state_dict(given)
        found.step(closure)


WRAPPERS = {
    "in situ": lambda kind: lambda m: train.InSitu(plain(kind)(m), DEVICE, model=m),
    "quantised": lambda kind: lambda m: train.QuantisedOptimizer(plain(kind)(m)),
}


@pytest.mark.parametrize("name", WRAPPERS)
@pytest.mark.parametrize(("kind", "other"), [
    (optim.SGD, optim.Adam), (optim.Adam, optim.SGD), (optim.Adam, optim.Adamax),
    (optim.Adagrad, optim.Adadelta), (optim.RMSprop, optim.Rprop),
])  # fmt: skip
def test_the_optimizer_inside_is_asked_for(name, kind, other):
    found, closure = stepped(WRAPPERS[name](kind))
    given = stepped(WRAPPERS[name](other))[0].state_dict()
    forged = copy.deepcopy(given)  # as older versions wrote it
    forged.get("in_situ", {}).pop("optimizer", None)
    before = repr(found.state_dict())
    for wrong in (given, forged):
        with pytest.raises(ValueError, match=r"state_dict is of (another|InSitu\()"):
            found.load_state_dict(wrong)
        assert repr(found.state_dict()) == before
    found.step(closure)


def test_those_of_older_versions_are_taken():
    found, closure = stepped(WRAPPERS["in situ"](optim.Adam))
    given = copy.deepcopy(found.state_dict())
    del given["in_situ"]["optimizer"]
    given["param_groups"][0].pop("decoupled_weight_decay", None)
    given["param_groups"][0]["initial_lr"] = 0.1
    found.load_state_dict(given)
    found.step(closure)


PULSED = {
    "pulsed": lambda m: train.PulsedSGD(m, device=DEVICE),
    "transfers": lambda m: train.TikiTaka(m, device=DEVICE),
    "tiles": lambda m: train.TileSGD(m, device=DEVICE, rule=train.SymmetryTracking()),
}


@pytest.mark.parametrize("name", PULSED)
@pytest.mark.parametrize("other", [optim.Adam, optim.Adagrad, optim.LBFGS])
def test_pulsed_descent_takes_no_other_s_groups(name, other):
    found, closure = stepped(PULSED[name])
    own, given = found.state_dict(), stepped(plain(other))[0].state_dict()
    before = repr(own)
    for wrong in (given, {**own, "param_groups": given["param_groups"]}):
        with pytest.raises(ValueError, match="state_dict"):
            found.load_state_dict(wrong)
        assert repr(found.state_dict()) == before
    found.step(closure)


@pytest.mark.parametrize("name", [*WRAPPERS, *PULSED])
@pytest.mark.parametrize("left_out", ["state", "param_groups"])
def test_what_is_no_state_is_refused(name, left_out):
    make = PULSED.get(name) or WRAPPERS[name](optim.SGD)
    found, _ = stepped(make)
    for wrong in (
        {key: value for key, value in found.state_dict().items() if key != left_out},
        {**found.state_dict(), left_out: 3},
    ):
        with pytest.raises(ValueError, match=f"state_dict must have '{left_out}'"):
            found.load_state_dict(wrong)


@pytest.mark.parametrize("name", WRAPPERS)
def test_what_is_kept_has_its_parameter_s_shape(name):
    found, _ = stepped(WRAPPERS[name](optim.Adam))
    wrong = copy.deepcopy(found.state_dict())
    wrong["state"][1]["exp_avg"] = torch.ones(5)
    with pytest.raises(ValueError, match=r"exp_avg of parameter 1 must have shape \[2\], got"):
        found.load_state_dict(wrong)
    wrong["param_groups"][0]["params"] = [0]
    with pytest.raises(ValueError, match="of groups of \\[2\\] parameters, got \\[1\\]"):
        found.load_state_dict(wrong)
