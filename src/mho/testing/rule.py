"""What any learning rule on cells must obey."""

# ruff: noqa: D102 (a test's name says what it shows)

from __future__ import annotations

import atexit
import functools
import multiprocessing
import pathlib
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mho.core import random
from mho.devices.pulsed import PulsedDevice
from mho.devices.steps import ConstantStep
from mho.testing import expect
from mho.train.on_cells.weights import WeightCells

OUT, IN, RANKS = 3, 4, 2


class LearningRuleContract:
    """What any learning rule on cells must obey, as tests.

    Subclass it, return an optimizer with your rule from ``optimizer``, and run pytest::

        class TestMyRule(LearningRuleContract):
            def optimizer(self, model, device, lr, seed=0):
                return TileSGD(model, lr, device=device, rule=MyRule(), seed=seed)

    Rules whose pulses are drawn at random do better with ``update=ExpectedPulses()`` or cannot
    come as near as ``accuracy``. The two processes that train together are started once for all
    contracts of a run; they import the contract, so it stands in a file, not in a function.

    Class attributes:
        lr: learning rate on the quadratic, whose curvature is 1.
        steps: updates until its minimum must be reached.
        accuracy: largest error of a weight then.
        ideal: cells that are taken for ideal.
        noisy: cells that answer with noise, but without asymmetry.
        chips: seeds over which a noisy direction is averaged, >= 8.
        drift_steps: updates with one and the same gradient.
    """

    lr: float = 0.1
    steps: int = 400
    accuracy: float = 1e-3
    ideal: PulsedDevice = ConstantStep(g_min=1e-6, g_max=101e-6, step=5e-9)
    noisy: PulsedDevice = ConstantStep(g_min=1e-6, g_max=101e-6, step=5e-8, c2c=0.3)
    chips: int = 16
    drift_steps: int = 12

    def optimizer(
        self, model: nn.Module, device: PulsedDevice, lr: float, seed: int = 0
    ) -> torch.optim.Optimizer:
        """Return an optimizer with the rule under test, its weights in ``(−1, 1)``.

        Args:
            model: linear layers, perhaps in a `DistributedDataParallel`.
            device: of the cells.
            lr: learning rate.
            seed: of everything random.
        """
        raise NotImplementedError(f"{type(self).__name__} must define optimizer(model, …)")

    # ── learning ─────────────────────────────────────────────────────────────────────────────

    def test_descends_a_quadratic(self) -> None:
        model = _layer()
        optimizer = self.optimizer(model, self.ideal, self.lr)
        start = _distance(model)
        for _ in range(self.steps):
            _quadratic_step(model, optimizer)
        found = _distance(model)
        expect.holds(
            found < self.accuracy,
            f"largest error of a weight < {self.accuracy:g} after {self.steps} updates (at first "
            f"{start:.3g})",
            found,
        )

    def test_unbiased_under_its_own_noise(self) -> None:
        moved = torch.stack([self._drift(seed) for seed in range(self.chips)])
        _, gradient = _slope()
        mean, error = moved.mean(0), moved.std(0) / self.chips**0.5
        along = float((mean * gradient).sum() / gradient.square().sum())
        one = WeightCells(self.noisy, (1, 1)).step
        expect.holds(
            -along * float(gradient.abs().max()) > 5.0 * (float(error.max()) + one),
            "weights to go against the gradient",
            f"{along:g} times the gradient",
        )
        off = (mean - along * gradient).abs() - 5.0 * error - one
        expect.holds(
            float(off.max()) <= 0.0,
            f"the mean of {self.chips} chips along the gradient, to 5 standard errors and a pulse",
            f"{int((off > 0).sum())} of {off.numel()} weights outside, by up to {float(off.max())}",
        )

    def test_a_learning_rate_of_nothing_moves_nothing(self) -> None:
        model = _layer()
        optimizer = self.optimizer(model, self.ideal, self.lr)
        before = model.weight.detach().clone()
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        _quadratic_step(model, optimizer)
        expect.same("weights after an update with lr = 0", model.weight, before)

    def test_holds_the_weights_it_is_given(self) -> None:
        model = _layer()
        given = model.weight.detach().clone()
        optimizer = self.optimizer(model, self.ideal, self.lr)
        self._expect_weights("of the model", model, given)
        with torch.no_grad():
            model.weight.copy_(_target())
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        _quadratic_step(model, optimizer)
        self._expect_weights("set before an update with lr = 0", model, _target())

    # ── checkpoints ──────────────────────────────────────────────────────────────────────────

    def test_resumes_to_the_same_bits(self) -> None:
        model = _network()
        optimizer = self.optimizer(model, self.noisy, self.lr, seed=4)
        _train(model, optimizer, range(9))
        saved = expect.saved_and_loaded({"m": model.state_dict(), "o": optimizer.state_dict()})
        _train(model, optimizer, range(9, 18))
        other = _network(seed=7)
        resumed = self.optimizer(other, self.noisy, self.lr, seed=4)
        other.load_state_dict(saved["m"])
        resumed.load_state_dict(saved["o"])
        _train(other, resumed, range(9, 18))
        for (name, p), q in zip(model.named_parameters(), other.parameters(), strict=True):
            expect.same(f"{name} resumed", q, p)

    def test_same_seed_same_bits(self) -> None:
        one, two = (self._trained() for _ in range(2))
        expect.same("weights of two runs", one, two)

    # ── several processes ────────────────────────────────────────────────────────────────────

    def test_trains_in_two_processes(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = str(pathlib.Path(folder) / "store")
            ranks = [_processes().submit(_one_of_two, type(self), r, store) for r in range(RANKS)]
            found = [rank.result(timeout=300) for rank in ranks]
        expect.same("weights of the second process", found[1], found[0])
        start = torch.cat([p.detach().flatten() for p in _network().parameters()])
        alone = self._trained(self.ideal, wrapped=True)
        moved = float((alone - start).norm())
        expect.holds(moved > 0.0, "weights that move", moved)
        far = float((found[0] - alone).norm())
        expect.holds(far < 0.1 * moved, f"as one process with all data, to 10 % of {moved:g}", far)

    def _expect_weights(self, what: str, model: nn.Linear, wanted: Tensor) -> None:
        near = 2.0 * WeightCells(self.ideal, (1, 1)).step
        far = float((model.weight.detach() - wanted).abs().max())
        expect.holds(far <= near, f"weights {what}, to two pulses ({near:g})", far)

    def _trained(self, device: PulsedDevice | None = None, wrapped: bool = False) -> Tensor:
        model = _network()
        if wrapped:  # named as in DistributedDataParallel: what is drawn goes by the name
            model = nn.Sequential(OrderedDict(module=model))
        optimizer = self.optimizer(model, device or self.noisy, self.lr)
        _train(model, optimizer, range(12))
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    def _drift(self, seed: int) -> Tensor:
        model = _layer(zero=True)
        optimizer = self.optimizer(model, self.noisy, self.lr, seed)
        before = model.weight.detach().clone()
        x, gradient = _slope()
        for _ in range(self.drift_steps):
            optimizer.zero_grad()
            (model(x) * (gradient @ x.T).T).sum().backward()  # x is orthonormal
            optimizer.step()
        return model.weight.detach() - before


# ── problems ─────────────────────────────────────────────────────────────────────────────────


def _target() -> Tensor:
    return torch.linspace(-0.4, 0.45, OUT * IN)[torch.arange(OUT * IN) * 5 % (OUT * IN)].view(
        OUT, IN
    )


def _layer(zero: bool = False) -> nn.Linear:
    layer = nn.Linear(IN, OUT, bias=False)
    with torch.no_grad():
        layer.weight.zero_() if zero else layer.weight.copy_(0.3 * _target().flip(0))
    return layer


def _distance(model: nn.Linear) -> float:
    return float((model.weight.detach() - _target()).abs().max())


def _quadratic_step(model: nn.Linear, optimizer: torch.optim.Optimizer) -> None:
    # Curvature 1. Labels come in pairs whose noise cancels: at the minimum errors are not zero.
    x = torch.eye(IN).repeat(2, 1)
    y = x @ _target().T + 0.3 * torch.tensor([1.0, -1.0]).repeat_interleave(IN).unsqueeze(1)
    optimizer.zero_grad()
    (0.25 * (model(x) - y) ** 2).sum().backward()
    optimizer.step()


def _slope() -> tuple[Tensor, Tensor]:
    # Inputs, and a gradient with weights of either sign and different sizes.
    source = random.generator(5)
    x = torch.linalg.qr(torch.randn(IN, IN, generator=source, dtype=torch.float64))[0].float()
    return x, 0.2 * torch.randn(OUT, IN, generator=source)


def _network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def _batches(steps: range, part: slice) -> Iterator[tuple[Tensor, Tensor]]:
    source = random.generator(1)
    x = torch.randn(20, 16, 6, generator=source)
    y = torch.randint(3, (20, 16), generator=source)
    for step in steps:
        yield x[step, part], y[step, part]


def _train(
    model: nn.Module, optimizer: torch.optim.Optimizer, steps: range, part: slice = slice(None)
) -> None:
    for x, y in _batches(steps, part):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


# ── processes ────────────────────────────────────────────────────────────────────────────────


@functools.cache
def _processes() -> ProcessPoolExecutor:
    """Return two processes, started once."""
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(RANKS, mp_context=spawn)
    atexit.register(pool.shutdown)
    return pool


def _one_of_two(contract: Any, rank: int, store: str) -> Tensor:
    """Train a replica with half of every batch; return its weights, flat."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=RANKS)
    try:
        case = contract()
        model = DistributedDataParallel(_network())
        optimizer = case.optimizer(model, case.ideal, case.lr)
        _train(model, optimizer, range(12), slice(8 * rank, 8 * rank + 8))
        found = torch.cat([p.detach().flatten() for p in model.parameters()])
        dist.barrier()
        return found
    finally:
        dist.destroy_process_group()
