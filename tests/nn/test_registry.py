"""Layers of one's own: registered, converted, taken off the list."""

import copy

import pytest
import torch
from torch import nn

import mho
from mho import Hardware
from mho.testing import LayerContract


class Scaled(nn.Module):
    """A torch layer of somebody's: ``y = s (x W)``."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs))
        self.s = nn.Parameter(torch.rand(outputs) + 0.5)

    def forward(self, x):
        return self.s * (x @ self.weight)


class OnCrossbar(mho.nn.AnalogLayer):
    """The same on a crossbar."""

    kind = Scaled

    def matrices(self):
        return {"crossbar": self.weight}

    def forward(self, x):
        return self.s * self.read("crossbar", x)

    def to_digital(self):
        crossbar = self.crossbar
        layer = Scaled(*self.weight.shape)
        layer.weight = nn.Parameter((crossbar.effective_weight * crossbar.gain).detach())
        layer.s = nn.Parameter(self.s.detach().clone())
        return layer.train(self.training)


@pytest.fixture
def known():
    with mho.nn.register(OnCrossbar) as handle:
        yield handle


@pytest.mark.usefixtures("known")
class TestRegistered(LayerContract):
    def layer(self):
        return Scaled(5, 4)

    def inputs(self):
        return (torch.randn(2, 3, 5),)


def model():
    return nn.Sequential(nn.Linear(5, 5), Scaled(5, 4))


def converted():
    return set(mho.layers(mho.convert(model(), Hardware())))


@pytest.mark.filterwarnings("ignore:left digital")
def test_it_is_converted_until_it_is_removed():
    assert converted() == {"0"}
    handle = mho.nn.register(OnCrossbar)
    try:
        assert converted() == {"0", "1"}
        assert mho.nn.registered()[Scaled] is OnCrossbar
        assert repr(handle) == "Scaled is converted to OnCrossbar"
        analog = mho.convert(model(), Hardware(), skip=Scaled)
        assert mho.summary(analog).digital[0].reason == "not selected"
    finally:
        handle.remove()
    assert converted() == {"0"}
    handle.remove()  # once more does nothing
    assert Scaled not in mho.nn.registered()


def test_what_is_listed_is_a_copy():
    mho.nn.registered().clear()
    assert mho.nn.registered()[nn.Linear] is mho.nn.Linear


@pytest.mark.filterwarnings("ignore:left digital")
@pytest.mark.usefixtures("known")
def test_the_rules_of_forward_hold():
    class Alike(Scaled):
        pass

    class Other(Scaled):
        def forward(self, x):
            return x

    patched = Scaled(5, 5)
    patched.forward = lambda x: x
    stack = nn.Sequential(Alike(5, 5), Other(5, 5), patched)
    assert set(mho.layers(mho.convert(stack, Hardware()))) == {"0"}


def test_the_nearest_base_counts():
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    class OnDouble(mho.nn.Linear):
        kind = Doubled

        def forward(self, x):
            return 2 * super().forward(x)

    x = torch.randn(3, 5)
    stack = nn.Sequential(nn.Linear(5, 5), Doubled(5, 5))
    with mho.nn.register(OnDouble):
        analog = mho.convert(stack, Hardware()).eval()
    assert [type(layer) for layer in analog] == [mho.nn.Linear, OnDouble]
    assert torch.allclose(analog(x), stack(x), atol=1e-5)
    assert torch.equal(copy.deepcopy(analog)(x), analog(x))  # goes on without the registration


class Half(mho.nn.AnalogLayer):
    kind = Scaled

    def matrices(self):
        return {}


class NoKind(OnCrossbar):
    kind = nn.Module


class OfCrossbars(OnCrossbar):
    kind = mho.nn.Linear


class Again(mho.nn.Linear):
    pass


@pytest.mark.parametrize(
    ("layer", "error", "word"),
    [
        (Scaled, TypeError, "subclass of mho.nn.AnalogLayer"),
        (3, TypeError, "AnalogLayer"),
        (Half, TypeError, "must define forward, to_digital"),
        (NoKind, TypeError, "NoKind.kind must be"),
        (OfCrossbars, TypeError, "OfCrossbars.kind must be"),
        (Again, ValueError, "Linear has a crossbar layer already"),
        (mho.nn.Conv1D, TypeError, "kind"),
    ],
)
def test_what_cannot_be_registered(layer, error, word):
    before = mho.nn.registered()
    with pytest.raises(error, match=word):
        mho.nn.register(layer)
    assert mho.nn.registered() == before


@pytest.mark.usefixtures("known")
def test_twice_is_refused():
    with pytest.raises(ValueError, match="already, OnCrossbar"):
        mho.nn.register(OnCrossbar)
