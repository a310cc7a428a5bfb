"""The pulses that are found for a device, beside what its cells do under them."""

import pytest
import torch

from mho.devices import VTEAM, windows
from mho.programming import WriteVerify
from mho.programming.controller import Orders
from mho.programming.pulser import _longest
from mho.programming.writers import VoltageWriter

F64 = torch.float64


@pytest.mark.parametrize("window", [windows.Rectangular(), windows.Joglekar(p=2)])
def test_pulses_just_take_cells_through_a_window_that_may_hold_them_at_its_ends(window):
    """The last amplitude does it in `stuck_after` pulses, 5 % less doesn't."""
    device = VTEAM(window_function=window)
    found = WriteVerify.for_device(device, tolerance=0.02, stuck_after=5)
    low, high = device.window
    size = 0.02 * (high - low)
    for pulses, sign in ((found.set, 1.0), (found.reset, -1.0)):
        start, end = (low, high) if sign > 0 else (high, low)
        for volts, arrives in ((pulses.stop, True), (0.95 * pulses.stop, False)):
            cells = device.fabricate((1,), dtype=F64)
            # Next to the end, where a window that is 0 there lets the cell go.
            cells.write(torch.tensor([start + sign * 1e-3 * size], dtype=F64))
            cells.apply_pulse(
                torch.tensor([sign * device.set_polarity * volts], dtype=F64), 5 * pulses.width
            )
            assert (abs(float(cells.conductance()) - end) <= size) == arrives
        assert 0.0 < pulses.start < pulses.stop


def test_a_pulse_of_a_volt_is_one_and_none_of_no_volts():
    """What a chosen cell sees is what the same cell alone does; others see nothing, for no time."""
    device = VTEAM()
    middle = sum(device.window) / 2
    cells = device.fabricate((3,), dtype=F64)
    cells.write(torch.full((3,), middle, dtype=F64))
    up = torch.tensor([True, True, False])
    active = torch.tensor([True, False, True])
    ones = torch.ones(3, dtype=F64)
    orders = Orders(active, up, ones, torch.ones(3, dtype=torch.int64))
    writer = VoltageWriter(cells)
    volts = writer.voltages(orders, active)
    assert volts.tolist() == [device.set_polarity, 0.0, -device.set_polarity]
    before = cells.conductance().clone()
    energy = writer.pulse(volts, 1e-9)
    alone = device.fabricate((1,), dtype=F64)
    alone.write(torch.full((1,), middle, dtype=F64))
    alone.apply_pulse(torch.full((1,), float(device.set_polarity), dtype=F64), 1e-9)
    after = cells.conductance()
    assert float(after[0]) == pytest.approx(float(alone.conductance()), rel=1e-9)
    assert float(after[0]) > 1.001 * float(before[0])
    assert float(after[2]) < 0.999 * float(before[2])
    assert float(after[1]) == float(before[1])
    # A resistor's: the mean of V²·G before and after, for a nanosecond.
    expected = 0.5 * (before + after) * 1e-9 * active
    torch.testing.assert_close(energy, expected, rtol=1e-9, atol=0.0)


@pytest.mark.parametrize(("order", "longest"), [("all", 9), ("row", 9 + 5), ("cell", 7 + 9 + 5)])
def test_arrays_take_trains_at_once_and_their_groups_one_after_the_other(order, longest):
    # Two arrays of 2 × 2, which have drivers of their own; one cell of 20 pulses is not chosen.
    count = torch.tensor([[[7, 9], [5, 20]], [[2, 3], [2, 20]]])
    assert _longest(count, count < 20, order) == longest
    assert _longest(count, count > 20, order) == 0
