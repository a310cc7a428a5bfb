"""Mistakes of whoever brings a configuration over are named."""

import pytest

from configs.texts import AIHWKIT, crosssim
from mho.compat.configs import from_aihwkit, from_aihwkit_lightning, from_crosssim, from_neurosim

RANGE = "xbar__adc__mvm__calibrated_range"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("out_bound=10.0", "out_bound=many", r"forward\.out_bound must be a number"),
        ("out_bound=10.0", "out_bound=nan", "ADC range must be > 0, got nan"),
        ("max_input_size=256", "max_input_size=2.5", "must be a whole number, got 2.5"),
        ("g_max=25.00", "g_max=0.0", r"g_converter\.g_max must be > 0"),
        ("pdrop=0.01", "pdrop=2.0", "DropConnect p must be"),
        ("out_noise=0.04", "out_noise=-1.0", "Amplifier noise must be >= 0"),
    ],
)
def test_values_of_aihwkit(old, new, says):
    assert old in AIHWKIT
    with pytest.raises((TypeError, ValueError), match=says):
        from_aihwkit(AIHWKIT.replace(old, new))


def test_what_is_no_configuration():
    with pytest.raises(ValueError, match="not as print"):
        from_aihwkit(AIHWKIT[:600])
    with pytest.raises(TypeError, match="expected an inference configuration"):
        from_aihwkit("A(forward=3, modifier=4)")
    with pytest.raises(ValueError, match=r"this InferenceRPUConfig lacks modifier: give all of"):
        from_aihwkit("InferenceRPUConfig(forward=IOParameters(inp_res=0.01))")
    for read in (from_aihwkit, from_aihwkit_lightning, from_crosssim):
        with pytest.raises(FileNotFoundError):
            read("no_such_file.txt")
    with pytest.raises(TypeError, match="device must be Device"):
        from_aihwkit_lightning("A(forward=B())", device="pcm")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"xbar__device__Rmin": 0}, r"xbar\.device\.Rmin must be > 0"),
        ({RANGE: [6.0]}, r"must be \[lowest, highest\]"),
        ({RANGE: "wide"}, r"must be \[lowest, highest\]"),
        ({RANGE: [-7.0, -6.0]}, "must reach above 0"),
        ({"xbar__adc__mvm__bits": "8"}, "must be a number, got '8'"),
        ({"core__style": 2, "core__weight_bits": 8, "core__bit_sliced": {"num_slices": 0}},
         "num_slices must be >= 1"),
        ({"core__style": 7}, r"core\.style must be 1, 2 or 3"),
    ],
)  # fmt: skip
def test_values_of_crosssim(changes, says):
    with pytest.raises((TypeError, ValueError), match=says):
        from_crosssim(crosssim(**changes))


@pytest.mark.parametrize(
    ("text", "flags", "says"),
    [
        ("resistanceOn = 0;", None, "resistanceOn must be > 0"),
        ("resistanceOn = 10; resistanceOff = 5;", None, "must be > 10, got 5"),
        ("levelOutput = 0;", None, "levelOutput must be >= 2"),
        ("numRowSubArray = foo;", None, "numRowSubArray must be a number"),
        ("memcelltype = 5;", None, "memcelltype must be one of"),
        ("cellBit = 2;", "gibberish", "no parameter of NeuroSim in 'gibberish'"),
    ],
)
def test_values_of_neurosim(text, flags, says):
    with pytest.raises((TypeError, ValueError), match=says):
        from_neurosim(text, flags)
