"""Write–verify on populations: it converges, or says where and why it did not."""

import itertools
import math
import warnings
from pathlib import Path

import pytest
import torch

from mho.cells.spread import Spread
from mho.devices.data_driven import DataDriven2018, DataDriven2021
from mho.devices.exponential import ExponentialDevice
from mho.devices.linear_ion_drift import LinearIonDrift
from mho.devices.steps import SoftBoundsDevice
from mho.devices.tabular import JumpTable, TabularDevice
from mho.devices.vteam import VTEAM
from mho.devices.waveforms import programming_signal as waveform
from mho.devices.yakopcic import Yakopcic
from mho.programming import (
    ProgrammingError,
    Pulses,
    WriteVerify,
    programming_signal,
    write_verify,
)
from tolerance import near

TABLES = (
    Path(__file__).resolve().parents[2].parent / "shared" / "data" / "xbtorch_tables" / "tabular"
)


def normal(mean, sigma, **bounds):
    return Spread("Normal", (("loc", mean), ("scale", sigma)), **bounds)


def targets(device, shape, seed=3):
    low, high = device.window
    return low + (high - low) * torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def table(sign):
    """Jumps normal about a mean that shrinks towards the bound ahead."""
    g = torch.linspace(5e-6, 30e-6, 30, dtype=torch.float64)
    dg = torch.linspace(-5e-6, 5e-6, 201, dtype=torch.float64)
    ahead = (30e-6 - g) if sign > 0 else (g - 5e-6)
    mean = sign * (0.05e-6 + 0.02 * ahead)
    cdf = torch.special.ndtr((dg[None] - mean[:, None]) / 0.1e-6)
    return JumpTable(tuple(g.tolist()), tuple(dg.tolist()), tuple(map(tuple, cdf.tolist())))


DEVICES = {
    "vteam": VTEAM(),
    "vteam exponential": VTEAM(resistance="exponential"),
    "vteam real units": VTEAM(r_on=5e3, r_off=2e5, v_on=-0.8, v_off=1.0, k_on=-1e-3, k_off=1e-3),
    "data 2018": DataDriven2018(),
    "data 2021": DataDriven2021(),
    "ion drift": LinearIonDrift(),
    "yakopcic": Yakopcic(),
    "exponential": ExponentialDevice(nonlinearity_set=2.4, nonlinearity_reset=-2.4),
    "exponential noisy": ExponentialDevice(nonlinearity_set=1, nonlinearity_reset=-1, c2c=0.01),
    "soft bounds": SoftBoundsDevice(c2c=0.1, d2d=0.2),
    "tabular": TabularDevice(set_table=table(1), reset_table=table(-1)),
}


@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES.keys())
def test_every_kind_of_device_converges_from_below_and_from_above(device):
    scheme = WriteVerify.for_device(device, on_failure="raise")
    goal = targets(device, (12, 12))
    for start in device.window:
        cells = device.fabricate((12, 12), seed=1)
        cells.write(torch.tensor(start))
        report = write_verify(cells, goal, scheme)
        size = 0.01 * (device.window[1] - device.window[0])
        assert float((cells.conductance() - goal).abs().max()) <= size * (1 + 1e-5)
        assert torch.equal(report.achieved, cells.conductance())
        assert report.history[-1] == 1.0
        assert report.history[0] < 0.1
        assert not report.failed.any()
        assert int(report.pulses.max()) <= scheme.max_pulses


def test_measured_tables_converge():
    stem = TABLES / "experimental" / "optuna_exp_1.65V"
    if not stem.parent.exists():
        pytest.skip("no measured tables here")
    device = TabularDevice.from_tables(stem)
    low, high = device.window
    goal = low + (high - low) * (0.3 + 0.4 * torch.rand(300))
    report = write_verify(device.fabricate((300,)), goal)
    assert report.history[-1] > 0.95
    assert torch.equal(report.failed, report.error.abs() > report.tolerance)


