"""Optimizers print tables, and a learning rate that is too high is met with advice."""

import re
import warnings

import pytest
import torch
from torch import nn

import mho
from mho import train
from mho.devices import presets
from mho.periphery import formats

X = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
Y = X[:, :3].argmax(1)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3))


DEVICE = presets.get("gokmen_vlasov")
MADE = {
    "pulsed": lambda m, lr: train.PulsedSGD(m, lr, device=DEVICE),
    "tiki-taka": lambda m, lr: train.TikiTaka(m, lr, device=DEVICE),
    "in situ": lambda m, lr: train.InSitu(
        torch.optim.SGD(m.parameters(), lr), device=DEVICE, model=m
    ),
}


@pytest.mark.parametrize("kind", ["pulsed", "tiki-taka", "in situ"])
def test_optimizers_print_tables(kind):
    model = network()
    said = str(MADE[kind](model, 0.1))
    assert said == repr(MADE[kind](model, 0.1))
    lines = said.splitlines()
    assert lines[0].startswith(
        {"pulsed": "PulsedSGD(lr=0.1", "tiki-taka": "TikiTaka(lr=0.1"}.get(kind, "InSitu")
    )
    assert lines[1].split("  ")[0] == "parameter"
    for name, _ in model.named_parameters():
        assert any(line.startswith(name) for line in lines)
    if kind == "tiki-taka":
        assert "TikiTakaV2" in lines[0]
        assert any(line.startswith("0.weight (fast)") for line in lines)
        assert any(line.startswith("0.weight (slow)") for line in lines)
    assert max(map(len, lines)) < 140


def test_a_quantised_optimizer_prints_its_formats():
    model = network()
    inner = torch.optim.SGD(model.parameters(), 0.1)
    said = str(train.QuantisedOptimizer(inner, weights=formats.FixedPoint(8, 6)))
    assert "FixedPoint" in said
    assert re.search(r"gradients +as they are", said)


def advice(kind, lr, steps=40):
    model = network()
    optimizer = MADE[kind](model, lr)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for _ in range(steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(X), Y).backward()
            optimizer.step()
    told = [str(w.message) for w in found if "learning rate" in str(w.message)]
    assert all(w.filename == __file__ for w in found)
    return told


@pytest.mark.parametrize("kind", MADE)
def test_leaps_are_told_of_once_with_a_number_that_helps(kind):
    told = advice(kind, 1e4)
    assert len(told) == 1
    assert "one update asks weights on cells to move by" in told[0]
    tried = float(re.search(r"try (\S+)$", told[0])[1])
    assert tried <= 10.0
    assert not advice(kind, tried)


def test_saturated_cells_are_told_of():
    torch.manual_seed(0)
    layer = nn.Linear(8, 6, bias=False)
    optimizer = train.PulsedSGD(
        layer, 1.0, device=mho.devices.ConstantStep(), weight_range=(-1.0, 1.0)
    )
    layer(X.abs() + 1.0).sum(1).mean().backward()
    with pytest.warns(UserWarning, match=r"100% of the weights on cells are at .* try 0\.02$"):
        optimizer.step()


@pytest.mark.parametrize("kind", MADE)
def test_a_usual_rate_is_met_with_nothing(kind):
    assert not advice(kind, 0.05)


def test_fit_says_what_to_try():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=20.0)
    targets = torch.full((32, 3), 1e20)
    with pytest.raises(RuntimeError, match=r"learning rate may be too high; try 2 instead of 20"):
        train.fit(model, optimizer, (X, targets), nn.functional.mse_loss, epochs=20)


def test_stale_is_not_said_of_shapes_without_memory():
    analog = mho.convert(network(), mho.Hardware()).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        analog.to("meta")(X.to("meta"))
    # What had changed before is still told of.
    analog = mho.convert(network(), mho.Hardware()).eval()
    with torch.no_grad():
        analog[0].weight.add_(1.0)
    with pytest.warns(UserWarning, match="has changed since it was programmed"):
        analog.to("meta")(X.to("meta"))


@pytest.mark.parametrize(("lr", "scale", "told"), [(1e-3, 1e7, False), (2.0, 1e-3, True)])
def test_what_counts_is_how_far_the_given_optimizer_moves_weights(lr, scale, told):
    # Adam moves each weight by the learning rate, however large gradients are.
    model = network()
    optimizer = train.InSitu(torch.optim.Adam(model.parameters(), lr), DEVICE, model=model)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        (scale * nn.functional.cross_entropy(model(X), Y)).backward()
        optimizer.step()
    assert any("learning rate" in str(w.message) for w in found) == told


def test_parameters_of_groups_that_were_added_are_in_the_table():
    model, more = network(), nn.Parameter(torch.zeros(5, 7))
    optimizer = MADE["pulsed"](model, 0.1)
    optimizer.add_param_group({"params": [more], "lr": 0.2})
    lines = optimizer.summary().splitlines()
    assert any(line.startswith("other") and "5×7" in line for line in lines)
    assert any(line.startswith("0.bias") for line in lines)
