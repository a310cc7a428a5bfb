"""Write–verify of whole crossbars, and its pictures."""

import matplotlib as mpl
import pytest
import torch

import mho
from mho.cells.spread import Spread
from mho.devices.exponential import ExponentialDevice
from mho.devices.linear import LinearDevice
from mho.devices.vteam import VTEAM
from mho.effects import StuckAt
from mho.encoding import BitSliced
from mho.programming import ProgrammingError, WriteVerify, program_crossbar, write_verify

mpl.use("Agg")
from mho.plot.programming import convergence, pulses_map

DEVICE = VTEAM(r_on=1e4, r_off=1e5, v_on=-1.0, v_off=1.0, k_on=-1e-2, k_off=1e-2, alpha_on=1.0)
SPREAD = DEVICE.replace(k_on=Spread("Normal", (("loc", -1e-2), ("scale", 2e-3))))


def crossbar(device=DEVICE, rows=10, cols=7, **parts):
    hardware = mho.Hardware(device=device, array=mho.Array(4, 4), **parts)
    return mho.Crossbar(rows, cols, hardware, seed=2)


def weight(rows=10, cols=7):
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("device", [DEVICE, SPREAD, ExponentialDevice()])
def test_a_crossbar_holds_what_was_asked_within_tolerance(device):
    bar = crossbar(device)
    bar.age(10.0)
    programmed, report = program_crossbar(bar, weight())
    size = 0.01 * (device.window[1] - device.window[0])
    assert float((bar.G - programmed.target).abs().max()) <= size * (1 + 1e-4)
    assert torch.equal(report.achieved, bar.G)
    assert report.pulses.shape == bar.G.shape
    assert not report.failed.any()
    # A differential pair's error: two cells of at most 1 % of the window.
    limit = 2 * 0.01 * float(weight().abs().max()) * 1.01
    assert float((bar.weight - weight()).abs().max()) <= limit
    assert 0.0 < programmed.relative_error < 0.02
    # All else that programming does.
    assert bar.seconds == 0.0
    torch.testing.assert_close(bar.reference, bar.weight.abs().sum(0))
    x = torch.randn(3, 10)
    torch.testing.assert_close(bar(x), x @ bar.weight, rtol=1e-4, atol=1e-5)


def test_the_crossbars_own_cells_are_programmed():
    bar = crossbar(SPREAD)
    scheme = WriteVerify.for_device(SPREAD)
    _, report = program_crossbar(bar, weight(), scheme)
    cells = SPREAD.fabricate(tuple(bar.G.shape), seed=9)
    strangers = write_verify(cells, report.target, scheme)
    assert not torch.equal(strangers.pulses, report.pulses)
    cells.state_0_k_on.copy_(bar.cells.parameter("k_on"))
    cells.reset()
    same = write_verify(cells, report.target, scheme)
    assert torch.equal(same.pulses, report.pulses)
    assert torch.equal(same.achieved, bar.G)


def test_broken_cells_stay_and_are_found():
    bar = crossbar(effects=(StuckAt(low=0.05, high=0.05, g_high=3e-4),))
    held = bar.G[bar.stuck].clone()
    programmed, report = program_crossbar(bar, weight())
    assert torch.equal(bar.G[bar.stuck], held)
    assert (report.failed <= bar.stuck).all()
    assert report.reasons["stuck"] == int(report.failed.sum()) > 0
    assert programmed.stuck == float(bar.stuck.double().mean())


@pytest.mark.parametrize("interleaved", [False, True])
def test_passive_crossbars_disturb_within_a_tile_only(interleaved):
    hardware = mho.Hardware(device=DEVICE, array=mho.Array(4, 4, interleaved=interleaved))
    bar = mho.Crossbar(6, 5, hardware, seed=2, groups=2)
    w = weight(12, 5)
    scheme = WriteVerify.for_device(DEVICE, access="1R", order="cell", amplitude=1.9)
    _, report = program_crossbar(bar, w, scheme)
    assert not report.failed.any()
    assert report.half_selected_energy > 0.0
    other = mho.Crossbar(6, 5, hardware, seed=2, groups=2)
    program_crossbar(other, w, scheme.replace(access="1T1R"))
    torch.testing.assert_close(other.G, bar.G, rtol=1e-6, atol=0.0)


def test_bit_slices_and_reprogramming():
    bar = crossbar(encoding=BitSliced(bits=4, bits_per_cell=2))
    _, first = program_crossbar(bar, weight())
    _, again = program_crossbar(bar, weight())
    assert not first.failed.any()
    assert int(again.pulses.sum()) == 0  # it is there already
    _, other = program_crossbar(bar, -weight())
    assert int(other.pulses.sum()) > 0
    assert not other.failed.any()