@pytest.mark.parametrize("device", [VTEAM(), DataDriven2021(), Yakopcic()])
def test_the_sign_of_pulses_is_the_devices(device):
    low, high = device.window
    middle = 0.5 * (low + high)
    seen = []
    for goal in (high, low):
        cells = device.fabricate((1, 1))
        cells.write(torch.tensor(middle))
        applied = cells.apply_pulse
        cells.apply_pulse = lambda v, t, applied=applied: (seen.append(float(v)), applied(v, t))
        write_verify(cells, goal, WriteVerify.for_device(device, max_pulses=1, on_failure="report"))
    assert math.copysign(1.0, seen[0]) == device.set_polarity
    assert math.copysign(1.0, seen[1]) == -device.set_polarity


def test_finished_cells_keep_their_very_bits():
    device = VTEAM()
    goal = targets(device, (8, 8))
    near = torch.rand(8, 8) < 0.5
    cells = device.fabricate((8, 8))
    cells.write(torch.where(near, goal, device.window[0]))
    before = cells.x.clone()
    report = write_verify(cells, goal, select=torch.rand(8, 8) < 0.7)
    untouched = near | ~report.selected
    assert torch.equal(cells.x[untouched], before[untouched])
    assert (report.pulses[untouched] == 0).all()
    assert (report.pulses[~untouched] > 0).any()


def test_each_cell_has_the_story_it_would_have_alone():
    # Masks: a population of 6 and the same cells one by one.
    device = DataDriven2021()
    goal = targets(device, (6,))
    scheme = WriteVerify.for_device(device)
    together = write_verify(device.fabricate((6,)), goal, scheme)
    for i in range(6):
        alone = write_verify(device.fabricate((1,)), goal[i : i + 1], scheme)
        assert torch.equal(alone.pulses, together.pulses[i : i + 1])
        torch.testing.assert_close(alone.achieved, together.achieved[i : i + 1])


def test_targets_beyond_a_cells_own_window_fail_and_say_so():
    device = VTEAM(r_on=normal(50.0, 5.0, low=20.0))
    cells = device.fabricate((20, 20), seed=4)
    goal = torch.full((20, 20), device.window[1])
    report = write_verify(cells, goal, WriteVerify.for_device(device))
    size = 0.01 * (device.window[1] - device.window[0])
    short = 1.0 / cells.parameter("r_on") < goal - size
    assert short.any()
    assert not short.all()
    assert torch.equal(report.failed, short)
    assert report.reasons == {"out of window": int(short.sum())}
    # Such a cell is left at what it can do best.
    torch.testing.assert_close(report.achieved[short], 1.0 / cells.parameter("r_on")[short])


def test_spread_cells_converge_where_they_can():
    device = VTEAM(v_on=normal(-0.2, 0.02), k_on=normal(-10.0, 2.0), r_off=normal(1e3, 100.0))
    goal = targets(device, (40, 40)).clamp(min=2e-3)
    report = write_verify(device.fabricate((40, 40), seed=5), goal)
    assert not report.failed.any()


@pytest.mark.parametrize("device", [VTEAM(), ExponentialDevice()])
def test_stuck_cells_are_found_and_left_alone(device):
    goal = targets(device, (10, 10))
    mask = torch.rand(10, 10) < 0.2
    held = torch.where(mask, 1.5 * device.window[1], 0.0)
    scheme = WriteVerify.for_device(device)

    def broken_cells():
        cells = device.fabricate((10, 10))
        cells.break_too(mask, held)
        return cells

    report = write_verify(broken_cells(), goal, scheme)
    assert torch.equal(report.failed, mask)
    assert report.reasons == {"stuck": int(mask.sum())}
    assert report.cells("stuck") == [tuple(i) for i in mask.nonzero().tolist()]
    assert torch.equal(report.achieved[mask], held[mask])
    # A ramp, and ``stuck_after`` pulses at its top.
    ramp = 0 if isinstance(device, ExponentialDevice) else 32
    assert int(report.pulses[mask].max()) <= (ramp + scheme.stuck_after) * scheme.train + 1
    kept = write_verify(
        broken_cells(),
        goal,
        scheme.replace(on_stuck="keep", max_pulses=600, on_failure="report"),
    )
    assert torch.equal(kept.failed, mask)
    assert (kept.pulses[mask] == 600).all()
    assert kept.reasons == {"out of pulses": int(mask.sum())}


