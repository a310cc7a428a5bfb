"""Cells that come back from a chip and go to the next one go on where they stood."""

import pytest
import torch
from torch import nn

import mho
from mho.devices import ExponentialDevice
from mho.effects import PowerLawDrift, ReadDisturb, ReadNoise, Relaxation, WriteNoise
from mho.encoding import Differential, Redundant, SingleColumn
from mho.hardware import Hardware
from mho.programming import Exact
from mho.train import DifferentialPair, InSitu, MultiCell, SingleCell

DEVICE = ExponentialDevice(g_min=1e-6, g_max=100e-6, levels=100)
DAY = 86400.0


def layer_and_optimizer(layout, out=4):
    torch.manual_seed(0)
    layer = nn.Linear(5, out).eval()
    with torch.no_grad():
        layer.weight[0, 0] = 1.0  # of the range: programming needs no other scale
    sgd = torch.optim.SGD(layer.parameters(), lr=0.1)
    return layer, InSitu(sgd, DEVICE, layout=layout, model=layer, seed=3)


def pairs(*, effects, programming=None):
    layer, opt = layer_and_optimizer(DifferentialPair())
    hardware = Hardware(device=DEVICE, encoding=Differential(), effects=effects)
    if programming is not None:
        hardware = hardware.replace(programming=programming)
    return layer, opt, hardware


AGINGS = {
    "drift": (PowerLawDrift(nu=0.1, nu_spread=0.03),),
    "what remembers": (PowerLawDrift(nu=0.1), Relaxation(mean=-2e-7, spread=1e-7, start=2e-7)),
    "reads": (ReadDisturb(reads=1e4),),
    "drift and reads": (PowerLawDrift(nu=0.1), ReadDisturb(reads=1e4)),
    "noise of writing": (PowerLawDrift(nu=0.1), WriteNoise(0.05)),
}
COLUMNS = {
    "one cell": (SingleCell(), SingleColumn()),
    "two cells": (MultiCell(2), Redundant(SingleColumn(), copies=2)),
}


def reads_of(effects):
    return 3000.0 if any(isinstance(effect, ReadDisturb) for effect in effects) else 0.0


@pytest.mark.parametrize("effects", AGINGS.values(), ids=AGINGS)
def test_cells_that_are_left_alone_drift_on_when_deployed_again(effects):
    layer, opt, hardware = pairs(effects=effects)
    reads = reads_of(effects)
    stays, moves = opt.deploy(layer, hardware, seed=4), opt.deploy(layer, hardware, seed=4)
    for chip in (stays, moves):
        mho.age(chip, DAY, reads=reads)
    opt.recall(layer, moves)
    moves = opt.deploy(layer, hardware, seed=4)
    assert moves.crossbar.seconds == DAY
    torch.testing.assert_close(moves.crossbar.G, stays.crossbar.G, rtol=1e-6, atol=0)
    for chip in (stays, moves):
        mho.age(chip, 9 * DAY, reads=reads)
    torch.testing.assert_close(moves.crossbar.G, stays.crossbar.G, rtol=1e-5, atol=0)


@pytest.mark.parametrize("columns", COLUMNS.values(), ids=COLUMNS)
@pytest.mark.parametrize("effects", AGINGS.values(), ids=AGINGS)
@pytest.mark.parametrize("resumed", [False, True], ids=["", "from a checkpoint"])
def test_a_column_of_offset_cells_drifts_on_with_the_weights(effects, columns, resumed):
    layout, encoding = columns
    layer, opt = layer_and_optimizer(layout)
    hardware = Hardware(device=DEVICE, encoding=encoding, effects=effects, programming=Exact())
    reads = reads_of(effects)
    chip = opt.deploy(layer, hardware, seed=4)
    mho.age(chip, DAY, reads=reads)
    opt.recall(layer, chip)
    if resumed:
        saved = opt.state_dict()
        layer, opt = layer_and_optimizer(layout)
        opt.load_state_dict(saved)
    again = opt.deploy(layer, hardware, seed=4)
    torch.testing.assert_close(again.crossbar.G, chip.crossbar.G, rtol=1e-6, atol=0)
    for each in (chip, again):
        mho.age(each, 9 * DAY, reads=reads)
    torch.testing.assert_close(again.crossbar.G, chip.crossbar.G, rtol=1e-5, atol=0)


