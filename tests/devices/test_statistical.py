"""Statistical devices: the solver, generic statistics, the life of their cells, pictures."""

import copy
import math

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt

from mho import Crossbar, Hardware, load_hardware, save_hardware
from mho.cells.spread import Spread
from mho.core.polynomials import polynomial
from mho.core.spec import Spec
from mho.devices.pcm import PCM, PCMHermes
from mho.devices.reram import ReRAMCMO, ReRAMWan
from mho.devices.statistical import GenericStatistical, solve
from mho.plot import statistical as plot

GENERIC = GenericStatistical(
    write_sigma=(0.2e-6, 1e-6, -0.5e-6),
    nu=(0.08, -0.05),
    nu_std=0.01,
    t0=10.0,
    read_sigma=(0.1e-6, 0.2e-6),
    t_read=1e-6,
)
DEVICES = [
    PCM(),
    PCMHermes(),
    PCMHermes(devices=1),
    ReRAMWan(),
    ReRAMCMO(),
    ReRAMCMO(acceptance=0.02),
    GENERIC,
]
KINDS = [f"{type(d).__name__}-{k}" for k, d in enumerate(DEVICES)]
every_device = pytest.mark.parametrize("device", DEVICES, ids=KINDS)


def targets(device, shape, seed=0):
    low, high = device.window
    source = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(shape, generator=source, dtype=torch.float64)


# ── contract ─────────────────────────────────────────────────────────────────────────────────


@every_device
def test_cells_start_low_and_are_written_exactly(device):
    cells = device.fabricate((40, 30), seed=1, dtype=torch.float64)
    assert (cells.conductance() == device.window[0]).all()
    g = targets(device, (40, 30))
    cells.write(g)
    assert torch.equal(cells.conductance(), g)
    cells.write(torch.full((), 1.0))  # the nearest it can hold
    assert torch.allclose(cells.conductance(), torch.tensor(device.window[1]).double(), atol=0.0)
    assert torch.allclose(cells.current(0.2), 0.2 * cells.conductance(), atol=0.0)


@every_device
def test_devices_are_plain_hashable_specs(device, tmp_path):
    assert Spec.from_dict(device.to_dict()) == device
    assert len({device, device.replace()}) == 1
    hardware = Hardware(device=device)
    save_hardware(hardware, tmp_path / "hardware.yaml")
    assert load_hardware(tmp_path / "hardware.yaml") == hardware


@every_device
def test_same_seed_same_life(device):
    def life(seed):
        cells = device.fabricate((50, 20), seed=seed)
        cells.program(targets(device, (50, 20)).float())
        cells.age(1e5)
        return cells.read()

    assert torch.equal(life(3), life(3))
    assert not torch.equal(life(3), life(4))


@every_device
def test_scales_of_zero_do_nothing(device):
    ideal = device.replace(write_scale=0.0, drift_scale=0.0, read_scale=0.0)
    cells = ideal.fabricate((20, 20), dtype=torch.float64)
    g = targets(device, (20, 20))
    cells.program(g)
    cells.age(1e6)
    assert torch.equal(cells.read(), g)
    assert Crossbar(4, 4, Hardware(device=ideal)).collapsed


@every_device
def test_aging_composes(device):
    # In float64: an hour and an hour are two hours, and so is any other way there.
    once = device.fabricate((80, 80), seed=2, dtype=torch.float64)
    once.program(targets(device, (80, 80), seed=5))
    twice = copy.deepcopy(once)
    once.age(3e7)
    for step in (0.5, 9.5, 100.0, 3490.0, 3600.0, 3e7 - 7200.0):
        twice.age(step)
    assert torch.equal(once.g, twice.g)


@pytest.mark.parametrize("device", [d for d in DEVICES if not isinstance(d, ReRAMCMO)])
def test_the_programmed_conductance_is_recovered(device):
    cells = device.fabricate((80, 80), seed=2, dtype=torch.float64)
    cells.program(targets(device, (80, 80), seed=6))
    before = cells.g.clone()
    cells.age(1e6)
    after = device.programmed(cells.g, cells.context(), 1e6)
    healthy = cells.g > 0  # a cell that was stopped at 0 S has forgotten
    close = (after - before).abs() <= 1e-8 * before + 1e-14
    assert close[healthy].double().mean() > 0.999
    assert healthy.double().mean() > 0.95


@every_device
def test_training_has_finite_gradients(device):
    crossbar = Crossbar(16, 8, Hardware(device=device), seed=0)
    weight = torch.randn(16, 8, requires_grad=True)
    with torch.no_grad():
        weight[:3] = 0.0
    crossbar.read_through(torch.randn(5, 16), weight).square().sum().backward()
    assert torch.isfinite(weight.grad).all()
    assert weight.grad.abs().sum() > 0