def test_seeds():
    device = ExponentialDevice(c2c=0.005)
    a, b, c = (crossbar(device) for _ in range(3))
    for bar, seed in ((a, 0), (b, 0), (c, 1)):
        program_crossbar(bar, weight(), seed=seed)
    assert torch.equal(a.G, b.G)
    assert not torch.equal(a.G, c.G)


def test_refusals_leave_the_crossbar_as_it_was():
    bar = crossbar()
    before, scale = bar.G.clone(), bar.scale.clone()
    strict = WriteVerify.for_device(DEVICE, max_pulses=2, on_failure="raise")
    with pytest.raises(ProgrammingError):
        program_crossbar(bar, weight(), strict)
    with pytest.raises(ValueError, match="weight must be finite"):
        program_crossbar(bar, weight() * torch.nan)
    with pytest.raises(ValueError, match="weight must have shape"):
        program_crossbar(bar, weight().T)
    assert torch.equal(bar.G, before)
    assert torch.equal(bar.scale, scale)
    with pytest.raises(TypeError, match="LinearDevice takes no pulses"):
        program_crossbar(crossbar(LinearDevice()), weight())
    with pytest.raises(TypeError, match="crossbar must be Crossbar"):
        program_crossbar(weight(), weight())


def test_pictures():
    bar = crossbar(rows=4, cols=4, effects=(StuckAt(low=0.2),))
    _, report = program_crossbar(bar, weight(4, 4))
    ax = convergence(report, label="VTEAM")
    assert ax.lines[0].get_ydata()[-1] == pytest.approx(100 * report.history[-1])
    convergence(report, ax)
    ax = pulses_map(report, index=1)
    shown = torch.as_tensor(ax.images[0].get_array().data)
    assert torch.equal(shown, report.pulses[1].double())
    with pytest.raises(ValueError, match="index"):
        pulses_map(report, index=2)
    mpl.pyplot.close("all")


def test_time_and_energy_of_a_policy_are_those_of_its_pulses_and_reads(monkeypatch):
    device = mho.devices.VTEAM()
    scheme = WriteVerify(refractory=1e-8, read_time=2e-7, read_voltage=0.05).fitted(device)
    hardware = mho.Hardware(device=device, array=mho.Array(8, 8), programming=scheme)
    crossbar = mho.Crossbar(20, 10, hardware, dtype=torch.float64)
    given = {"pulses": 0, "joules": 0.0, "seconds": 0.0}
    kind = device.cells_type
    apply = kind.apply_pulse

    def counted(cells, volts, seconds):
        before = cells.conductance().clone()
        apply(cells, volts, seconds)
        mean = 0.5 * (before + cells.conductance())
        given["pulses"] += int((volts != 0.0).sum())
        given["joules"] += float((volts**2 * mean * seconds).sum())
        given["seconds"] += float(seconds.max()) + 1e-8

    monkeypatch.setattr(kind, "apply_pulse", counted)
    report = crossbar.program(torch.randn(20, 10, dtype=torch.float64))
    account = report.written.report
    reads = account.rounds + 1
    assert report.pulses == given["pulses"] == int(crossbar.writes.sum())
    assert account.energy == pytest.approx(given["joules"], rel=1e-9)
    assert report.energy == pytest.approx(given["joules"] + account.read_energy, rel=1e-9)
    assert 0.0 < account.read_energy <= reads * 400 * 0.05**2 * device.g_max * 2e-7
    assert report.seconds == pytest.approx(given["seconds"] + reads * 2e-7, rel=1e-9)


@pytest.mark.parametrize(
    ("device", "fields"),
    [
        (mho.devices.VTEAM(), {"train": 4}),
        (mho.devices.SoftBoundsDevice(), {"restart": 0.2}),
        (mho.devices.SoftBoundsDevice(), {"refine": 1.0}),
    ],
)
def test_what_a_scheme_says_acts_on_its_device(device, fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        mho.Hardware(device=device, programming=WriteVerify(**fields))


def test_a_longer_line_that_follows_a_shorter_one_is_shown_whole():
    long = WriteVerify.for_device(DEVICE, tolerance=0.01)
    cells = [DEVICE.fabricate((40,), seed=1) for _ in range(2)]
    target = torch.linspace(*DEVICE.window, 40)
    first = write_verify(cells[0], target, long.replace(tolerance=0.2))
    second = write_verify(cells[1], target, long)
    assert len(first.history) < len(second.history)
    ax = convergence(first, label="20 %")
    convergence(second, ax, label="1 %")
    assert ax.get_xlim()[1] >= len(second.history) - 1
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "20 %: 100 %",
        "1 %: 100 %",
    ]
