"""The Simmons tunnel-barrier model at currents where its factors leave every float's range."""

import math

import pytest
import torch
from scipy.integrate import quad

from mho.devices.pickett import Pickett

DEVICE = Pickett()
P = DEVICE.parameters()


def log_rate(x, current):
    """``ln |dx/dt|`` of the docstring's equation, for currents (A) of at least 1 nA."""
    w = P.w_off - x * (P.w_off - P.w_on)
    size = abs(current)
    c, scale, beyond = (
        (P.c_off, P.i_off, w - P.a_off) if current > 0 else (P.c_on, P.i_on, P.a_on - w)
    )
    a = size / scale
    log_sinh = a + math.log1p(-math.exp(-2 * a)) - math.log(2)
    stop = math.exp(beyond / P.w_c - size / P.b)
    return math.log(c / (P.w_off - P.w_on)) + log_sinh - stop - w / P.w_c


@pytest.mark.parametrize("x", [0.2, 0.5, 0.9, 0.9375, 1.0])
@pytest.mark.parametrize("v", [-0.8, -0.3, 0.3, 2.0])
@pytest.mark.parametrize("kind", ["float", "tensor"])
def test_rates_are_those_of_the_equation_in_logarithms(x, v, kind):
    state, volts = x, v
    if kind == "tensor":
        state, volts = torch.tensor(x, dtype=torch.float64), torch.tensor(v, dtype=torch.float64)
    current = float(DEVICE.current_at(state, volts, P))
    rate = float(DEVICE.rate(state, DEVICE.drive(volts, P), P))
    expected = log_rate(x, current)
    if expected > -300.0:
        assert math.log(abs(rate)) == pytest.approx(expected, abs=1e-6)
        assert math.copysign(1.0, rate) == -math.copysign(1.0, v)
    else:
        assert abs(rate) < 1e-100


def test_without_current_nothing_moves():
    x = torch.linspace(0, 1, 5, dtype=torch.float64)
    assert not DEVICE.rate(x, DEVICE.drive(torch.zeros(5).double(), P), P).any()
    assert DEVICE.rate(0.5, (0.0,), P) == 0.0


def test_a_set_pulse_takes_the_time_of_the_quadrature():
    # t = ∫ dx / (dx/dt) from 0.5 to 1: 5.4 ms, most of it in the first tenth.
    def slowness(x):
        return math.exp(-log_rate(x, float(DEVICE.current_at(x, -0.8, P))))

    time = quad(slowness, 0.5, 1.0, epsabs=0.0, epsrel=1e-8, limit=500, points=[0.51, 0.6])[0]
    assert time == pytest.approx(5.4e-3, rel=0.02)
    cells = DEVICE.fabricate((2,), dtype=torch.float64)
    cells.x = torch.full((2,), 0.5, dtype=torch.float64)
    cells.apply_pulse(-0.8, torch.tensor([0.98, 1.02], dtype=torch.float64) * time)
    assert 0.5 < float(cells.x[0]) < 0.9
    assert float(cells.x[1]) == 1.0


def test_float32_stays_finite():
    x = torch.linspace(0, 1, 11)
    for v in (-5.0, -0.8, 0.8, 5.0):
        assert DEVICE.rate(x, DEVICE.drive(torch.full((11,), v), P), P).isfinite().all()
