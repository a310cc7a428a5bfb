"""The conformance kits catch what they are for, and say what they expected and found."""

import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import mho
from mho import effects, encoding
from mho.devices import Cells, LinearDevice
from mho.testing import DeviceContract, EffectContract, EncodingContract, LayerContract


def failures(kit):
    """Run a kit; return the messages of the tests that fail, by name."""
    found = {}
    for name in dir(kit):
        if name.startswith("test_"):
            try:
                getattr(kit, name)()
            except AssertionError as error:
                found[name] = str(error)
                assert "expected" in found[name]
                assert "found" in found[name]
    return found


class _Deaf(Cells):
    def write(self, g):
        super().write(torch.as_tensor(g) * 1.01)


@dataclass(frozen=True)
class DeafDevice(LinearDevice):
    @property
    def cells_type(self):
        return _Deaf


@dataclass(frozen=True)
class LeakyDevice(LinearDevice):
    def transfer(self, v):
        return v + 0.01


@dataclass(frozen=True)
class Meddler(effects.ProgrammingEffect):
    def program(self, g, context):
        return g.mul_(0.9)


@dataclass(frozen=True)
class TwoStages(effects.ReadingEffect):
    def read(self, g, context):
        return g

    def age(self, g, context, start, stop):
        return g


@dataclass(frozen=True)
class Forgetful(effects.AgingEffect):
    memoryless = True

    def age(self, g, context, start, stop):
        return g * (1 + stop) ** -0.1  # forgets that it has aged already


@dataclass(frozen=True)
class Global(effects.ProgrammingEffect):
    def program(self, g, context):
        return (g + 1e-7 * torch.randn(g.shape)).clamp(min=0)  # not from the context


@dataclass(frozen=True)
class Halved(encoding.Differential):
    def encode(self, weight, g_min, g_max):
        g, scale = super().encode(weight, g_min, g_max)
        return g, scale / 2


@dataclass(frozen=True)
class Wide(encoding.Differential):
    def encode(self, weight, g_min, g_max):
        return super().encode(weight, g_min, 2 * g_max)


def run(contract, **methods):
    values = {name: (lambda self, v=value: v) for name, value in methods.items()}
    return failures(type("Kit", (contract,), values)())


@pytest.mark.parametrize(
    ("device", "test"),
    [
        (DeafDevice(), "test_write_is_read_back"),
        (LeakyDevice(), "test_no_current_without_voltage"),
    ],
)
def test_broken_devices(device, test):
    assert test in run(DeviceContract, device=device)


@pytest.mark.parametrize(
    ("effect", "test"),
    [
        (Meddler(), "test_arguments_are_left_alone"),
        (TwoStages(), "test_acts_at_its_own_stage_only"),
        (Forgetful(), "test_aging_composes"),
        (Global(), "test_whole_life_is_reproducible"),
    ],
)
def test_broken_effects(effect, test):
    assert test in run(EffectContract, effect=effect)


@pytest.mark.parametrize(
    ("kind", "test"),
    [
        (Halved(), "test_decode_gives_back_the_weights"),
        (Wide(), "test_conductances_lie_in_the_window"),
    ],
)
def test_broken_encodings(kind, test):
    assert test in run(EncodingContract, encoding=kind)


class _Twice(mho.nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def test_broken_layers():
    class Kit(LayerContract):
        def layer(self):
            return nn.Linear(4, 3)

        def inputs(self):
            return (torch.randn(2, 4),)

        def analog(self, digital, hardware, seed=0):
            return _Twice.from_digital(digital, hardware, seed=seed)

    found = failures(Kit())
    assert {
        "test_ideal_hardware_computes_what_torch_does",
        "test_gradients_on_ideal_hardware_are_torch_s",
        "test_collapse_is_the_layer_as_stored",
    } <= set(found)
    assert "instead of" in found["test_ideal_hardware_computes_what_torch_does"]


def test_layers_that_take_weights_for_parameters():
    class Kit(LayerContract):
        def layer(self):
            return nn.Linear(4, 3)

        def inputs(self):
            return (torch.randn(2, 4),)

        def analog(self, digital, hardware, seed=0):
            plain = nn.Linear(4, 3, dtype=torch.float64)
            plain.weight.data, plain.bias.data = digital.weight.detach(), digital.bias.detach()
            return mho.nn.Linear.from_digital(plain, hardware, seed=seed)

    assert set(failures(Kit())) == {"test_what_computes_a_weight_is_honoured"}


def test_sound_ones_pass():
    assert not run(DeviceContract, device=LinearDevice())
    assert not run(EffectContract, effect=effects.WriteNoise(0.1))
    assert not run(EncodingContract, encoding=encoding.SingleColumn())


def test_kits_say_what_must_be_given():
    for kit, name in ((DeviceContract, "device"), (EffectContract, "effect"),
                      (EncodingContract, "encoding"), (LayerContract, "layer")):  # fmt: skip
        with pytest.raises(NotImplementedError, match=name):
            getattr(kit(), name)()


@pytest.mark.slow
def test_kits_import_without_pytest():
    code = "import sys; sys.modules['pytest'] = None; import mho, mho.testing"
    subprocess.run([sys.executable, "-c", code], check=True)
