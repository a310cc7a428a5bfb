"""Pulses of some cells only: the same as pulses of all, whatever the device."""

import math

import pytest
import torch

from mho.devices import ConstantStep, ExponentialDevice, JumpTable, SoftBoundsDevice, TabularDevice

F64 = torch.float64
UP = JumpTable(g=(0.0, 1.0), dg=(0.0, 0.02, 0.06), cdf=((0.0, 0.3, 1.0), (0.1, 0.8, 1.0)))
DOWN = JumpTable(g=(0.0, 1.0), dg=(-0.06, -0.02, 0.0), cdf=((0.0, 0.3, 1.0), (0.0, 0.8, 1.0)))
WINDOW = {"g_min": 0.0, "g_max": 1.0}
QUIET = [
    ExponentialDevice(**WINDOW, nonlinearity_set=2.4, nonlinearity_reset=-4.88, levels=97),
    ExponentialDevice(**WINDOW, nonlinearity_set=2.4, nonlinearity_reset=-4.88, d2d=0.5),
    SoftBoundsDevice(**WINDOW, step=0.01),
    TabularDevice(UP, DOWN, c2c=0.0),
]


@pytest.mark.parametrize("device", QUIET, ids=lambda d: type(d).__name__)
def test_some_cells_move_as_all_do(device):
    counts = torch.randint(-3, 4, (30, 40), generator=torch.Generator().manual_seed(0))
    whole, part = (device.fabricate((30, 40), seed=2, dtype=F64) for _ in range(2))
    start = torch.rand((30, 40), generator=torch.Generator().manual_seed(1), dtype=F64)
    for cells in (whole, part):
        cells.write(start)
    past = part.g
    whole.pulse(counts)
    index = counts.flatten().nonzero().squeeze(1)
    part.g = part.g.clone()
    part.pulse_at(index, counts.flatten()[index])
    assert torch.equal(whole.g, part.g)
    assert torch.equal(whole.writes, counts.abs())
    assert torch.equal(part.writes, counts.abs())
    torch.testing.assert_close(past, start.clamp(*device.window))
    # All at once, without a choice of cells, is the same again.
    every, some = (device.fabricate((50,), seed=3, dtype=F64) for _ in range(2))
    every.pulse(2)
    some.pulse_at(torch.arange(50), torch.full((50,), 2))
    torch.testing.assert_close(every.g, some.g, rtol=0, atol=1e-15)


def test_what_a_caller_holds_of_the_past_stays():
    cells = QUIET[0].fabricate((10,))
    g, writes = cells.conductance(), cells.writes
    cells.pulse(torch.arange(10) % 2)
    cells.pulse(3)
    assert float(g.max()) == 0.0
    assert int(writes.max()) == 0


@pytest.mark.parametrize("number", [1, 4])
def test_noise_of_many_cells_is_the_devices(number):
    """Enough cells for noise in bulk: mean and deviation of trains of a straight device."""
    device = ConstantStep(**WINDOW, step=0.01, c2c=0.3)
    cells = device.fabricate((400, 400))
    cells.write(torch.tensor(0.5))
    cells.pulse_at(torch.arange(0, 160_000, 2), torch.full((80_000,), -number))
    moved = (cells.g.flatten()[0::2] - 0.5).double()
    sigma = 0.003 * math.sqrt(number)
    assert abs(float(moved.mean()) + 0.01 * number) < 4 * sigma / math.sqrt(80_000)
    assert abs(float(moved.std()) - sigma) < 4 * sigma / math.sqrt(160_000)
    assert (cells.g.flatten()[1::2] == 0.5).all()


def test_the_smallest_step_at_the_flat_end_keeps_its_digits():
    """A reset curve of label +9 leaves the top in steps far below the window's last digit.

    Reference: the published curve G(P) = g_min + B·(1 − e^(−P/A)), seen from the top.
    """
    device = ExponentialDevice(**WINDOW, nonlinearity_reset=9.0, levels=40)
    bend = device.constants()["curvature_reset"]
    cells = device.fabricate((40,), dtype=F64)
    cells.write(torch.ones((), dtype=F64))
    cells.pulse(-torch.arange(1, 41))
    # 1 − y = (e^(k·t) − 1)/(e^k − 1), with k = levels/A and t = P/levels.
    expected = [math.expm1(bend * p / 40) / math.expm1(bend) for p in range(1, 41)]
    torch.testing.assert_close(
        1.0 - cells.g, torch.tensor(expected, dtype=F64), rtol=1e-9, atol=2e-16
    )
