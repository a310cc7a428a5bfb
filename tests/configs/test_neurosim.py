"""NeuroSim's parameters and flags become hardware."""

import re

import pytest
import torch

import mho
from configs.texts import PARAM
from mho.compat.configs import from_neurosim
from mho.compat.configs.neurosim_text import assignments, flags


def lost(translation):
    return {entry.setting for entry in translation.lost}


def test_assignments_are_worked_out_and_their_conditions_followed():
    found = assignments(PARAM)
    assert found["numRowSubArray"] == 64
    assert found["numColSubArray"] == 96  # not the one in the remark
    assert found["technode"] == 22
    assert found["featuresize"] == pytest.approx(40e-9)
    assert found["resistanceOff"] == pytest.approx(1.7e6)
    assert found["maxConductance"] == pytest.approx(1e-5)
    assert found["resistanceAccess"] == "resistanceOn*IR_DROP_TOLERANCE"
    assert found["numRowParallel"] == "(numRowSubArray)"


@pytest.mark.parametrize(
    "text",
    [
        "python inference.py --wl_weight 6 --vari 0.1 --detect 0",
        "wl_weight: 6\nvari: 0.1\ndetect: 0",
        "args.wl_weight = 6   # bits\nargs.vari = 0.1\nargs.detect = 0",
    ],
)
def test_flags_in_every_form(text):
    assert {k: flags(text).get(k) for k in ("wl_weight", "vari", "detect")} == {
        "wl_weight": 6,
        "vari": 0.1,
        "detect": 0,
    }


def test_everything_of_the_source_is_accounted_for_once():
    found = from_neurosim(PARAM + "\nnovelty = 3;", "--wl_weight 8 --surprise 3")
    names = [entry.setting for entry in (*found.matched, *found.unmatched)]
    assert len(names) == len(set(names))
    given = {m[1] for m in re.finditer(r"^\s*(\w+) = ", PARAM, re.MULTILINE)}
    assert {*given, "technode", "wireWidth", "barrierthickness", "surprise"} <= set(names)
    assert "surprise" in lost(found)


def test_the_parts_of_an_inference_chip(tmp_path):
    found = from_neurosim(PARAM, {"wl_weight": 8, "wl_activate": 6, "vari": 0.1})
    hardware = found.hardware
    assert hardware.device == mho.devices.LinearDevice(g_min=1 / (100e3 * 17), g_max=1e-5)
    assert hardware.encoding == mho.encoding.BitSliced(bits=8, bits_per_cell=2)
    assert (hardware.array.rows, hardware.array.cols) == (64, 96)
    assert hardware.adc == mho.ADC(bits=5, method="minmax", range="per_call")
    assert hardware.dac.bits == 6
    assert hardware.dac.mode == "bit_serial"
    assert hardware.dac.v_max == 0.5
    assert hardware.effects == (mho.effects.WriteNoise(0.1, relative_to="value"),)
    technology = found.technology
    assert technology.read_time == 10e-9
    assert technology.columns_per_adc == 8
    assert technology.feature_size == pytest.approx(40e-9)
    assert technology.cell_factor == 48.0
    (tmp_path / "Param.cpp").write_text(PARAM)
    assert from_neurosim(tmp_path / "Param.cpp", "--wl_activate 6 --vari 0.1").hardware == hardware


def test_one_cell_a_weight_is_a_column_against_a_dummy():
    torch.manual_seed(0)
    found = from_neurosim("cellBit = 5; resistanceOn = 1e5; resistanceOff = 1e6;", {"wl_weight": 5})
    assert found.hardware.encoding == mho.encoding.SingleColumn()
    layer = torch.nn.Linear(30, 8, bias=False).double()
    chip = mho.convert(layer, found.hardware.replace(adc=None, dac=None), seed=0).eval()
    w = layer.weight.detach()
    limit = w.abs().max()
    # Their integers: round((2^b - 1)/2 (w + 1)), against a dummy in the middle of the window.
    theirs = (torch.round(31 / 2 * (w / limit + 1)) * 2 / 31 - 1) * limit
    off = chip(torch.eye(30, dtype=torch.float64)).T - theirs
    step = 2 / 31 * float(limit)
    assert float(off.abs().max()) <= 1.02 * step
    assert abs(float(off.mean())) < 0.05 * step  # no offset of half a step


def test_cells_that_train_follow_the_labels():
    options = {"wl_weight": 5, "nonlinearityLTP": 1.75, "nonlinearityLTD": 1.46, "max_level": 32,
               "c2cVari": 0.003}  # fmt: skip
    found = from_neurosim("cellBit = 5; resistanceOn = 1e5; resistanceOff = 1e6;", options)
    assert found.hardware.device == mho.devices.ExponentialDevice(
        g_min=1e-6, g_max=1e-5, nonlinearity_set=1.75, nonlinearity_reset=1.46, levels=32, c2c=0.003
    )


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ({"t": 100, "v": 0.05}, {"t", "v"}),
        ({"t": 100, "v": 0.05, "detect": 1, "target": 0.5}, {"t", "v", "detect", "target"}),
        ({"operationmode": 1}, {"operationmode"}),
        ({"operationmode": 6}, {"operationmode"}),
    ],
)
def test_what_has_no_counterpart_is_reported(options, settings):
    assert settings <= lost(from_neurosim(PARAM, options))


def test_lines_act_where_asked_for():
    wires = from_neurosim(PARAM, lines=True).hardware.array.wires
    # Copper of 2.97e-8 Ω m, 40 nm wide and 1.9 times as high; cells of 12 by 4 widths.
    metre = 2.97e-8 / (40e-9**2 * 1.9)
    assert wires.word == pytest.approx(metre * 12 * 40e-9)
    assert wires.bit == pytest.approx(metre * 4 * 40e-9)
    with pytest.raises(ValueError, match="needs wireWidth"):
        from_neurosim("cellBit = 2;", lines=True)


def test_what_is_none_of_its_parameters_is_refused(tmp_path):
    with pytest.raises(ValueError, match="found no parameter of NeuroSim"):
        from_neurosim("nothing = 3;")
    with pytest.raises(TypeError, match="a path, a text or a mapping"):
        from_neurosim(3)


def test_partial_reads_make_smaller_tiles():
    found = from_neurosim(PARAM, {"parallelRead": 16, "subArray": 64})
    assert found.hardware.array.rows == 16
    assert any(entry.setting == "parallelRead" for entry in found.inexact)
