"""Spans of time as people say them, wherever times are taken."""

import datetime

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import mho
from mho.core import durations
from mho.devices import presets
from mho.study import accuracy


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (3, 3.0),
        ("90 s", 90.0),
        ("3h", 10_800.0),
        ("1 day", 86_400.0),
        ("1.5 hours", 5400.0),
        ("2 weeks", 1_209_600.0),
        ("1 month", 30 * 86_400.0),
        ("1 year", 365.25 * 86_400.0),
        ("1e3 ms", 1.0),
        ("20 µs", 2e-5),
        ("20 us", 2e-5),
        ("20 \u03bcs", 2e-5),  # the Greek letter
        ("5 ns", 5e-9),
        ("10 min", 600.0),
        (datetime.timedelta(hours=1), 3600.0),
        (np.timedelta64(2, "D"), 172_800.0),
        (pd.Timedelta("1 day"), 86_400.0),
        (np.float32(2.0), 2.0),
    ],
)
def test_what_is_said(said, seconds):
    assert durations.seconds("seconds", said, least=0.0) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize("said", ["day", "1", "1 dy", "", "1 day 3 h", "one hour", "1 M", "nan s"])
def test_what_is_none(said):
    with pytest.raises(ValueError, match="seconds must be seconds, or a number and a unit"):
        durations.seconds("seconds", said)


def test_months_of_numpy_have_no_length():
    with pytest.raises(TypeError, match="seconds must be a span of known length"):
        durations.seconds("seconds", np.timedelta64(1, "M"))


def test_bounds_count_in_seconds():
    with pytest.raises(ValueError, match=r"must be >= 0, got -86400"):
        durations.seconds("seconds", "-1 day", least=0.0)


def converted():
    torch.manual_seed(0)
    device = presets.get("pcm_joshi")
    return mho.convert(nn.Linear(6, 4), mho.Hardware(device=device)).eval()


X = torch.eye(6)


@pytest.mark.parametrize(
    "let_pass",
    [
        lambda model, span: mho.age(model, span),
        lambda model, span: mho.maintain(model, span, every=span),
        lambda model, span: model.crossbar.age(span),
        lambda model, span: model.crossbar.commit(cells=aged(model.crossbar.cells, span)),
    ],
)
def test_everywhere(let_pass):
    one, other = converted(), converted()
    fresh = one(X)
    other(X)  # read noise goes on from read to read
    let_pass(one, 86_400.0)
    let_pass(other, "1 day")
    assert torch.equal(one(X), other(X))
    assert not torch.equal(one(X), fresh)


def aged(cells, span):
    cells = cells.live()
    cells.age(span)
    return cells


def test_times_of_an_accuracy():
    torch.manual_seed(0)
    found = accuracy(
        nn.Linear(6, 4),
        mho.Hardware(device=presets.get("pcm_joshi")),
        X,
        torch.arange(6) % 4,
        calibration=X,
        seeds=[0],
        times=[0, "1 h", "1 day"],
    )
    assert found.times == (0.0, 3600.0, 86_400.0)
