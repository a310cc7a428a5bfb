"""A call that is refused, whatever argument is wrong, has changed nothing: state, modes, draws."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

import mho
from mho import train
from mho.chip import Chip
from mho.core.spec import Spec
from mho.devices import MTJ, VTEAM, ExponentialDevice
from mho.effects import PowerLawDrift, ReadDisturb, WriteNoise
from mho.programming import WriteVerify, program_crossbar, write_verify

DEVICE = ExponentialDevice(g_min=1e-6, g_max=1e-4, nonlinearity_set=0.5, c2c=0.02)
EFFECTS = (WriteNoise(0.02), PowerLawDrift(0.05), ReadDisturb(1e-6))
HARDWARE = mho.Hardware(device=DEVICE, effects=EFFECTS, dac=mho.DAC(6), adc=mho.ADC(6))
PLAIN_COLUMNS = mho.Hardware(device=DEVICE, encoding=mho.encoding.SingleColumn())
X = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2, 0, 1, 2])
W = torch.linspace(-1, 1, 12).view(4, 3)
G = torch.full((4, 3), 5e-5)
LOSS = nn.functional.cross_entropy
QUICK = WriteVerify(max_pulses=3, on_failure="warn")
BAD = (
    None, "3", -1, float("nan"), float("inf"), 10**400, True, 1j, object(), (), {},
    torch.full((4, 3), float("nan")), torch.ones(7), torch.ones(4, 3, dtype=torch.complex64),
    torch.ones(4, 3, dtype=torch.bool), np.array(["a"]), ["a"], nn.ReLU(), mho.ADC(4),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Texts among what is given are names of files where one is asked for."""
    monkeypatch.chdir(tmp_path)


# ── what is called ───────────────────────────────────────────────────────────────────────────────


def digital():
    torch.manual_seed(1)
    return nn.Linear(4, 3)


def crossbar():
    found = mho.Crossbar(4, 3, HARDWARE, seed=1)
    found.program(W)
    return {"it": found}


def model():
    found = mho.convert(digital(), HARDWARE, seed=1)
    mho.calibrate(found, X)
    return {"it": found.eval()}


def chip():
    found, placed, other = Chip(32, 32, HARDWARE, seed=1), model()["it"], model()["it"]
    found.place(placed, name="one")
    return {"it": found, "model": placed, "other": other}


def on_cells(make):
    def made():
        plain = digital()
        optimizer = make(plain)
        LOSS(plain(X), Y).backward()
        return {"it": optimizer, "model": plain}

    return made


def training():
    plain = digital()
    return {"it": plain, "optimizer": torch.optim.SGD(plain.parameters(), 0.1)}


def method(name, /, **good):
    """A method, and arguments that it takes; those that depend on the world are functions of it."""
    return name, lambda world, **given: getattr(world["it"], name)(**given), good


def function(of, /, **good):
    """A function whose first argument is what the world is about."""
    return of.__name__, lambda world, **given: of(world["it"], **given), good


def state(world):
    return copy.deepcopy(world["it"].state_dict())


LOAD = method("load_state_dict", state_dict=state)
OF_OPTIMIZERS = (
    method("deploy", model=lambda w: w["model"], hardware=lambda _: PLAIN_COLUMNS),
    method("step", closure=None),
    method("show", parameter=lambda w: w["model"].weight),
    LOAD,
)
WORLDS = {
    "crossbar": (crossbar, (
        method("program", weight=W, programming=None, seed=1),
        method("store", g=lambda w: w["it"].G, scale=lambda w: w["it"].scale),
        method("age", seconds=1.0, reads=2.0),
        method("reset_parameters", seed=3),
        method("commit", cells=lambda w: w["it"].cells, scale=lambda w: w["it"].scale,
               correction=lambda w: w["it"].correction),
        method("limit_memory", memory=10**9),
        method("train", mode=True),
        method("forward", x=X),
        method("read_through", x=X, weight=W),
        function(program_crossbar, weight=W, scheme=QUICK, seed=1),
        LOAD,
    )),
    "model": (model, (
        function(mho.calibrate, inputs=X, correct=True, unbiased=True),
        function(mho.compensate, mode="global"),
        function(mho.maintain, seconds=2.0, every=1.0, mode="column"),
        function(mho.age, seconds=1.0, reads=2.0),
        function(mho.fabricate, seed=2),
        function(mho.convert, hardware=HARDWARE, only=None, skip=(), seed=1),
        function(mho.limit_memory, memory=10**9),
        method("forward", input=X),
        function(mho.analysis.layers, inputs=X, vectors=4),
        LOAD,
    )),
    "chip": (chip, (
        method("place", model=lambda w: w["other"], strategy="random", seed=1, permute=None,
               name="two"),
        method("program", model=lambda w: w["model"]),
        method("remove", model="one"),
        method("age", seconds=1.0, reads=2.0),
        LOAD,
    )),
    "pulsed cells": (lambda: {"it": DEVICE.fabricate((4, 3), seed=1)}, (
        method("program", target=G, programming=None),
        method("write", g=G),
        method("pulse", counts=torch.ones(4, 3, dtype=torch.int64)),
        method("respond", pulses=3, cycles=1),
        method("age", seconds=1.0),
        function(write_verify, target=G, scheme=QUICK, seed=1),
        LOAD,
    )),
    "switching cells": (lambda: {"it": VTEAM(r_on=50.0, r_off=1e3).fabricate((4, 3), seed=1)}, (
        method("apply_pulse", v=1.0, duration=1e-9, series=None, compliance=None),
        method("simulate", voltage=torch.ones(3), dt=1e-9, method="auto", every=1,
               adaptive=False, gate=None),
        method("program", target=G * 100),
        LOAD,
    )),
    "junctions": (lambda: {"it": MTJ().fabricate((4, 3), seed=1)}, (
        method("apply_pulse", v=1.0, duration=1e-9), method("write", g=G), LOAD,
    )),
    "weights": (lambda: {"it": train.WeightCells(DEVICE, (4, 3), seed=1)}, (
        method("write", weight=W), method("program", weight=W, erase=True),
        method("shift_reference", sigma=0.1), LOAD,
    )),
    "in situ": (
        on_cells(lambda m: train.InSitu(torch.optim.SGD(m.parameters(), 0.1), DEVICE, model=m)),
        (*OF_OPTIMIZERS[1:], method("add_param_group", param_group=lambda _: {"params": []})),
    ),
    "pulsed descent": (on_cells(lambda m: train.PulsedSGD(m, device=DEVICE)), OF_OPTIMIZERS),
    "transfers": (on_cells(lambda m: train.TikiTaka(m, device=DEVICE)), OF_OPTIMIZERS),
    "training": (training, (
        function(train.fit, optimizer=lambda w: w["optimizer"], data=lambda _: (X, Y),
                 loss=lambda _: LOSS, epochs=1, batch=3, seed=0, schedule=None, teacher=None,
                 every=None, resume="same", checkpoint=None),
    )),
}  # fmt: skip


