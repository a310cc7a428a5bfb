"""Specs: validation, round trips through dict, JSON and YAML, hashing and printing."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Categorical, LogNormal, Normal, Uniform

import mho
from mho import ADC, DAC, Array, Hardware, effects, encoding
from mho.core.spec import Spec, first_difference
from mho.devices import LinearDevice, Spread
from mho.encoding import Scaling

REFUSED = [
    (Array, {"rows": 0}, ValueError),
    (Array, {"rows": -3}, ValueError),
    (Array, {"cols": 0}, ValueError),
    (Array, {"cols": 2.0}, TypeError),
    (Array, {"rows": True}, TypeError),
    (DAC, {"bits": 0}, ValueError),
    (DAC, {"bits": -1}, ValueError),
    (DAC, {"bits": 2.5}, TypeError),
    (DAC, {"bits": 60}, ValueError),
    (DAC, {"v_max": 0.0}, ValueError),
    (DAC, {"v_max": float("nan")}, ValueError),
    (DAC, {"v_max": "high"}, TypeError),
    (DAC, {"mode": "serial"}, ValueError),
    (DAC, {"mode": "bit_serial"}, ValueError),
    (DAC, {"bits": 1, "mode": "bit_serial", "code": "twos_complement"}, ValueError),
    (DAC, {"range": "max"}, ValueError),
    (DAC, {"range": 0.0}, ValueError),
    (DAC, {"range": float("inf")}, ValueError),
    (DAC, {"percentile": 0.0}, ValueError),
    (DAC, {"percentile": 100.1}, ValueError),
    (DAC, {"code": "gray"}, ValueError),
    (DAC, {"code": "twos_complement"}, ValueError),  # amplitude drivers have no code
    (DAC, {"bits": 4, "converts_once": True}, ValueError),
    (DAC, {"bits": 4, "mode": "bit_serial", "converts_once": 1}, TypeError),
    (DAC, {"signed": 0}, TypeError),
    (ADC, {"bits": 0}, ValueError),
    (ADC, {"bits": None}, TypeError),
    (ADC, {"range": "auto"}, ValueError),
    (ADC, {"range": -1.0}, ValueError),
    (ADC, {"method": "cubic"}, ValueError),
    (ADC, {"percentile": 101}, ValueError),
    (ADC, {"decades": 0}, ValueError),
    (ADC, {"decades": 2.0}, ValueError),  # uniform levels have no decades
    (LinearDevice, {"g_min": -1e-6}, ValueError),
    (LinearDevice, {"g_min": 1e-4, "g_max": 1e-4}, ValueError),
    (LinearDevice, {"g_min": 2e-4}, ValueError),
    (LinearDevice, {"g_max": float("inf")}, ValueError),
    (LinearDevice, {"g_max": "big"}, TypeError),
    (Scaling, {"percentile": 0}, ValueError),
    (Scaling, {"percentile": 100.5}, ValueError),
    (Scaling, {"per_column": 1}, TypeError),
    (encoding.Differential, {"scaling": 99.0}, TypeError),
    (encoding.Differential, {"subtract": "nowhere"}, ValueError),
    (encoding.BitSliced, {"bits": 1}, ValueError),
    (encoding.BitSliced, {"bits_per_cell": 0}, ValueError),
    (encoding.BitSliced, {"bits": 4, "bits_per_cell": 5}, ValueError),
    (encoding.Ternary, {"threshold": -0.1}, ValueError),
    (encoding.Ternary, {"scaling": Scaling(percentile=99.0)}, ValueError),
    (effects.StuckAt, {"low": -0.1}, ValueError),
    (effects.StuckAt, {"high": 1.5}, ValueError),
    (effects.StuckAt, {"unformed": float("nan")}, ValueError),
    (effects.StuckAt, {"low": 0.5, "high": 0.4, "unformed": 0.2}, ValueError),
    (effects.StuckAt, {"g_low": -1e-9}, ValueError),
    (effects.WriteNoise, {"sigma": -0.1}, ValueError),
    (effects.WriteNoise, {"sigma": 0.1, "relative_to": "weight"}, ValueError),
    (effects.FiniteStates, {"states": 1}, ValueError),
    (effects.PowerLawDrift, {"nu": float("inf")}, ValueError),
    (effects.PowerLawDrift, {"nu": 0.1, "nu_spread": -0.1}, ValueError),
    (effects.PowerLawDrift, {"nu": 0.1, "t0": 0.0}, ValueError),
    (effects.ReadNoise, {"sigma": -1}, ValueError),
    (effects.ReadNoise, {"sigma": None}, TypeError),
    (Hardware, {"device": None}, TypeError),
    (Hardware, {"encoding": "differential"}, TypeError),
    (Hardware, {"array": (8, 8)}, TypeError),
    (Hardware, {"dac": 8}, TypeError),
    (Hardware, {"adc": DAC()}, TypeError),
    (Hardware, {"effects": effects.WriteNoise(0.1)}, TypeError),
    (Hardware, {"effects": (LinearDevice(),)}, TypeError),
    (Hardware, {"bias": "analog"}, ValueError),
]


@pytest.mark.parametrize(("kind", "values", "error"), REFUSED)
def test_wrong_values_are_refused_by_name(kind, values, error):
    with pytest.raises(error) as caught:
        kind(**values)
    name = list(values)[-1].split("_")[0]
    assert any(key in str(caught.value) for key in (*values, name, "effect"))


EVERYTHING = Hardware(
    device=LinearDevice(g_min=1e-6, g_max=Spread(Normal(1e-4, 5e-6), low=5e-5)),
    encoding=encoding.BitSliced(Scaling(99.5, per_column=True), bits=6, bits_per_cell=3),
    array=Array(64, 32),
    dac=DAC(bits=4, mode="bit_serial", range=1.5, code="twos_complement", converts_once=True),
    adc=ADC(bits=6, range=1e-6, method="log", decades=2.5),
    effects=(
        effects.StuckAt(0.01, 0.02, 0.03, g_high=Spread(LogNormal(-9.0, 0.5), high=1e-3)),
        effects.FiniteStates(16),
        effects.WriteNoise(0.01, relative_to="value"),
        effects.PowerLawDrift(0.06, 0.02, t0=20.0),
        effects.ReadNoise(1e-3),
    ),
    bias="array",
)


def test_hardware_round_trips_through_dict_json_and_yaml(tmp_path):
    assert Hardware.from_dict(json.loads(json.dumps(EVERYTHING.to_dict()))) == EVERYTHING
    mho.save_hardware(EVERYTHING, tmp_path / "chip.yaml")
    assert mho.load_hardware(tmp_path / "chip.yaml") == EVERYTHING
    assert hash(mho.load_hardware(str(tmp_path / "chip.yaml"))) == hash(EVERYTHING)


positive = st.floats(1e-30, 1e30, allow_nan=False)
part = st.floats(1e-30, 1e6)  # what is one of something
fraction = st.just(0.0) | st.floats(1e-30, 0.3)
some_effects = st.one_of(
    st.builds(effects.StuckAt, fraction, fraction, fraction, g_low=st.none() | positive),
    st.builds(effects.WriteNoise, part, st.sampled_from(["range", "value"])),
    st.builds(effects.FiniteStates, st.integers(2, 10**6)),
    st.builds(effects.PowerLawDrift, fraction, part, positive),
    st.builds(effects.ReadNoise, part),
)
some_hardware = st.builds(
    Hardware,
    device=st.builds(
        LinearDevice, g_min=st.just(0.0) | st.floats(1e-30, 1e-5), g_max=st.floats(1e-4, 1.0)
    ),
    encoding=st.sampled_from(
        [encoding.Differential(), encoding.SingleColumn(), encoding.Ternary(threshold=0.5)]
    ),
    array=st.builds(Array, st.integers(1, 4096), st.integers(1, 4096)),
    dac=st.none() | st.builds(DAC, st.integers(1, 24), v_max=positive, range=positive),
    adc=st.none()
    | st.builds(
        ADC,
        st.integers(1, 24),
        range=st.floats(1e-24, 1e6) | st.sampled_from(["calibrated", "per_call", "full_scale"]),
    ),
    effects=st.lists(some_effects, max_size=4).map(tuple),
)


@given(some_hardware)
def test_any_hardware_round_trips(tmp_path_factory, hardware):
    path = tmp_path_factory.mktemp("yaml") / "chip.yaml"
    mho.save_hardware(hardware, path)
    for back in (mho.load_hardware(path), Hardware.from_dict(hardware.to_dict())):
        assert back == hardware
        assert hash(back) == hash(hardware)
        assert repr(back) == repr(hardware)


@pytest.mark.parametrize("text", ["1e-6", "1E-6", "0.000001", "1.0e-06", "10e-7", "+1e-6", ".1e-5"])
def test_yaml_floats_as_people_write_them(tmp_path, text):
    path = tmp_path / "chip.yaml"
    path.write_text(f"device: {{type: LinearDevice, g_min: {text}, g_max: 1e-4}}\n")
    g_min = mho.load_hardware(path).device.g_min
    assert isinstance(g_min, float)
    assert g_min == pytest.approx(1e-6, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "error", "word"),
    [
        ("devices: {type: LinearDevice}", ValueError, "devices"),
        ("device: {type: LinearDevice, gmin: 1e-6}", ValueError, "gmin"),
        ("device: {type: MagicDevice}", ValueError, "MagicDevice"),
        ("device: {type: ADC}", TypeError, "device"),
        ("adc: {type: ADC, bits: 0}", ValueError, "bits"),
        ("type: ADC", TypeError, "Hardware"),
        ("- 1\n- 2", TypeError, "Hardware"),
        ("", TypeError, "Hardware"),
        ("device: [unclosed", ValueError, "YAML"),
    ],
)
def test_wrong_yaml_is_refused_by_name(tmp_path, text, error, word):
    path = tmp_path / "chip.yaml"
    path.write_text(text)
    with pytest.raises(error, match=word):
        mho.load_hardware(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        mho.load_hardware(tmp_path / "none.yaml")


def test_specs_are_values():
    assert ADC(8) == ADC(bits=8)
    assert len({ADC(8), ADC(8), ADC(6)}) == 2
    assert "bits=8" in repr(ADC(8))
    with pytest.raises(dataclasses.FrozenInstanceError):
        ADC(8).bits = 6
    assert ADC(8).replace(bits=6) == ADC(6)
    with pytest.raises(ValueError, match="bits"):
        ADC(8).replace(bits=0)


def test_effects_may_be_a_list():
    effect = effects.WriteNoise(0.1)
    assert Hardware(effects=[effect]) == Hardware(effects=(effect,))


def test_numpy_numbers_round_trip(tmp_path):
    hardware = Hardware(device=LinearDevice(g_min=np.float64(1e-6)))
    mho.save_hardware(hardware, tmp_path / "chip.yaml")
    assert mho.load_hardware(tmp_path / "chip.yaml") == hardware


def test_users_spec_is_known_once_defined():
    @dataclasses.dataclass(frozen=True)
    class Wobble(effects.ProgrammingEffect):
        size: float = 1.0

    hardware = Hardware(effects=(Wobble(2.0),))
    assert Hardware.from_dict(hardware.to_dict()) == hardware
    assert Spec.from_dict({"type": "Wobble"}) == Wobble()


def test_first_difference_names_the_path():
    other = EVERYTHING.replace(adc=EVERYTHING.adc.replace(bits=8))
    text = first_difference(EVERYTHING.to_dict(), other.to_dict())
    assert text == "adc.bits: expected 6, found 8"
    assert first_difference(EVERYTHING.to_dict(), EVERYTHING.to_dict()) is None


def test_spread_takes_a_distribution_or_its_name():
    by_name = Spread("Normal", (("loc", 1e-6), ("scale", 1e-7)), low=0.0)
    assert Spread(Normal(1e-6, 1e-7), low=0.0) == by_name
    assert by_name.nominal == pytest.approx(1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Spread(Normal(torch.zeros(2), 1.0)),
        lambda: Spread(Categorical(torch.ones(3))),
        lambda: Spread("Gauss", (("loc", 1.0),)),
        lambda: Spread(Normal(0.0, 1.0), low=1.0, high=0.0),
        lambda: Spread("Normal", (("loc", 0.0), ("scale", -1.0))),
    ],
)
def test_wrong_spreads_are_refused(make):
    with pytest.raises(ValueError):
        make()


def test_spread_draws_its_distribution_truncated():
    spread = Spread(Uniform(0.0, 4.0), low=1.0, high=3.0)
    draw = spread.sample((40_000,), torch.Generator().manual_seed(0), dtype=torch.float64)
    assert draw.min() >= 1.0
    assert draw.max() <= 3.0
    # Uniform on [1, 3] again: mean 2, standard deviation 2/√12.
    assert abs(float(draw.mean()) - 2.0) < 4 * 2 / 12**0.5 / 200
    assert float((draw == 1.0).float().mean()) == 0.0


def test_spread_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    LinearDevice(g_max=Spread(Normal(1e-4, 1e-6))).fabricate((10,), seed=1)
    assert torch.equal(torch.rand(3), wanted)


def test_impossible_spread_says_so():
    spread = Spread(Uniform(0.0, 1.0), low=2.0, high=3.0)
    with pytest.raises(ValueError, match="falls inside"):
        spread.sample((3,), torch.Generator())


def test_spreads_are_checked_even_after_torch_compile():
    # torch.compile switches the checks of torch.distributions off for the whole process.
    torch.distributions.Distribution.set_default_validate_args(False)
    try:
        with pytest.raises(ValueError):
            Spread("Normal", (("loc", 0.0), ("scale", -1.0)))
    finally:
        torch.distributions.Distribution.set_default_validate_args(True)