def test_what_does_not_converge_is_named():
    device = VTEAM()
    goal = torch.full((4, 4), device.window[1])
    scheme = WriteVerify.for_device(device, max_pulses=5)
    with pytest.warns(RuntimeWarning, match=r"out of pulses: 16 \(at \[0, 0\], \[0, 1\]"):
        report = write_verify(device.fabricate((4, 4)), goal, scheme)
    assert report.failed.all()
    assert (report.pulses == 5).all()
    assert "0 of 16 cells" in str(report)
    with pytest.raises(ProgrammingError, match="out of pulses: 16") as caught:
        write_verify(device.fabricate((4, 4)), goal, scheme.replace(on_failure="raise"))
    assert caught.value.report.failed.all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_verify(device.fabricate((4, 4)), goal, scheme.replace(on_failure="report"))


def test_noisy_reads_are_reproducible_and_their_mistakes_reported():
    device = VTEAM()
    goal = targets(device, (30, 30))
    scheme = WriteVerify.for_device(device, read_noise=0.01)
    one, same, other = (
        write_verify(device.fabricate((30, 30)), goal, scheme, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(one.achieved, same.achieved)
    assert not torch.equal(one.achieved, other.achieved)
    assert set(one.reasons) == {"misread"}
    assert 0.0 < float(one.failed.float().mean()) < 0.6
    assert torch.equal(one.failed, one.error.abs() > one.tolerance)


def test_pulse_noise_is_reproducible_by_the_cells_seed():
    device = SoftBoundsDevice(c2c=0.3)
    goal = targets(device, (10, 10))
    runs = [write_verify(device.fabricate((10, 10), seed=s), goal) for s in (0, 0, 1)]
    assert torch.equal(runs[0].achieved, runs[1].achieved)
    assert not torch.equal(runs[0].achieved, runs[2].achieved)


def test_energy_and_time_by_hand():
    # VTEAM without a window moves x in proportion to time: one pulse of a known size.
    device = VTEAM()
    rate = 10.0 * (0.4 / 0.2 - 1.0) ** 3 / 3e-9
    width = 0.5 / rate
    pulses = Pulses(0.4, 0.0, 0.4, width)
    scheme = WriteVerify(
        set=pulses, reset=pulses, refractory=1e-9, read_time=2e-9, read_voltage=0.1
    )
    cells = device.fabricate((1, 1), dtype=torch.float64)
    middle = 1.0 / 525.0
    report = write_verify(cells, middle, scheme)
    assert report.pulses.item() == 1
    assert report.rounds == 1
    assert report.achieved.item() == pytest.approx(middle, rel=1e-9)
    assert report.energy == near(0.4**2 * 0.5 * (1e-3 + middle) * width, rel=1e-9)
    assert report.half_selected_energy == 0.0
    # One read before the pulse, and one after it.
    assert report.read_energy == near(0.1**2 * (1e-3 + middle) * 2e-9, rel=1e-9)
    assert report.time == near(width + 1e-9 + 2 * 2e-9, rel=1e-9)


def test_energy_and_time_of_trains_by_hand():
    device = SoftBoundsDevice(g_min=0.0, g_max=1e-4, step=5e-6)
    pulses = Pulses(2.0, 0.0, 2.0, 1e-7)
    scheme = WriteVerify(set=pulses, reset=pulses, train=4, tolerance=0.0501, read_time=0.0)
    report = write_verify(device.fabricate((1,), dtype=torch.float64), 3.4e-5, scheme)
    # Steps shrink by a tenth: 1e-5, 9e-6, 8.1e-6, 7.29e-6; trains of 1, 2 and 1.
    assert report.pulses.item() == 4
    assert report.rounds == 3
    ends = [0.0, 1e-5, 2.71e-5, 3.439e-5]
    mean = [0.5 * (a + b) for a, b in itertools.pairwise(ends)]
    energy = 4.0 * 1e-7 * sum(n * g for n, g in zip((1, 2, 1), mean, strict=True))
    assert report.energy == pytest.approx(energy, rel=1e-9)
    assert report.time == pytest.approx(4 * 1e-7, rel=1e-9)


def test_order_changes_time_alone_where_no_neighbour_is_disturbed():
    device = VTEAM()
    goal = targets(device, (4, 6))
    scheme = WriteVerify.for_device(device)
    runs = {
        order: write_verify(device.fabricate((4, 6)), goal, scheme.replace(order=order))
        for order in ("all", "row", "cell")
    }
    assert torch.equal(runs["all"].achieved, runs["cell"].achieved)
    assert torch.equal(runs["all"].pulses, runs["row"].pulses)
    assert runs["all"].energy == runs["cell"].energy
    assert runs["all"].time < runs["row"].time < runs["cell"].time
    reads = 100e-9 * float((runs["cell"].pulses + 1).sum())
    sets = runs["cell"].time - reads
    assert scheme.set.width * 24 < sets < scheme.reset.width * float(runs["cell"].pulses.sum())


def test_arrays_are_programmed_side_by_side():
    device = VTEAM()
    goal = targets(device, (4, 5))
    scheme = WriteVerify.for_device(device, order="cell")
    one = write_verify(device.fabricate((4, 5)), goal, scheme)
    three = write_verify(device.fabricate((3, 4, 5)), goal.expand(3, 4, 5), scheme)
    assert three.time == pytest.approx(one.time)
    assert three.energy == pytest.approx(3 * one.energy)


def test_plain_ispp_is_the_textbooks():
    # Without refinement amplitudes are start, start + step, … and start anew after a turn.
    device = VTEAM()
    scheme = WriteVerify.for_device(
        device, restart=0.0, refine=1.0, max_pulses=40, on_failure="report"
    )
    seen = []
    cells = device.fabricate((1,))
    applied = cells.apply_pulse
    cells.apply_pulse = lambda v, t: (seen.append(float(v)), applied(v, t))
    write_verify(cells, 0.5 * sum(device.window), scheme)
    expected = [-(scheme.set.start + k * scheme.set.step) for k in range(len(seen))]
    turn = next((k for k, v in enumerate(seen) if v > 0), len(seen))
    assert turn > 5
    assert seen[:turn] == pytest.approx(expected[:turn], rel=1e-5)
    if turn < len(seen):
        assert seen[turn] == pytest.approx(scheme.reset.start, rel=1e-5)


def test_programming_signal_is_the_devices_room_own():
    assert programming_signal is waveform
    time, volts = programming_signal(2, duration=2e-3, refractory=1e-3, level=1.5, resolution=1e-3)
    assert volts.tolist() == [1.5, 1.5, 0.0] * 2
    assert time[1].item() == pytest.approx(1e-3)


def test_tolerance_relative_to_the_target():
    device = VTEAM()
    goal = targets(device, (8, 8))
    scheme = WriteVerify.for_device(device, tolerance=0.002, relative_to="target", max_pulses=2000)
    report = write_verify(device.fabricate((8, 8), dtype=torch.float64), goal, scheme)
    assert not report.failed.any()
    assert float((report.error / report.target).abs().max()) <= 0.002 * (1 + 1e-5)


def test_empty_populations_and_round_trips():
    scheme = WriteVerify.for_device(VTEAM())
    report = write_verify(VTEAM().fabricate((0, 3)), torch.zeros(0, 3), scheme)
    assert report.rounds == 0
    assert "0 of 0 cells" in str(report)
    assert WriteVerify.from_dict(scheme.to_dict()) == scheme
