"""The conformance kits on everything built in (devices of their own rooms: tests/devices)."""

from types import MappingProxyType

import pytest
import torch
from torch import nn
from torch.distributions import LogNormal, Normal

from mho import effects, encoding
from mho.devices import LinearDevice, Spread
from mho.encoding import Scaling
from mho.testing import DeviceContract, EffectContract, EncodingContract, LayerContract


class TestLinearDevice(DeviceContract):
    def device(self):
        return LinearDevice(g_min=1e-6, g_max=100e-6)


class TestSpreadLinearDevice(DeviceContract):
    def device(self):
        return LinearDevice(
            g_min=Spread(Normal(1e-6, 2e-7), low=1e-7, high=2e-6),
            g_max=Spread(LogNormal(-9.5, 0.2)),
        )


class _Effect(EffectContract):
    def effect(self):
        return self.under_test


class TestStuckAt(_Effect):
    under_test = effects.StuckAt(low=0.2, high=0.1, unformed=0.1, g_high=5e-4)


class TestAccessResistance(_Effect):
    under_test = effects.AccessResistance(3e3)


class TestStuckCells(_Effect):
    # The kit's populations are of 3 x 4, 7 x 5 and two slices of these.
    under_test = effects.StuckCells(places=((0, 1, 2), (0, 0, 3)), conductances=(3e-4, 0.0))


class TestStuckAtSpread(_Effect):
    under_test = effects.StuckAt(high=0.3, g_high=Spread(Normal(2e-4, 1e-5), low=0))


class TestWriteNoise(_Effect):
    under_test = effects.WriteNoise(0.05)


class TestWriteNoiseOfValue(_Effect):
    under_test = effects.WriteNoise(0.05, relative_to="value")


class TestFiniteStates(_Effect):
    under_test = effects.FiniteStates(9)


class TestDrift(_Effect):
    under_test = effects.PowerLawDrift(0.06)


class TestDriftOfEveryCell(_Effect):
    under_test = effects.PowerLawDrift(0.06, nu_spread=0.02, t0=20.0)


class TestCycleVariability(_Effect):
    under_test = effects.CycleVariability(
        r_on=Spread(LogNormal(9.2, 0.1)), r_off=Spread(LogNormal(13.8, 0.2))
    )


class TestSuddenRetention(_Effect):
    labels = MappingProxyType(
        dict.fromkeys(
            ("cell_size", "temperature", "critical_temperature"),
            "its law has neither p1 nor p2, which these multiply",
        )
    )
    under_test = effects.Retention(
        lrs=effects.FailureLaw(p0=Spread(LogNormal(10.0, 1.0)), stable=2e6)
    )


class TestGradualRetention(_Effect):
    under_test = effects.Retention(
        hrs=effects.FailureLaw(p0=1e3, p1=1e7, p2=0.5, p3=-0.02), temperature=350.0
    )


class TestEndurance(_Effect):
    labels = MappingProxyType({"cell_size": "its law has no p1, which size multiplies"})
    under_test = effects.Endurance(lrs=effects.FailureLaw(p0=1e4, p2=1.0, p3=0.1), cycles=1e6)


class TestTelegraphNoise(_Effect):
    under_test = effects.TelegraphNoise(0.2, fraction=0.3)


class TestTelegraphNoiseSpread(_Effect):
    under_test = effects.TelegraphNoise(Spread(LogNormal(-2.0, 0.5)), occupancy=0.1)


class TestLastingTelegraphNoise(_Effect):
    under_test = effects.TelegraphNoise(0.2, fraction=0.7, tau=2e7, traps=2, hrs_growth=0.2)


class TestLastingTelegraphNoiseSpread(_Effect):
    under_test = effects.TelegraphNoise(
        Spread(LogNormal(-2.0, 0.5)), occupancy=0.3, tau=Spread(LogNormal(16.0, 2.0))
    )


class TestRelaxation(_Effect):
    under_test = effects.Relaxation(mean=-0.09e-6, spread=0.04e-6, start=0.4e-6, t0=10.0)


class TestRelaxationByPolynomials(_Effect):
    under_test = effects.Relaxation(mean=(0.0, -0.3e-6), spread=(0.02e-6, 0.1e-6))


class TestReadDisturb(_Effect):
    under_test = effects.ReadDisturb(8e3, shape=0.8, voltage=0.25, net=0.5)


class TestReadDisturbSpread(_Effect):
    under_test = effects.ReadDisturb(Spread(LogNormal(8.0, 0.5)), toward="low", voltage=0.3)


class TestTemperature(_Effect):
    under_test = effects.Temperature(350.0, coefficient=1e-3, activation_energy=0.05)


