"""Number formats against torch's own small floats, tables worked by hand, and statistics."""

import copy
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mho.core import random
from mho.core.spec import Spec
from mho.periphery import formats
from mho.periphery.formats import BlockFloat, FixedPoint, FloatFormat
from mho.plot.quantiser import transfer_curve

SIGMAS = 5.0
OWN = [
    (formats.FLOAT16, torch.float16),
    (formats.BFLOAT16, torch.bfloat16),
    (formats.FLOAT8_E5M2, torch.float8_e5m2),
    (formats.FLOAT8_E4M3, torch.float8_e4m3fn),
]
EVERY = [FixedPoint(6, 3), FloatFormat(4, 3), BlockFloat(5), BlockFloat(5, dim=1)]


def all_floats(stride=16381):
    """Every 16381st float32 there is: subnormals, infinities and NaN among them."""
    bits = np.arange(0, 2**32, stride, dtype=np.uint64).astype(np.uint32)
    return torch.from_numpy(bits.view(np.float32).copy())


def same_bits(a, b):
    both_nan = a.isnan() & b.isnan()
    return ((a == b) & (a.signbit() == b.signbit())) | both_nan


@pytest.mark.parametrize(("number", "dtype"), OWN, ids=lambda x: str(x))
def test_small_floats_are_torchs_bit_for_bit(number, dtype):
    x = all_floats()
    # The smallest numbers, ties between neighbours, and what is next to a tie.
    exact = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float()
    ties = exact[:, None] * torch.tensor([1.0, 1.0625, 1.0 + 2**-8, 1.0 + 2**-9, 1.0 - 2**-12])
    x = torch.cat((x, ties.flatten(), ties.flatten() * 2.0**-9, ties.flatten() * 2.0**-130))
    expected = x.to(dtype).float()
    # Whether E4M3, which has no infinity, saturates is not the same in all versions of torch.
    inside = x.abs() <= 464.0 if number.finite else torch.ones_like(x, dtype=torch.bool)
    inside |= x.isnan()
    found = number.replace(saturate=False)(x)
    assert inside.sum() > 10_000
    assert same_bits(found, expected)[inside].all()
    assert number.largest == torch.finfo(dtype).max
    assert number.smallest == torch.finfo(dtype).smallest_normal


def test_overflow():
    x = torch.tensor([464.0, 465.0, -1e9, math.inf, -math.inf, math.nan])
    nan = math.nan
    loose, tight = formats.FLOAT8_E4M3.replace(saturate=False), formats.FLOAT8_E4M3
    assert torch.equal(loose(x).nan_to_num(7.0), torch.tensor([448.0, 7.0, 7.0, 7.0, 7.0, 7.0]))
    found = tight(x)
    assert found[:5].tolist() == [448.0, 448.0, -448.0, 448.0, -448.0]
    assert math.isnan(found[5])
    x = torch.tensor([61439.0, 61440.0, -1e9, math.inf, nan])
    ieee = formats.FLOAT8_E5M2.replace(saturate=False)(x)
    assert ieee[:4].tolist() == [57344.0, math.inf, -math.inf, math.inf]
    assert math.isnan(ieee[4])
    assert formats.FLOAT8_E5M2(x)[:4].tolist() == [57344.0, 57344.0, -57344.0, 57344.0]


def test_without_subnormals_there_is_nothing_between_zero_and_the_smallest():
    number = FloatFormat(3, 2, subnormals=False)
    assert number.smallest == 0.25
    x = torch.tensor([0.05, 0.125, 0.126, -0.2, 0.25, 0.29, 0.3])
    assert number(x).tolist() == [0.0, 0.0, 0.25, -0.25, 0.25, 0.3125, 0.3125]


