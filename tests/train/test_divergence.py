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
    assert len(told(losses[:130])) == 0
    (message,) = told(losses)
    assert "was 9 at first, and has not been below 30 " in message


def test_a_first_step_that_leads_far_away_is_told_of():
    (message,) = told([1.4] + [40.0] * 300)
    assert "was 1.4 at first, and has not been below 40 " in message


def test_a_loss_that_comes_back_is_not():
    spikes = [2.0, *[60.0] * 100, 3.9, *[60.0] * 125, 3.9, *[60.0] * 126, 3.9]
    assert told(spikes) == []


def test_neither_noise_nor_learning_is_divergence():
    source = torch.Generator().manual_seed(0)
    for sigma in (0.1, 0.3, 0.6):
        losses = torch.randn(200, 640, generator=source).mul_(sigma).exp_()
        assert sum(len(told(run.tolist())) for run in losses) == 0
    assert told([10.0 * math.exp(-i / 100) for i in range(600)]) == []


@pytest.mark.parametrize("start", [0.0, -8.0, 1e-9])
def test_a_beginning_at_nothing_or_below_says_nothing(start):
    assert told([start] * 3 + [start / 10 + 1e-5] * 300) == []


def test_one_easy_batch_at_first_is_no_divergence():
    assert told([0.01] + [0.05] * 400) == []


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_told_of(bad):
    (message,) = told([1.0] * 70 + [bad] + [1.0] * 300)
    assert f"the loss has become {bad} in the last 128 steps" in message
    assert len(told(torch.tensor([1.0] * 70 + [bad] * 100))) == 1


@pytest.mark.parametrize("after", [0, 1, 2, 3, 5, 40])
def test_what_is_not_finite_early_is_told_of_early(after):
    (message,) = told([1.0] * after + [math.nan] * (after + 1))
    assert "the loss has become nan in the first" in message


def test_large_losses_of_double_precision_are_finite():
    assert told([1e39] * 300) == []
    assert told([torch.tensor(1e39, dtype=torch.float64)] * 300) == []


def test_losses_may_be_of_several_devices_and_dtypes():
    mixed = [torch.tensor(1.0).bfloat16(), *moved(torch.ones(2))]
    assert told([1.0] * 4 + mixed) == []  # before it looks: there are no values to be seen
    assert len(told([1.0, torch.tensor(1.0).bfloat16()] * 2 + [torch.tensor(9.0), 9.0] * 150)) == 1


def test_the_message_names_what_to_try():
    model, *_ = task()
    losses = [1.0] * 3 + [9.0] * 200
    (plain,) = told(losses, LossWatch(torch.optim.SGD(model.parameters(), 0.5)))
    assert "try 0.05 instead of 0.5" in plain
    assert "check_device" not in plain
    (cells,) = told(losses, LossWatch(PulsedSGD(model, 0.5, device=CELLS)))
    assert "try 0.05 instead of 0.5" in cells
    assert "mho.train.check_device" in cells


@pytest.mark.parametrize(
    ("rate", "said"),
    [(None, ""), (0.0, ""), ("absent", ""), (torch.tensor(0.5), "try 0.05 instead of 0.5")],
)
def test_the_message_names_no_rate_that_there_is_not(rate, said):
    sgd = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    sgd.param_groups[0]["lr"] = rate
    if rate == "absent":
        del sgd.param_groups[0]["lr"]
    (message,) = told([1.0] * 3 + [9.0] * 200, LossWatch(sgd))
    assert ("learning rate" in message) == bool(said)
    assert message.endswith(said)


@pytest.mark.parametrize("what", ["sgd", nn.Linear(2, 2), torch.optim.SGD])
def test_what_is_no_optimizer_is_refused(what):
    with pytest.raises(TypeError, match="optimizer must have param_groups"):
        LossWatch(what)


def test_fit_ends_well_with_an_optimizer_that_has_no_rate():
    model, x, _ = task()
    with torch.no_grad():
        target = model(x) + 0.01

    class Walks(torch.optim.Optimizer):
        def step(self):
            with torch.no_grad():
                for p in self.param_groups[0]["params"]:
                    p.add_(0.02)

    walks = Walks(model.parameters(), {"lr": None})
    with pytest.warns(UserWarning, match="training diverges"):
        assert len(fit(model, walks, (x, target), F.mse_loss, epochs=200, batch=128).loss) == 200


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
    watch, losses = LossWatch(), moved(torch.linspace(1.0, 2.0, 300))
    waits = {1, 2, 4, 8, 16, 32, 64, 131, 259}
    for step, loss in enumerate(losses, 1):
        if step in waits:
            with pytest.raises(SynchronisationError), NoSynchronisation():
                watch(loss)
        else:
            with NoSynchronisation():
                watch(loss)


def test_a_loss_that_is_overwritten_is_remembered():
    watch, loss = LossWatch(), torch.tensor(2.0)
    assert told((loss.fill_(value) for value in [2.0, 2.0, *[9.0] * 300]), watch) != []


def test_a_copy_goes_on():
    watch = LossWatch()
    told([1.0, 1.0, *[9.0] * 120], watch)
    assert len(told([9.0] * 300, copy.deepcopy(watch))) == 1
