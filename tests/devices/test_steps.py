"""The step devices of analog training."""

import itertools
import math
import statistics

import pytest
import torch
from torch.distributions import Normal

from mho.cells.spread import Spread
from mho.devices.steps import (
    ConstantStep,
    ExpStep,
    LinearStep,
    PiecewiseStep,
    PowStep,
    SoftBoundsDevice,
)

UNIT = {"g_min": 0.0, "g_max": 2.0, "step": 0.01}  # place z = g − 1


def one_pulse(device, g, sign):
    cells = device.fabricate((1,), dtype=torch.float64)
    cells.write(torch.tensor(g, dtype=torch.float64))
    before = float(cells.g)
    cells.pulse(sign)
    return float(cells.g) - before


@pytest.mark.parametrize("g", [0.1, 0.7, 1.0, 1.6])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("device", "shape"),
    [
        (ConstantStep(**UNIT), lambda y: 1.0),
        (LinearStep(**UNIT, slope_set=0.3, slope_reset=0.3), lambda y: 1 - 0.3 * y),
        (SoftBoundsDevice(**UNIT), lambda y: 1 - y),
        (PowStep(**UNIT, exponent_set=2.5, exponent_reset=2.5), lambda y: (1 - y) ** 2.5),
        (
            ExpStep(**UNIT, amplitude_set=0.2, amplitude_reset=0.2, rate_set=3.0, rate_reset=3.0),
            lambda y: max(1 - 0.2 * math.exp(3 * y), 0),
        ),
        (
            PiecewiseStep(**UNIT, factors_set=(3, 1, 0.5), factors_reset=(0.5, 1, 3)),
            lambda y: 1 - 2 * y if y < 0 else 1 - 0.5 * y,
        ),
    ],
)
def test_one_pulse_is_the_stated_shape(device, shape, g, sign):
    ahead = (g - 1.0) * sign
    assert one_pulse(device, g, sign) == pytest.approx(sign * 0.01 * shape(ahead), rel=1e-10)


def test_special_cases_agree():
    cases = [
        (LinearStep(**UNIT, slope_set=1.0, slope_reset=1.0), SoftBoundsDevice(**UNIT)),
        (LinearStep(**UNIT, slope_set=0.0, slope_reset=0.0), ConstantStep(**UNIT)),
        (PowStep(**UNIT), SoftBoundsDevice(**UNIT)),
        (PowStep(**UNIT, exponent_set=0.0, exponent_reset=0.0), ConstantStep(**UNIT)),
        (PiecewiseStep(**UNIT, factors_set=(2, 0), factors_reset=(0, 2)), SoftBoundsDevice(**UNIT)),
        (ExpStep(**UNIT, amplitude_set=0.0, amplitude_reset=0.0), ConstantStep(**UNIT)),
    ]
    for general, special in cases:
        for counts in (30, -12):
            one, two = (d.fabricate((50,), dtype=torch.float64) for d in (general, special))
            for cells in (one, two):
                cells.write(torch.linspace(0, 2, 50))
                cells.pulse(counts)
            assert torch.allclose(one.g, two.g, rtol=1e-10, atol=1e-12)


def test_soft_bounds_closed_form():
    cells = SoftBoundsDevice(**UNIT, asymmetry=0.5).fabricate((2,), dtype=torch.float64)
    cells.write(torch.tensor([0.4, 0.4]))
    cells.pulse(torch.tensor([37, -37]))
    z = 0.4 - 1.0
    up = 1 - (1 - z) * (1 - 0.015) ** 37
    down = -1 + (1 + z) * (1 - 0.005) ** 37
    assert cells.g.tolist() == pytest.approx([1 + up, 1 + down], rel=1e-6)


def test_asymmetry_scales_both_directions():
    device = ConstantStep(**UNIT, asymmetry=0.25)
    assert one_pulse(device, 1.0, 1) == pytest.approx(0.0125)
    assert one_pulse(device, 1.0, -1) == pytest.approx(-0.0075)


def test_asymmetry_spread_beyond_one_does_not_turn_a_step_round():
    device = ConstantStep(**UNIT, asymmetry=Spread(Normal(0.0, 2.0)))
    cells = device.fabricate((1000,), dtype=torch.float64)
    cells.write(torch.ones(()))
    cells.pulse(1)
    assert (cells.g >= 1).all()
    assert (cells.g == 1).any()


def test_d2d_spreads_the_step():
    cells = ConstantStep(**UNIT, d2d=0.2).fabricate((20_000,), seed=3, dtype=torch.float64)
    cells.pulse(1)
    assert abs(cells.g.mean() / 0.01 - 1) < 4 * 0.2 / 20_000**0.5
    assert abs(cells.g.std() / 0.002 - 1) < 4 / 40_000**0.5
    assert (cells.g > 0).all()


def test_bounds_are_each_cells_own():
    device = ConstantStep(g_min=0.0, g_max=Spread(Normal(2.0, 0.2), low=1.0), step=0.5)
    cells = device.fabricate((500,), dtype=torch.float64)
    cells.pulse(100)
    assert torch.equal(cells.g, cells.parameter("g_max"))
    assert cells.g.std() > 0.1