@given(
    x=st.floats(-1e4, 1e4, width=32),
    exponent=st.integers(2, 8),
    mantissa=st.integers(1, 12),
    finite=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_float_formats_take_the_nearest_of_all_their_numbers(x, exponent, mantissa, finite):
    number = FloatFormat(exponent, mantissa, finite=finite and exponent < 8)
    found = Fraction(float(number(torch.tensor([x]).double())))
    inside = Fraction(min(max(x, -number.largest), number.largest))
    # The spacing there, by exact arithmetic.
    bottom = 2 - 2 ** (exponent - 1)
    e = max(math.frexp(abs(float(inside)))[1] - 1, bottom) if x else bottom
    step = Fraction(2) ** (e - mantissa)
    assert abs(found - inside) <= step / 2
    assert found / step == int(found / step)


def test_fixed_point_by_hand():
    # Four bits, two behind the point: -2 … 1.75 in steps of 0.25, halves to even.
    x = torch.tensor([-9.0, -2.1, -0.375, -0.125, 0.125, 0.375, 0.4, 1.74, 1.9, 9.0])
    table = [-2.0, -2.0, -0.5, 0.0, 0.0, 0.5, 0.5, 1.75, 1.75, 1.75]
    assert FixedPoint(4, 2)(x).tolist() == table
    symmetric = FixedPoint(4, 2, symmetric=True)
    assert symmetric(x).tolist() == [-1.75, -1.75, *table[2:]]
    assert FixedPoint(4, 2, clamp=False)(x)[[0, 1, 9]].tolist() == [-9.0, -2.0, 9.0]
    unsigned = FixedPoint(4, 2, signed=False)
    assert unsigned(x)[[0, 4, 8, 9]].tolist() == [0.0, 0.0, 2.0, 3.75]
    assert unsigned.range == (0.0, 3.75)
    assert FixedPoint(3, -2)(torch.tensor([5.0, 7.0, 99.0])).tolist() == [4.0, 8.0, 12.0]


def test_block_float_by_hand():
    # Three bits: the largest, 5, is 4 … 8, so the step is 2 and words -3 … 3.
    x = torch.tensor([[5.0, 1.1, -0.9], [0.3, -0.05, 0.0]])
    assert BlockFloat(3)(x).tolist() == [[4.0, 2.0, 0.0], [0.0, 0.0, 0.0]]
    # Row by row: 0.3 is 0.25 … 0.5, its row's step is 0.125.
    assert BlockFloat(3, dim=0)(x).tolist() == [[4.0, 2.0, 0.0], [0.25, 0.0, 0.0]]
    assert BlockFloat(3, dim=-2)(x).tolist() == BlockFloat(3, dim=0)(x).tolist()
    assert BlockFloat(3)(torch.tensor([7.9, -8.1])).tolist() == [8.0, -8.0]
    assert BlockFloat(3)(torch.tensor([7.9, 1.0])).tolist() == [6.0, 0.0]


def test_blocks_of_zeros_and_nothing():
    assert BlockFloat(8, dim=0)(torch.zeros(2, 3)).tolist() == [[0.0] * 3] * 2
    assert BlockFloat(8)(torch.zeros(0, 3)).shape == (0, 3)
    assert FixedPoint(8, 4)(torch.zeros(0)).shape == (0,)


@pytest.mark.parametrize("number", EVERY, ids=str)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_rounding_twice_changes_nothing_and_keeps_the_dtype(number, dtype):
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    kept = x.clone()
    once = number(x)
    assert once.dtype == dtype
    assert torch.equal(number(once), once)
    assert torch.equal(x, kept)
    assert torch.equal(number(-x), -once)


@pytest.mark.parametrize("count", [20_000, 300_000], ids=["few", "bulk"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("fraction", [1 / 16, 0.3125, 0.75])
def test_stochastic_rounding_has_the_fractions_probability(count, dtype, fraction):
    number = FixedPoint(8, 0, rounding="stochastic")
    x = torch.full((count,), 3 + fraction, dtype=dtype)
    found = number(x, random.stream(1)).double()
    assert set(found.tolist()) == {3.0, 4.0}
    error = math.sqrt(fraction * (1 - fraction) / count)
    assert abs(float(found.mean()) - 3 - fraction) < SIGMAS * error


def test_bulk_rounding_does_not_lose_the_smallest_fractions():
    # A fraction of 2^-19 is below what sixteen bits can tell.
    number = FixedPoint(8, 0, rounding="stochastic")
    rng, x, p = random.stream(0), torch.full((2**20,), 2.0**-19), 2.0**-19
    calls = 64
    ups = sum(float(number(x, rng).sum()) for _ in range(calls))
    expected = calls * len(x) * p
    # Within one call numbers share the rest, so calls count, each up with probability 2^-3.
    deviation = math.sqrt(calls * (1 / 8) * (16**2 + 16))
    assert ups > 0
    assert abs(ups - expected) < SIGMAS * deviation


def test_bulk_rounding_draws_independent_numbers():
    found = FixedPoint(8, 0, rounding="stochastic")(torch.full((2**18,), 0.5), random.stream(0))
    found = (found - 0.5) * 2
    for lag in (1, 2, 4, 2**16):
        together = float((found[:-lag] * found[lag:]).mean())
        assert abs(together) < SIGMAS / math.sqrt(len(found) - lag)


def test_stochastic_rounding_keeps_integers_and_repeats_with_its_stream():
    number = FixedPoint(12, 4, rounding="stochastic")
    x = torch.randint(-1000, 1000, (400_000,)) / 16
    rng = random.stream(3)
    assert torch.equal(number(x, rng), x)
    assert rng.tolist() == [3, 1]
    y = torch.randn(70_000)
    assert torch.equal(number(y, random.stream(5)), number(y, random.stream(5)))
    assert not torch.equal(number(y, random.stream(5)), number(y, random.stream(6)))
    assert torch.equal(
        number(y, torch.Generator().manual_seed(1)), number(y, torch.Generator().manual_seed(1))
    )
    assert torch.equal(
        number(y.view(10, -1).T, random.stream(5)).isfinite().all(), torch.tensor(True)
    )


@pytest.mark.parametrize(
    "number",
    [FloatFormat(3, 2, rounding="stochastic"), BlockFloat(4, rounding="stochastic")],
    ids=str,
)
def test_stochastic_rounding_of_other_formats_is_unbiased(number):
    n = 40_000
    values = torch.tensor([0.013, 0.3, -0.77, 1.3, 6.9])
    found = number(values.expand(n, 5).contiguous(), torch.Generator().manual_seed(0))
    error = found.std(0) / math.sqrt(n)
    assert ((found.mean(0) - values).abs() < SIGMAS * error + 1e-6).all()


def test_gradients_are_straight_through_and_zero_where_clipped():
    x = torch.tensor([-2.3, -2.1, 0.3, 1.8, 1.9], requires_grad=True)
    FixedPoint(4, 2)(x).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]
    x = torch.tensor([-500.0, 450.0, 0.3], requires_grad=True)
    formats.FLOAT8_E4M3(x).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 1.0]
    x = torch.tensor([-500.0, 450.0, 0.3], requires_grad=True)
    BlockFloat(4)(x).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("number", EVERY, ids=str)
def test_gradients_per_sample(number):
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    x.requires_grad_()
    number(x).square().sum().backward()
    per_sample = torch.func.grad(lambda x: number(x).square().sum())(x.detach())
    assert torch.equal(per_sample, x.grad)


def test_functions_and_modules():
    x = torch.tensor([0.2, 0.7, 3.0], requires_grad=True)
    found = formats.apply(lambda x: x.round().clamp(max=2), x)
    assert found.tolist() == [0.0, 1.0, 2.0]
    found.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 1.0]
    x.grad = None
    formats.apply(torch.nn.Hardtanh(), x).sum().backward()  # a module keeps its own gradient
    assert x.grad.tolist() == [1.0, 1.0, 0.0]
    assert formats.apply(None, x) is x
    with pytest.raises(ValueError, match=r"shape \[3\]"):
        formats.apply(lambda x: x[:1], x)
    with pytest.raises(TypeError, match="result"):
        formats.apply(lambda x: 3, x)


