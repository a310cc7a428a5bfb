"""Stochastic parameters: statistics in standard errors, and the documented behaviour."""

import copy
import math
import pickle
import warnings

import numpy as np
import pytest
import torch
from scipy import stats

from mho.compat.memtorch.bh.StochasticParameter import (
    Dict2Obj,
    StochasticParameter,
    unpack_parameters,
)


def test_many_cells_in_one_draw():
    parameter = StochasticParameter(loc=100.0, scale=10.0, min=0)
    drawn = parameter.sample((200, 100))
    assert drawn.shape == (200, 100)
    error = 10 / math.sqrt(drawn.numel())
    assert abs(drawn.mean() - 100) < 4 * error
    assert abs(drawn.std() - 10) < 4 * error
    assert stats.kstest(drawn.flatten().numpy(), stats.norm(100, 10).cdf).pvalue > 1e-3


def test_the_seed_of_torch_decides():
    parameter = StochasticParameter(loc=100.0, scale=10.0)
    torch.manual_seed(3)
    first = parameter(), parameter.sample((4,))
    torch.manual_seed(3)
    assert parameter() == first[0]
    assert torch.equal(parameter.sample((4,)), first[1])


def test_bounds_hold_and_the_mean_is_the_distributions():
    parameter = StochasticParameter(loc=0.0, scale=5.0, max=3.0)
    drawn = parameter.sample((10_000,))
    assert drawn.min() == 0.0
    assert drawn.max() == 3.0
    assert abs(float((drawn == 0).float().mean()) - 0.5) < 0.02
    assert type(parameter(return_mean=True).item()) is float
    assert parameter(return_mean=True) == 0.0
    assert type(parameter()) is float


def test_a_value_instead_of_a_generator():
    assert type(StochasticParameter(loc=1.0, scale=0.1, function=False)) is float


def test_other_distributions():
    parameter = StochasticParameter(torch.distributions.Uniform, low=2.0, high=4.0)
    drawn = parameter.sample((4000,))
    assert 2 <= drawn.min() < 2.01
    assert 3.99 < drawn.max() <= 4
    assert parameter(return_mean=True) == 3.0
    assert "Uniform" in repr(parameter)


def test_no_spread_at_all_is_a_spread():
    assert StochasticParameter(loc=7.0, scale=0)() == 7.0


def test_the_documented_example_in_the_wrong_order():
    with pytest.warns(UserWarning, match="other way round"):
        parameter = StochasticParameter(min=1e3, max=1e2)
    drawn = parameter.sample((10_000,))
    assert drawn.min() >= 100
    assert drawn.max() <= 1000
    assert parameter(return_mean=True) == 550
    assert abs(drawn.mean() - 550) < 4 * 150 / 100
    assert abs(drawn.std() - 150) < 5


@pytest.mark.parametrize(
    "arguments",
    [{"invalid_arg": None}, {"loc": 1.0}, {}, {"loc": 1.0, "scale": 1.0, "low": 2.0}],
)
def test_missing_and_unknown_parameters_are_refused(arguments):
    with pytest.raises(ValueError, match="Normal"):
        StochasticParameter(**arguments)
    with pytest.raises(AssertionError, match="distribution"):
        StochasticParameter(int, **arguments)


def test_generators_are_copied_and_saved():
    parameter = StochasticParameter(loc=10.0, scale=1.0, max=11.0)
    for other in (copy.deepcopy(parameter), pickle.loads(pickle.dumps(parameter))):
        torch.manual_seed(1)
        first = other()
        torch.manual_seed(1)
        assert parameter() == first


def build(r_on, r_off, other=3, reference=False, **tolerances):
    arguments = {"r_on": r_on, "r_off": r_off, "other": other, "reference": reference}
    return unpack_parameters(arguments, **tolerances)


def test_unpacking_draws_what_is_stochastic():
    args = build(StochasticParameter(loc=100.0, scale=1.0), 1e4, other=torch.sin)
    assert args.r_on != 100
    assert abs(args.r_on - 100) < 6
    assert args.r_off == 1e4
    assert args.other is torch.sin
    assert build(StochasticParameter(loc=100.0, scale=1.0), 1e4, reference=True).r_on == 100


def test_unpacking_locals_of_a_constructor():
    class Model:
        def __init__(self, r_on=50, spread=None, **kwargs):
            args = unpack_parameters(locals())
            self.r_on, self.spread = args.r_on, args.spread

    assert Model(spread=StochasticParameter(loc=2.0, scale=0.0)).spread == 2.0
    drawn = StochasticParameter(loc=2.0, scale=1.0)
    assert Model(spread=drawn, reference=True).spread == 2.0
    assert Model(spread=lambda return_mean=False: 5.0 if return_mean else 6.0).spread == 6.0


def test_resistances_that_are_too_close_are_drawn_again():
    torch.manual_seed(0)
    near = StochasticParameter(loc=100.0, scale=10.0)
    args = build(near, 100.0, r_abs_tol=5.0, resample_threshold=100)
    assert abs(args.r_on - 100) > 5
    with pytest.raises(ValueError, match="too close"):
        build(1.0, 1.0)
    with pytest.raises(AssertionError, match="after 5 new draws"):
        build(StochasticParameter(loc=1, scale=0), StochasticParameter(loc=1, scale=0))
    with pytest.raises(ValueError, match="too close"):
        build(100.0, 101.0, r_rel_tol=0.1)
    with pytest.raises(AssertionError, match="not both"):
        build(1.0, 2.0, r_rel_tol=0.1, r_abs_tol=0.1)
    with pytest.raises(AssertionError, match="resample_threshold"):
        build(1.0, 2.0, resample_threshold=-1)


def test_objects_of_dictionaries():
    thing = Dict2Obj({"a": 1, "__class__": int})
    assert thing.a == 1
    assert type(thing) is Dict2Obj


def test_all_names_hang_on_the_function_too():
    # The function and its module have one name; both of what is documented must be reachable.
    assert StochasticParameter.unpack_parameters is unpack_parameters
    assert StochasticParameter.StochasticParameter is StochasticParameter
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        StochasticParameter.StochasticParameter(loc=1.0, scale=1.0)


def test_numpys_numbers_are_numbers():
    given = {"loc": np.float32(5), "scale": np.int64(0)}
    drawn = StochasticParameter(min=np.float64(1), max=np.array(9), **given)
    assert drawn() == 5.0
    assert drawn(return_mean=True) == 5.0
    assert drawn.sample((2, 3)).shape == (2, 3)
    many = StochasticParameter(loc=np.array(5.0), scale=np.array([1.0])).sample((4,))
    assert many.shape == (4,)
    assert build(1.0, 2.0, resample_threshold=np.int64(3)).r_on == 1.0
