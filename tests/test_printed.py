"""What reports, summaries and warnings say, as a reader at a prompt meets them."""

import re
import warnings

import pytest
import torch

import mho
from mho.core import notice, text
from mho.devices import ExponentialDevice, presets
from mho.programming import WriteVerify

DEVICE = ExponentialDevice(g_min=1.23456789e-5, g_max=6e-5, levels=40, levels_reset=40, c2c=0.02)


def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))


def rows(text):
    return {line.split()[0]: line.split() for line in str(text).splitlines()[2:]}


def test_a_model_report_is_a_table_with_totals():
    hardware = mho.Hardware(device=DEVICE)
    closed = hardware.replace(programming=WriteVerify(tolerance=0.1))
    analog = mho.convert(model(), hardware, overrides={"2": closed})
    crossbars = mho.crossbars(analog)
    before = {name: int(c.cells.writes.sum()) for name, c in crossbars.items()}
    report = mho.program(analog)
    given = {name: int(c.cells.writes.sum()) - before[name] for name, c in crossbars.items()}
    found = rows(report)
    assert found["0"][1] == "60"
    assert found["2"][1] == "30"
    assert found["0"][4] == f"{given['0']}"
    assert found["0"][5:] == ["–", "–", "–"]  # nobody looked, and pulses have no known width
    assert found["2"][4:6] == [f"{given['2']}", "0"]
    assert found["2"][6:] != ["–", "–"]
    assert found["total"][1:3] == ["90", f"{sum(given.values())}"]
    assert repr(report) == str(report)
    assert "tensor" not in repr(report["0"])


def test_the_policy_and_the_effects_of_programming_are_told_apart():
    hardware = mho.Hardware(device=DEVICE, effects=(mho.effects.WriteNoise(0.01),))
    said = str(mho.summary(mho.convert(model(), hardware)))
    assert re.findall(r"^  (written|programming) +(\w+)", said, re.MULTILINE) == [
        ("written", "OpenLoop"),
        ("programming", "WriteNoise"),
    ]


def test_specs_print_six_digits_and_keep_all():
    assert "g_min=1.23457e-05" in str(DEVICE)
    assert "g_min=1.23456789e-05" in repr(DEVICE)
    assert str(mho.ADC()) == "ADC(bits=8)"


def test_presets_print_a_line_each():
    lines = repr(presets.list()).splitlines()
    assert [line.split()[0] for line in lines] == [preset.name for preset in presets.list()]


def test_a_misspelt_type_is_guessed_and_a_policy_is_asked_for_by_its_names():
    with pytest.raises(ValueError, match=r"unknown type 'WriteVerfy'.*mean 'WriteVerify'"):
        mho.Hardware.from_dict({"programming": {"type": "WriteVerfy"}})
    with pytest.raises(TypeError, match=r"Exact\(\).*OpenLoop\(\).*got 'open_loop'"):
        mho.Hardware(programming="open_loop")


def test_a_chip_says_who_lives_on_it_and_how_worn_it_is():
    hardware = mho.Hardware(device=DEVICE)
    chip = mho.chip.Chip(30, 30, hardware)
    chip.place(mho.convert(model(), hardware), name="first")
    said = repr(chip)
    assert "first: 90 cells (0, 2)" in said
    assert f"at most {int(chip.wear.max())} pulses a cell" in said


def test_a_chip_that_programs_reports():
    hardware = mho.Hardware(device=DEVICE)
    chip = mho.chip.Chip(30, 30, hardware)
    analog = mho.convert(model(), hardware)
    chip.place(analog)
    before = int(chip.wear.sum())
    assert chip.program(analog).pulses == int(chip.wear.sum()) - before


def stale():
    analog = mho.convert(model(), mho.Hardware()).eval()
    with torch.no_grad():
        analog[0].weight.add_(1.0)
    analog(torch.rand(2, 6))


def unconverged():
    scheme = WriteVerify(tolerance=1e-4, max_pulses=2)
    mho.convert(model(), mho.Hardware(device=DEVICE, programming=scheme))


class Metric(torch.nn.Linear):
    def forward(self, x):
        return x @ self.weight


def left_digital():
    mho.convert(torch.nn.Sequential(torch.nn.Linear(3, 3), Metric(3, 3)), mho.Hardware())


@pytest.mark.parametrize("do", [stale, unconverged, left_digital])
def test_warnings_point_at_the_line_of_the_caller(do):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        do()
    assert said
    assert {found.filename for found in said} == {__file__}


def test_a_warning_without_a_caller_outside_still_warns():
    with pytest.warns(RuntimeWarning, match="here"):
        notice.warn("here", RuntimeWarning)


def test_shares_that_are_small_are_not_none():
    found = [text.share(value) for value in (0.0, 0.002, 0.0051, 0.5, 1.0)]
    assert found == ["0%", "<1%", "1%", "50%", "100%"]
