"""Faults that were once planted by hand and that nothing noticed."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import brentq
from torch import nn

import mho
from compat.nets import Net
from mho import ADC, Array, Hardware
from mho.analysis import Technology, chips, cost, hessian_directions
from mho.analysis.power import array_power, pulse_power
from mho.chip import Chip, placement
from mho.circuit import Wires, solve_nonlinear
from mho.compat import xbtorch
from mho.compat.xbtorch.deployment import SimpleFixedPoint
from mho.compat.xbtorch.patches import xbtorch_model
from mho.devices import MTJ, ConstantStep, LinearDevice, Yakopcic
from mho.effects import StuckAt
from mho.train.on_cells import InSitu, PulseRule, WeightCells
from mho.train.on_cells.learning_rule import move

F64 = torch.float64


@pytest.mark.parametrize("drop", [1.5, 3.0, 6.0])
def test_laws_that_saturate_are_solved_where_whole_newton_steps_go_round_in_circles(drop):
    """One cell that saturates behind a resistor that its full current would overload."""
    most, steep, resistance = 1e-3 * drop, 0.05, 1e3
    found = solve_nonlinear(
        lambda v: most * torch.tanh(v / steep),
        (1, 1),
        Wires(source=resistance),
        torch.ones(1, dtype=F64),
    )
    wanted = brentq(
        lambda d: most * resistance * np.tanh(d / steep) + d - 1.0, 0.0, 1.0, xtol=1e-15
    )
    assert float(found.cell_voltages) == pytest.approx(wanted, rel=1e-8)


@pytest.mark.parametrize("threshold", [1.0, 2.0])
def test_what_is_carried_goes_by_the_step_of_its_own_direction(threshold):
    """χ += Δw; ⌊χ/step⌋ pulses where due, with a step up that is not that down; in NumPy."""
    up, down = 0.01, 0.004
    parameter = nn.Parameter(torch.zeros(4, 6, dtype=F64))
    opt = InSitu(
        torch.optim.SGD([parameter], lr=1.0),
        ConstantStep(step=1e-6),
        threshold=threshold,
        granularity=(up, down),
    )
    source = np.random.default_rng(0)
    chi, writes = np.zeros((4, 6)), np.zeros((4, 6))
    for _ in range(30):
        change = source.normal(0.0, 0.006, (4, 6))
        parameter.grad = torch.tensor(-change)
        opt.step()
        chi += change
        step = np.where(chi > 0, up, down)
        pulses = np.where(np.abs(chi) >= threshold * step, np.trunc(np.abs(chi) / step), 0.0)
        chi -= np.sign(chi) * step * pulses
        writes += pulses
        np.testing.assert_allclose(opt.held[parameter].carry.view(4, 6), chi, atol=1e-15)
    assert writes.sum() > 50
    np.testing.assert_array_equal(opt.writes(parameter)[0], writes)


def test_what_was_written_goes_by_steps_of_the_same_precision():
    """One pulse up and two down of weights in float64, whose steps float32 does not hold."""
    cells = WeightCells(ConstantStep(step=1e-6), (1, 2), granularity=(0.01, 0.004), dtype=F64)
    change = torch.tensor([[0.01, -0.008]], dtype=F64)
    written = move(cells, change, PulseRule(rounding="nearest"))
    assert written.tolist() == [[0.01, -0.008]]


@pytest.mark.parametrize("device", [MTJ(v_half=0.5), Yakopcic()])
@pytest.mark.parametrize("drives", [64, 65, 127, 128, 200])
def test_power_of_many_drives_is_that_of_all(device, drives):
    """Drives that repeat: of whatever few are computed, their sum is known."""
    torch.manual_seed(0)
    hardware = Hardware(device=device, array=Array(16, 8))
    crossbar = mho.convert(nn.Linear(5, 3, bias=False).double(), hardware).crossbar
    volts = (0.1 * torch.rand(1, 5, dtype=F64)).expand(drives, 5)
    share = torch.full_like(volts, 0.25)
    g = crossbar.G.clamp(*device.window)
    current = device.current_of(volts[0][:, None], g)
    one = float((volts[0][:, None] * current).sum())
    assert array_power(crossbar, volts) == pytest.approx(drives * one, rel=1e-6)
    assert pulse_power(crossbar, volts, share) == pytest.approx(0.25 * drives * one, rel=1e-6)


def test_interleaved_slices_share_their_arrays_in_cost():
    """6 × 5 weights of two cells: 10 columns side by side, of which an array of 8 takes 4 pairs."""
    torch.manual_seed(0)
    model = nn.Linear(6, 5, bias=False).double()
    x = torch.rand(3, 6, dtype=F64)
    technology = Technology(columns_per_adc=3, adc_area=1e-9)

    def found(interleaved, on=technology):
        array = Array(8, 8, interleaved=interleaved)
        hardware = Hardware(device=LinearDevice(1e-6, 1e-4), array=array, adc=ADC(8))
        return cost(mho.convert(model, hardware), x, on).layers[0]

    joined, apart = found(True), found(False)
    assert joined.arrays == apart.arrays == 2
    assert joined.drives == apart.drives == 6 * 2
    assert joined.conversions == apart.conversions == 5
    for layer in joined, apart:
        assert layer.utilisation == pytest.approx(6 * 10 / (2 * 64))
    # ADCs of three lines: 4 differences on each of two arrays, or 8 of one pair of arrays.
    assert joined["ADC"].area.typical == pytest.approx(2 * 2 * 1e-9, abs=0.0)
    assert apart["ADC"].area.typical == pytest.approx(3 * 1e-9, abs=0.0)
    # A unit cell that holds two slices of a weight holds one of these.
    pairs = chips.get("generic_22nm").replace(slices_per_array=2, columns_per_converter=1)
    assert found(True, pairs).utilisation == pytest.approx(60 / (2 * 64))
    assert found(False, pairs).utilisation == pytest.approx(30 / 64)


def test_the_first_direction_is_that_of_the_largest_curvature():
    """A quadratic bowl whose curvatures are 2 · (7, 5, 3, 2, 1), each along a weight of its own."""
    model = nn.Linear(5, 1, bias=False).double()
    half = torch.tensor([3.0, 7.0, 1.0, 5.0, 2.0], dtype=F64)
    x, y = half.sqrt().diag() * 5**0.5, torch.zeros(5, 1, dtype=F64)
    directions, values = hessian_directions(model, F.mse_loss, (x, y), 3, tolerance=1e-10)
    assert values.tolist() == pytest.approx([14.0, 10.0, 6.0])
    largest = [int(d["weight"].abs().argmax()) for d in directions]
    assert largest == [1, 3, 0]
    assert all(float(d["weight"].abs().max()) == pytest.approx(1.0) for d in directions)


@pytest.mark.parametrize("stateful", [True, False])
@pytest.mark.parametrize(
    ("name", "value"), [("retention_time", 1e4), ("drift_coefficient", 0.2), ("drift_t0", 0.01)]
)
def test_a_deployed_model_is_read_anew_when_its_retention_changes(stateful, name, value):
    given = {"retention_time": 10.0, "drift_coefficient": 0.05, "drift_t0": 1.0}

    def deployed(**settings):
        torch.manual_seed(0)
        accelerator = SimpleFixedPoint(
            adc_bits=16, dac_bits=16, xb_size=(60, 60), stateful=stateful, programming_seed=1,
            **settings,
        )  # fmt: skip
        xbtorch.initialize(inference_accelerator=accelerator)
        net = Net(nn.Linear(6, 4, bias=False))
        net.model[0].weight.data = torch.linspace(-0.5, 0.5, 24).view(4, 6)
        model = xbtorch_model(net)
        if stateful:
            model.initialize_array_mappings()
        model.xb_eval()
        return model, accelerator

    x = torch.rand(3, 6, generator=torch.Generator().manual_seed(2))
    try:
        model, accelerator = deployed(**given)
        before = model(x)
        setattr(accelerator, name, value)
        after = model(x)
        fresh, _ = deployed(**{**given, name: value})
        assert not torch.allclose(after, before, rtol=1e-3)
        torch.testing.assert_close(after, fresh(x))
    finally:
        xbtorch.initialize()


def test_a_chip_that_was_loaded_places_by_the_defects_it_has_now():
    hardware = Hardware(effects=(StuckAt(low=0.3),))
    chip, other = Chip(12, 12, hardware, seed=1), Chip(12, 12, hardware, seed=2)
    model = mho.convert(nn.Linear(3, 3, bias=False), hardware)
    chip.place(model, name="a", strategy="greedy")  # what is broken has been counted
    chip.remove("a")
    chip.load_state_dict(other.state_dict())
    assert torch.equal(chip.stuck, other.stuck)
    placed = [
        bar.place(mho.convert(nn.Linear(3, 3, bias=False), hardware), name="b", strategy="greedy")
        for bar in (chip, other)
    ]
    assert placed[0] == placed[1]
    # By hand: the first region has as few broken cells as any window of its size.
    region = next(iter(placed[0].values()))[0]
    counts = placement.window_counts(placement.integral(other.stuck).cpu(), 3, 3)
    stuck = other.stuck[region.row : region.row + 3, region.col : region.col + 3]
    assert int(stuck.sum()) == int(counts.min())
