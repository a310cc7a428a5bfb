"""What newcomers meet within the first hour."""

import importlib
import inspect

import numpy as np
import pytest
import torch
from torch import nn

import mho
from mho import train
from mho.analysis import cost
from mho.analysis.components.base import Estimate
from mho.devices import presets

ROOMS = (
    "mho",
    "mho.analysis",
    "mho.chip",
    "mho.circuit",
    "mho.decomposition",
    "mho.devices",
    "mho.effects",
    "mho.encoding",
    "mho.fit",
    "mho.nn",
    "mho.plot",
    "mho.programming",
    "mho.study",
    "mho.testing",
    "mho.train",
)


def test_rooms_are_there_after_import_mho():
    for room in ROOMS[1:]:
        assert getattr(mho, room.removeprefix("mho.")).__name__ == room
    assert mho.devices.presets.get("ideal") is not None


def test_a_star_leaves_torch_and_builtins_alone():
    space = {}
    exec("from torch import nn\nimport builtins\nfrom mho import *", space)
    assert space["nn"] is nn
    assert not set(mho.__all__) & set(dir(__builtins__))
    assert not set(mho.__all__) & {"torch", "nn", "np", "numpy", "plt", "pd", "F", "optim"}
    assert "nn" in dir(mho)
    assert "plot" in dir(mho)


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_function_says_its_arguments(room):
    found = importlib.import_module(room)
    for name in found.__all__:
        value = getattr(found, name)
        if inspect.ismodule(value) or not callable(value):
            continue
        told = inspect.getdoc(value)
        assert told, f"{room}.{name}"
        if inspect.isfunction(value) and len(inspect.signature(value).parameters) > 1:
            assert "Arg" in told, f"{room}.{name}"


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (lambda: mho.encoding.BitSliced(8, 2), r"BitSliced\(bits=…\)"),
        (lambda: mho.encoding.SingleColumn(2), r"SingleColumn\("),
        (lambda: mho.encoding.Ternary(0.5), "name what it is"),
    ],
)
def test_what_is_no_scaling_comes_with_a_remedy(make, remedy):
    with pytest.raises(TypeError, match=r"scaling must be Scaling, got .*" + remedy):
        make()


def test_errors_do_not_print_whole_models():
    analog = mho.convert(nn.Sequential(*[nn.Linear(8, 8) for _ in range(20)]), mho.Hardware())
    for ask in (
        lambda: mho.Hardware(dac=analog),
        lambda: mho.DAC(bits=torch.randn(40, 40)),
        lambda: mho.calibrate(analog, analog),
        lambda: mho.age(analog, np.zeros(100)),
        lambda: mho.Hardware(effects=list(range(1000))),
    ):
        with pytest.raises(TypeError) as found:
            ask()
        assert len(str(found.value)) < 300


def test_results_of_fits_print_in_short():
    device = presets.get("alox_hfo2").fabricate((), seed=1, dtype=torch.float64)
    found = mho.fit.exponential(device.respond(pulses=40, cycles=10))
    assert len(repr(found)) < 3000
    assert str(found) == repr(found)
    assert "g_max = " in str(found)
    assert found.verdict in str(found)
    assert "residuals    arrays of shapes [41], [41]" in str(found)


WIDTHS, TRANSFER = "activations=8, gradients=8, errors=8", "transfer_every=1, transfer_lr=None"


