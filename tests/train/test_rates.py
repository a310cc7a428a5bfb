"""Learning rates and parameter groups: what is wrong is refused, and then nothing has changed."""

import math

import pytest
import torch
from torch import nn

from mho.devices import ExponentialDevice, SoftBoundsDevice
from mho.train import WAGE, InSitu, PulsedSGD, TikiTaka, quantise

DEVICE = ExponentialDevice()


def pulsed(model, lr):
    return PulsedSGD(model, lr, device=SoftBoundsDevice())


def tiki_taka(model, lr):
    return TikiTaka(model, lr, device=SoftBoundsDevice())


def in_situ(model, lr):
    return InSitu(torch.optim.SGD(model.parameters(), lr), DEVICE)


def wage(model, lr):
    return WAGE(2, 8, 8, 8).optimizer(torch.optim.SGD(quantise(model, WAGE()).parameters(), lr))


@pytest.mark.parametrize("make", [pulsed, tiki_taka])
@pytest.mark.parametrize("lr", [0.0, -1.0, math.nan, math.inf])
def test_a_rate_that_moves_nothing_or_anything_is_refused(make, lr):
    with pytest.raises(ValueError, match="lr must be > 0"):
        make(nn.Linear(6, 3), lr)


@pytest.mark.parametrize("make", [pulsed, tiki_taka, in_situ, wage])
@pytest.mark.parametrize("lr", [-1.0, math.nan, math.inf, torch.tensor(-0.1)])
def test_a_rate_set_later_is_seen_at_the_step(make, lr):
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    optimizer = make(model, 0.1)
    optimizer.param_groups[0]["lr"] = lr
    held = [p.detach().clone() for group in optimizer.param_groups for p in group["params"]]
    model(torch.randn(10, 6)).square().sum().backward()
    with pytest.raises(ValueError, match="lr of parameter group 0 must be >= 0"):
        optimizer.step()
    now = [p.detach() for group in optimizer.param_groups for p in group["params"]]
    assert all(torch.equal(a, b) for a, b in zip(held, now, strict=True))


def test_a_schedule_may_begin_at_nothing():
    model = nn.Linear(6, 3)
    optimizer = pulsed(model, 0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(step / 2, 1.0))
    before = model.weight.detach().clone()
    for moves in (False, True):
        optimizer.zero_grad()
        model(torch.randn(10, 6)).square().sum().backward()
        optimizer.step()
        schedule.step()
        assert torch.equal(model.weight, before) != moves


def test_a_group_may_be_added_where_a_key_is_of_earlier_parameters():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    sgd = torch.optim.SGD(model[0].parameters(), lr=0.1)
    optimizer = InSitu(sgd, {"0.*": DEVICE, "*": SoftBoundsDevice()}, model=model)
    optimizer.add_param_group({"params": list(model[1].parameters())})
    assert len(sgd.param_groups) == len(optimizer.param_groups) == 2
    devices = [type(cells.device).__name__ for cells in optimizer.held.cells().values()]
    assert devices == ["ExponentialDevice", "SoftBoundsDevice"]


@pytest.mark.parametrize("wrong", ["nothing said", "not finite"])
def test_a_group_that_is_refused_changes_nothing(wrong):
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2), nn.Linear(2, 2))
    sgd = torch.optim.SGD(model[0].parameters(), lr=0.1)
    devices = {"0.*": DEVICE} if wrong == "nothing said" else DEVICE
    optimizer = InSitu(sgd, devices, model=model)
    with torch.no_grad():
        model[1].weight.fill_(3.0)  # would be clipped
        model[2].weight[0, 0] = math.nan if wrong == "not finite" else 0.0
    before = [p.detach().clone() for p in model.parameters()]
    names = dict(optimizer.held.names)
    with pytest.raises(ValueError, match="says nothing" if wrong == "nothing said" else "finite"):
        optimizer.add_param_group({"params": [*model[1].parameters(), *model[2].parameters()]})
    assert len(sgd.param_groups) == len(optimizer.param_groups) == 1
    assert len(optimizer.held) == 1
    assert optimizer.held.names == names
    for one, two in zip(model.parameters(), before, strict=True):
        assert torch.equal(one.nan_to_num(7.0), two.nan_to_num(7.0))
    model(torch.randn(10, 4)).nan_to_num(0.0).sum().backward()
    optimizer.step()


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("SGD", "momentum", math.nan),
        ("SGD", "weight_decay", math.inf),
        ("SGD", "dampening", math.nan),
        ("SGD", "maximize", "false"),
        ("Adam", "betas", (0.9, math.nan)),
        ("Adam", "eps", -1.0),
        ("RMSprop", "alpha", 10**400),
    ],
)
def test_other_settings_set_later_are_seen_at_the_step(kind, name, value):
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    optimizer = InSitu(getattr(torch.optim, kind)(model.parameters(), 0.1), DEVICE)
    optimizer.param_groups[0][name] = value
    held = [p.detach().clone() for p in model.parameters()]
    model(torch.randn(10, 6)).square().sum().backward()
    with pytest.raises((TypeError, ValueError), match=rf"{name}.* of parameter group 0 must be"):
        optimizer.step()
    assert all(map(torch.equal, held, model.parameters()))


@pytest.mark.parametrize(
    "kind", ["Adafactor", "Adam", "NAdam", "Rprop", "Adadelta", "ASGD", "RMSprop"]
)
def test_what_optimizers_of_torch_begin_with_is_taken_at_the_step(kind):
    if not hasattr(torch.optim, kind):
        pytest.skip(f"{kind} is of later torch")
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    optimizer = InSitu(getattr(torch.optim, kind)(model.parameters(), lr=0.01), DEVICE)
    before = model.bias.detach().clone()
    model(torch.randn(10, 6)).square().sum().backward()
    optimizer.step()
    assert not torch.equal(model.bias, before)