def test_state_is_saved():
    cells = PCM().fabricate((30,), seed=1)
    cells.program(torch.full((30,), 1e-5))
    cells.age(1e4)
    other = PCM().fabricate((30,), seed=2)
    other.load_state_dict(cells.state_dict())
    assert other.seconds == 1e4
    assert torch.equal(other.read(), cells.read())


def test_a_spread_window_is_kept_by_every_cell():
    spread = Spread("Normal", (("loc", 20e-6), ("scale", 2e-6)), high=25e-6)
    cells = PCM(g_max=spread).fabricate((1000,), seed=0)
    cells.write(torch.full((), 1.0))
    assert torch.equal(cells.g, cells.parameter("g_max"))
    cells.age(3600.0)
    assert (cells.g < cells.parameter("g_max")).all()


# ── solver ───────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-0.95, 0.9), min_size=1, max_size=20))
def test_solver_finds_the_fixed_point(slopes):
    # x = s·tanh(3x)/3 + 0.1 cos x has one solution for s < 1 - 0.1.
    s = torch.tensor(slopes, dtype=torch.float64) * 0.9

    def function(x, s):
        return s * torch.tanh(3 * x) / 3 + 0.1 * torch.cos(x)

    x = solve(function, torch.full_like(s, -1.0), torch.full_like(s, 1.0), s)
    assert x.shape == s.shape
    assert (x - function(x, s)).abs().max() < 1e-9


def test_solver_meets_kinks_and_empty_input():
    c = torch.linspace(-2, 2, 101, dtype=torch.float64)

    def function(x, c):
        return (c - x).clamp(-0.5, 0.5)

    x = solve(function, torch.full_like(c, -0.5), torch.full_like(c, 0.5), c)
    assert torch.allclose(x, (c / 2).clamp(-0.5, 0.5), atol=1e-9)
    empty = torch.empty(0, 3, dtype=torch.float64)
    assert solve(function, empty, empty, empty).shape == (0, 3)


def test_polynomial_is_lowest_order_first():
    x = torch.linspace(-1, 2, 7, dtype=torch.float64)
    given = (0.5, -1.0, 0.0, 2.0)
    assert np.allclose(polynomial(x, given), np.polynomial.polynomial.polyval(x.numpy(), given))


# ── generic statistics ───────────────────────────────────────────────────────────────────────


def test_generic_statistics_are_those_asked_for():
    n, x = 40_000, 0.6
    cells = GENERIC.fabricate((n,), seed=7, dtype=torch.float64)
    cells.program(torch.tensor(x * 25e-6))
    sigma = 0.2e-6 + 1e-6 * x - 0.5e-6 * x**2
    error = cells.g - x * 25e-6
    assert abs(error.mean()) < 4 * sigma / n**0.5
    assert abs(error.std() / sigma - 1) < 4 / (2 * n) ** 0.5
    # Drift, of cells that were programmed exactly.
    cells.write(torch.tensor(x * 25e-6))
    cells.age(5.0)  # nothing before t0
    assert torch.allclose(cells.g, torch.tensor(x * 25e-6).double(), rtol=1e-14, atol=0.0)
    cells.age(1e5 - 5.0)
    nu = -(cells.g / (x * 25e-6)).log() / math.log(1e5 / 10.0)
    assert abs(nu.mean() - (0.08 - 0.05 * x)) < 4 * 0.01 / n**0.5
    assert abs(nu.std() / 0.01 - 1) < 4 / (2 * n) ** 0.5
    # Read noise, of the conductance now.
    now = cells.g / 25e-6
    score = (cells.read() - cells.g) / (
        (0.1e-6 + 0.2e-6 * now) * math.sqrt(math.log((1e5 + 1e-6) / 2e-6))
    )
    assert abs(score.mean()) < 4 / n**0.5
    assert abs(score.std() - 1) < 4 / (2 * n) ** 0.5


def test_generic_white_read_noise_does_not_grow():
    device = GenericStatistical(read_sigma=0.5e-6)
    cells = device.fabricate((20_000,), seed=1, dtype=torch.float64)
    cells.write(torch.tensor(1e-5))
    cells.age(1e6)
    noise = cells.read() - cells.g
    assert abs(noise.std() / 0.5e-6 - 1) < 4 / 40_000**0.5