@pytest.mark.parametrize(
    ("spec", "values"),
    [
        (train.WAGE(), f"weights=2, {WIDTHS}"),
        (train.WAGE(4, shift="ceil"), f"weights=4, {WIDTHS}, shift='ceil'"),
        (train.TikiTakaV1(), f"{TRANSFER}, reference='symmetry', gamma=0.5"),
        (train.TikiTakaV2(), f"{TRANSFER}, reference='symmetry'"),
        (train.Chopped(), f"{TRANSFER}, reference='symmetry', chop_probability=None"),
        (train.AGAD(), f"{TRANSFER}, reference='middle', chop_probability=None, averaging=0.5"),
        (train.NoiseInjection(), "noise=1.0"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_rules_of_training_say_what_matters_in_one_line(spec, values):
    assert str(spec) == f"{type(spec).__name__}({values})"


def test_recipes_print_as_a_table():
    for name, recipe in train.recipes.RECIPES.items():
        lines = str(recipe).splitlines()
        assert lines[0] == name
        assert max(map(len, lines)) <= 100
        assert len(lines) < 30
        for told in (*recipe.not_done, *recipe.not_confirmed):
            assert told in " ".join(str(recipe).split())
    lines = str(train.Recipe(clip=2.5, clip_of="column")).splitlines()
    assert lines == [
        "recipe",
        "  injection      NoiseInjection(noise=1.0)",
        "  clip           2.5",
        "  clip of        column",
    ]


# ── estimates ────────────────────────────────────────────────────────────────────────────────

ONE, TWO = Estimate(1.0, 2.0, 3.0), Estimate(4.0, 5.0, 8.0)


def test_arithmetic_of_estimates():
    assert sum([ONE, TWO]) == ONE + TWO == Estimate(5.0, 7.0, 11.0)
    assert Estimate(2.0, 2.5, 4.0) == TWO / 2
    assert Estimate(4.0 / 3.0, 2.5, 8.0) == TWO / ONE
    assert Estimate(1.0 / 3.0, 0.5, 1.0) == 1.0 / ONE
    for wrong in ("x", None, ONE < TWO):
        with pytest.raises(TypeError):
            TWO / wrong
    with pytest.raises(ValueError, match="divisor"):
        TWO / 0.0
    with pytest.raises(ZeroDivisionError, match="may be 0"):
        TWO / Estimate(0.0, 1.0, 2.0)
    with pytest.raises(TypeError):
        1 + ONE


def test_comparisons_hold_where_they_are_certain():
    overlapping = Estimate(2.0, 2.5, 5.0)
    assert ONE < TWO
    assert TWO > ONE
    assert not ONE > TWO
    assert not overlapping > ONE
    assert not overlapping < ONE
    assert ONE < 3.5
    assert not ONE < 2.5
    assert ONE > 0.5


def test_numbers_of_estimates():
    assert float(TWO) == 5.0
    assert f"{TWO:.2e}" == "5.00e+00"
    assert f"{TWO}" == str(TWO)
    assert sorted([TWO, ONE], key=float) == [ONE, TWO]


def test_a_cost_says_what_its_area_lacks():
    analog = mho.convert(nn.Linear(8, 4), mho.Hardware(dac=mho.DAC(8), adc=mho.ADC(8)))
    found = cost(analog, torch.randn(10, 8))
    assert found.area is None
    assert {"cells", "DAC", "ADC"} <= set(found.uncounted("area"))
    assert "area            not counted (without cells, DAC, ADC" in str(found)


# ── estimates of work ────────────────────────────────────────────────────────────────────────


def test_floating_lines_are_timed_on_as_many_vectors_as_there_will_be(monkeypatch):
    from mho.model import pace

    wires = mho.circuit.Wires(word=2.5, bit=2.5)
    pulses = mho.PulseWidth(idle="floating")
    hardware = mho.Hardware(
        dac=mho.DAC(4, mode="pulse_width", pulses=pulses), array=mho.Array(32, 32, wires=wires)
    )
    given, read = [], pace._read

    def noted(layer, vectors):
        given.append(vectors)
        return read(layer, vectors)

    monkeypatch.setattr(pace, "_read", noted)
    monkeypatch.setattr(pace, "_PATIENCE", 0.0)
    mho.estimate(nn.Linear(32, 16), hardware, torch.rand(3, 32))
    assert given == [1, 3, 3]
    given.clear()
    mho.estimate(nn.Linear(32, 16), hardware.replace(dac=mho.DAC(4)), torch.rand(3, 32))
    assert max(given) == 1024
