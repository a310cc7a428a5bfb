"""What fails on a chip leaves chips, models and leases as they were."""

import warnings

import pytest
import torch
from torch import nn

import mho
from mho.chip import Chip
from mho.devices import SoftBoundsDevice

HARDWARE = mho.Hardware(device=SoftBoundsDevice())


class CutError(Exception):
    pass


@pytest.fixture
def placed():
    chip = Chip(40, 40, HARDWARE, seed=1)
    model = mho.convert(nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3)), HARDWARE).eval()
    chip.place(model)
    return chip, model


def _failing(monkeypatch):
    program = mho.Crossbar.program

    def fail(crossbar, weight, *args, **settings):
        if crossbar.cols == 3:
            raise CutError
        return program(crossbar, weight, *args, **settings)

    monkeypatch.setattr(mho.Crossbar, "program", fail)


@pytest.mark.parametrize("move", ["another chip", "fabricate"])
def test_a_move_that_fails_leaves_the_model_on_its_chip(placed, monkeypatch, move):
    chip, model = placed
    other = Chip(40, 40, HARDWARE, seed=2)
    x = torch.randn(3, 6)
    y, regions, held, wear = model(x), chip.regions, chip.G.clone(), chip.wear.clone()
    there = other.G.clone(), other.wear.clone()
    with monkeypatch.context() as patch:
        _failing(patch)
        with pytest.raises(CutError):
            other.place(model) if move == "another chip" else mho.fabricate(model, 5)
    assert chip.regions == regions
    assert other.regions == {}
    assert torch.equal(model(x), y)
    for now, before in ((chip.G, held), (chip.wear, wear), (other.G, there[0])):
        assert torch.equal(now, before)
    assert torch.equal(other.wear, there[1])
    mho.program(model)  # and the lease still reports what is written
    assert int(chip.wear.sum()) > int(wear.sum())
    assert int(other.wear.sum()) == int(there[1].sum())
    chip.remove(model)
    assert chip.occupancy == 0.0


def test_a_model_that_leaves_reads_its_own_cells(placed):
    chip, model = placed
    crossbar = model[0].crossbar
    chip.remove(model)
    assert crossbar.reader.cells is crossbar.cells


def test_a_checkpoint_of_other_cells_is_said_not_to_be_written(placed):
    _, model = placed
    elsewhere = Chip(40, 40, HARDWARE, seed=7)
    other = mho.convert(nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3)), HARDWARE).eval()
    elsewhere.place(other)
    x, held = torch.randn(3, 6), model[0].crossbar.G.clone()
    with pytest.warns(UserWarning, match=r"0\.crossbar, 1\.crossbar: .* of other cells") as told:
        model.load_state_dict(other.state_dict())
    assert len(told) == 1
    assert told[0].filename == __file__
    assert torch.equal(model[0].weight, other[0].weight)
    assert torch.equal(model[0].crossbar.G, held)
    with pytest.warns(UserWarning, match="has changed since it was programmed"):
        model(x)
    mho.program(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.load_state_dict(model.state_dict())  # of these very cells
        model(x)


def test_half_precision_leaves_a_chip_s_cells_as_they_are(placed):
    chip, _ = placed
    held = chip.G.clone()
    chip.half()
    assert torch.equal(chip.G, held)
    assert chip.double().G.dtype == torch.float64
