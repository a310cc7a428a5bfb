"""Comparisons that cannot fail are errors.

Currents and conductances are some 1e-6, and `torch.testing.assert_close` allows 1e-5 by itself: it
finds any two of them equal. So what tests compare with looks at its tolerances too (`guard`): an
absolute one of half of the largest number expected, or more, also lets pass what is half as large
again; and a zero has no size at all, so that who compares with zero has to say what counts as zero.
What hypothesis draws may be of any size: there a tolerance that the test says stands.
"""

import functools
import math
import sys
from collections.abc import Mapping
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from torch import Tensor

TESTS = str(Path(__file__).resolve().parent)
TAKEN = 0.5  # of the largest number, the part from which on a tolerance is none

# What `torch.testing.assert_close` allows by itself: relative, absolute.
BY_DTYPE = {
    "float16": (1e-3, 1e-5),
    "bfloat16": (1.6e-2, 1e-5),
    "float32": (1.3e-6, 1e-5),
    "float64": (1e-7, 1e-7),
    "complex64": (1.3e-6, 1e-5),
    "complex128": (1e-7, 1e-7),
}


class CannotFailError(Exception):
    """A comparison that passes whatever the code gives."""


def guard():
    """Have what tests compare with look at its tolerances, for the rest of this process."""
    torch.testing.assert_close = judging(torch.testing.assert_close, by_dtype)
    for module, name, relative, absolute in (
        (torch, "allclose", 1e-5, 1e-8),
        (torch, "isclose", 1e-5, 1e-8),
        (np, "allclose", 1e-5, 1e-8),
        (np, "isclose", 1e-5, 1e-8),
        (np.testing, "assert_allclose", 1e-7, 0.0),
    ):
        allowed = functools.partial(always, relative, absolute)
        setattr(module, name, judging(getattr(module, name), allowed))
    pytest.approx = judging_approx(pytest.approx)


def judging(function, allowed):
    """A comparison that is judged where it passes; ``allowed`` gives what it allows by itself."""

    @functools.wraps(function)
    def compare(one, other, *tolerances, **rest):
        result = function(one, other, *tolerances, **rest)
        if torch.compiler.is_compiling():
            return result
        failed = isinstance(result, bool | np.bool_) and not result
        if not failed and called_by_a_test():
            given = {**dict(zip(("rtol", "atol"), tolerances, strict=False)), **rest}
            for pair in zip(numbers(one), numbers(other), strict=False):
                relative, absolute = allowed(*pair)
                relative = relative if given.get("rtol") is None else given["rtol"]
                said = given.get("atol") is not None
                judge(pair[1], relative, given["atol"] if said else absolute, said)
        return result

    return compare


def judging_approx(approx):
    """`pytest.approx`, judged by what is expected."""

    @functools.wraps(approx)
    def expect(expected, rel=None, abs=None, nan_ok=False):
        if called_by_a_test():
            relative = (1e-6 if abs is None else 0.0) if rel is None else rel
            for each in numbers(expected):
                judge(each, relative, 1e-12 if abs is None else abs, said=True)
        return approx(expected, rel=rel, abs=abs, nan_ok=nan_ok)

    return expect


def called_by_a_test():
    """Whether the function that asks was called from a file of the tests; others know best."""
    return sys._getframe(2).f_code.co_filename.startswith(TESTS)


def always(relative, absolute, _one, _other):
    """Tolerances that go by no dtype."""
    return relative, absolute


def by_dtype(*pair):
    """Tolerances of `torch.testing.assert_close`: the larger ones of the two dtypes."""
    kinds = [each.dtype if hasattr(each, "dtype") else np.asarray(each).dtype for each in pair]
    found = [BY_DTYPE.get(str(kind).removeprefix("torch."), (0.0, 0.0)) for kind in kinds]
    return max(relative for relative, _ in found), max(absolute for _, absolute in found)


def numbers(value):
    """What is compared by itself: tensors, arrays, values of a mapping, lists of numbers."""
    if isinstance(value, Mapping):
        return [each for part in value.values() for each in numbers(part)]
    if isinstance(value, list | tuple) and not all(isinstance(v, int | float) for v in value):
        return [each for part in value for each in numbers(part)]
    return [value]


def judge(expected, relative, absolute, said):
    """Refuse a comparison that passes whatever the code gives (`CannotFailError`).

    Args:
        expected: a tensor, an array, numbers.
        relative: tolerance, a fraction.
        absolute: tolerance.
        said: whether the test says the absolute one.
    """
    if not absolute or (said and hypothesis.currently_in_test_context()):
        return
    size = largest(expected)
    if size is None:
        return
    if size == 0.0 and not said:
        raise CannotFailError(
            f"this comparison cannot fail: nothing but zeros is expected, and the {absolute:g} "
            "allowed by itself may be more than the quantity ever is; say what is zero "
            "(atol, abs), or compare exactly"
        )
    if absolute >= (TAKEN - min(relative, TAKEN)) * size > 0.0:
        raise CannotFailError(
            f"this comparison cannot fail: the largest number expected is {size:g}, and "
            f"{absolute:g} is allowed; give atol=0.0 and a fitting rtol, or near()"
        )


def largest(expected):
    """The largest finite magnitude of numbers; None where there is none."""
    if isinstance(expected, Tensor):
        expected = expected.detach()
        size = float(expected.abs().max()) if expected.numel() else math.nan
        if math.isfinite(size):
            return size
        expected = expected.cpu().to_dense().resolve_conj().double().numpy()
    expected = np.asarray(expected)
    if expected.dtype.kind not in "biufc":
        return None
    magnitudes = np.abs(expected[np.isfinite(expected)])
    return float(magnitudes.max()) if magnitudes.size else None
