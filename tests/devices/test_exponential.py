"""The exponential device and the nonlinearity label."""

import math
from pathlib import Path

import mpmath
import numpy as np
import pytest
import torch
from scipy import optimize

from mho.devices import exponential
from mho.devices.exponential import ExponentialDevice, curvature, nonlinearity

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def label_by_definition(k):
    """The label from the maximum over p, found numerically."""

    def minus_deviation(p):
        return p - np.expm1(-k * p) / np.expm1(-k)

    best = optimize.minimize_scalar(
        minus_deviation, bounds=(0, 1), method="bounded", options={"xatol": 1e-12}
    )
    return -best.fun / (0.07 * math.sqrt(2))


@pytest.mark.parametrize("label", [0.01, 0.1, 0.5, 1.0, 2.4, 4.88, 7.0, 9.0])
def test_label_against_brentq_on_the_definition(label):
    k = optimize.brentq(lambda k: label_by_definition(k) - label, 1e-4, 60.0, xtol=1e-13)
    solved = float(curvature(torch.tensor(label, dtype=torch.float64)))
    assert solved == pytest.approx(k, rel=1e-6)
    assert float(nonlinearity(torch.tensor(solved, dtype=torch.float64))) == pytest.approx(
        label, rel=1e-9
    )


def greatest_deviation(k):
    """The deviation's closed form, to 40 digits: where doubles cancel there is none left."""
    e = -mpmath.expm1(-k)
    return 1 / e - 1 / k + mpmath.log(e / k) / k


@pytest.mark.parametrize("k", [1e-5, 3e-3, 9.9e-3, 0.0101, 0.3, 4.0, 48.0])
def test_the_deviation_and_its_slope_to_forty_digits(k):
    with mpmath.workdps(40):
        value = greatest_deviation(mpmath.mpf(k))
        slope = mpmath.diff(greatest_deviation, mpmath.mpf(k))
    given = torch.tensor(k, dtype=torch.float64)
    assert float(exponential._deviation(given)) == pytest.approx(float(value), rel=2e-11, abs=0.0)
    assert float(exponential._slope(given)) == pytest.approx(float(slope), rel=3e-9, abs=0.0)


def test_newton_starts_close_enough_for_two_steps(monkeypatch):
    # Steps of infinite slope go nowhere: what is left is the start.
    labels = torch.cat((torch.linspace(1e-3, 9.0, 5001), torch.tensor([1e-7, 0.0315, 0.0316])))
    solved = curvature(labels.double())
    monkeypatch.setattr(exponential, "_slope", lambda k: torch.full_like(k, math.inf))
    # Between nodes, 0.025 apart, the line is off by at most 0.025²/8 · |D''/D'| < 1e-4.
    assert float((curvature(labels.double()) - solved).abs().max()) < 1e-4


def test_published_values():
    # A/P_max of the labels 0.01 and 9.00 in the field's table, to the digits printed there.
    a = 1 / curvature(torch.tensor([0.01, 9.0], dtype=torch.float64))
    assert float(a[0]) == pytest.approx(126.26897, rel=1e-6)
    assert float(a[1]) == pytest.approx(0.02281, abs=5e-6)


def test_whole_published_table():
    table = DATA / "xbtorch_tables" / "analytical" / "paramAdata.txt"
    if not table.is_file():
        pytest.skip(f"the field's table is not here: {table}")
    labels = torch.arange(1, 901, dtype=torch.float64) / 100
    solved = (1 / curvature(labels)).numpy()
    # It prints five decimals.
    assert np.abs(solved - np.loadtxt(table)).max() < 1.1e-5


def test_curvature_is_odd_and_zero_at_zero():
    labels = torch.linspace(-9, 9, 37, dtype=torch.float64)
    assert torch.allclose(curvature(labels), -curvature(-labels), rtol=1e-14)
    assert float(curvature(torch.zeros(()))) == 0.0


