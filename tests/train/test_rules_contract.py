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


class _Signs(TileContract):
    """Takes signs of the gradient for the gradient."""

    rule = MixedPrecision()

    def optimizer(self, model, device, lr, seed=0):
        optimizer = super().optimizer(model, device, lr, seed)
        arrays = optimizer.arrays["weight"]
        descend = arrays.descend

        def signs(x, delta, lr, update):
            descend(torch.eye(x.shape[1]), (delta.T @ x).sign().T * 0.1, lr, update)

        arrays.descend = signs
        return optimizer


def test_the_contract_refuses_a_bias():
    with pytest.raises(AssertionError, match="along the gradient"):
        _Signs().test_unbiased_under_its_own_noise()
