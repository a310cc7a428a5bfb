"""Encodings against their equations, worked by hand or written out anew."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mho.encoding import BitSliced, Differential, Scaling, SingleColumn, Ternary, WeightedPairs
from naive import combine, parts_of

G_MIN, G_MAX = 1e-6, 101e-6

ENCODINGS = [
    Differential(),
    Differential(Scaling(per_column=True)),
    Differential(Scaling(percentile=90.0)),
    Differential(subtract="digital"),
    SingleColumn(),
    SingleColumn(Scaling(percentile=80.0, per_column=True)),
    BitSliced(bits=8, bits_per_cell=2),
    BitSliced(Scaling(per_column=True), bits=5, bits_per_cell=4),
    BitSliced(bits=2, bits_per_cell=1),
    BitSliced(bits=6, bits_per_cell=2, add="analog"),
    SingleColumn(group=2),
    SingleColumn(Scaling(per_column=True), group=3),
    WeightedPairs(),
    WeightedPairs(Scaling(per_column=True), (1.0, 3.0, 7.5), add="analog"),
    Ternary(),
    Ternary(Scaling(per_column=True), subtract="digital"),
]
encodings = pytest.mark.parametrize("encoding", ENCODINGS, ids=repr)

numbers = st.floats(-10.0, 10.0, width=32).map(lambda v: 0.0 if abs(v) < 1e-3 else v)
matrices = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9),
    elements=numbers,
).map(torch.from_numpy)


def limits(weight, scaling):
    """The weight that fills the range, for every column, with numpy."""
    magnitude = np.abs(weight.numpy())
    groups = magnitude.T if scaling.per_column else [magnitude.ravel()]
    found = []
    for group in groups:
        ordered = np.sort(group)
        rank = min(max(round(scaling.percentile / 100 * len(ordered)), 1), len(ordered))
        limit = ordered[rank - 1] or ordered[-1] or 1.0
        found.append(limit)
    return torch.tensor(np.broadcast_to(found, weight.shape[1:]).copy())


@encodings
@given(weight=matrices)
def test_decode_gives_back_the_weight_within_resolution(encoding, weight):
    decoded = encoding.decode(*encoding.encode(weight, G_MIN, G_MAX))
    if isinstance(encoding, Ternary):
        return  # see test_ternary
    limit = limits(weight, encoding.scaling)
    clipped = torch.minimum(torch.maximum(weight, -limit), limit)
    step = limit / (2 ** (encoding.bits - 1) - 1) if isinstance(encoding, BitSliced) else 0 * limit
    assert ((decoded - clipped).abs() <= step / 2 + 3e-6 * limit).all()


@encodings
@given(weight=matrices, g_min=st.sampled_from([0.0, 1e-6, 5e-5]))
def test_conductances_stay_in_the_window(encoding, weight, g_min):
    g, scale = encoding.encode(weight, g_min, G_MAX)
    assert g.min() >= g_min * (1 - 1e-6)
    assert g.max() <= G_MAX * (1 + 1e-6)
    assert g.min() >= 0.0
    assert torch.isfinite(scale).all()
    assert (scale > 0).all()


@encodings
@given(weight=matrices)
def test_weight_is_scale_times_the_sum_of_slices(encoding, weight):
    g, scale = encoding.encode(weight.double(), G_MIN, G_MAX)
    analog, _ = parts_of(encoding)
    rows = []
    for i in range(g.shape[1]):
        seen = [
            [sum(a * float(g[s, i, j]) for s, a in enumerate(row)) for j in range(g.shape[2])]
            for row in analog
        ]
        rows.append(combine(encoding, seen))
    by_hand = torch.tensor(rows, dtype=torch.float64) * scale
    assert torch.allclose(encoding.decode(g, scale), by_hand, rtol=1e-9, atol=1e-12)
    c = [
        sum(d * row[s] for d, row in zip(parts_of(encoding)[1], analog, strict=True))
        for s in range(len(g))
    ]
    assert list(encoding.combination) == c


@encodings
def test_all_zero_weights(encoding):
    g, scale = encoding.encode(torch.zeros(4, 3), G_MIN, G_MAX)
    assert torch.isfinite(scale).all()
    assert torch.allclose(encoding.decode(g, scale), torch.zeros(4, 3), atol=1e-6)
    if not isinstance(encoding, SingleColumn):
        assert torch.allclose(g, torch.full_like(g, G_MIN), atol=0.0)


@encodings
def test_one_zero_column_does_not_disturb_the_others(encoding):
    weight = torch.randn(6, 3)
    weight[:, 1] = 0.0
    decoded = encoding.decode(*encoding.encode(weight, G_MIN, G_MAX))
    assert torch.isfinite(decoded).all()
    assert torch.allclose(decoded[:, 1], torch.zeros(6), atol=1e-5)


@encodings
def test_gradient_is_one_even_at_exact_zero(encoding):
    weight = torch.randn(7, 4, dtype=torch.float64)
    weight[2, :] = 0.0
    weight[3, 1] = -0.0
    limit = limits(weight, encoding.scaling)
    weight.requires_grad_()
    upstream = torch.randn(7, 4, dtype=torch.float64)
    decoded = encoding.decode(*encoding.encode(weight, G_MIN, G_MAX))
    (grad,) = torch.autograd.grad(decoded, weight, upstream)
    wanted = upstream * (1.0 if isinstance(encoding, Ternary) else (weight.abs() <= limit))
    assert torch.allclose(grad, wanted, rtol=1e-9)


def test_differential_by_hand():
    g, scale = Differential().encode(torch.tensor([[2.0, -1.0], [0.0, 0.5]]), 0.0, 1.0)
    assert g.tolist() == [[[1.0, 0.0], [0.0, 0.25]], [[0.0, 0.5], [0.0, 0.0]]]
    assert float(scale) == 2.0


def test_single_column_by_hand():
    g, scale = SingleColumn().encode(torch.tensor([[2.0, -1.0], [0.0, -2.0]]), 0.0, 1.0)
    assert g.tolist() == [[[1.0, 0.25, 0.5], [0.5, 0.0, 0.5]]]
    assert float(scale) == 4.0


def test_bit_sliced_by_hand():
    # 7 = 0b0111 = 13₄, -4 = -10₄, 5 = 11₄; digits of 2 bits on cells with 3 steps of 1 S.
    weight = torch.tensor([[7.0, -4.0, 5.0, 0.0]])
    g, scale = BitSliced(bits=4, bits_per_cell=2).encode(weight, 0.0, 3.0)
    plus0, minus0, plus1, minus1 = g[:, 0].tolist()
    assert plus0 == [3.0, 0.0, 1.0, 0.0]
    assert minus0 == [0.0, 0.0, 0.0, 0.0]
    assert plus1 == [1.0, 0.0, 1.0, 0.0]
    assert minus1 == [0.0, 1.0, 0.0, 0.0]
    assert float(scale) == 1.0


@pytest.mark.parametrize(("bits", "per_cell"), [(2, 1), (3, 2), (4, 3), (8, 1), (8, 3), (12, 4)])
def test_bit_sliced_keeps_integers_exactly(bits, per_cell):
    top = 2 ** (bits - 1) - 1
    integers = torch.arange(-top, top + 1, dtype=torch.float64).view(1, -1)
    encoding = BitSliced(bits=bits, bits_per_cell=per_cell)
    g, scale = encoding.encode(integers, G_MIN, G_MAX)
    assert torch.allclose(encoding.decode(g, scale), integers, rtol=1e-12, atol=1e-9)
    # Every cell stands on one of 2^bits_per_cell levels.
    levels = (g - G_MIN) / (G_MAX - G_MIN) * (2**per_cell - 1)
    assert torch.allclose(levels, levels.round(), atol=1e-9)
    assert len(g) == 2 * math.ceil((bits - 1) / per_cell)


def test_bit_sliced_rounds_to_nearest():
    weight = torch.randn(20, 10, dtype=torch.float64)
    encoding = BitSliced(bits=4, bits_per_cell=2)
    found = encoding.decode(*encoding.encode(weight, G_MIN, G_MAX))
    step = weight.abs().max() / 7
    assert torch.allclose(found, (weight / step).round() * step)


@given(
    trits=hnp.arrays(np.int8, st.tuples(st.integers(1, 8), st.integers(1, 8)),
                     elements=st.integers(-1, 1)),
    size=st.floats(1e-3, 1e3),
)  # fmt: skip
def test_ternary_keeps_ternary_weights(trits, size):
    weight = torch.from_numpy(trits).double() * size
    encoding = Ternary()
    g, scale = encoding.encode(weight, G_MIN, G_MAX)
    assert torch.allclose(encoding.decode(g, scale), weight, rtol=1e-9, atol=0.0)
    at_ends = (g == G_MIN) | torch.isclose(g, torch.full_like(g, G_MAX))
    assert at_ends.all()


def test_ternary_as_ternary_weight_networks():
    weight = torch.randn(30, 20, dtype=torch.float64)
    found = Ternary().decode(*Ternary().encode(weight, G_MIN, G_MAX))
    w = weight.numpy()
    kept = np.abs(w) >= 0.7 * np.abs(w).mean()
    wanted = np.where(kept, np.sign(w) * np.abs(w[kept]).mean(), 0.0)
    assert np.allclose(found.numpy(), wanted)


def test_percentile_clips():
    weight = torch.arange(-50.0, 51.0, dtype=torch.float64).view(-1, 1)  # |w|: 0, 1, 1, 2, 2 …
    encoding = Differential(Scaling(percentile=90.0))
    g, scale = encoding.encode(weight, G_MIN, G_MAX)
    rank = round(0.9 * 101)
    limit = sorted(abs(int(w)) for w in weight)[rank - 1]
    assert torch.allclose(encoding.decode(g, scale), weight.clamp(-limit, limit), atol=0.0)
    assert float(g.max()) == pytest.approx(G_MAX)


def test_per_column_scales_fill_every_column():
    weight = torch.tensor([[1.0, 0.01], [-0.5, -0.02]], dtype=torch.float64)
    g, scale = Differential(Scaling(per_column=True)).encode(weight, G_MIN, G_MAX)
    assert torch.allclose(scale, torch.tensor([1.0, 0.02]).double() / (G_MAX - G_MIN))
    assert torch.allclose(g.amax((0, 1)), torch.full((2,), G_MAX).double(), atol=0.0)


def test_percentile_of_mostly_zero_weights_keeps_the_rest():
    weight = torch.zeros(100, 1)
    weight[0] = 3.0
    encoding = Differential(Scaling(percentile=50.0))
    assert torch.allclose(encoding.decode(*encoding.encode(weight, G_MIN, G_MAX)), weight)


@pytest.mark.parametrize("per_column", [False, True])
def test_weights_that_are_all_zero_are_scaled_as_if_the_largest_were_one(per_column):
    weight = torch.zeros(4, 2, dtype=torch.float64)
    weight[:, 1] = torch.tensor([0.5, -2.0, 0.0, 1.0])
    limit = Scaling(per_column=per_column).limit(weight[:, :1])
    assert (limit == 1.0).all()
    if per_column:
        assert Scaling(per_column=True).limit(weight).tolist() == [1.0, 2.0]
