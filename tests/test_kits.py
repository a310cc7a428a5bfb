"""The conformance kits catch what they are for, and say what they expected and found."""

import subprocess
import sys
from dataclasses import dataclass
from types import MappingProxyType

import pytest
import torch
from torch import nn

import mho
from mho import effects, encoding
from mho.devices import Cells, LinearDevice
from mho.testing import (
    CellsContract,
    DeviceContract,
    EffectContract,
    EncodingContract,
    LayerContract,
)


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
class Boastful(LinearDevice):
    speed: float = 3.0  # nothing knows it


@dataclass(frozen=True)
class Decorated(effects.WriteNoise):
    colour: float = 1.0


@dataclass(frozen=True)
class Titled(encoding.Differential):
    grade: int = 2


class _Strange(Cells):
    """Breaks one promise, by name."""

    broken_promise = ""

    def read(self):
        noise = 1.5 if self.broken_promise == "noise" else 1.0
        if self.broken_promise == "generator":
            return self.g + 1e-9 * torch.randn(self.shape)
        return self.g + (super().read() - self.g) * noise

    def fork(self):
        twin = super().fork()
        if self.broken_promise == "fork":
            twin.streams = self.streams
        return twin

    def gather(self, place):
        part = super().gather(place)
        if self.broken_promise == "gather":
            part.broken_at = None
        return part

    def count(self, pulses):
        super().count(2 if self.broken_promise == "count" else pulses)

    def hold(self, g):
        kept = self.g
        super().hold(g)
        if self.broken_promise == "broken":
            self.g = g.detach().clone()
        if self.broken_promise == "shared" and kept.shape == self.g.shape:
            kept.copy_(self.g)

    def age(self, seconds):
        if self.broken_promise == "age":
            self.seconds = 0.0
        super().age(seconds)

    def get_extra_state(self):
        told = super().get_extra_state()
        return {**told, "seconds": 0.0} if self.broken_promise == "saved" else told


PROMISES = {
    "noise": "test_read_noise_is_as_the_behaviours_say",
    "generator": "test_a_life_leaves_torch_s_generator_alone",
    "fork": "test_forks_are_independent",
    "shared": "test_forks_are_independent",
    "gather": "test_parts_given_away_come_back",
    "count": "test_programming_counts_its_pulses",
    "broken": "test_broken_cells_never_move",
    "age": "test_aging_composes",
    "saved": "test_saved_and_loaded_in_mid_life",
}


@pytest.mark.parametrize("promise", PROMISES)
def test_broken_cells(promise):
    kind = type("Strange", (_Strange,), {"broken_promise": promise})
    device = type("Strange", (LinearDevice,), {"cells_type": property(lambda self: kind)})()
    acting = (effects.PowerLawDrift(0.06), effects.WriteNoise(0.02), effects.ReadNoise(0.02))
    body = {"device": lambda self: device, "effects": lambda self: acting}
    with pytest.raises(AssertionError, match=r"(?s)expected .*found"):
        getattr(type("Kit", (CellsContract,), body)(), PROMISES[promise])()


def test_fields_that_do_nothing():
    for kit, given in (
        (DeviceContract, {"device": Boastful()}),
        (EffectContract, {"effect": Decorated(0.1)}),
        (EncodingContract, {"encoding": Titled()}),
    ):
        assert list(run(kit, **given)) == ["test_every_field_acts"]


def test_fields_that_are_labels_say_so():
    class Kit(DeviceContract):
        labels = MappingProxyType({"speed": "for catalogues"})

        def device(self):
            return Boastful()

    assert not failures(Kit())


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
    for kit, name in ((CellsContract, "device"), (DeviceContract, "device"),
                      (EffectContract, "effect"),
                      (EncodingContract, "encoding"), (LayerContract, "layer")):  # fmt: skip
        with pytest.raises(NotImplementedError, match=name):
            getattr(kit(), name)()


@pytest.mark.slow
def test_kits_import_without_pytest():
    code = "import sys; sys.modules['pytest'] = None; import mho, mho.testing"
    subprocess.run([sys.executable, "-c", code], check=True)
