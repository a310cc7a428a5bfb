"""Write–verify in passive arrays: half-select voltages, and what they do to neighbours."""

import pytest
import torch

from mho.circuit import Selector, Wires, disturb
from mho.circuit.half_select import bias, seen
from mho.devices.data_driven import DataDriven2021
from mho.devices.exponential import ExponentialDevice
from mho.devices.vteam import VTEAM
from mho.programming import Pulses, WriteVerify, write_verify
from tolerance import near

# Thresholds of 1 V: pulses below 2 V leave half-selected cells alone.
DEVICE = VTEAM(r_on=1e4, r_off=1e5, v_on=-1.0, v_off=1.0, k_on=-1e-2, k_off=1e-2, alpha_on=1.0)


def targets(shape, seed=3):
    low, high = DEVICE.window
    return low + (high - low) * torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("scheme", ["V/2", "V/3"])
@pytest.mark.parametrize("voltage", [1.7, -1.7])
def test_voltages_are_those_of_the_circuit(scheme, voltage):
    # One cell, and a whole row of columns with one amplitude.
    for cols in (
        torch.tensor([False, False, True, False]),
        torch.tensor([True, False, True, True]),
    ):
        wanted = torch.zeros(3, 4)
        wanted[1, cols] = voltage
        rows = torch.tensor([False, True, False])
        expected = bias(scheme, (3, 4), rows, cols, voltage).ideal_voltages
        torch.testing.assert_close(seen(wanted, scheme), expected.float())


@pytest.mark.parametrize("scheme", ["V/2", "V/3"])
def test_voltages_of_a_row_are_differences_of_line_voltages(scheme):
    wanted = torch.zeros(2, 3, 4)
    wanted[0, 1] = torch.tensor([1.0, 0.0, 1.8, 1.4])
    wanted[1, 2] = torch.tensor([-1.0, -0.5, 0.0, 0.0])
    over = seen(wanted, scheme)
    assert torch.equal(over[wanted != 0], wanted[wanted != 0])
    # Kirchhoff: any rectangle's voltages cancel.
    cross = over[:, :1, :1] - over[:, :, :1] - over[:, :1] + over
    assert float(cross.abs().max()) < 1e-6
    part = 1.8 / float(scheme[-1])
    assert float(torch.where(wanted[0] == 0, over[0], 0.0).abs().max()) <= part * (1 + 1e-6)


@pytest.mark.parametrize("order", ["row", "cell"])
@pytest.mark.parametrize("scheme", ["V/2", "V/3"])
def test_below_the_thresholds_nothing_is_disturbed(order, scheme):
    goal = targets((8, 8))
    way = WriteVerify.for_device(
        DEVICE, access="1R", order=order, bias=scheme, amplitude=1.9, on_failure="raise"
    )
    assert max(way.set.stop, way.reset.stop) < 2.0
    passive = write_verify(DEVICE.fabricate((8, 8)), goal, way)
    gated = write_verify(DEVICE.fabricate((8, 8)), goal, way.replace(access="1T1R", bias="V/2"))
    torch.testing.assert_close(passive.achieved, gated.achieved)
    assert torch.equal(passive.pulses, gated.pulses)
    assert passive.half_selected_energy > 0.0
    assert passive.energy > gated.energy


def one_round(scheme, cells, volts, width):
    """All cells of one polarity one after the other: the naive loop."""
    rows, cols = cells.shape
    for i in range(rows):
        for j in range(cols):
            lines = bias(scheme, (rows, cols), i, j, float(volts[i, j]))
            cells.apply_pulse(lines.ideal_voltages, width)


@pytest.mark.parametrize("scheme", ["V/2", "V/3"])
def test_cell_by_cell_is_the_naive_loop(scheme):
    # Amplitudes whose halves (thirds) lie beyond the threshold: everybody moves.
    amplitude = 1.1 * float(scheme[-1])
    pulses = Pulses(amplitude, 0.0, amplitude, 1e-9)
    way = WriteVerify(
        set=pulses,
        reset=pulses,
        max_pulses=1,
        access="1R",
        order="cell",
        bias=scheme,
        on_failure="report",
    )
    fast, slow = (DEVICE.fabricate((5, 4), dtype=torch.float64) for _ in range(2))
    for cells in (fast, slow):
        cells.write(torch.tensor(2e-5))
    before = slow.x.clone()
    report = write_verify(fast, DEVICE.window[1], way)
    one_round(scheme, slow, torch.full((5, 4), -amplitude, dtype=torch.float64), 1e-9)
    assert float((slow.x - before).abs().min()) > 1e-3
    torch.testing.assert_close(fast.x, slow.x, rtol=1e-9, atol=1e-12)
    assert (report.pulses == 1).all()