class TestReadNoise(_Effect):
    under_test = effects.ReadNoise(0.05)


class TestReadNoiseOfValue(_Effect):
    under_test = effects.ReadNoise(0.05, relative_to="value")


class TestDifferential(EncodingContract):
    def encoding(self):
        return encoding.Differential()


class TestDigitalDifferential(EncodingContract):
    def encoding(self):
        return encoding.Differential(Scaling(per_column=True), subtract="digital")


class TestClippedDifferential(EncodingContract):
    def encoding(self):
        return encoding.Differential(Scaling(percentile=75.0))

    def resolution(self, weight):  # what lies beyond the percentile is cut off
        return float((weight.abs().max() - Scaling(75.0).limit(weight)).clamp(min=0))

    def test_decoded_weights_are_kept(self):
        pytest.skip("clipped weights have another percentile")


class TestSingleColumn(EncodingContract):
    def encoding(self):
        return encoding.SingleColumn()


class TestSingleColumnPerColumn(EncodingContract):
    def encoding(self):
        return encoding.SingleColumn(Scaling(per_column=True))


class _BitSliced(EncodingContract):
    bits, bits_per_cell, per_column = 8, 2, False

    def encoding(self):
        scaling = Scaling(per_column=self.per_column)
        return encoding.BitSliced(scaling, bits=self.bits, bits_per_cell=self.bits_per_cell)

    def resolution(self, weight):
        return float(weight.abs().max()) / (2 ** (self.bits - 1) - 1) / 2


class TestBitSliced(_BitSliced):
    pass


class TestBitSlicedUneven(_BitSliced):
    bits, bits_per_cell, per_column = 6, 3, True


class TestBitSlicedOneCell(_BitSliced):
    bits, bits_per_cell = 2, 1


class TestMirrored(_BitSliced):
    def encoding(self):
        return encoding.BitSliced(bits=8, bits_per_cell=2, add="analog")


class TestGroupsOfSingleColumns(EncodingContract):
    def encoding(self):
        return encoding.SingleColumn(group=2)


class TestWeightedPairs(EncodingContract):
    def encoding(self):
        return encoding.WeightedPairs(significances=(1.0, 5.0))


class TestWeightedLevels(EncodingContract):
    def encoding(self):
        return encoding.WeightedPairs(significances=(1.0, 3.0, 9.0), levels=2, add="analog")

    def resolution(self, weight):  # 13 sums each way, all of them reached
        return float(weight.abs().max()) / 13 / 2


class TestTernary(EncodingContract):
    def encoding(self):
        return encoding.Ternary()

    def resolution(self, weight):
        return float(weight.abs().max())

    def test_gradient_of_the_decoded_weight_is_one(self):
        weight = torch.randn(6, 4, dtype=torch.float64).requires_grad_()
        decoded = self.encoding().decode(*self.encoding().encode(weight, 1e-6, 1e-4))
        (grad,) = torch.autograd.grad(decoded.sum(), weight)
        assert torch.allclose(grad, torch.ones_like(grad))


class TestBinary(TestTernary):
    def encoding(self):
        return encoding.Binary(Scaling(per_column=True))


class TestDigitalTernaryPerColumn(TestTernary):
    def encoding(self):
        return encoding.Ternary(Scaling(per_column=True), subtract="digital")


class TestLinear(LayerContract):
    def layer(self):
        return nn.Linear(7, 5)

    def inputs(self):
        return (torch.randn(2, 3, 7),)


class TestLinearWithoutBias(TestLinear):
    def layer(self):
        return nn.Linear(7, 5, bias=False)


class TestConv1d(LayerContract):
    def layer(self):
        return nn.Conv1d(2, 6, 3, stride=2, padding=1, padding_mode="circular")

    def inputs(self):
        return (torch.randn(2, 2, 11),)


class TestConv2d(LayerContract):
    def layer(self):
        return nn.Conv2d(4, 6, (3, 2), padding=(1, 0), dilation=(1, 2), groups=2)

    def inputs(self):
        return (torch.randn(2, 4, 5, 6),)


class TestDepthwiseConv2d(TestConv2d):
    def layer(self):
        return nn.Conv2d(4, 4, 3, padding="same", groups=4, padding_mode="reflect")


class TestConv3d(LayerContract):
    def layer(self):
        return nn.Conv3d(2, 3, 2, stride=(1, 2, 1), bias=False)

    def inputs(self):
        return (torch.randn(2, 2, 3, 4, 3),)


class TestNestedModel(LayerContract):
    def layer(self):
        return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 4))

    def inputs(self):
        return (torch.randn(5, 1, 5, 5),)
