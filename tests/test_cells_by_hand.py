"""Spreads inside of bounds, and errors of programming that add up, against SciPy and by hand."""

import pytest
import scipy.stats
import torch
from torch.distributions import Gamma, Normal

from mho.devices import Spread

F64 = torch.float64


@pytest.mark.parametrize(("low", "high"), [(None, None), (0.8, None), (None, 1.4), (0.8, 1.4)])
def test_quantiles_are_those_of_the_distribution_cut_at_its_bounds(low, high):
    spread = Spread(Normal(1.0, 0.5), low=low, high=high, shared="a cause")
    score = torch.linspace(-3.0, 3.0, 31, dtype=F64)
    a, b = (
        end if bound is None else (bound - 1.0) / 0.5
        for bound, end in ((low, -float("inf")), (high, float("inf")))
    )
    wanted = scipy.stats.truncnorm.ppf(scipy.stats.norm.cdf(score), a, b, loc=1.0, scale=0.5)
    assert spread.quantile(score).tolist() == pytest.approx(wanted.tolist(), rel=1e-9)


def test_bounds_that_leave_nothing_are_refused():
    spread = Spread(Normal(1.0, 0.5), low=9.0, high=9.1, shared="a cause")
    with pytest.raises(ValueError, match="no draw"):
        spread.quantile(torch.zeros(1))


def test_a_shared_cause_needs_a_quantile_function():
    Spread(Normal(1.0, 0.5), shared="a cause")
    with pytest.raises(ValueError, match="cdf and icdf"):
        Spread(Gamma(2.0, 1.0), shared="a cause")
