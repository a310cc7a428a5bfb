"""Populations that go on living: pulsed after aging, forked, loaded, asked for the impossible."""

import pytest
import torch
from torch.distributions import Normal

import mho
from mho.devices import LinearDevice, SoftBoundsDevice, Spread
from mho.effects import FailureLaw, Retention, StuckAt

LAW = FailureLaw(p0=1e-9, p3=0.01, p2=1.0)
CELL = SoftBoundsDevice()


def _aged() -> torch.nn.Module:
    behaviours = (CELL, Retention(lrs=LAW, hrs=LAW))
    cells = CELL.cells_type(behaviours, (4,), seed=1, dtype=torch.float64)
    cells.write(torch.full((4,), 50e-6))
    cells.age(100.0)
    return cells


def _some(*counts: int) -> torch.Tensor:
    return torch.tensor(counts)


@pytest.mark.parametrize(
    "pulse",
    [
        lambda cells: cells.pulse(200),
        lambda cells: cells.pulse(_some(200, 0, 0, 0)),
        lambda cells: cells.pulse_at(_some(0), _some(200)),
        lambda cells: cells.pulse_both(_some(200, 0, 0, 0), _some(0, 0, 0, 0)),
        lambda cells: cells.pulse_both(_some(200, 200, 200, 200), _some(0, 0, 0, 0)),
    ],
)
def test_pulses_given_to_aged_cells_are_not_undone_by_time(pulse):
    cells = _aged()
    before = cells.g.clone()
    pulse(cells)
    pulsed = cells.g.clone()
    assert pulsed[0] > 1.2 * before[0]
    cells.age(1e-6)  # 1e-8 of the age: the law moves cells by 1e-10
    torch.testing.assert_close(cells.g, pulsed, rtol=1e-8, atol=0.0)
    assert cells.seconds == pytest.approx(100.0)


@pytest.mark.parametrize("fork_moves", [True, False])
def test_a_fork_and_its_origin_do_not_change_one_another(fork_moves):
    cells = CELL.fabricate((4,))
    cells.pulse(3)  # so that there are counts to share
    twin = cells.fork()
    moving, resting = (twin, cells) if fork_moves else (cells, twin)
    g, writes = resting.g.clone(), resting.writes.clone()
    moving.pulse_at(_some(0), _some(50))
    moving.pulse_both(_some(1, 2, 3, 4), _some(4, 3, 2, 1))
    assert torch.equal(resting.g, g)
    assert torch.equal(resting.writes, writes)
    assert moving.writes.tolist() == [3 + 55, 8, 8, 8]


def test_loading_leaves_a_fork_as_it_was():
    cells, other = CELL.fabricate((4,)), CELL.fabricate((4,))
    other.pulse(9)
    twin = cells.fork()
    cells.load_state_dict(other.state_dict())
    assert torch.equal(cells.g, other.g)
    assert torch.equal(twin.g, torch.full((4,), 1e-6))


@pytest.mark.parametrize("device", [LinearDevice(), mho.devices.VTEAM(), mho.devices.PCM()])
def test_exact_programming_stays_inside_of_the_window(device):
    cells = device.fabricate((3,), dtype=torch.float64)
    low, high = device.window
    middle = (low + high) / 2
    asked = torch.tensor([2.0 * high, -1.0, middle], dtype=torch.float64)
    cells.program(asked, mho.programming.Exact())
    expected = torch.tensor([high, low, middle], dtype=torch.float64)
    torch.testing.assert_close(cells.g, expected, rtol=1e-12, atol=0.0)


def test_no_stuck_cell_conducts_less_than_nothing():
    wide = Spread(Normal(1e-6, 1e-6))
    hardware = mho.Hardware(effects=(StuckAt(low=0.3, high=0.3, g_low=wide, g_high=wide),))
    crossbar = mho.Crossbar(100, 100, hardware)
    values = crossbar.G[crossbar.stuck].double()
    assert float(values.min()) >= 0.0
    # The normal above zero, mean μ + σ φ(μ/σ)/Φ(μ/σ) = 1.2876 µS, deviation 0.7935 µS.
    error = float(values.mean()) - 1.2876e-6
    assert abs(error) < 4.0 * 0.7935e-6 / len(values) ** 0.5
    with pytest.raises(ValueError, match="g_low"):
        StuckAt(low=0.1, g_low=Spread(Normal(-1e-6, 1e-7)))