@pytest.mark.parametrize("g_min", [0.0, 3e-9, 2e-8])
def test_curve_is_the_published_formula(g_min):
    device = ExponentialDevice(
        g_min=g_min, nonlinearity_set=2.4, nonlinearity_reset=-4.88, levels=100
    )
    cells = device.fabricate((101,), dtype=torch.float64)
    cells.pulse(torch.arange(101))
    p = np.arange(101)
    a = 100 / optimize.brentq(lambda k: label_by_definition(k) - 2.4, 0.1, 50)
    b = (device.g_max - device.g_min) / (1 - np.exp(-100 / a))
    expected = b * (1 - np.exp(-p / a)) + device.g_min
    np.testing.assert_allclose(cells.g.numpy(), expected, rtol=1e-7)


def test_reset_with_a_negative_label_falls_steeply_from_the_top():
    device = ExponentialDevice(
        g_min=0.0, g_max=1.0, nonlinearity_set=3.0, nonlinearity_reset=-3.0, levels=10
    )
    up, down = device.fabricate((11,), dtype=torch.float64), device.fabricate((11,))
    up.pulse(torch.arange(11))
    down.write(torch.ones(11))
    down.pulse(-torch.arange(11))
    # The mirrored label makes the mirrored curve.
    assert torch.allclose(down.g.double(), 1 - up.g, atol=1e-6)
    assert up.g[1] > 0.2


def test_equal_positive_labels_retrace_the_set_curve():
    device = ExponentialDevice(nonlinearity_set=3.0, nonlinearity_reset=3.0, levels=50)
    cells = device.fabricate((), dtype=torch.float64)
    cells.pulse(20)
    there = cells.g.clone()
    cells.pulse(17)
    cells.pulse(-17)
    assert torch.allclose(cells.g, there, rtol=1e-12, atol=0.0)


def test_label_zero_is_linear():
    cells = ExponentialDevice(g_min=0.0, g_max=1.0, levels=8).fabricate((9,), dtype=torch.float64)
    cells.pulse(torch.arange(9))
    assert torch.allclose(cells.g, torch.arange(9, dtype=torch.float64) / 8, atol=1e-15)


def test_d2d_spreads_the_labels_and_c2c_the_pulses():
    device = ExponentialDevice(
        g_min=0.0, g_max=1.0, nonlinearity_set=2.0, nonlinearity_reset=-3.0, d2d=0.3, levels=100
    )
    cells = device.fabricate((20_000,), seed=4, dtype=torch.float64)
    for name, mean in (("nonlinearity_set", 2.0), ("nonlinearity_reset", -3.0)):
        drawn = cells.parameter(name)
        assert abs(drawn.mean() - mean) < 4 * 0.3 / 20_000**0.5
        assert abs(drawn.std() / 0.3 - 1) < 4 / 40_000**0.5
    # Each cell walks its own curve.
    cells.pulse(50)
    k = cells.parameters_drawn()["curvature_set"]
    assert torch.allclose(cells.g, torch.expm1(-k / 2) / torch.expm1(-k), rtol=1e-9, atol=0.0)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"nonlinearity_set": 9.5}, r"nonlinearity_set must be >= -9 and <= 9, got 9.5"),
        ({"nonlinearity_reset": math.nan}, "nonlinearity_reset"),
        ({"g_min": 1.0}, "g_min must be < g_max"),
        ({"g_min": -1e-9}, "g_min must be >= 0"),
        ({"c2c": -0.1}, "c2c must be >= 0"),
        ({"d2d": -0.1}, "d2d must be >= 0"),
        ({"levels": 0}, "levels must be >= 1"),
        ({"levels_reset": 0}, "levels_reset must be >= 1"),
    ],
)
def test_bad_values_are_refused(change, match):
    with pytest.raises(ValueError, match=match):
        ExponentialDevice(**change)


def test_bad_types_and_labels_are_refused():
    with pytest.raises(TypeError, match="levels must be an integer"):
        ExponentialDevice(levels=10.0)
    with pytest.raises(TypeError, match="nonlinearity_set must be a number"):
        ExponentialDevice(nonlinearity_set="steep")
    with pytest.raises(ValueError, match="nonlinearity must be"):
        curvature(torch.tensor([1.0, 12.0]))
