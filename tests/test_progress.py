"""Long work shows a bar on terminals, and nothing elsewhere or where it is short."""

import io

import pytest
import torch
from torch import nn

import mho
from mho.core import text
from mho.devices import presets

X = torch.randn(16, 6, generator=torch.Generator().manual_seed(0))
HARDWARE = mho.Hardware(device=presets.get("pcm_joshi"), dac=mho.DAC(8), adc=mho.ADC(8))


class Terminal(io.StringIO):
    def isatty(self):
        return True


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4))


WORK = {
    "programming": lambda _: mho.convert(model(), HARDWARE),
    "calibrating": lambda analog: mho.calibrate(analog, X.split(4)),
    "fabricating": lambda analog: mho.fabricate(analog, 1),
    "aging": lambda analog: mho.age(analog, "1 day"),
    "compensating": lambda analog: mho.compensate(analog),
    "in service": lambda analog: mho.maintain(analog, "1 day", every="6 h"),
}
STEPS = {"calibrating": 20, "in service": 4}


@pytest.mark.parametrize("label", WORK)
def test_bars_come_to_their_end(label, monkeypatch):
    analog = mho.convert(model(), HARDWARE)
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(text, "PATIENCE", 0.0)
    WORK[label](analog)
    count = STEPS.get(label, 2)
    assert f"{label}:   0%" in screen.getvalue()
    assert f"| 0/{count} [" in screen.getvalue()


@pytest.mark.parametrize("label", WORK)
@pytest.mark.parametrize("screen", [Terminal, io.StringIO])
def test_short_work_and_files_are_silent(label, screen, monkeypatch):
    analog = mho.convert(model(), HARDWARE)
    shown = screen()
    monkeypatch.setattr("sys.stderr", shown)
    if screen is io.StringIO:
        monkeypatch.setattr(text, "PATIENCE", 0.0)
    WORK[label](analog)
    assert shown.getvalue().strip() == ""


def test_a_calibrations_bar_counts_what_there_is(monkeypatch):
    analog = mho.convert(model(), HARDWARE)
    found = []

    class Counted(text.tqdm):
        def close(self):
            if self.desc == "calibrating":
                found.append((self.n, self.total))
            super().close()

    monkeypatch.setattr(text, "tqdm", Counted)
    monkeypatch.setattr("sys.stderr", Terminal())
    mho.calibrate(analog, X.split(4))
    mho.calibrate(analog, X.split(4), correct=False)
    assert found[0] == (20, 20)
    assert found[-1] == (8, 8)