def test_cell_by_cell_is_nearly_the_naive_loop_where_the_order_of_pulses_counts():
    device = DataDriven2021()  # a pulse moves a cell the less the nearer it is to a bound
    pulses = Pulses(1.2, 0.0, 1.2, 1e-8)
    way = WriteVerify(
        set=pulses, reset=pulses, max_pulses=1, access="1R", order="cell", on_failure="report"
    )
    fast, slow = (device.fabricate((5, 4), dtype=torch.float64) for _ in range(2))
    before = slow.x.clone()
    write_verify(fast, device.window[1], way)
    one_round("V/2", slow, torch.full((5, 4), 1.2), 1e-8)
    moved = slow.x - before
    assert float(moved.min()) > 5e-3
    assert float(((fast.x - slow.x) / moved).abs().max()) < 0.01


def test_disturbed_cells_are_programmed_anew():
    # Half of the larger amplitudes is beyond the threshold, if not by much.
    goal = targets((8, 8))
    pulses = Pulses(1.05, 0.05, 2.2, 2e-9)
    way = WriteVerify(set=pulses, reset=pulses, access="1R", order="row", on_failure="report")
    report = write_verify(DEVICE.fabricate((8, 8)), goal, way)
    assert not report.failed.any()
    gated = write_verify(DEVICE.fabricate((8, 8)), goal, way.replace(access="1T1R"))
    assert not torch.equal(report.achieved, gated.achieved)
    assert min(report.history) < report.history[-1] == 1.0


def test_disturb_beyond_repair_is_reported():
    pulses = Pulses(3.0, 0.1, 4.0, 1e-8)
    way = WriteVerify(set=pulses, reset=pulses, access="1R", order="row", max_pulses=20)
    with pytest.warns(RuntimeWarning, match="did not converge"):
        report = write_verify(DEVICE.fabricate((6, 6)), targets((6, 6)), way)
    assert report.failed.any()
    assert "out of pulses" in report.reasons


def test_cells_not_selected_are_disturbed_but_not_programmed():
    select = torch.zeros(4, 4, dtype=torch.bool)
    select[1, 2] = True
    pulses = Pulses(2.4, 0.0, 2.4, 1e-9)
    way = WriteVerify(set=pulses, reset=pulses, access="1R", order="cell", on_failure="report")
    cells = DEVICE.fabricate((4, 4))
    before = cells.conductance().clone()
    report = write_verify(cells, 5e-5, way, select=select)
    moved = cells.conductance() != before
    expected = torch.zeros(4, 4, dtype=torch.bool)
    expected[1, :] = expected[:, 2] = True
    assert torch.equal(moved, expected)
    assert torch.equal(report.pulses > 0, select)


def test_pulse_count_devices_have_no_half_pulses():
    device = ExponentialDevice()
    way = WriteVerify.for_device(device, access="1R", order="row")
    with pytest.raises(ValueError, match='access must be "1T1R" for ExponentialDevice'):
        write_verify(device.fabricate((3, 3)), 1e-8, way)


WIRES = Wires(source=20, word=10, bit=10, sense=20)


@pytest.mark.parametrize("order", ["row", "cell"])
@pytest.mark.parametrize("scheme", ["V/2", "V/3"])
def test_ideal_wires_change_nothing(order, scheme):
    pulses = Pulses(1.05, 0.05, 2.2, 2e-9)
    way = WriteVerify(
        set=pulses, reset=pulses, access="1R", order=order, bias=scheme, on_failure="report"
    )
    goal = targets((6, 5))
    plain = write_verify(DEVICE.fabricate((6, 5)), goal, way)
    ideal = write_verify(DEVICE.fabricate((6, 5)), goal, way.replace(wires=Wires()))
    assert torch.equal(ideal.achieved, plain.achieved)
    assert torch.equal(ideal.pulses, plain.pulses)
    assert ideal.energy == plain.energy
    # Wires that hardly resist go through the circuit, and tell the same.
    tiny = Wires(1e-9, 1e-9, 1e-9, 1e-9)
    short = way.replace(max_pulses=3)
    wired, exact = (
        write_verify(DEVICE.fabricate((6, 5), dtype=torch.float64), goal, short.replace(wires=w))
        for w in (tiny, None)
    )
    torch.testing.assert_close(wired.achieved, exact.achieved, rtol=1e-6, atol=0)
    # Cell by cell without wires, what others see in a round is one long pulse: its order is lost.
    rel = 1e-6 if order == "row" else 1e-3
    assert wired.half_selected_energy == near(exact.half_selected_energy, rel=rel)


