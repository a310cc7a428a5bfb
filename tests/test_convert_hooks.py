"""Hooks of a torch layer run on the crossbar layer in its place, in their order."""

import gc
import threading
import weakref

import pytest
import torch
from torch import nn

import mho
from mho import Hardware
from mho.train import WAGE, quantise

IDEAL = Hardware()


def test_forward_hooks_run_in_their_order_with_their_arguments():
    log = []

    def noted(name):
        return lambda module, *_: log.append((name, type(module)))

    layer = nn.Linear(4, 3)
    layer.register_forward_hook(noted("second"))
    layer.register_forward_hook(noted("first"), prepend=True)
    layer.register_forward_pre_hook(noted("before"))
    layer.register_forward_hook(lambda m, a, k, y: log.append(("kwargs", k)), with_kwargs=True)
    analog = mho.convert(nn.Sequential(layer), IDEAL)
    for model in (analog.train(), analog.eval()):
        log.clear()
        model(torch.randn(2, 4))
        assert [name for name, _ in log] == ["before", "first", "second", "kwargs"]
        assert all(kind is mho.nn.Linear for _, kind in log[:3])
    assert log[-1] == ("kwargs", {})


def test_hooks_change_inputs_outputs_and_keyword_arguments():
    layer = nn.LSTM(3, 2)
    layer.register_forward_pre_hook(lambda m, args, k: ((2 * args[0],), k), with_kwargs=True)
    layer.register_forward_hook(lambda m, args, y: (y[0] + 1, y[1]))
    analog = mho.convert(layer, IDEAL).eval()
    x, state = torch.randn(4, 1, 3), (torch.randn(1, 1, 2), torch.randn(1, 1, 2))
    layer.eval()
    torch.testing.assert_close(analog(x, hx=state)[0], layer(x, hx=state)[0], rtol=1e-4, atol=1e-5)
    plain = mho.collapse(analog)
    torch.testing.assert_close(plain(x)[0], layer(x)[0], rtol=1e-4, atol=1e-5)


def test_hooks_that_are_always_called():
    log = []
    layer = nn.Linear(4, 3)
    layer.register_forward_hook(lambda *_: log.append("after"), always_call=True)
    analog = mho.convert(layer, IDEAL)
    with pytest.raises(ValueError, match="input"):
        analog(torch.randn(2, 5))
    assert log == ["after"]


def test_backward_hooks():
    def run(model):
        seen = []
        for layer in model:
            layer.register_full_backward_pre_hook(lambda m, g: seen.append(g[0]))
        x = torch.linspace(-1, 1, 8).view(2, 4).requires_grad_()
        model(x).square().sum().backward()
        return [x.grad, *seen]

    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].register_full_backward_hook(lambda m, inputs, outputs: (3 * inputs[0],))
    analog = mho.convert(model, IDEAL)
    for found, wanted in zip(run(analog), run(model), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


class Recording(nn.Module):
    """Hooks that are methods of the model, as they often are."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 3)
        self.seen = []
        self.first.register_forward_hook(self.record)
        self.second.register_forward_pre_hook(self.record)

    def record(self, module, *_):
        self.seen.append(module)

    def forward(self, x):
        return self.second(self.first(x))


def test_hooks_that_know_their_model_know_the_new_one():
    model = Recording()
    analog = mho.convert(model, IDEAL)
    analog(torch.randn(2, 4))
    assert analog.seen == [analog.first, analog.second]
    assert model.seen == []
    plain = mho.collapse(analog)
    analog.seen.clear()
    plain.seen.clear()
    plain(torch.randn(2, 4))
    assert plain.seen == [plain.first, plain.second]
    assert analog.seen == []


def test_hooks_of_the_given_model_are_its_own():
    log = []
    layer = nn.Linear(4, 3)
    handle = layer.register_forward_hook(lambda *_: log.append(1))
    analog = mho.convert(layer, IDEAL)
    handle.remove()
    layer(torch.randn(1, 4))
    assert log == []
    analog(torch.randn(1, 4))
    assert log == [1]


def test_hooks_of_quantised_layers_run_once_on_what_takes_their_place():
    log = []
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    model[0].register_forward_hook(lambda m, a, y: log.append(y))
    ternary = quantise(model, WAGE(2, 4, 8, 8), at="outputs").eval()
    x = torch.rand(5, 4)
    ternary(x)
    (wanted,) = log
    analog = mho.convert(ternary, Hardware(encoding=mho.encoding.Ternary())).eval()
    log.clear()
    analog(x)
    (found,) = log
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


class Locked:
    def __init__(self):
        self.lock = threading.Lock()

    def __call__(self, *_):
        pass


def test_hooks_that_cannot_be_copied_are_refused_by_name():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].register_forward_hook(Locked())
    with pytest.raises(ValueError, match=r"'1'.*_forward_hooks cannot be copied.*lock"):
        mho.convert(model, IDEAL)


def test_a_forward_set_on_a_layer_keeps_it_digital():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].forward = lambda x: 2 * x
    with pytest.warns(UserWarning, match=r"left digital: Linear '1' \(no crossbar layer"):
        analog = mho.convert(model, IDEAL)
    x = torch.randn(2, 4)
    torch.testing.assert_close(analog(x), model(x), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="'forward'"):
        mho.nn.Linear.from_digital(model[1], IDEAL)
    model[0].program = "a name taken"
    with pytest.raises(ValueError, match=r"'0'.*'program'"):
        mho.convert(model, IDEAL)


def test_a_layer_that_was_taken_over_stays_alive_as_long_as_the_memo():
    # Else something made later may get its id, and be taken for it.
    memo = {}
    given = torch.nn.Linear(3, 2)
    alive = weakref.ref(given)
    mho.nn.Linear.from_digital(given, hardware=mho.Hardware(), memo=memo)
    del given
    gc.collect()
    assert alive() is not None
    memo.clear()
    gc.collect()
    assert alive() is None
