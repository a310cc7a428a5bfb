"""`mho cost`: from a file and a chip's name to a table."""

import pytest

import mho
from mho.analysis import chips
from mho.core import files
from mho_cli.app import main

NETWORK = """
import torch
from torch import nn

def task():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 3))
    x = torch.rand(20, 12)
    return model, x, torch.zeros(20, dtype=torch.int64), x
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "costed_network.py").write_text(NETWORK)
    hardware = mho.Hardware(array=mho.Array(8, 8), dac=mho.DAC(8), adc=mho.ADC(8))
    mho.save_hardware(hardware, tmp_path / "hardware.yaml")
    return tmp_path


def run(*arguments):
    return main(["cost", *arguments, "--model", "costed_network:task"])


def test_a_hardware_on_a_chip(folder, capsys):
    assert run("hardware.yaml", "--figure", "out/energy.png", "--samples", "5") == 0
    said = capsys.readouterr().out
    assert "one inference on a chip of 22 nm" in said
    assert "writing         180 pulses" in said
    assert "arrays' cells used" in said
    assert (folder / "out" / "energy.png").read_bytes().startswith(b"\x89PNG")


def test_a_device_lies_on_arrays_of_the_chip(folder, capsys):
    assert run("reram_wan", "--chip", "neurram", "--bits", "6") == 0
    said = capsys.readouterr().out
    assert "NeuRRAM (130 nm, 48 cores)" in said
    assert "≥" in said
    assert "without buffers, interconnect" in said


@pytest.mark.parametrize("chip", chips.NAMES)
def test_a_device_is_driven_as_the_chip_drives(folder, capsys, chip):
    assert run("reram_wan", "--chip", chip, "--samples", "2") == 0
    assert "energy" in capsys.readouterr().out


def test_a_chip_of_ones_own(folder, capsys):
    files.save(chips.generic_22nm().replace(name="mine"), folder / "mine.yaml")
    assert run("hardware.yaml", "--chip", "mine.yaml") == 0
    assert "one inference on mine" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("hardware.yaml", "--chip", "moon"), "'moon' is no file, and there is no architecture"),
        (("hardware.yaml", "--chip", "hardware.yaml"), "expected a ChipArchitecture"),
        (("hardware.yaml", "--bits", "6"), "leave out --bits"),
        (("hardware.yaml", "--policy", "layer"), "how many cores it has: give --cores"),
        (("hardware.yaml", "--figure", "energy.xyz"), "a picture must end in .avif"),
        (("missing.yaml",), "missing.yaml"),
        (("hardware.yaml", "--chip", "missing.yaml"), "missing.yaml"),
    ],
)
def test_bad_input_is_said_in_one_line(folder, capsys, arguments, text):
    assert run(*arguments) == 1
    said = capsys.readouterr()
    assert not said.out  # nothing was worked out in vain
    error = said.err
    assert error.startswith("mho cost: ")
    assert text in error
