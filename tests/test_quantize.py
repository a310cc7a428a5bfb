"""Quantisers against tables worked by hand and formulas written out anew."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mho.periphery import ADC, DAC
from mho.periphery import quantize as q


def test_uniform_by_hand():
    # 3 bits: levels -3 … 3 of 1/3; half a step goes to the even level.
    x = torch.tensor([-9.0, -1.0, -0.5, -0.2, -0.1, 0.0, 0.1, 0.2, 0.5, 0.84, 1.0, 9.0]).double()
    level = [-3, -3, -2, -1, 0, 0, 0, 1, 2, 3, 3, 3]
    assert torch.allclose(q.uniform(x, 3, 1.0), torch.tensor(level).double() / 3)


def test_unsigned_by_hand():
    x = torch.tensor([-0.4, 0.0, 0.1, 0.2, 0.5, 0.9, 1.7]).double()
    assert (q.uniform(x, 2, 1.0, signed=False) * 3).round().tolist() == [0, 0, 0, 1, 2, 3, 3]


def test_one_bit_is_the_sign():
    x = torch.tensor([-3.0, -0.1, -0.0, 0.0, 0.1, 3.0])
    assert q.uniform(x, 1, 0.5).tolist() == [-0.5, -0.5, 0.5, 0.5, 0.5, 0.5]


def test_one_unsigned_bit_is_on_or_off():
    x = torch.tensor([-1.0, 0.2, 0.49, 0.51, 2.0])
    assert q.uniform(x, 1, 1.0, signed=False).tolist() == [0.0, 0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("bits", range(1, 9))
def test_levels(bits):
    assert q.levels(bits) == ((-1, 1) if bits == 1 else (1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1))
    assert q.levels(bits, signed=False) == (0, 2**bits - 1)


def test_bits_below_one_and_strange_rounding_are_refused():
    with pytest.raises(ValueError, match="bits"):
        q.uniform(torch.zeros(1), 0, 1.0)
    with pytest.raises(ValueError, match="rounding"):
        q.uniform(torch.zeros(1), 4, 1.0, rounding="up")


@given(x=st.floats(-5, 5), bits=st.integers(2, 12), limit=st.floats(0.01, 10), signed=st.booleans())
def test_uniform_is_nearest_and_idempotent(x, bits, limit, signed):
    found = q.uniform(torch.tensor([x]).double(), bits, limit, signed=signed)
    step = limit / (2 ** (bits - 1) - 1 if signed else 2**bits - 1)
    inside = min(max(x, -limit if signed else 0.0), limit)
    assert abs(float(found) - inside) <= step / 2 * (1 + 1e-9)
    assert torch.allclose(q.uniform(found, bits, limit, signed=signed), found, atol=0.0)


@pytest.mark.parametrize("x", [0.05, 0.31, -0.77, 0.999, -1.0])
def test_stochastic_rounding_is_unbiased(x):
    n, bits = 100_000, 3
    source = torch.Generator().manual_seed(1)
    draw = q.uniform(
        torch.full((n,), x).double(), bits, 1.0, rounding="stochastic", generator=source
    )
    # A Bernoulli between two neighbouring levels, of variance p (1 - p) step².
    step = 1 / 3
    p = x / step - math.floor(x / step)
    error = step * math.sqrt(max(p * (1 - p), 1e-12) / n)
    assert abs(float(draw.mean()) - x) <= 4 * error + 1e-9
    assert len(draw.unique()) <= 2


def test_stochastic_rounding_follows_its_generator():
    x = torch.rand(100)
    a, b = (
        q.uniform(x, 4, 1.0, rounding="stochastic", generator=torch.Generator().manual_seed(3))
        for _ in range(2)
    )
    assert torch.equal(a, b)


def test_gradient_is_straight_through_and_zero_where_clipped():
    x = torch.tensor([-1.2, -0.9, -0.1, 0.0, 0.4, 0.99, 1.3], requires_grad=True)
    (grad,) = torch.autograd.grad(q.uniform(x, 4, 1.0).sum(), x)
    assert grad.tolist() == [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]


def test_sign_gradient_is_the_clip_s():
    x = torch.tensor([-1.2, -0.9, 0.0, 0.4, 1.3], requires_grad=True)
    (grad,) = torch.autograd.grad(q.sign_ste(x, 1.0).sum(), x)
    assert grad.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize("bits", [2, 3, 5, 8])
@pytest.mark.parametrize("largest", [0.3, 1.0, 1.7, 1e-6])
def test_linear_is_the_fixed_point_formula(bits, largest):
    x = (torch.rand(1000, dtype=torch.float64) * 2 - 1) * largest
    x[0] = largest
    sf = 1 - bits + math.ceil(math.log2(largest))
    level = [
        min(max(math.floor(v / 2**sf + 0.5), -(2 ** (bits - 1))), 2 ** (bits - 1) - 1)
        for v in x.tolist()
    ]
    wanted = torch.tensor(level).double() * 2.0**sf
    found = ADC(bits, method="linear").convert(x.clone(), torch.tensor(largest).double())
    assert torch.equal(found, wanted)


def test_minmax_by_hand():
    x = torch.tensor([-1.0, -0.4, 0.1, 2.0]).double()
    adc = ADC(2, method="minmax")
    found = converted(adc, x)
    assert torch.allclose(found, torch.tensor([-1.0, 0.0, 0.0, 2.0]).double())
    constant = torch.full((4,), 0.3)
    assert torch.allclose(converted(adc, constant), constant)


def test_log_levels_are_a_geometric_series():
    x = torch.logspace(-5, 0.5, 2001, dtype=torch.float64)
    limit = torch.tensor(1.0).double()
    found = ADC(4, method="log", decades=2.0).convert(x, limit)
    values = torch.unique(found.round(decimals=12))
    values = values[values > 0]
    ratio = values[1:] / values[:-1]
    assert float(values.max()) == pytest.approx(1.0)
    assert torch.allclose(ratio, ratio[:1].expand_as(ratio), rtol=1e-9)
    # Relative error is bounded by half a (logarithmic) step inside the range.
    inside = (x >= values.min()) & (x <= 1.0)
    error = (found[inside].log() - x[inside].log()).abs()
    assert error.max() <= float(ratio[0].log()) / 2 * (1 + 1e-9)


def test_tanh_is_finer_near_zero():
    x = torch.linspace(-1, 1, 200_001, dtype=torch.float64)
    values = torch.unique(
        ADC(4, method="tanh").convert(x, torch.tensor(1.0).double()).round(decimals=9)
    )
    gaps = values.diff()
    middle = len(gaps) // 2
    assert gaps[middle] < gaps[0]
    assert (gaps[middle:].diff() > -1e-9).all()
    assert float(values.max()) == pytest.approx(1.0, abs=1e-6)


def converted(adc, x, limit=1.0):
    """Convert at a full scale; the min–max methods span the values themselves."""
    if adc.ranged:
        return adc.convert(x * 1.0, torch.tensor(limit).to(x))
    currents = x.view(1, 1, 1, -1)  # the lines of one vector
    return adc.convert(currents * 1.0, adc.measure([currents])).flatten()


METHODS = ("uniform", "linear", "log", "minmax", "log_minmax", "tanh")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_b_bits_give_at_most_two_to_the_b_values(method, bits):
    magnitude = torch.logspace(-6, 0, 4001, dtype=torch.float64)
    x = torch.cat((magnitude, -magnitude, torch.linspace(-1, 1, 4001).double()))
    found = converted(ADC(bits, method=method), x)
    assert len(torch.unique(found.round(decimals=10))) <= 2**bits


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bits", [2, 5])
def test_converters_are_monotonic_and_keep_the_sign(method, bits):
    x = torch.linspace(-2, 2, 4001, dtype=torch.float64)
    found = converted(ADC(bits, method=method), x)
    assert (found.diff() >= -1e-12).all()
    if method != "minmax":
        assert (found * x >= 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_more_bits_are_nearer(method):
    x = torch.randn(2000, dtype=torch.float64)
    limit = float(x.abs().max())
    errors = [
        float((converted(ADC(bits, method=method), x, limit) - x).square().mean())
        for bits in (2, 4, 6, 8, 10)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bits", [1, 4])
def test_converters_pass_gradients_inside_the_range(method, bits):
    x = torch.tensor([-0.7, -0.2, 0.3, 0.6], dtype=torch.float64, requires_grad=True)
    found = converted(ADC(bits, method=method), x)
    (grad,) = torch.autograd.grad(found.sum(), x)
    assert torch.isfinite(grad).all()
    assert (grad > 0.2).all()
    if method != "tanh":
        assert torch.allclose(grad, torch.ones(4).double())


DRIVERS = [
    DAC(bits, mode="bit_serial", signed=signed, code=code)
    for bits in (2, 3, 4, 8)
    for signed in (True, False)
    for code in ("sign_magnitude", "twos_complement")
] + [DAC(1, mode="bit_serial"), DAC(1, mode="bit_serial", signed=False)]


@pytest.mark.parametrize("dac", DRIVERS, ids=repr)
def test_bit_planes_sum_to_the_level(dac):
    low, high = q.levels(dac.bits, signed=dac.signed)
    level = torch.arange(low, high + 1).double()
    if dac.bits == 1 and dac.signed:
        level = level[level != 0]  # one signed bit has no zero
    level.requires_grad_()
    planes, weight = dac.planes(level)
    allowed = {0.0, 1.0} if not dac.signed or dac.code == "twos_complement" else {-1.0, 0.0, 1.0}
    assert set(planes.unique().tolist()) <= allowed
    total = (planes * weight.view(-1, 1)).sum(0)
    assert torch.equal(total, level)
    (grad,) = torch.autograd.grad(total.sum(), level)
    assert torch.allclose(grad, torch.ones_like(grad))


def test_drivers_by_hand():
    x = torch.tensor([-2.0, -1.0, -0.5, 0.2, 0.5, 1.0, 2.0]).double()
    assert DAC(3).to_levels(x, 1.0).tolist() == [-3, -3, -2, 1, 2, 3, 3]
    assert DAC(2, signed=False).to_levels(x, 1.0).tolist() == [0, 0, 0, 1, 2, 3, 3]
    assert DAC(1).to_levels(x, 1.0).tolist() == [-1, -1, -1, 1, 1, 1, 1]
    assert torch.equal(DAC().to_levels(x, 2.0), x / 2)
    assert DAC(3, v_max=0.3).v_step == pytest.approx(0.1)
    assert DAC(3, v_max=0.3, mode="bit_serial").v_step == pytest.approx(0.3)


def test_ideal_drivers_have_no_planes():
    with pytest.raises(ValueError, match="planes"):
        DAC().planes(torch.zeros(1))


def test_magnitude_of_nothing_is_one():
    assert float(q.magnitude(torch.empty(0))) == 1.0
    assert float(q.magnitude(torch.zeros(3))) == 1.0
    assert float(q.magnitude(torch.tensor([-3.0, 2.0]))) == 3.0