def test_offset_cells_are_programmed_anew_where_weights_have_been_written():
    layer, opt = layer_and_optimizer(SingleCell())
    effects = (*AGINGS["what remembers"], WriteNoise(0.05))
    hardware = Hardware(
        device=DEVICE, encoding=SingleColumn(), effects=effects, programming=Exact()
    )
    chip = opt.deploy(layer, hardware, seed=4)
    mho.age(chip, DAY)
    opt.recall(layer, chip)
    opt.weights("weight").pulse(torch.tensor([3]), torch.tensor([1]))
    again = opt.deploy(layer, hardware, seed=4).crossbar
    assert again.seconds == 0.0
    assert again.cells.written is None
    error = again.G[0, :, -1] / chip.crossbar.G[0, :, -1] - 1.0
    assert float(error.abs().min()) > 0.0


@pytest.mark.parametrize("how", ["pulse", "write", "program", "program on"])
def test_the_clock_starts_anew_where_cells_are_written(how):
    layer, opt, hardware = pairs(effects=AGINGS["drift"])
    chip = opt.deploy(layer, hardware)
    mho.age(chip, DAY)
    opt.recall(layer, chip)
    held = opt.weights("weight")
    assert held.cells.seconds == DAY
    if how == "pulse":
        held.pulse(torch.tensor([3]), torch.tensor([1]))
    elif how == "write":
        held.write(held.read())
    else:
        held.program(held.read() + 0.3, erase=how == "program")
    assert opt.deploy(layer, hardware).crossbar.seconds == 0.0


def test_no_pulse_leaves_the_clock_alone():
    layer, opt, hardware = pairs(effects=AGINGS["drift"])
    chip = opt.deploy(layer, hardware)
    mho.age(chip, DAY)
    opt.recall(layer, chip)
    none = torch.zeros(0, dtype=torch.int64)
    opt.weights("weight").pulse(none, none)
    assert opt.deploy(layer, hardware).crossbar.seconds == DAY


def test_read_noise_goes_on_after_a_recall_and_repeats_without_one():
    layer, opt, hardware = pairs(effects=(ReadNoise(0.05),))
    x = torch.rand(3, layer.in_features)
    first = opt.deploy(layer, hardware, seed=4)
    once = [first(x) for _ in range(4)]
    twin = opt.deploy(layer, hardware, seed=4)
    assert torch.equal(twin(x), once[0])  # one seed, one chip
    opt.recall(layer, first)
    again = opt.deploy(layer, hardware, seed=4)
    later = [again(x) for _ in range(4)]
    assert not any(torch.equal(a, b) for a in once for b in later)
    other, resumed = layer_and_optimizer(DifferentialPair())
    resumed.load_state_dict(opt.state_dict())
    assert torch.equal(resumed.deploy(other, hardware, seed=4)(x), later[0])


def test_programming_a_chip_draws_other_errors_than_its_offset_cells_had():
    layer, opt = layer_and_optimizer(SingleCell(), out=1)
    hardware = Hardware(
        device=DEVICE, encoding=SingleColumn(), effects=(WriteNoise(0.05),), programming=Exact()
    )
    chip = opt.deploy(layer, hardware, seed=4)
    zero = opt.weights("weight").frame.zero
    offset = chip.crossbar.G[0, :, -1] / zero - 1.0
    nn.init.zeros_(chip.weight)
    mho.program(chip)
    programmed = (chip.crossbar.G[0] / zero - 1.0).flatten()[: len(offset)]
    assert float((programmed - offset).abs().min()) > 1e-3


def test_programming_draws_no_error_twice():
    layer, opt, hardware = pairs(effects=(WriteNoise(0.05),), programming=Exact())
    target = layer.weight.detach().clone()
    first, twin = (opt.deploy(layer, hardware, seed=4) for _ in range(2))
    for chip in (first, twin):
        mho.program(chip)
    assert torch.equal(twin.crossbar.G, first.crossbar.G)
    opt.recall(layer, first)
    opt.weights("weight").write(target)
    opt.show(layer.weight)
    second = opt.deploy(layer, hardware, seed=4)
    mho.program(second)
    assert torch.equal(layer.weight, target)
    assert not torch.equal(second.crossbar.G, first.crossbar.G)
