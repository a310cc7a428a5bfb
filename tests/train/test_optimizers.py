"""What all optimizers of mho.train owe to those who use them as torch's own."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from mho.decomposition import StreamingBatchPCA
from mho.devices import ExponentialDevice, SoftBoundsDevice
from mho.periphery.formats import FixedPoint
from mho.train import InSitu, PulsedSGD, QuantisedOptimizer, TikiTaka

CELLS = ExponentialDevice()


def in_situ(model):
    return InSitu(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), CELLS)


def in_situ_low_rank(model):
    inner = torch.optim.SGD(model.parameters(), lr=0.1)
    return InSitu(inner, CELLS, decomposition=StreamingBatchPCA(2), model=model)


def quantised(model):
    return QuantisedOptimizer(
        torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        updates=FixedPoint(12, 11, rounding="stochastic"),
    )


def pulsed(model):
    return PulsedSGD(model, 0.1, device=CELLS)


def tiki_taka(model):
    return TikiTaka(model, 0.1, device=SoftBoundsDevice())


MAKERS = pytest.mark.parametrize("make", [in_situ, in_situ_low_rank, quantised, pulsed, tiki_taka])


def network(dtype=torch.float32):
    source = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)
    with torch.no_grad():
        for p in model.parameters():
            p.uniform_(-0.3, 0.3, generator=source)
    return model


def batch(seed):
    source = torch.Generator().manual_seed(seed)
    x = torch.randn(16, 12, generator=source)
    return x, torch.randint(0, 3, (16,), generator=source)


def backward(model, seed):
    x, y = batch(seed)
    loss = nn.functional.cross_entropy(model(x.to(next(model.parameters()))), y)
    loss.backward()
    return loss


def steps(model, optimizer, seeds):
    for seed in seeds:
        optimizer.zero_grad()
        backward(model, seed)
        optimizer.step()
    return weights(model)


def weights(model):
    return torch.cat([p.detach().clone().flatten() for p in model.parameters()])


def pickled(both):
    file = io.BytesIO()
    torch.save(both, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x)), pickled]
)
@MAKERS
def test_copies_are_whole_also_within_a_step_and_under_a_scheduler(make, copied):
    model = network()
    optimizer = make(model)
    torch.optim.lr_scheduler.StepLR(optimizer, 1)  # wraps optimizer.step
    steps(model, optimizer, range(3))
    optimizer.zero_grad()
    backward(model, 3)
    twin, its_optimizer = copied((model, optimizer))
    backward(twin, 3)  # copies of parameters have no gradients
    before = weights(model)
    its_optimizer.step()
    assert torch.equal(before, weights(model))
    optimizer.step()
    assert torch.equal(weights(twin), weights(model))
    assert not torch.equal(before, weights(model))
    assert torch.equal(
        steps(twin, its_optimizer, range(4, 7)), steps(model, optimizer, range(4, 7))
    )


@MAKERS
def test_gradients_may_be_forgotten_by_the_model(make):
    found = []
    for late in (False, True):
        model = network()
        optimizer = make(model)
        for seed in range(3):
            forget = model if late else optimizer
            forget.zero_grad()
            backward(model, seed)
            optimizer.step()
        found.append(weights(model))
    assert torch.equal(*found)


@MAKERS
def test_frozen_unused_and_tied_parameters(make):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.again = nn.Linear(12, 12), nn.Linear(12, 12)
            self.again.weight = self.first.weight
            self.frozen, self.unused = nn.Linear(12, 8), nn.Linear(5, 5)
            self.last, self.scale = nn.Linear(8, 3), nn.Parameter(torch.ones(()))
            self.frozen.requires_grad_(False)

        def forward(self, x):
            x = self.again(torch.tanh(self.first(x)))
            return self.last(self.frozen(x)) * self.scale

    model = Odd()
    optimizer = make(model)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    steps(model, optimizer, range(8))
    assert model.again.weight is model.first.weight
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    still = {"frozen.weight", "frozen.bias", "unused.weight", "unused.bias"}
    assert moved == set(before) - still


@MAKERS
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_dtypes(make, dtype):
    model = network(dtype)
    before = weights(model)
    after = steps(model, make(model), range(2))
    assert after.dtype == dtype
    assert bool(torch.isfinite(after).all())
    assert not torch.equal(before, after)


@MAKERS
def test_large_gradients_in_half_precision_are_no_overflow(make):
    model = network(torch.float16)
    optimizer = make(model)
    before = model[2].bias.detach().clone()
    backward(model, 0)
    # Every entry is finite; their sum is more than float16 holds.
    model[2].bias.grad = torch.full_like(before, 4e4)
    optimizer.step()
    assert bool((model[2].bias < before).all())
    assert bool(torch.isfinite(model[2].bias).all())


@MAKERS
def test_a_batch_of_nothing_moves_nothing(make):
    model = network()
    optimizer = make(model)
    if make is quantised:
        optimizer.weights = None
    before = weights(model)
    model(torch.zeros(0, 12)).sum().backward()
    optimizer.step()
    assert torch.equal(before, weights(model))


@MAKERS
def test_bad_gradients_are_said_and_nothing_is_lost(make):
    model = network()
    optimizer = make(model)
    before = steps(model, optimizer, range(2))
    optimizer.zero_grad()
    (model(batch(0)[0]) * torch.nan).sum().backward()
    with pytest.warns(UserWarning, match="gradients are not finite") as said:
        optimizer.step()
    assert said[0].filename == __file__
    assert torch.equal(before, weights(model))
    assert bool(torch.isfinite(steps(model, optimizer, range(2, 4))).all())