@pytest.mark.parametrize("order", ["row", "cell"])
@pytest.mark.parametrize("selector", [None, Selector(v_on=0.3, i_on=1e-3)])
def test_a_pulse_is_what_the_circuit_says(order, selector):
    """One cell's pulse, on wires, with a selector: as ``mho.circuit.disturb`` has it."""
    pulses = Pulses(2.4, 0.0, 2.4, 1e-9)
    way = WriteVerify(
        set=pulses,
        reset=pulses,
        max_pulses=1,
        access="1R",
        order=order,
        wires=WIRES,
        selector=selector,
        on_failure="report",
    )
    select = torch.zeros(5, 4, dtype=torch.bool)
    select[3, 1] = True
    written, disturbed = (DEVICE.fabricate((5, 4), dtype=torch.float64) for _ in range(2))
    for cells in (written, disturbed):
        cells.write(targets((5, 4)).double())
    before = written.x.clone()
    write_verify(written, DEVICE.window[1], way, select=select)
    lines = bias("V/2", (5, 4), 3, 1, -2.4)
    law = None if selector is None else selector.current
    disturb(disturbed, lines, 1e-9, wires=WIRES, selector=law)
    assert float((written.x - before).abs()[3, 1]) > 1e-3
    torch.testing.assert_close(written.x, disturbed.x, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("order", ["row", "cell"])
def test_far_cells_need_more_pulses(order):
    # Half of them is below the threshold, and none is so large that a cell overshoots.
    pulses = Pulses(1.05, 0.02, 1.95, 1e-8)
    way = WriteVerify(
        set=pulses,
        reset=pulses,
        tolerance=0.2,
        access="1R",
        order=order,
        wires=Wires(source=400, word=200, bit=200, sense=400),
        on_failure="raise",
    )
    goal = torch.full((6, 6), 6e-5)
    on_wires = write_verify(DEVICE.fabricate((6, 6)), goal, way).pulses.double()
    ideal = write_verify(DEVICE.fabricate((6, 6)), goal, way.replace(wires=None)).pulses
    assert (ideal == ideal[0, 0]).all()
    # Drivers are left and sinks at the bottom: the upper right corner is the farthest.
    assert int(on_wires[0, -1]) > int(on_wires[-1, 0]) >= int(ideal[0, 0])
    assert float(on_wires[:3, 3:].mean()) > float(on_wires[3:, :3].mean())


def test_arrays_on_wires_have_drivers_of_their_own():
    pulses = Pulses(1.5, 0.1, 2.2, 2e-9)
    for order in ("row", "cell"):
        way = WriteVerify(
            set=pulses,
            reset=pulses,
            access="1R",
            order=order,
            wires=WIRES,
            max_pulses=4,
            on_failure="report",
        )
        goal = targets((2, 4, 3))
        both = write_verify(DEVICE.fabricate((2, 4, 3), dtype=torch.float64), goal, way)
        for k in range(2):
            alone = write_verify(DEVICE.fabricate((4, 3), dtype=torch.float64), goal[k], way)
            torch.testing.assert_close(both.achieved[k], alone.achieved, rtol=1e-9, atol=0)


def test_a_selector_shields_half_selected_cells():
    pulses = Pulses(2.2, 0.0, 2.2, 2e-8)
    moved = []
    for selector in (None, Selector(v_on=0.3, i_on=1e-5, decade=0.04)):
        way = WriteVerify(
            set=pulses,
            reset=pulses,
            max_pulses=1,
            access="1R",
            order="row",
            selector=selector,
            on_failure="report",
        )
        select = torch.zeros(4, 4, dtype=torch.bool)
        select[1, 2] = True
        cells = DEVICE.fabricate((4, 4))
        before = cells.conductance().clone()
        write_verify(cells, DEVICE.window[1], way, select=select)
        change = (cells.conductance() - before).abs()
        moved.append((float(change[1, 2]), float(change[~select].max())))
    assert moved[1][0] > 0.0
    assert moved[0][1] > 0.0
    assert moved[1][1] == 0.0  # the selector takes what was beyond the threshold
    assert moved[1][0] < moved[0][0]


def test_wires_and_selectors_are_for_passive_arrays():
    pulses = Pulses(1.0, 0.1, 2.0, 1e-9)
    with pytest.raises(ValueError, match='wires are for access "1R"'):
        WriteVerify(set=pulses, reset=pulses, wires=WIRES)
    with pytest.raises(ValueError, match='bias V/3 is for access "1R"'):
        WriteVerify(set=pulses, reset=pulses, bias="V/3")
    with pytest.raises(ValueError, match="gated"):
        WriteVerify(set=pulses, reset=pulses, access="1R", order="row", wires=Wires(gated=True))
    with pytest.raises(TypeError, match="selector must be Selector"):
        WriteVerify(set=pulses, reset=pulses, access="1R", order="row", selector=0.5)
    way = WriteVerify(
        set=pulses, reset=pulses, access="1R", order="row", wires=WIRES, selector=Selector()
    )
    assert WriteVerify.from_dict(way.to_dict()) == way
