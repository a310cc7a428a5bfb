"""Estimates against scipy and against closed forms."""

import numpy as np
import pytest
from scipy import optimize

from mho.fit.estimates import Estimate, Estimates


def test_the_errors_of_a_line_are_those_of_the_textbook():
    rng = np.random.default_rng(0)
    x = np.linspace(0.0, 1e-9, 50)
    y = 3.0 + 4e9 * x + 0.1 * rng.standard_normal(50)
    p, covariance = optimize.curve_fit(
        lambda x, a, b: a + b * x, x, y, sigma=np.full(50, 0.1), absolute_sigma=True
    )
    jacobian = np.stack([np.ones(50), x], 1)
    found = Estimates.of_residuals(("a", "b"), p, jacobian, 0.01)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-5)
    assert found.correlation[0, 1] == pytest.approx(
        covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]), rel=1e-5
    )


def test_what_no_residual_depends_on_is_not_known():
    jacobian = np.stack([np.ones(10), np.zeros(10)], 1)
    found = Estimates.of_residuals(("a", "b"), [1.0, 2.0], jacobian, 0.1)
    assert found["a"].error == pytest.approx(0.1)
    assert np.isnan(found["b"].error)


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(1.94321, 0.0123), "1.943 ± 0.012"),
        (Estimate(1.94321e-6, 1.2e-9), "1.9432e-06 ± 1.2e-09"),
        (Estimate(-0.61, float("nan")), "-0.61"),
        (Estimate(0.0, 0.5), "0 ± 0.5"),
    ],
)
def test_values_are_printed_to_the_digits_that_count(estimate, text):
    assert str(estimate) == text


def test_names_are_keys():
    found = Estimates(("a",), np.array([1.0]), np.array([[4.0]]))
    assert dict(found) == {"a": Estimate(1.0, 2.0)}
    assert str(found) == "a = 1 ± 2"
