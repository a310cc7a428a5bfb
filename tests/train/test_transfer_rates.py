"""Rates of transfer rules that follow from the cells: the analysis, and what is warned of."""

import math
import re
import warnings

import pytest
import torch
from torch import nn

from mho.devices import ConstantStep, SoftBoundsDevice
from mho.train import (
    AGAD,
    Chopped,
    ExpectedPulses,
    PulsedSGD,
    TikiTaka,
    TikiTakaV1,
    TikiTakaV2,
    WeightCells,
)
from mho.train.on_cells.transfer_rates import Flow, flow, response, transfer_rates

WINDOW = {"g_min": 1e-6, "g_max": 101e-6}
SOFT = SoftBoundsDevice(**WINDOW, step=1e-7)
EQUAL = ConstantStep(**WINDOW, step=1e-7)
RULES = [TikiTakaV1(), TikiTakaV2(), Chopped(), AGAD()]


@pytest.mark.parametrize("asymmetry", [0.0, 0.5])
def test_soft_bounds_answer_by_hand(asymmetry):
    # Up steps s(1+a)(1−z), down steps s(1−a)(1+z): balanced at z = a, where d = s(1−a²) and the
    # sum of both falls by 2s a unit of z; s is 2e-3 in weights −1…1.
    found = response(WeightCells(SOFT.replace(asymmetry=asymmetry), (4, 3)))
    assert found.step == pytest.approx(2e-3 * (1 - asymmetry**2), rel=1e-4)
    assert found.forgetting == pytest.approx(2e-3, rel=1e-3)
    assert found.reach == pytest.approx(1 - asymmetry**2, rel=1e-3)
    assert found.half == 1.0
    assert found.unbalanced == 0.0


def test_cells_that_forget_nothing():
    assert response(WeightCells(EQUAL, (4, 3))).reach == math.inf
    lopsided = response(WeightCells(EQUAL.replace(asymmetry=0.3), (4, 3)))
    assert lopsided.unbalanced == 1.0
    assert lopsided.forgetting == 0.0


def test_flow_is_the_running_mean_of_what_is_asked():
    torch.manual_seed(0)
    x, delta = torch.randn(5, 4), torch.randn(5, 3)
    gross = (delta.abs().T @ x.abs()).mean().double()
    first = flow(torch.zeros(3, dtype=torch.float64), x, delta)
    torch.testing.assert_close(first[0], gross, rtol=1e-6, atol=0.0)
    second = flow(first, 3 * x, delta)
    torch.testing.assert_close(second[0], 2 * gross, rtol=1e-6, atol=0.0)
    assert second[2] == 2
    assert torch.equal(flow(second, 0 * x, delta), second)
    assert torch.equal(flow(second, x[:0], delta[:0]), second)


def test_a_forgets_as_the_analysis_says():
    # Equally many pulses up and down: A's contents shrink by λ = α·G/τ a step.
    cells = WeightCells(SOFT, (1, 1))
    cells.write(torch.full((1, 1), 0.5))
    x = torch.ones(2, 1)
    delta = torch.tensor([[0.2], [-0.2]])
    answer, steps, alpha = response(cells), 200, 0.05
    for _ in range(steps):
        cells.descend(x, delta, alpha, ExpectedPulses())
    lost = alpha * 0.4 / answer.reach
    assert float(cells.read()) == pytest.approx(0.5 * math.exp(-lost * steps), rel=0.05)


@pytest.mark.parametrize("rule", [TikiTakaV2(), Chopped(), AGAD()], ids=lambda r: type(r).__name__)
def test_c_moves_as_sgd_of_the_same_rate(rule):
    # A constant gradient and its noise: C's mean speed is −lr·g, whatever the rule.
    torch.manual_seed(0)
    layer = nn.Linear(20, 10, bias=False)
    nn.init.constant_(layer.weight, 0.15)
    optimizer = TikiTaka(layer, 0.01, device=SOFT, rule=rule)
    for step in range(250):
        if step == 100:
            before = layer.weight.detach().clone()
        optimizer.zero_grad()
        push = 0.1 + 0.3 * torch.randn(4, 10)
        (layer(torch.ones(4, 20)) * push).sum(1).mean().backward()
        optimizer.step()
    moved = float((layer.weight.detach() - before).mean())
    assert moved == pytest.approx(-0.01 * 0.1 * 150, rel=0.25)


def least_squares(make, epochs=24):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(256, 8, generator=g)
    y = x @ (torch.rand(3, 8, generator=g) - 0.5).T + 0.1 * torch.randn(256, 3, generator=g)
    best = torch.linalg.lstsq(x, y).solution.T
    torch.manual_seed(0)
    layer = nn.Linear(8, 3, bias=False)
    optimizer, late = make(layer), []
    for epoch in range(epochs):
        for batch in torch.randperm(256).split(16):
            optimizer.zero_grad()
            (0.5 * (layer(x[batch]) - y[batch]).square().sum(1)).mean().backward()
            optimizer.step()
            if epoch >= epochs // 2:
                late.append(layer.weight.detach().clone())
    w = torch.stack(late)
    swing = (w - best).square().sum((1, 2)).mean().sqrt() / best.norm()
    return float(swing), float((w.mean(0) - best).norm() / best.norm())