def test_balance_point_of_noisy_soft_bounds():
    # Alternating pulses drift to where set and reset steps are equal, the centre of the window.
    cells = SoftBoundsDevice(**UNIT, c2c=0.3, d2d=0.3).fabricate((2000,), seed=1)
    cells.write(torch.full((2000,), 1.9))
    for _ in range(250):
        cells.pulse(1)
        cells.pulse(-1)
    assert abs(float(cells.g.mean()) - 1.0) < 0.02


@pytest.mark.parametrize(
    ("kind", "change", "match"),
    [
        (ConstantStep, {"step": 0.0}, "step must be > 0"),
        (ConstantStep, {"asymmetry": 1.5}, "asymmetry must be >= -1 and <= 1"),
        (ConstantStep, {"g_min": 2e-4}, "g_min must be < g_max"),
        (ConstantStep, {"c2c": -1.0}, "c2c must be >= 0"),
        (ConstantStep, {"step": Spread(Normal(1.0, 0.1)), "d2d": 0.1}, "either d2d or a Spread"),
        (LinearStep, {"slope_set": 1.1}, "slope_set"),
        (PowStep, {"exponent_reset": -1.0}, "exponent_reset must be >= 0"),
        (ExpStep, {"amplitude_set": -0.1}, "amplitude_set must be >= 0"),
        (PiecewiseStep, {"factors_set": (1.0,)}, "factors_set must have at least 2"),
        (PiecewiseStep, {"factors_reset": (1.0, -1.0)}, r"factors_reset\[1\] must be >= 0"),
        (PiecewiseStep, {"factors_reset": (0.0, 0.0)}, "must not be all 0"),
    ],
)
def test_bad_values_are_refused(kind, change, match):
    with pytest.raises(ValueError, match=match):
        kind(**change)


def test_unlike_parameters_of_the_two_directions_keep_double_precision():
    device = PowStep(g_min=0.0, g_max=1.0, step=0.01, exponent_set=1.7, exponent_reset=2.3)
    g = torch.tensor([0.3, 0.6], dtype=torch.float64)
    for up, ahead, power in ((True, 1.0 - g, 1.7), (False, g, 2.3)):
        found = device.change(g, torch.full((2,), up), device.constants())
        expected = (1.0 if up else -1.0) * 0.01 * (2.0 * ahead) ** power
        torch.testing.assert_close(found, expected, rtol=1e-13, atol=0.0)


SHIFTED = {"g_min": 0.5, "g_max": 2.5, "asymmetry": 0.2}  # place z = g − 1.5


def ways(g, sign, n, step, slope, c2c):
    """Where n pulses lead that are each a deviation too large or too small: 2ⁿ ends.

    Such noise has the mean and the variance of any other, so that all ends together have those of
    the train: they grow linearly, whatever the noise.
    """
    ends = []
    for noise in itertools.product((-1.0, 1.0), repeat=n):
        at = g
        for each in noise:
            at += (
                sign * step * (1 + 0.2 * sign) * (1 - slope * sign * (at - 1.5)) * (1 + c2c * each)
            )
        ends.append(at)
    return ends


@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("kind", "slopes"),
    [
        (ConstantStep, (0.0, 0.0)),
        (SoftBoundsDevice, (1.0, 1.0)),
        (LinearStep, (0.7, -0.4)),
        (LinearStep, (-0.4, 0.7)),
        (LinearStep, (0.0, 0.0)),
    ],
)
def test_deviation_of_a_train_is_that_of_all_its_ways(kind, slopes, sign, n):
    own = {"slope_set": slopes[0], "slope_reset": slopes[1]} if kind is LinearStep else {}
    device = kind(**SHIFTED, step=0.15, c2c=0.4, **own)
    g = torch.tensor([0.9, 1.5, 1.8], dtype=torch.float64)
    found = device.burst_std(g, torch.tensor([n * sign] * 3).double(), device.constants())
    slope = slopes[0] if sign > 0 else slopes[1]
    wanted = [statistics.pstdev(ways(float(at), sign, n, 0.15, slope, 0.4)) for at in g]
    # A slope of 0 is computed as one of a thousandth.
    assert found.tolist() == pytest.approx(wanted, rel=1e-9 if slope or not own else 2e-3)


def test_deviation_of_trains_that_arrive():
    # A step over all that is left: one pulse varies by its own noise; after many, nothing is left.
    device = SoftBoundsDevice(g_min=0.5, g_max=2.5, step=1.0, c2c=0.2)
    g, cell = torch.tensor([0.9, 1.5], dtype=torch.float64), device.constants()
    one = device.burst_std(g, torch.ones(2, dtype=torch.float64), cell)
    assert one.tolist() == pytest.approx([0.2 * 1.6, 0.2 * 1.0], rel=1e-6)
    slow = device.replace(step=0.1)
    for count, device in ((0, slow), (10**6, slow), (10**6, slow.replace(c2c=3.0))):
        found = device.burst_std(g, torch.full_like(g, count), device.constants())
        assert bool(found.isfinite().all())
        assert count or found.tolist() == [0.0, 0.0]
    assert found.tolist() == [0.0, 0.0]
