"""Fields of a hardware by path: what is set acts, or is refused by name and value."""

import pytest

import mho
from mho.study import Integers, Range, sweep, with_settings
from mho.study.units import units_of

HARDWARE = mho.Hardware(
    adc=mho.ADC(bits=8),
    dac=mho.DAC(bits=6),
    effects=(mho.effects.StuckAt(low=0.01), mho.effects.WriteNoise(sigma=0.05)),
)


def never(hardware, seed, settings):
    raise AssertionError("nothing is evaluated before all is checked")


def refused(space, **settings):
    with pytest.raises((ValueError, TypeError)) as error:
        sweep(space, never, hardware=HARDWARE, workers=0, **settings)
    return str(error.value)


def test_every_kind_of_path_is_set():
    device = mho.devices.LinearDevice(g_min=1e-6, g_max=2e-5)
    found = with_settings(
        HARDWARE,
        {
            "adc.bits": 5,
            "array.wires.word": 2.5,
            "effects.StuckAt.low": 0.2,
            "effects.1.sigma": 0.1,
            "device": device.to_dict(),
            "device.g_max": 3e-5,
        },
    )
    assert found.adc == mho.ADC(bits=5)
    assert found.array.wires.word == 2.5
    assert found.effects == (
        mho.effects.StuckAt(low=0.2),
        mho.effects.WriteNoise(sigma=0.1),
    )
    assert found.device == device.replace(g_max=3e-5)
    assert found.dac == HARDWARE.dac
    assert HARDWARE.adc.bits == 8


def test_fields_that_only_go_together_are_set_together():
    tight = HARDWARE.replace(device=mho.devices.LinearDevice(g_min=1e-6, g_max=2e-6))
    space = {"device.g_min": [1e-5], "device.g_max": [1e-4]}
    found = with_settings(tight, {path: values[0] for path, values in space.items()})
    assert found.device.window == (1e-5, 1e-4)
    outcome = sweep(space, lambda h, s, t: h.device.window[1], hardware=tight, workers=0)
    assert outcome.records[0].results == {"accuracy": 1e-4}


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("adc.bit", "did you mean 'adc.bits'"),
        ("bits", "did you mean 'dac.bits'"),
        ("amplifier.gain", "its amplifier is None"),
        ("programming.tolerance", "its programming is None"),
        ("effects.ReadNoise.sigma", "effects are StuckAt, WriteNoise"),
        ("epochs", "nor declared free"),
        ("adc.bits.more", "no field"),
    ],
)
def test_a_path_that_leads_nowhere_is_told(path, told):
    text = refused({path: [1]})
    assert repr(path) in text
    assert told in text


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([4, 0], "adc.bits=0 is refused"),
        ([4, 6.5], "adc.bits=6.5 is refused"),
        (Integers(0, 4), "adc.bits=0 is refused"),
        (Range(1.0, 8.0), "adc.bits=1.0 is refused"),
        (Range(1.0, 8.0), "Integers(low, high, step=…) varies integers"),
        ([], "at least one"),
        ("48", "must be a list"),
        ([4, 4], "4 twice"),
        (8, "must be a list"),
    ],
)
def test_every_value_is_checked_before_anything_begins(values, told):
    assert told in refused({"adc.bits": values}, sampler="random", trials=3)


def test_a_field_must_be_there_in_every_choice_of_what_holds_it():
    devices = [mho.devices.VTEAM(), mho.devices.LinearDevice()]
    assert "device.r_on" in refused({"device": devices, "device.r_on": [60.0]})


def test_two_effects_of_a_class_are_told_apart_by_their_places():
    twice = HARDWARE.replace(effects=(*HARDWARE.effects, mho.effects.StuckAt(high=0.1)))
    with pytest.raises(ValueError, match="several StuckAt"):
        with_settings(twice, {"effects.StuckAt.low": 0.1})
    assert with_settings(twice, {"effects.2.low": 0.1}).effects[2].low == 0.1


def test_free_names_are_in_the_space_and_no_fields():
    assert "is a field" in refused({"adc.bits": [4]}, free=["adc.bits"])
    assert "not in the space" in refused({"adc.bits": [4]}, free=["epochs"])
    found = sweep({"epochs": [1, 3]}, lambda h, s, t: t["epochs"], free=["epochs"], workers=0)
    assert [r.results["accuracy"] for r in found.records] == [1, 3]


def test_specs_are_choices():
    space = {"device": [mho.devices.LinearDevice(g_max=g) for g in (1e-5, 2e-5)]}
    found = sweep(space, lambda h, s, t: h.device.g_max, workers=0)
    assert [r.results["accuracy"] for r in found.records] == [1e-5, 2e-5]
    assert found.records[1].settings["device"] == space["device"][1].to_dict()


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: Range(2.0, 1.0), "Range high"),
        (lambda: Range(0.0, 1.0, log=True), "log=True"),
        (lambda: Integers(1, 8, step=2), "reached"),
        (lambda: Integers(0, 8, log=True), "Integers low"),
        (lambda: Integers(1, 8, step=7, log=True), "step must be 1"),
    ],
)
def test_ranges_check_themselves(build, told):
    with pytest.raises(ValueError, match=told):
        build()


def test_units_are_those_of_the_documentation():
    paths = ("adc.bits", "array.wires.word", "device.g_max", "dac.v_max", "effects.StuckAt.low")
    assert list(units_of(HARDWARE, paths).values()) == ["", "Ω", "S", "V", ""]
