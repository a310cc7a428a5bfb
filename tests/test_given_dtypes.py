"""Dtypes of what is written to cells: whole numbers are exact, and taken; others are refused."""

import copy

import numpy as np
import pytest
import torch

import mho
from mho import programming, train
from mho.devices import VTEAM, ExponentialDevice

DEVICE = ExponentialDevice(g_min=0.0, g_max=4.0, c2c=0.01)
HARDWARE = mho.Hardware(device=DEVICE)
WHOLE = torch.tensor([[1, 0], [2, 3]])


def crossbar():
    return mho.Crossbar(2, 2, HARDWARE, seed=1)


def voltage():
    cells = VTEAM(r_on=50.0, r_off=1e3).fabricate((2, 2), seed=1)
    cells.write(5e-3)
    return cells


# What is written to, and how.
WRITES = {
    "program": (crossbar, lambda one, w: one.program(w)),
    "store": (crossbar, lambda one, w: one.store(w.expand(one.G.shape))),
    "verified": (
        crossbar, lambda one, w: one.program(w, programming.WriteVerify(on_failure="warn")),
    ),
    "cells": (lambda: DEVICE.fabricate((2, 2), seed=1), lambda one, w: one.program(w)),
    "cells directly": (lambda: DEVICE.fabricate((2, 2), seed=1), lambda one, w: one.write(w)),
    "write_verify": (
        lambda: DEVICE.fabricate((2, 2), seed=1), lambda one, w: programming.write_verify(one, w),
    ),
    "weights": (
        lambda: train.WeightCells(DEVICE, (2, 2), seed=1), lambda one, w: one.write(w),
    ),
    "weights by pulses": (
        lambda: train.WeightCells(DEVICE, (2, 2), seed=1), lambda one, w: one.program(w),
    ),
    "pulses": (voltage, lambda one, w: one.apply_pulse(w, 1e-9)),
    "waveform": (voltage, lambda one, w: one.simulate(w.flatten(), dt=1e-9)),
}  # fmt: skip


def state(module):
    found = {k: v for k, v in module.state_dict().items() if torch.is_tensor(v)}
    return {k: v.nan_to_num(nan=-7.5).clone() for k, v in found.items()}


def alike(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [torch.int64, torch.uint8, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", WRITES)
def test_whole_numbers_are_what_they_are_as_floats(name, kind):
    make, write = WRITES[name]
    one, other = make(), make()
    write(one, WHOLE.float())
    write(other, WHOLE.to(kind))
    assert alike(state(one), state(other))
    assert not alike(state(one), state(make()))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [torch.bool, torch.complex64, torch.float8_e4m3fn], ids=str)
@pytest.mark.parametrize("name", WRITES)
def test_others_are_refused_and_nothing_has_changed(name, kind):
    make, write = WRITES[name]
    one = make()
    before = copy.deepcopy(state(one))
    with pytest.raises(TypeError, match=f"must hold real numbers of 16 bits or more, got {kind}"):
        write(one, WHOLE.float().to(kind))
    assert alike(before, state(one))


@pytest.mark.parametrize("wrong", ["1", True, 1j, None, ["a"], np.bool_(True), np.array([True])])
def test_what_is_no_number_is_refused_by_name(wrong):
    cells = DEVICE.fabricate((2, 2))
    for write, name in ((cells.program, "g"), (cells.current, "v")):
        with pytest.raises(TypeError, match=f"^{name} must be numbers, got "):
            write(wrong)


@pytest.mark.parametrize("given", [2, 2.0, np.float32(2.0), np.full((2, 2), 2), [[2, 2], [2, 2]]])
def test_numbers_and_arrays_are_taken(given):
    one, other = (DEVICE.fabricate((2, 2)) for _ in range(2))
    one.write(given)
    other.write(torch.full((2, 2), 2.0))
    assert alike(state(one), state(other))
