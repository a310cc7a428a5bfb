"""Paths: whatever names no file is refused by name, before anything is worked out or written."""

import inspect

import numpy as np
import pytest
import torch
from torch import nn

import made_studies
import mho
import public
from mho import analysis, devices, programming, study, train
from mho.compat import gone
from mho.compat.configs import Translation
from mho.compat.xbtorch.nn import datasets
from mho.core import files
from mho.fit import reading
from mho.plot import page

HARDWARE = mho.Hardware(adc=mho.ADC(6))
PULSED = mho.Hardware(device=devices.ExponentialDevice(g_min=1e-6, g_max=1e-4))
X, Y = torch.rand(4, 3), torch.tensor([0, 1, 0, 1])
TABLE = devices.JumpTable(g=(1e-6, 2e-6), dg=(-1e-6, 1e-6), cdf=((0.5, 1.0), (0.5, 1.0)))
TABLES = devices.TabularDevice(set_table=TABLE, reset_table=TABLE)
OUTCOME = made_studies.outcome([({"adc.bits": 4}, [{"accuracy": 0.9}])])


def never(*_, **__):
    pytest.fail("work began before the path was looked at")


def fit(path):
    plain = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(plain.parameters(), 0.1)
    train.fit(plain, optimizer, (X, Y), never, epochs=1, checkpoint=path)


def landscape(path):
    one = mho.convert(nn.Linear(3, 2), HARDWARE)
    along = [analysis.random_direction(one, seed=k) for k in (1, 2)]
    analysis.landscape(one, never, (X, Y), along, chips=[1], store=path)


def accuracy(path):
    plain = nn.Linear(3, 2)
    study.accuracy(plain, HARDWARE, (X, Y), calibration=X, seeds=[1], store=path)


def recipe():
    cells = PULSED.device.fabricate((2,), seed=1)
    scheme = programming.WriteVerify(on_failure="warn")
    return programming.Recipe.of(programming.write_verify(cells, 5e-5, scheme, seed=1))


# By function and parameter, what is done with a path.
CALLS = {
    "Device.load path": devices.ExponentialDevice.load,
    "Device.save path": PULSED.device.save,
    "JumpTable.load dg_file": lambda p: devices.JumpTable.load("here", dg_file=p),
    "JumpTable.load stem": devices.JumpTable.load,
    "JumpTable.save stem": TABLE.save,
    "Outcome.load path": study.Outcome.load,
    "Outcome.report path": OUTCOME.report,
    "Outcome.save path": OUTCOME.save,
    "Recipe.load path": train.Recipe.load,
    "Recipe.save path": train.Recipe().save,
    "TabularDevice.from_tables stem": devices.TabularDevice.from_tables,
    "TabularDevice.to_tables stem": TABLES.to_tables,
    "Translation.save path": Translation("a tool", HARDWARE, (), ()).save,
    "accuracy store": accuracy,
    "fit checkpoint": fit,
    "landscape store": landscape,
    "load_hardware path": mho.load_hardware,
    "load_recipe path": programming.load_recipe,
    "over_chips store": lambda p: study.over_chips(
        mho.convert(nn.Linear(3, 2), HARDWARE), never, [1, 2], store=p
    ),
    "read path": reading.read,
    "save_hardware path": lambda p: mho.save_hardware(HARDWARE, p),
    "save_recipe path": lambda p: programming.save_recipe(recipe(), p),
    "sweep store": lambda p: study.sweep({"adc.bits": [4]}, never, hardware=HARDWARE, store=p),
    "trust_pickle path": gone.trust_pickle,
    "write path": lambda p: page.write(p, "title", []),
}
# Of the older APIs, which name no types, and what others go through.
MORE = {
    "content path": files.content,
    "get_names extract_to": lambda p: datasets.get_names("ab", 0.5, 1, extract_to=p),
    "inside folder": lambda p: files.inside(p, "name"),
    "inside name": lambda p: files.inside("folder", p),
    "read path": lambda p: reading.read(["one.csv", p]),
    "read_lines filename": lambda p: datasets.read_lines(p, "ab"),
}


class Bytes:
    def __fspath__(self):
        return b"3"


NO_TEXT = (3, 3.0, True, np.int64(3), torch.tensor(3), b"3", object(), Bytes(), ["3", 4], {"3": 4})
NO_NAME = ("a\0b",)
ALLOWED = {"get_names extract_to": ("",)}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def paths_of(function):
    """Names of parameters that are said to be paths."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    kinds = ("str | Path", "PathLike")
    return [one.name for one in parameters if any(k in str(one.annotation) for k in kinds)]


def test_every_public_path_is_among_them():
    known = {**public.callables(), **public.callables(compat=True)}
    found = {f"{key.split('.')[-1]} {name}" for key, f in known.items() for name in paths_of(f)}
    assert found == {call.split(".")[-1] for call in CALLS}


@pytest.mark.parametrize(("name", "call"), [*CALLS.items(), *MORE.items()])
def test_what_names_no_file_is_refused_by_name(name, call, tmp_path):
    parameter = name.split()[1]
    for wrong in NO_TEXT:
        with pytest.raises(TypeError, match=rf"{parameter}(\[\d\])? must be"):
            call(wrong)
    for wrong in ("", *NO_NAME):
        if wrong in ALLOWED.get(name, ()):
            continue
        with pytest.raises(ValueError, match=rf"{parameter}(\[\d\])? must name a file or folder"):
            call(wrong)
    assert not list(tmp_path.iterdir())


def test_the_file_of_a_trusted_pickle_is_one():
    with pytest.raises(ValueError, match="path must be of one line"):
        gone.trust_pickle("one.pt\ntwo.pt")
