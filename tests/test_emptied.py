"""Models whose tensors lose their values (`to_empty`, the meta device), filled and used again."""

import itertools

import pytest
import torch
from torch import nn

import mho

CONVERTERS = mho.Hardware(dac=mho.DAC(8), adc=mho.ADC(8))
SLICED = mho.Hardware(
    encoding=mho.encoding.BitSliced(bits=8, bits_per_cell=2),
    dac=mho.DAC(8, mode="bit_serial"),
    adc=mho.ADC(8),
)
BROKEN = mho.Hardware(effects=(mho.effects.StuckAt(0.05, 0.05),))
HARDWARE = {"ideal": mho.Hardware(), "converters": CONVERTERS, "sliced": SLICED}
TEXT = torch.randint(30, (4, 5), generator=torch.Generator().manual_seed(0))


class Language(nn.Module):
    def __init__(self, tied):
        super().__init__()
        self.table, self.inner = nn.Embedding(30, 16), nn.Linear(16, 16)
        self.head = nn.Linear(16, 30, bias=False)
        if tied:
            self.head.weight = self.table.weight

    def forward(self, text):
        return self.head(torch.relu(self.inner(self.table(text))))


def language(tied):
    torch.manual_seed(1)
    return Language(tied)


@torch.no_grad()
def off(analog, model):
    """How far reads are from the digital model, relative to its outputs."""
    wanted = model(TEXT)
    return float((analog.eval()(TEXT) - wanted).norm() / wanted.norm())


def away(model, how):
    """Lose all values, and be ready to load; say whether loading is to assign."""
    if how != "here":
        model.to("meta")
    if how != "assigned":
        model.to_empty(device="cpu")
    return how == "assigned"


HOW = ("here", "back", "assigned")


@pytest.mark.parametrize(
    ("kind", "tied", "programmed", "how"),
    list(itertools.product(HARDWARE, (True, False), (True, False), HOW)),
)
def test_emptied_models_hold_no_cells_until_programmed(kind, tied, programmed, how):
    model, hardware = language(tied), HARDWARE[kind]
    analog = mho.convert(model, hardware, embeddings=True, program=programmed)
    if programmed and hardware.adc is not None:
        mho.calibrate(analog, TEXT)
    assign = away(analog, how)
    analog.load_state_dict(model.state_dict(), strict=False, assign=assign)
    with pytest.raises(ValueError, match=r"never programmed.*mho\.program"):
        analog.eval()(TEXT)
    assert torch.isfinite(analog.train()(TEXT)).all()
    assert all(bool(c.input_range.isnan()) for c in mho.crossbars(analog).values())
    mho.program(analog)
    assert off(analog, model) < 0.05
    if hardware.adc is not None:
        mho.calibrate(analog, TEXT)
        assert off(analog, model) < 0.05


@pytest.mark.parametrize(("kind", "tied", "how"), list(itertools.product(HARDWARE, (True, 0), HOW)))
def test_emptied_models_take_whole_checkpoints(kind, tied, how):
    model, hardware = language(bool(tied)), HARDWARE[kind]
    full = mho.convert(model, hardware, embeddings=True).eval()
    if hardware.adc is not None:
        mho.calibrate(full, TEXT)
    analog = mho.convert(language(bool(tied)), hardware, embeddings=True).eval()
    assign = away(analog, how)
    analog.load_state_dict(full.state_dict(), assign=assign)
    assert torch.equal(analog(TEXT), full(TEXT))


def test_other_cells_follow_those_that_were_lost():
    layer = mho.convert(nn.Linear(20, 20), BROKEN, seed=1)
    weights = {k: v.clone() for k, v in layer.state_dict().items() if k in ("weight", "bias")}
    stuck = layer.crossbar.stuck.clone()
    layer.to_empty(device="cpu").load_state_dict(weights, strict=False)
    mho.program(layer)
    assert layer.crossbar.stuck.any()
    assert not torch.equal(layer.crossbar.stuck, stuck)


def test_a_crossbar_by_itself_is_emptied():
    crossbar = mho.Crossbar(6, 4, CONVERTERS)
    weight = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    crossbar.program(weight)
    crossbar.to_empty(device="cpu")
    with pytest.raises(ValueError, match="never programmed"):
        crossbar(torch.ones(6))
    crossbar.program(weight)
    assert torch.allclose(crossbar(torch.ones(6)), weight.sum(0), atol=0.1)


def test_cells_in_half_precision_are_emptied():
    model = language(True)
    analog = mho.convert(model, CONVERTERS, embeddings=True, cells_dtype=torch.float16)
    analog.to_empty(device="cpu").load_state_dict(model.state_dict(), strict=False)
    mho.program(analog)
    assert off(analog, model) < 0.05
    assert {c.kept_as for c in mho.crossbars(analog).values()} == {torch.float16}


@pytest.mark.parametrize("move", ["float", "double", "half", "cpu", "type", "share_memory"])
def test_what_keeps_values_keeps_cells(move):
    analog = mho.convert(nn.Linear(6, 4), CONVERTERS)
    g = analog.crossbar.G.clone()
    if move == "type":
        analog.type(torch.float32)
    else:
        getattr(analog, move)()
    assert torch.equal(analog.crossbar.G.float(), g)
    assert analog.crossbar.fabricated


def test_the_chip_keeps_the_cells_of_a_layer_that_is_emptied():
    chip = mho.chip.Chip(64, 64, mho.Hardware(), seed=0)
    layer = mho.convert(nn.Linear(6, 4), mho.Hardware())
    chip.place(layer)
    chip.program(layer)
    held = chip.cells.g.clone()
    weights = {k: v.clone() for k, v in layer.state_dict().items() if k in ("weight", "bias")}
    layer.to_empty(device="cpu").load_state_dict(weights, strict=False)
    assert torch.equal(chip.cells.g, held)
    mho.program(layer)
    assert not layer.crossbar.on_chip
    assert torch.equal(chip.cells.g, held)


def test_training_on_own_cells_needs_them():
    model = language(False)
    analog = mho.convert(model, CONVERTERS, embeddings=True)
    for crossbar in mho.crossbars(analog).values():
        crossbar.inject_noise(mho.train.NoiseInjection(own_cells=True))
    analog.to_empty(device="cpu").load_state_dict(model.state_dict(), strict=False)
    with pytest.raises(ValueError, match=r"own_cells.*mho\.program"):
        analog.train()(TEXT)
    mho.program(analog)
    assert torch.isfinite(analog.train()(TEXT)).all()
