"""A loss that stays far above where it began is told of, once, with what to try."""

import copy
import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from accelerator import NoSynchronisation, SynchronisationError, moved
from mho.devices import SoftBoundsDevice
from mho.train import InSitu, LossWatch, PulsedSGD, fit

CELLS = SoftBoundsDevice(g_min=1e-6, g_max=101e-6, step=1e-7)


def told(losses, watch=None):
    """Return the warnings of a watch that is shown these losses."""
    watch = LossWatch() if watch is None else watch
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for loss in losses:
            watch(loss)
    return [str(one.message) for one in found]


def task():
    source = torch.Generator().manual_seed(0)
    x = torch.randn(128, 16, generator=source)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 4))
    return model, x, x[:, :4].argmax(1)


@pytest.mark.parametrize("as_tensors", [False, True])
def test_a_loss_that_rises_and_stays_is_told_of_once(as_tensors):
    losses = [2.0, 9.0, 40.0, *[30.0 + i % 7 for i in range(600)]]
    if as_tensors:
        losses = [torch.tensor(loss, requires_grad=True) for loss in losses]
    assert len(told(losses[:128])) == 0
    (message,) = told(losses)
    assert "was 2 at first, and has not been below 9 " in message


def test_a_loss_that_comes_back_is_not():
    spikes = [2.0, *[60.0] * 100, 3.9, *[60.0] * 125, 3.9, *[60.0] * 126, 3.9]
    assert told(spikes) == []


def test_neither_noise_nor_learning_is_divergence():
    source = torch.Generator().manual_seed(0)
    for sigma in (0.1, 0.3, 0.6):
        losses = torch.randn(200, 640, generator=source).mul_(sigma).exp_()
        assert sum(len(told(run.tolist())) for run in losses) == 0
    assert told([10.0 * math.exp(-i / 100) for i in range(600)]) == []


def test_a_beginning_at_zero_or_below_says_nothing():
    assert told([0.0, 0.0, *[5.0] * 300]) == []
    assert told([-8.0, -8.0, *[-1.0] * 300]) == []


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_told_of(bad):
    (message,) = told([1.0] * 70 + [bad] + [1.0] * 300)
    assert f"the loss has become {bad}" in message
    assert len(told(torch.tensor([1.0] * 70 + [bad] * 100))) == 1


def test_the_message_names_what_to_try():
    model, *_ = task()
    losses = [1.0] + [9.0] * 200
    (plain,) = told(losses, LossWatch(torch.optim.SGD(model.parameters(), 0.5)))
    assert "try 0.05 instead of 0.5" in plain
    assert "check_device" not in plain
    (cells,) = told(losses, LossWatch(PulsedSGD(model, 0.5, device=CELLS)))
    assert "try 0.05 instead of 0.5" in cells
    assert "mho.train.check_device" in cells


def test_what_is_no_loss_is_refused():
    watch = LossWatch()
    with pytest.raises(ValueError, match=r"one real number.*\[3\]"):
        watch(torch.zeros(3))
    with pytest.raises(TypeError, match="loss must be a"):
        watch("2.0")


@pytest.mark.parametrize(
    ("rate", "expected"), [(0.1, False), (30.0, True)], ids=["calm", "too high"]
)
def test_fit_tells_of_it(rate, expected):
    model, x, y = task()
    optimizer = torch.optim.SGD(model.parameters(), rate, momentum=0.9)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        fit(model, optimizer, (x, y), F.cross_entropy, epochs=40, batch=32)
    said = [str(one.message) for one in found]
    assert ["training diverges" in one for one in said] == [True] * expected
    assert all("try 3 instead of 30" in one for one in said)


@pytest.mark.parametrize("kind", ["InSitu", "PulsedSGD"])
def test_optimizers_on_cells_hear_it_from_their_closures(kind):
    model, x, y = task()
    wide = {"device": CELLS, "weight_range": (-50.0, 50.0)}
    if kind == "InSitu":
        sgd = torch.optim.SGD(model.parameters(), 100.0)
        optimizer = InSitu(sgd, model=model, **wide)
    else:
        optimizer = PulsedSGD(model, 100.0, **wide)

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for _ in range(200):
            optimizer.step(closure)
    said = [str(one.message) for one in found if "training diverges" in str(one.message)]
    assert len(said) == 1
    assert "check_device" in said[0]


def test_nobody_waits_for_an_accelerator_between_two_looks():
    watch, losses = LossWatch(), moved(torch.linspace(1.0, 2.0, 129))
    with NoSynchronisation():
        for loss in losses[:128]:
            watch(loss)
    with pytest.raises(SynchronisationError), NoSynchronisation():
        watch(losses[128])


def test_a_loss_that_is_overwritten_is_remembered():
    watch, loss = LossWatch(), torch.tensor(2.0)
    assert told((loss.fill_(value) for value in [2.0, 2.0, *[9.0] * 300]), watch) != []


def test_a_copy_goes_on():
    watch = LossWatch()
    told([1.0, 1.0, *[9.0] * 120], watch)
    assert len(told([9.0] * 300, copy.deepcopy(watch))) == 1