def test_rules_swing_by_less_than_the_bias_they_remove():
    for device, rules in ((SOFT, RULES[1:3]), (SOFT.replace(asymmetry=0.5), RULES[::3])):
        _, bias = least_squares(lambda m, device=device: PulsedSGD(m, 0.1, device=device))
        for rule in rules:
            swing, left = least_squares(
                lambda m, device=device, rule=rule: TikiTaka(m, 0.1, device=device, rule=rule)
            )
            assert swing < 0.8 * bias, (rule, device.asymmetry, swing, bias)
            assert left < 0.4 * bias, (rule, device.asymmetry, left, bias)


def test_columns_and_waits_are_accounted_for():
    answer = response(WeightCells(SOFT, (3, 64)))
    seen = Flow(0.01, 0.3, 50.0)
    for rule in (TikiTakaV2(columns=4), TikiTakaV2(transfer_every=16)):
        now = transfer_rates(rule, answer, seen, 64, 0.1, ExpectedPulses())
        assert now.interval == 16
        assert now.forgotten <= 1.0 + 1e-9  # of what A holds, before it is read again
        assert now.handed == pytest.approx(0.1 * 0.01 * 16 / answer.reach)
    chopped = transfer_rates(Chopped(columns=4), answer, seen, 64, 0.1, ExpectedPulses())
    assert 1.0 / chopped.turns >= 4 / chopped.forgotten
    assert 1.0 / chopped.turns >= 10


def told(make, steps=25):
    layer = nn.Linear(4, 3)
    x = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        optimizer = make(layer)
        for _ in range(steps):
            optimizer.zero_grad()
            (layer(x) - 1.0).square().mean().backward()
            optimizer.step()
    assert all(w.filename == __file__ for w in found)
    return [str(w.message) for w in found]


@pytest.mark.parametrize(
    ("rule", "device", "text"),
    [
        (TikiTakaV2(transfer_lr=1.0), SOFT, "transfer_lr=1 hands C .* transfer_lr <= 0.0"),
        (Chopped(transfer_lr=1e-3, chop_probability=0.5), SOFT, "chop_probability=0.5 turns"),
        (TikiTakaV2(), EQUAL, "forget nothing"),
        (Chopped(chop_probability=0.1), EQUAL, "forget nothing"),
        (TikiTakaV1(), EQUAL.replace(asymmetry=0.4), "100% of A's cells are equal nowhere"),
    ],
)
def test_what_does_not_settle_is_warned_of_once(rule, device, text):
    found = told(lambda m: TikiTaka(m, 0.1, device=device, rule=rule))
    assert len(found) == 1, found

    assert re.search(text, found[0]), found[0]


@pytest.mark.parametrize("rule", [*RULES, AGAD(chop_probability=0.3)], ids=str)
def test_what_settles_is_met_with_nothing(rule):
    assert not told(lambda m: TikiTaka(m, 0.1, device=SOFT, rule=rule))
    if isinstance(rule, AGAD):
        assert not told(lambda m: TikiTaka(m, 0.1, device=EQUAL, rule=rule))


def test_rates_in_force_are_shown():
    layer = nn.Linear(4, 3)
    optimizer = TikiTaka(layer, 0.1, device=SOFT, rule=Chopped())
    assert "to C" not in str(optimizer)
    layer(torch.ones(2, 4)).square().sum().backward()
    optimizer.step()
    now = optimizer.arrays["weight"].rates(0.1, optimizer.update)
    last = str(optimizer).splitlines()[-1]
    assert f"{now.handed:.3g}" in last
    assert f"{now.fast_lr:.3g}" in last


def test_checkpoints_of_other_rates_are_refused_with_the_difference():
    old = TikiTaka(nn.Linear(4, 3), 0.1, device=SOFT, rule=TikiTakaV2(transfer_lr=0.1))
    new = TikiTaka(nn.Linear(4, 3), 0.1, device=SOFT)
    same = TikiTaka(nn.Linear(4, 3), 0.1, device=SOFT, rule=TikiTakaV2(transfer_lr=0.1))
    same.load_state_dict(old.state_dict())
    with pytest.raises(ValueError, match="transfer_lr"):
        new.load_state_dict(old.state_dict())
    older, newer = old.state_dict(), new.state_dict()
    del older["is"], newer["is"]  # as checkpoints were before they said what they are of
    with pytest.raises(ValueError, match=r"transfer_lr=0\.1"):
        new.load_state_dict(older)
    with pytest.raises(ValueError, match="rates that were derived"):
        same.load_state_dict(newer)
