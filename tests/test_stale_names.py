"""The warning that weights have changed since they were programmed says of which layer."""

import copy
import pickle
import warnings

import pytest
import torch
from torch import nn

import mho


def changed(model, x, where):
    with torch.no_grad():
        where.weight.mul_(2.0)
    with pytest.warns(UserWarning, match="has changed since it was programmed") as found:
        model.eval()(x)
    return str(found[0].message)


def network():
    return nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 4)))


def test_it_says_the_name_in_the_model_that_was_converted():
    analog = mho.convert(network(), mho.Hardware())
    message = changed(analog, torch.rand(2, 4), analog[1][1])
    assert message.startswith("'1.1' (Linear): weight has changed")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        analog(torch.rand(2, 4))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_keep_it(copied):
    analog = copied(mho.convert(network(), mho.Hardware()))
    assert "'1.1' (Linear)" in changed(analog, torch.rand(2, 4), analog[1][1])


def test_converted_again_as_part_of_another_model_it_has_the_new_name():
    inner = mho.convert(network(), mho.Hardware())
    outer = mho.convert(nn.Sequential(nn.ReLU(), inner), mho.Hardware(dac=mho.DAC(8)))
    assert "'1.1.1' (Linear)" in changed(outer, torch.rand(2, 4), outer[1][1][1])


def test_a_layer_alone_has_its_type_only():
    layer = mho.nn.Linear(4, 4, hardware=mho.Hardware())
    assert changed(layer, torch.rand(2, 4), layer).startswith("Linear: weight has changed")
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    parametrized = mho.convert(normed, mho.Hardware())
    with torch.no_grad():
        parametrized.parametrizations.weight.original0.mul_(2.0)
    with pytest.warns(UserWarning, match=r"^Linear: "):
        parametrized.eval()(torch.rand(2, 4))