def test_generic_without_statistics_is_ideal():
    device = GenericStatistical()
    assert not any(device.acts_on(s) for s in ("write_std", "age", "read_std"))
    assert device.fabricate((3,)).parameters_drawn() == {}
    weight = torch.randn(9, 5)
    crossbar = Crossbar(9, 5, Hardware(device=device))
    crossbar.program(weight)
    crossbar.age(1e9)
    assert crossbar.collapsed
    assert torch.allclose(torch.eye(9) @ crossbar, weight, atol=1e-6)


def test_generic_without_spread_needs_no_scores():
    device = GenericStatistical(nu=0.05)
    cells = device.fabricate((5,), dtype=torch.float64)
    assert cells.parameters_drawn() == {}
    cells.write(torch.tensor(1e-5))
    cells.age(100.0)
    cells.age(900.0)
    assert torch.allclose(cells.g, torch.tensor(1e-5 * 1000.0**-0.05).double(), atol=0.0)


def test_write_error_that_vanishes_has_a_gradient():
    device = GenericStatistical(write_sigma=(0.0, 1e-6))
    weight = torch.zeros(6, 4, requires_grad=True)
    Crossbar(6, 4, Hardware(device=device)).read_through(torch.ones(2, 6), weight).sum().backward()
    assert torch.isfinite(weight.grad).all()


# ── refusals ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"g_min": -1e-6}, "g_min must be >= 0, got -1e-06"),
        ({"g_min": 30e-6}, "g_min must be < g_max"),
        (
            {"write_sigma": (1e-6, -2e-6)},
            r"write_sigma must be >= 0 in the window, got -1e-06 at 1",
        ),
        ({"nu_std": -0.1}, "nu_std must be >= 0 in the window"),
        ({"read_sigma": (math.nan,)}, "read_sigma must be finite, got nan"),
        ({"nu": ()}, r"nu must have at least one coefficient, got \(\)"),
        ({"t0": 0.0}, "t0 must be > 0, got 0.0"),
        ({"t_read": -1.0}, "t_read must be > 0, got -1.0"),
        ({"drift_scale": -1.0}, r"drift_scale must be >= 0 and <= 1e\+06, got -1.0"),
        ({"nu": (0.0, 0.2)}, "dν / d ln g must be < 0.0511, got 0.2"),
    ],
)
def test_bad_values_are_refused(change, match):
    with pytest.raises(ValueError, match=match):
        GenericStatistical(**change)


def test_bad_types_are_refused():
    with pytest.raises(TypeError, match="nu must be a number, got 'fast'"):
        GenericStatistical(nu="fast")
    with pytest.raises(TypeError, match="write_scale must be a number"):
        PCM(write_scale="large")


def test_bad_times_and_targets_are_refused():
    cells = PCM().fabricate((3,))
    with pytest.raises(ValueError, match="seconds must be >= 0, got -1"):
        cells.age(-1)
    with pytest.raises(ValueError, match="1 of 3 entries are NaN"):
        cells.program(torch.tensor([1e-6, math.nan, 0.0]))
    with pytest.raises(ValueError, match=r"shape \[3\], got \[2\]"):
        cells.program(torch.zeros(2))


# ── pictures ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def axes():
    yield plt.figure().add_subplot()
    plt.close("all")


def test_drift_over_time_draws_the_power_law(axes):
    device = GenericStatistical(nu=0.05)
    drawn = plot.drift_over_time(device, targets=[1e-5], until=1e4, cells=5, points=5, ax=axes)
    assert drawn is axes
    median = axes.lines[3]
    assert np.allclose(median.get_ydata(), 10.0 * np.logspace(0, 4, 5) ** -0.05)
    assert axes.get_xscale() == "log"


def test_programming_error_draws_the_stated_sigma(axes):
    plot.programming_error(GENERIC, times=(0.0, 100.0), cells=500, points=5, ax=axes)
    measured, _, stated = (np.asarray(line.get_ydata()) for line in axes.lines)
    assert np.allclose(stated, 0.2 + np.linspace(0, 1, 5) - 0.5 * np.linspace(0, 1, 5) ** 2)
    assert (abs(measured[1:] / stated[1:] - 1) < 4 / 1000**0.5).all()
    assert [t.get_text() for t in axes.get_legend().get_texts()][1] == "after 100 s"


def test_pictures_refuse_what_they_cannot_draw(axes):
    with pytest.raises(TypeError, match="device must be StatisticalDevice"):
        plot.drift_over_time("PCM", ax=axes)
    with pytest.raises(ValueError, match=r"targets must be >= 0 and <= 2\.5e-05, got 1"):
        plot.drift_over_time(PCM(), targets=[1.0], ax=axes)
    with pytest.raises(ValueError, match=r"times must be >= 5, got 1\.0"):
        plot.programming_error(PCM(), times=(5.0, 1.0), ax=axes)
