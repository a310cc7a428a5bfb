"""The documents' code runs as it stands, block after block, as a reader would try it."""

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

import mho

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", "docs/tour.md", "docs/devices.md", "docs/learning.md"]
PAGES += ["docs/fitting.md", "docs/programming.md", "docs/chips.md"]
PAGES += ["docs/scale.md"]
PAGES += ["docs/layers.md"]
PAGES += ["docs/parallel.md"]
PAGES += ["docs/models.md"]
PAGES += ["docs/encodings.md"]
PAGES += ["docs/pulse_width.md"]
PAGES += ["docs/converters.md"]
PAGES += ["docs/cores.md"]
PAGES += ["docs/cost.md"]
PAGES += ["docs/components.md"]
PAGES += ["docs/studies.md"]


class Model(torch.nn.Module):
    """What pages that begin in the middle call ``model``."""

    def __init__(self):
        super().__init__()
        self.image = torch.nn.Conv2d(1, 1, 1)
        self.encoder = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU())
        self.head = torch.nn.Linear(32, 10)

    def forward(self, x):
        return self.head(self.encoder(self.image(x.view(-1, 1, 8, 8)).flatten(1)))


def given(page):
    """Return what a page takes for granted."""
    torch.manual_seed(0)
    if page.startswith("docs/") and page != "docs/tour.md":
        return {}
    model = Model()
    return {
        "dataclass": dataclass,
        "torch": torch,
        "mho": mho,
        "model": model,
        "hardware": mho.Hardware(dac=mho.DAC(bits=8), adc=mho.ADC(bits=8)),
        "fine": mho.Hardware(adc=mho.ADC(bits=10)),
        "analog": mho.convert(model, mho.Hardware()),
        "other_hardware": mho.Hardware(adc=mho.ADC(bits=4)),
        "evaluate": lambda chip: float(chip(torch.rand(4, 64)).sum()),
        "inputs": torch.rand(20, 64),
        "x": torch.rand(20, 64),
        "y": torch.randint(10, (20,)),
        "d": torch.rand(3, 10),
        "weight": torch.randn(64, 10),
        "criterion": torch.nn.functional.cross_entropy,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
    }


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert blocks
    names = given(page)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, block in enumerate(blocks, 1):
            exec(compile(block, f"{page}, block {number}", "exec"), names)