# ── what a change could be noticed by ────────────────────────────────────────────────────────────

PLAIN = (int, float, str, bool, tuple, type(None), Spec, torch.dtype)


def seen(world):
    """All state by name, public attributes, and where the streams of all libraries stand."""
    numbers = repr(np.random.get_state())  # noqa: NPY002
    found = {"torch": torch.get_rng_state(), "numpy": numbers, "python": random.getstate()}
    for label, one in world.items():
        if not isinstance(one, nn.Module):
            found[f"{label} state"] = copy.deepcopy(one.state_dict())
            continue
        for name, part in one.named_modules():
            for key, value in vars(part).items():
                if isinstance(value, PLAIN) and not key.startswith("_"):
                    found[f"{label} {name}.{key}"] = repr(value)
            for key, value in {**part._parameters, **part._buffers}.items():
                grad = value.grad if isinstance(value, nn.Parameter) else None
                found[f"{label} {name}.{key}"] = copy.deepcopy((value, grad))
    return found


def alike(one, two):
    if isinstance(one, torch.Tensor) and isinstance(two, torch.Tensor):
        same = one.dtype == two.dtype and one.shape == two.shape
        return same and torch.equal(one.nan_to_num(nan=-7.5), two.nan_to_num(nan=-7.5))
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(alike(one[k], two[k]) for k in one)
    if isinstance(one, (list, tuple)) and isinstance(two, (list, tuple)):
        return len(one) == len(two) and all(map(alike, one, two))
    return type(one) is type(two) and (one == two or (one != one and two != two))


def changes(before, after):
    return [key for key in before if not alike(before[key], after.get(key, "None"))]


def spoiled(given):
    """States of which a part is missing, or of another kind or size."""
    if not isinstance(given, dict):
        return []
    found = [{k: v for k, v in given.items() if k != left_out} for left_out in given]
    for key, value in given.items():
        if isinstance(value, dict):
            found += [{**given, key: other} for other in spoiled(value)]
        elif isinstance(value, torch.Tensor) and value.numel():
            found.append({**given, key: value.flatten()[:1].expand(9)})
        else:
            found.append({**given, key: object()})
    return found


def wrong(name, good):
    """What is given in place of each argument."""
    if name == "load_state_dict":  # in pieces: each is a world of its own to load
        return spoiled(good)[::2] + list(BAD[:4])
    return BAD


CASES = [
    pytest.param(make, act, good, id=f"{world}-{name}")
    for world, (make, calls) in WORLDS.items()
    for name, act, good in calls
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("make", "act", "good"), CASES)
def test_a_refused_call_changes_nothing(make, act, good, request):
    def arguments(world):
        return {k: v(world) if callable(v) else v for k, v in good.items()}

    fresh = make()
    act(fresh, **arguments(fresh))  # what is refused below is refused for one argument alone
    world, refused = make(), 0
    before = seen(world)
    for name in good:
        for bad in wrong(request.node.callspec.id.split("-")[-1], arguments(world)[name]):
            try:
                act(world, **{**arguments(world), name: bad})
            except (TypeError, ValueError, RuntimeError, OSError, KeyError) as error:
                refused += 1
                said = f"{name}={str(bad)[:40]!r}: {error}"
                changed = changes(before, seen(world))
            else:
                world = make()
                before, changed, said = seen(world), [], ""
            assert not changed, said
    assert refused
