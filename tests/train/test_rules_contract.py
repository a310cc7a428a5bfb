"""All learning rules on cells keep one contract, and the contract refuses what does not."""

import pytest
import torch

from mho.devices import SoftBoundsDevice
from mho.testing import LearningRuleContract
from mho.train import (
    AGAD,
    Chopped,
    ExpectedPulses,
    InSitu,
    LowRankTikiTaka,
    MixedPrecision,
    MultiTileResidual,
    PulsedSGD,
    ResidualLearning,
    SymmetryTracking,
    TikiTaka,
    TikiTakaV1,
    TikiTakaV2,
    TileSGD,
)

MEAN = ExpectedPulses()
# A soft-bounded fast array forgets: Tiki-Taka's only damping where W = C.
SOFT = SoftBoundsDevice(g_min=1e-6, g_max=101e-6, step=5e-9)


class TestPulsedSGD(LearningRuleContract):
    def optimizer(self, model, device, lr, seed=0):
        return PulsedSGD(model, lr, device=device, update=MEAN, seed=seed)


class TestInSitu(LearningRuleContract):
    def optimizer(self, model, device, lr, seed=0):
        inner = torch.optim.SGD(model.parameters(), lr=lr)
        return InSitu(inner, device, model=model, seed=seed)


class TransferContract(LearningRuleContract):
    ideal = SOFT

    def optimizer(self, model, device, lr, seed=0):
        return TikiTaka(model, lr, device=device, rule=self.rule, update=MEAN, seed=seed)


class TestTikiTakaV1(TransferContract):
    rule = TikiTakaV1(transfer_lr=0.02)


class TestTikiTakaV2(TransferContract):
    rule = TikiTakaV2(transfer_lr=0.02)
    steps = 600


class TestChopped(TransferContract):
    rule = Chopped(transfer_lr=0.02, chop_probability=0.02)
    steps = 900


class TestAGAD(TransferContract):
    rule = AGAD(transfer_lr=0.02, chop_probability=0.02)
    steps = 900


class TileContract(LearningRuleContract):
    def optimizer(self, model, device, lr, seed=0):
        return TileSGD(model, lr, device=device, rule=self.rule, update=MEAN, seed=seed)


class TestResidualLearning(TileContract):
    rule = ResidualLearning()
    steps = 500


class TestMultiTileResidual(TileContract):
    rule = MultiTileResidual(warm_start=40)
    steps = 600


class TestSymmetryTracking(TileContract):
    rule = SymmetryTracking()
    steps = 600


class TestLowRankTikiTaka(TileContract):
    rule = LowRankTikiTaka(rank=3, transfer_every=2)
    steps = 150
    chips = 12


class TestMixedPrecision(TileContract):
    rule = MixedPrecision()


class Columns(TransferContract):
    """Columns in turn: what early steps say of the first ones is more than of the last."""

    rule = TikiTakaV2(transfer_lr=0.08, columns=1)


# ── faults that the contract notices ─────────────────────────────────────────────────────────


class Faulty(TileContract):
    """A rule whose arrays a fault is put into."""

    rule = MixedPrecision()
    fault = None

    def optimizer(self, model, device, lr, seed=0):
        optimizer = super().optimizer(model, device, lr, seed)
        for arrays in optimizer.arrays.values():
            type(self).fault(arrays)
        return optimizer


def descending(change):
    """Return a fault: what descends is ``change(x, delta, lr)`` of what should."""

    def fault(arrays):
        descend = arrays.descend
        arrays.descend = lambda x, delta, lr, update: descend(*change(x, delta, lr), update)

    return fault


def signs(x, delta, lr):
    return torch.eye(x.shape[1]), (delta.T @ x).sign().T * 0.1, lr


def biased(x, delta, lr):
    more = torch.full((x.shape[1], delta.shape[1]), -0.02)
    return torch.cat((x, torch.eye(x.shape[1]))), torch.cat((delta, more)), lr


SHARED = torch.Generator().manual_seed(0)


def of_nobody(x, delta, lr):
    return x, delta * (1 + 0.1 * torch.rand(1, generator=SHARED)), lr


def of_its_own():
    """Return a fault: randomness that no checkpoint has."""

    def fault(arrays):
        source = torch.Generator().manual_seed(0)
        wobble = lambda x, delta, lr: (x, delta * (1 + 0.1 * torch.rand(1, generator=source)), lr)  # noqa: E731
        descending(wobble)(arrays)

    return fault


def forgets(name):
    """Return a fault: a buffer that no checkpoint has."""
    return lambda arrays: arrays._non_persistent_buffers_set.add(name)


def keeps_half(arrays):
    write = arrays.write
    arrays.write = lambda weight: write(0.5 * weight)


FAULTS = {
    "wrong sign": (descending(lambda x, d, lr: (x, -d, lr)), "descends_a_quadratic"),
    "signs alone": (descending(signs), "unbiased_under_its_own_noise"),
    "bias": (descending(biased), "unbiased_under_its_own_noise"),
    "a rate of its own": (
        descending(lambda x, d, lr: (x, d, 0.1)),
        "a_learning_rate_of_nothing_moves_nothing",
    ),
    "half of the weights": (keeps_half, "holds_the_weights_it_is_given"),
    "sums forgotten": (forgets("carry"), "resumes_to_the_same_bits"),
    "randomness forgotten": (of_its_own(), "resumes_to_the_same_bits"),
    "randomness of nobody": (descending(of_nobody), "same_seed_same_bits"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_contract_notices(name):
    fault, check = FAULTS[name]
    case = type("Case", (Faulty,), {"fault": staticmethod(fault)})()
    with pytest.raises(AssertionError):
        getattr(case, f"test_{check}")()


def test_the_contract_notices_a_turn_that_is_forgotten():
    class Case(Columns):
        def optimizer(self, model, device, lr, seed=0):
            optimizer = super().optimizer(model, device, lr, seed)
            for arrays in optimizer.arrays.values():
                forgets("count")(arrays)
            return optimizer

    Columns().test_resumes_to_the_same_bits()
    with pytest.raises(AssertionError, match="resumed"):
        Case().test_resumes_to_the_same_bits()
