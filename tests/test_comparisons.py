"""Comparisons that cannot fail are found: `comparisons.py`."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies

import comparisons

F64 = torch.float64
AMPERES = torch.tensor([2e-6, -1e-6])


def compared(one, other, **tolerances):
    torch.testing.assert_close(one, other, **tolerances)


def close(one, other, **tolerances):
    assert torch.allclose(one, other, **tolerances)


def near_each(one, other, **tolerances):
    assert torch.isclose(one, other, **tolerances).all()


def close_arrays(one, other, **tolerances):
    assert np.allclose(one.numpy(), other.numpy(), **tolerances)


def near_each_array(one, other, **tolerances):
    assert np.isclose(one.numpy(), other.numpy(), **tolerances).all()


def compared_arrays(one, other, **tolerances):
    np.testing.assert_allclose(one.numpy(), other.numpy(), **tolerances)


def approximate(one, other, rtol=None, atol=None):
    assert one.tolist() == pytest.approx(other.tolist(), rel=rtol, abs=atol)


WAYS = [
    compared,
    close,
    near_each,
    close_arrays,
    near_each_array,
    compared_arrays,
    approximate,
]
# Of numbers of this size the tolerance each has by itself is most.
TINY = dict(zip(WAYS, (1e-7, 1e-8, 1e-8, 1e-8, 1e-8, 0.0, 1e-12), strict=True))


@pytest.mark.parametrize("way", WAYS)
def test_a_tolerance_as_large_as_the_numbers_is_refused(way):
    tiny, other = torch.tensor([2e-13, 1e-13], dtype=F64), torch.tensor([2e-13, 0.9e-13], dtype=F64)
    with pytest.raises(comparisons.CannotFailError, match=r"largest number expected is 2e-13, and"):
        way(other, tiny, rtol=1e-9, atol=1e-12)
    way(tiny.clone(), tiny, rtol=1e-9, atol=0.0)
    with pytest.raises(AssertionError):
        way(other, tiny, rtol=1e-9, atol=0.0)
    if TINY[way]:
        with pytest.raises(comparisons.CannotFailError, match=f"and {TINY[way]:g} is allowed"):
            way(other, tiny)
    else:
        with pytest.raises(AssertionError):
            way(other, tiny)


@pytest.mark.parametrize("way", WAYS)
def test_a_tolerance_between_what_is_half_as_large_again_and_what_is_there(way):
    one = torch.tensor([1.0, 0.1], dtype=F64)
    way(one.clone(), one, rtol=0.0, atol=0.49)
    with pytest.raises(comparisons.CannotFailError):
        way(one.clone(), one, rtol=0.0, atol=0.5)
    with pytest.raises(comparisons.CannotFailError):
        way(one.clone(), one, rtol=0.1, atol=0.5)
    way(one.clone(), one, rtol=0.9, atol=0.0)  # a factor is what the test wants


# 1e-12, as `approx` has it, is little beside a current.
@pytest.mark.parametrize("way", [way for way in WAYS if TINY[way] > 1e-12])
def test_zero_by_a_default_is_refused(way):
    zero = torch.zeros(3, dtype=F64)
    with pytest.raises(comparisons.CannotFailError, match="nothing but zeros"):
        way(zero.clone(), zero)
    way(zero + 1e-15, zero, atol=1e-14, rtol=0.0)
    one = torch.tensor([0.0, 1.0], dtype=F64)
    way(one.clone(), one)


def test_the_default_goes_by_the_dtype():
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        with pytest.raises(comparisons.CannotFailError, match="1e-05 is allowed"):
            compared(AMPERES.to(dtype), AMPERES.to(dtype))
    compared(torch.tensor([1e-3]), torch.tensor([1e-3]))
    compared(AMPERES.to(torch.int64), AMPERES.to(torch.int64))


def test_values_of_a_mapping_are_judged_one_by_one_and_lists_as_a_whole():
    tensors = {"large": torch.ones(2), "small": AMPERES}
    with pytest.raises(comparisons.CannotFailError):
        compared(dict(tensors), tensors)
    with pytest.raises(comparisons.CannotFailError):
        compared([*tensors.values()], [*tensors.values()])
    with pytest.raises(comparisons.CannotFailError):
        pytest.approx({"power": 1.0, "energy": 1e-13})
    compared([1.0, 1e-9], [1.0, 1e-9])
    assert pytest.approx([1.0, 1e-13, 0.0]) == [1.0, 1e-13, 0.0]


def test_what_is_not_finite_and_what_is_no_number_has_no_size():
    expected = torch.tensor([math.inf, math.nan, 1e-6])
    with pytest.raises(comparisons.CannotFailError, match="1e-06"):
        compared(expected.clone(), expected, equal_nan=True)
    compared(expected[:2].clone(), expected[:2], equal_nan=True)
    compared(torch.empty(0), torch.empty(0))
    assert pytest.approx({"name": "a", "size": 2.0, "none": None}) == {
        "name": "a",
        "size": 2.0,
        "none": None,
    }


def test_only_comparisons_that_pass_and_are_tests_are_judged():
    assert not torch.allclose(2.0 * AMPERES, torch.full((2,), 1.0))
    with pytest.raises(AssertionError):
        compared(torch.ones(2), AMPERES)
    elsewhere = {"allclose": torch.allclose, "one": AMPERES}
    exec(compile("found = allclose(one, one)", "elsewhere.py", "exec"), elsewhere)
    assert elsewhere["found"]


def test_compiled_code_compares_as_ever():
    @torch.compile(fullgraph=True, backend="eager")
    def scaled(x):
        return x * torch.isclose(x, x.flip(0)).sum()

    assert scaled(torch.tensor([2e-6, 2e-6])).tolist() == pytest.approx([4e-6, 4e-6])


@given(x=strategies.just(1e-9))
def test_what_is_drawn_may_be_of_any_size(x):
    assert math.expm1(x) == pytest.approx(x, abs=1e-6)
    with pytest.raises(comparisons.CannotFailError):
        compared(torch.tensor(x), torch.tensor(x))
