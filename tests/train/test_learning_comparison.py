"""The comparison of learning rules: what it counts, searches and draws."""

import json

import pytest
import torch
from torch import nn

from mho.demo.data import digits
from mho.devices import SoftBoundsDevice
from mho.study import Record
from scripts import example
from tolerance import near

rules = example("learning_rules")


@pytest.mark.parametrize(
    ("rule", "cells", "digital"),
    [
        ("pulsed SGD", 1, 0),
        ("Tiki-Taka v2", 2, 1),  # the matrix H
        ("mixed precision", 1, 1),  # the sum of changes
        ("multi-tile residual", 4, None),
    ],
)
def test_what_a_run_spends_is_counted_by_weight(rule, cells, digital):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    optimizer = rules.RULES[rule](model, 0.5, rules.cells(10), 0)
    x = torch.randn(32, 6)
    for _ in range(3):
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()
    found, weights = rules.spent(optimizer), 6 * 5 + 5 * 3
    assert found["cells"] == cells
    assert digital is None or found["digital"] == pytest.approx(digital, abs=0.2)
    total = sum(int(each.sum()) for each in optimizer.pulses().values())
    assert total > 0
    assert found["pulses"] == pytest.approx(total / weights)
    # 1 V on 51 µS for 10 ns.
    assert found["energy"] == near(0.51e-12 * total / weights)


def test_states_are_steps_across_the_window():
    device = rules.cells(40)
    assert isinstance(device, SoftBoundsDevice)
    assert (device.g_max - device.g_min) / device.step == pytest.approx(40)
    assert device.asymmetry > 0
    assert device.c2c > 0


def test_the_search_does_not_see_the_tests():
    found = digits(0)
    shown = rules.held_back(found)
    seen = {tuple(row) for row in torch.cat((shown.train_x, shown.test_x)).tolist()}
    assert len(shown.train_x) + len(shown.test_x) == len(found.train_x)
    hidden = [tuple(row) in seen for row in found.test_x.tolist()]
    assert sum(hidden) < 0.01 * len(hidden)  # but for images that are there twice


def test_every_rule_gets_the_same_search_and_the_best_rate(tmp_path, monkeypatch):
    asked = []

    def sweep(space, evaluate, *, chips, name, **settings):
        asked.append((name, tuple(space.get("lr", ())), tuple(chips), evaluate.share))
        records = []
        for states in space["states"]:
            for lr in space.get("lr", [None]):
                where = {"data": "digits", "states": states, "rule": space["rule"][0]}
                if lr is None:
                    value = evaluate.rates["digits", states, where["rule"]]
                else:
                    where["lr"], value = lr, 1.0 - abs(lr - 0.25)
                records += [Record(0, seed, where, {"accuracy": value}) for seed in chips]
        return type("Outcome", (), {"records": records})

    monkeypatch.setattr(rules, "sweep", sweep)
    records = rules.compare(["digits"], [4, 10], 3, 0, 1.0, tmp_path)
    searches = [one for one in asked if one[0].startswith("search")]
    assert len(searches) == 1 + len(rules.RULES)
    assert {one[1:] for one in searches} == {(rules.RATES, (rules.SEARCH,), 0.5)}
    assert rules.SEARCH not in range(100)
    assert {record.results["accuracy"] for record in records} == {0.25}


def test_the_table_and_the_figure_come_from_the_records(tmp_path, capsys):
    records = []
    for rule, states in [(rules.DIGITAL, [0]), *((rule, [4, 40]) for rule in rules.RULES)]:
        for n in states:
            for seed in range(2):
                found = {"accuracy": 0.5 + 0.1 * seed, "rate": 0.1, "cpu_seconds": 2.0}
                if n:
                    found |= {"cells": 2.0, "digital": 1.0, "pulses": 100.0, "energy": 51e-12}
                where = {"data": "digits", "states": n, "rule": rule}
                records.append(Record(0, seed, where, found))
    rules.show(records)
    text = capsys.readouterr().out
    assert "55.0 ± 7.1" in text
    assert len([line for line in text.splitlines() if line.startswith("digits")]) == 13
    rules.draw(records, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_one_run_from_data_to_accuracy(monkeypatch):
    monkeypatch.setattr(rules, "EPOCHS", {"digits": 1})
    train = rules.Train(rates={("digits", 40, "mixed precision"): 0.25})
    found = train(None, 0, {"data": "digits", "states": 40, "rule": "mixed precision"})
    assert 0.3 < found["accuracy"] < 1.0
    assert found["rate"] == 0.25
    assert found["pulses"] > 0
    assert json.dumps(train.identity)