@pytest.mark.parametrize("number", [*EVERY, formats.FLOAT8_E4M3], ids=str)
def test_formats_are_specs(number):
    assert Spec.from_dict(number.to_dict()) == number
    assert copy.deepcopy(number) == number
    assert hash(number) == hash(copy.copy(number))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FixedPoint(0, 0), "word"),
        (lambda: FixedPoint(8, 4, rounding="up"), "rounding"),
        (lambda: FixedPoint(1, 0, symmetric=True), "symmetric"),
        (lambda: FloatFormat(1, 2), "exponent"),
        (lambda: FloatFormat(9, 2), "exponent"),
        (lambda: FloatFormat(4, 24), "mantissa"),
        (lambda: FloatFormat(4, 0, finite=True), "mantissa"),
        (lambda: FloatFormat(8, 2, finite=True), "finite"),
        (lambda: BlockFloat(1), "word"),
        (lambda: BlockFloat(8, dim=3)(torch.zeros(2, 2)), "dim"),
        (lambda: FixedPoint(8, 4, rounding="stochastic")(torch.zeros(2)), "stream"),
    ],
)
def test_bad_values_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: FixedPoint(8.0, 4),
        lambda: FixedPoint(8, 4, signed=1),
        lambda: FixedPoint(8, 4)(torch.tensor([1])),
        lambda: FixedPoint(8, 4)(0.5),
        lambda: formats.check("weights", 3),
        lambda: formats.check("weights", FixedPoint),
    ],
)
def test_bad_types_are_refused(make):
    with pytest.raises(TypeError):
        make()


def test_transfer_curves():
    pytest.importorskip("matplotlib").use("agg")
    ax = transfer_curve(FixedPoint(3, 1), -3, 3, gradient=True, label="fixed")
    _, curve, slope = ax.lines
    x, y = curve.get_data()
    assert np.array_equal(y, np.clip(np.round(x * 2), -4, 3) / 2)
    assert curve.get_label() == "fixed"
    assert np.array_equal(slope.get_ydata(), ((x >= -2.25) & (x <= 1.75)).astype(float))
    ax = transfer_curve(FixedPoint(3, 1, rounding="stochastic"), -1, 1, points=101)
    x, mean = ax.lines[1].get_data()
    assert np.abs(mean - x).max() < SIGMAS * 0.25 / math.sqrt(200)
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert set(band) == {-1.0, -0.5, 0.0, 0.5, 1.0}
    assert transfer_curve(lambda x: x.sign(), points=3).lines[1].get_ydata().tolist() == [-1, 0, 1]
    with pytest.raises(ValueError, match="high"):
        transfer_curve(FixedPoint(3, 1), 1, 1)
    with pytest.raises(TypeError, match="quantiser"):
        transfer_curve(8)
