"""Mistakes of whoever brings a configuration over are named."""

import time

import pytest

from configs.texts import AIHWKIT, crosssim
from mho.compat.configs import from_aihwkit, from_aihwkit_lightning, from_crosssim, from_neurosim
from mho.compat.configs.neurosim_text import assignments

RANGE = "xbar__adc__mvm__calibrated_range"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("out_bound=10.0", "out_bound=many", r"forward\.out_bound must be a number"),
        ("out_bound=10.0", "out_bound=nan", r"forward\.out_bound must be a number, got nan"),
        ("out_bound=10.0", "out_bound=None", r"forward\.out_bound must be a number, got None"),
        ("out_noise=0.04", "out_noise_std=-1.0", r"forward\.out_noise_std must be >= 0"),
        ("out_noise=0.04", "out_noise=0.04, out_noise=0.05", "has out_noise twice"),
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


def with_model(text):
    return f"A(forward=IOParameters(), modifier=B(type=<C.NONE: 'None'>), noise_model={text})"


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("HermesNoiseModel(num_devices=3)", "num_devices must be one of 1, 2"),
        ("ReRamCMONoiseModel(acceptance_range=0.5)", r"acceptance_range must be one of 0\.2, 2"),
        ("CustomDriftPCMLikeNoiseModel()", "custom_drift_model must have g_lst"),
        ("CustomDriftPCMLikeNoiseModel(custom_drift_model={'g_lst': [1]})", "as many of each"),
        ("PCMLikeNoiseModel(prog_coeff=['a'])", "prog_coeff must be a list of numbers"),
        ("PCMLikeNoiseModel(prog_coeff=3)", "prog_coeff must be a list of numbers, got 3"),
        ("PCMLikeNoiseModel(prog_coeff_g_max_reference=0.0)", "g_max_reference must be > 0"),
    ],
)
def test_noise_models_of_aihwkit(model, says):
    with pytest.raises((TypeError, ValueError), match=says):
        from_aihwkit(with_model(model))


def test_coefficients_of_ones_own_are_reported():
    found = from_aihwkit(with_model("ReRamWan2022NoiseModel(coeff_dic={'a': 3})"))
    assert "noise_model.coeff_dic" in [entry.setting for entry in found.lost]


def test_no_bound_may_be_written_as_an_infinite_one():
    found = from_aihwkit(AIHWKIT.replace("out_bound=10.0", "out_bound=inf"))
    assert (
        found.hardware == from_aihwkit(AIHWKIT.replace("out_bound=10.0", "out_bound=-1.0")).hardware
    )
    assert found.hardware.adc is None
    exact = from_aihwkit(with_model("PCMLikeNoiseModel()").replace("s()", "s(inp_res=inf)", 1))
    assert exact.hardware.dac.bits is None


def test_a_backward_pass_that_is_not_perfect_is_reported():
    lost = from_aihwkit(AIHWKIT.replace("backward=IOParameters(is_perfect=True)",
                                        "backward=IOParameters(inp_noise=0.1)")).lost  # fmt: skip
    assert {"backward.inp_noise", "backward.is_perfect"} <= {entry.setting for entry in lost}
    assert not any(e.setting.startswith("backward") for e in from_aihwkit(AIHWKIT).lost)


def test_texts_that_go_too_deep_are_refused():
    for text in ("A(x=" + "-" * 100_000 + "1)", "A(x=" + "(" * 5000 + "1" + ")" * 5000 + ")"):
        with pytest.raises(ValueError, match="not as print"):
            from_aihwkit(text)
    with pytest.raises(ValueError, match="not JSON"):
        from_crosssim('{"core":' * 100_000)
    with pytest.raises(TypeError, match="resistanceOn must be a number"):
        from_neurosim("numRowSubArray = 128; resistanceOn = " + "-" * 100_000 + "3;")


def test_texts_without_an_end_are_read_at_once():
    began = time.perf_counter()
    assert assignments("a=\n" * 20_000) == {}
    assert assignments("a" * 50_000) == {}
    assert assignments("if (y) " * 20_000 + "x = 3;") == {"x": "(3)"}
    assert time.perf_counter() - began < 5.0  # each of the first two took 15 s and more


def test_a_long_command_line_is_no_name_of_a_file():
    line = "--wl_weight 8 --vari 0.1 --logdir " + "x" * 5000
    found = from_neurosim("cellBit = 2;", line)
    assert found.hardware == from_neurosim("cellBit = 2;", {"wl_weight": 8, "vari": 0.1}).hardware
