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
PULSED = {
    "pulsed": lambda m: train.PulsedSGD(m, device=DEVICE),
    "transfers": lambda m: train.TikiTaka(m, device=DEVICE),
    "tiles": lambda m: train.TileSGD(m, device=DEVICE, rule=train.SymmetryTracking()),
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


@pytest.mark.parametrize("name", WRAPPERS)
@pytest.mark.parametrize(("kind", "other"), [
    (optim.Adam, optim.AdamW), (optim.AdamW, optim.Adam), (optim.Adam, optim.RAdam),
])  # fmt: skip
def test_kin_inside_is_asked_for_by_name(name, kind, other):
    found = stepped(WRAPPERS[name](kind))[0]
    before = repr(found.state_dict())
    with pytest.raises(ValueError, match=rf"\({other.__name__}\), not of \w+\({kind.__name__}\)"):
        found.load_state_dict(stepped(WRAPPERS[name](other))[0].state_dict())
    assert repr(found.state_dict()) == before


@pytest.mark.parametrize("name", WRAPPERS)
@pytest.mark.parametrize("turned", [False, True])
def test_a_class_derived_from_torch_s_is_of_its_kind(name, turned):
    kinds = (optim.SGD, type("Mine", (optim.SGD,), {}))
    found, closure = stepped(WRAPPERS[name](kinds[turned]))
    found.load_state_dict(stepped(WRAPPERS[name](kinds[not turned]))[0].state_dict())
    found.step(closure)


def test_what_others_call_adam_keeps_what_it_likes():
    class Adam(optim.Optimizer):  # of 8 bits, as it might be
        def __init__(self, parameters, lr):
            super().__init__(parameters, {"lr": lr})

        def step(self, closure):
            for group in self.param_groups:
                for parameter in group["params"]:
                    self.state[parameter] = {"state1": torch.zeros(2), "absmax1": torch.ones(1)}

    for make in (plain(Adam), *(wrap(Adam) for wrap in WRAPPERS.values())):
        found, closure = stepped(make)
        refuse_other(getattr(found, "inner", found), found.state_dict())
        found.load_state_dict(found.state_dict())
        found.step(closure)


@pytest.mark.parametrize("name", [*WRAPPERS, *PULSED])
def test_what_users_write_into_groups_may_be_renamed(name):
    found, closure = stepped(PULSED.get(name) or WRAPPERS[name](optim.SGD))
    given = copy.deepcopy(found.state_dict())
    found.param_groups[0]["tag"] = given["param_groups"][0]["label"] = "backbone"
    found.load_state_dict(given)
    found.step(closure)


@pytest.mark.parametrize("kind", [optim.Adam, optim.NAdam, optim.ASGD])
def test_single_numbers_may_have_a_dimension(kind):
    """As torch 1.12 to 2.0 kept ``step`` of fused optimizers."""
    found, closure = stepped(WRAPPERS["quantised"](kind))
    given = copy.deepcopy(found.state_dict())
    single = ("step", "mu_product", "eta", "mu")
    for kept in given["state"].values():
        kept.update({name: value.reshape(1) for name, value in kept.items() if name in single})
    found.load_state_dict(given)
    found.step(closure)
    given["state"][0]["step"] = torch.ones(2, 3)
    with pytest.raises(ValueError, match=r"step of parameter 0 must have shape \[1\], got"):
        found.load_state_dict(given)


def test_those_of_older_versions_are_taken():
    found, closure = stepped(WRAPPERS["in situ"](optim.Adam))
    given = copy.deepcopy(found.state_dict())
    del given["in_situ"]["optimizer"]
    given["param_groups"][0].pop("decoupled_weight_decay", None)
    given["param_groups"][0]["initial_lr"] = 0.1
    found.load_state_dict(given)
    found.step(closure)
    found, closure = stepped(WRAPPERS["quantised"](optim.Adam))
    given = found.state_dict()
    del given["inner"]
    found.load_state_dict(given)
    found.load_state_dict(stepped(plain(optim.Adam))[0].state_dict())
    found.step(closure)


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
    for groups in ([{}], [3], [{"params": 2}]):
        with pytest.raises(ValueError, match="state_dict's group 0 must have 'params', as"):
            found.load_state_dict({**found.state_dict(), "param_groups": groups})


@pytest.mark.parametrize("name", WRAPPERS)
def test_what_is_kept_has_its_parameter_s_shape(name):
    found, _ = stepped(WRAPPERS[name](optim.Adam))
    wrong = copy.deepcopy(found.state_dict())
    wrong["state"][1]["exp_avg"] = torch.ones(5)
    with pytest.raises(ValueError, match=r"exp_avg of parameter 1 must have shape \[2\], got"):
        found.load_state_dict(wrong)
    wrong["state"][1] = 3
    with pytest.raises(TypeError, match="state of parameter 1 must be Mapping, got"):
        found.load_state_dict(wrong)
    wrong["param_groups"][0]["params"] = [0]
    with pytest.raises(ValueError, match="of groups of \\[2\\] parameters, got \\[1\\]"):
        found.load_state_dict(wrong)
