"""One meaning of a write: pulses that each cell received, by whatever route they came."""

import pytest
import torch
from torch import nn

from mho import Crossbar, Hardware
from mho.chip import Chip
from mho.devices import PCM, VTEAM, ExponentialDevice, LinearDevice
from mho.encoding import Differential
from mho.programming import Exact, OpenLoop, Statistical, WriteVerify
from mho.train import InSitu
from mho.train.on_cells.layouts import DifferentialPair

PULSED = ExponentialDevice(g_min=1e-6, g_max=1e-4, levels=100, levels_reset=100)
WEIGHT = torch.linspace(-1.0, 1.0, 48).view(8, 6)


def crossbar(device, **options):
    return Crossbar(8, 6, Hardware(device=device, **options), seed=0)


def open_loop_counts(g):
    """Pulses from a reset by the device's linear curve: the target's level, and the reset."""
    step = (PULSED.g_max - PULSED.g_min) / PULSED.levels
    return ((g - PULSED.g_min) / step).round().long() + 1


@pytest.mark.parametrize(
    ("device", "programming"), [(LinearDevice(), Exact()), (PCM(), Statistical()), (PCM(), Exact())]
)
def test_what_is_stored_in_one_go_is_one_write_of_every_cell(device, programming):
    bar = crossbar(device)
    assert int(bar.writes.max()) == 0
    for count in (1, 2):
        report = bar.program(WEIGHT, programming)
        assert (bar.writes == count).all()
        assert report.pulses == bar.G.numel()
    bar.store(bar.G.clone())
    assert (bar.writes == 3).all()


def test_open_loop_counts_the_reset_and_every_pulse():
    bar = crossbar(PULSED)
    report = bar.program(WEIGHT, OpenLoop())
    wanted = open_loop_counts(bar.encode(WEIGHT)[0])
    assert torch.equal(bar.writes, wanted)
    assert report.pulses == int(wanted.sum())
    bar.program(WEIGHT)
    assert torch.equal(bar.writes, 2 * wanted)


@pytest.mark.parametrize("device", [PULSED, VTEAM()], ids=["pulsed", "switching"])
def test_write_verify_counts_each_cells_own_and_a_repeat_nothing(device):
    bar, scheme = crossbar(device), WriteVerify.for_device(device)
    report = bar.program(WEIGHT, scheme)
    assert torch.equal(bar.writes, report.written.report.pulses.view(bar.writes.shape))
    assert len(bar.writes.unique()) > 5
    assert report.pulses == int(bar.writes.sum())
    before = bar.writes.clone()
    again = bar.program(WEIGHT, scheme)
    assert again.pulses == 0
    assert torch.equal(bar.writes, before)


def test_pulses_given_by_hand():
    cells = PULSED.fabricate((4,))
    cells.pulse(torch.tensor([99, 5, 0, -3]))
    cells.pulse(2)
    assert cells.writes.tolist() == [101, 7, 2, 5]
    cells.pulse_at(torch.tensor([2, 0]), torch.tensor([-4, 1]))
    assert cells.writes.tolist() == [102, 7, 6, 5]
    cells.pulse_both(torch.tensor([0, 3, 0, 1]), torch.tensor([0, 2, 1, 0]))
    assert cells.writes.tolist() == [102, 12, 7, 6]
    cells.age(10.0)
    cells.read()
    assert cells.writes.tolist() == [102, 12, 7, 6]


def test_pulses_of_training_in_place_go_along_into_the_crossbars():
    torch.manual_seed(0)
    model = nn.Linear(8, 6)
    optimizer = InSitu(
        torch.optim.SGD(model.parameters(), lr=0.5), PULSED, layout=DifferentialPair()
    )
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.ones(2, 8)).square().mean().backward()
        optimizer.step()
    given = int(optimizer.writes(model.weight).sum())
    assert given > 0
    hardware = Hardware(device=PULSED, encoding=Differential())
    bar = optimizer.deploy(model, hardware).crossbar
    assert int(bar.writes.sum()) == given
    report = bar.program(WEIGHT, OpenLoop())
    assert int(bar.writes.sum()) == given + report.pulses


def test_a_chip_wears_by_the_pulses_of_every_route():
    chip, bar = Chip(20, 20, Hardware(device=PULSED), seed=1, endurance=500), crossbar(PULSED)
    bar.program(WEIGHT)
    chip.place(bar)  # a write of its own, on other cells
    regions = [region for found in chip.regions.values() for region in found]

    def worn():
        return torch.stack([region.of(chip.wear) for region in regions])

    assert torch.equal(worn(), bar.writes)
    total = int(chip.wear.sum())
    assert total == int(bar.writes.sum())
    chip.program(bar)
    assert torch.equal(worn(), bar.writes)
    assert int(chip.wear.sum()) == 2 * total
    before = bar.writes.clone()
    report = bar.program(WEIGHT, WriteVerify.for_device(PULSED))
    assert int(chip.wear.sum()) == 2 * total + report.pulses
    assert torch.equal(worn(), bar.writes)
    bar.program(WEIGHT, WriteVerify.for_device(PULSED))
    bar.store(bar.G.clone())
    assert int(chip.wear.sum()) == 2 * total + report.pulses + bar.G.numel()
    assert int((bar.writes - before).min()) >= 1
    assert int(chip.wear.max()) < chip.endurance
    # Endurance is of the most worn cell, in pulses.
    while int(chip.wear.max()) < chip.endurance:
        chip.program(bar)
    with pytest.raises(ValueError, match="endurance is 500"):
        chip.program(bar)


def test_writes_are_kept_by_checkpoints_and_copies():
    bar, other = crossbar(PULSED), crossbar(PULSED)
    bar.program(WEIGHT, WriteVerify.for_device(PULSED))
    bar.store(bar.G.clone())
    other.load_state_dict(bar.state_dict())
    assert torch.equal(other.writes, bar.writes)
    for one in (bar, other):
        one.program(-WEIGHT)
    assert torch.equal(other.writes, bar.writes)
    bar.reset_parameters()
    assert int(bar.writes.max()) == 0
