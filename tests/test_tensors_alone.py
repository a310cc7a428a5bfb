"""A state_dict holds tensors alone, as tools that save models expect; with dicts it loads, too."""

import io

import pytest
import torch
from torch import nn

import mho
from mho.core import extra

HARDWARE = mho.Hardware(
    device=mho.devices.LinearDevice(g_min=1e-6, g_max=1e-4),
    dac=mho.DAC(6),
    adc=mho.ADC(6),
    effects=(mho.effects.StuckAt(low=0.05), mho.effects.WriteNoise(0.02)),
)
X = torch.linspace(-1.0, 1.0, 24).view(3, 8)
KINDS = {
    "programmed": {},
    "cells in float16": {"cells_dtype": torch.float16},
    "not programmed": {"program": False},
}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_every_entry_is_a_tensor_of_its_own(kind):
    state = mho.convert(network(), HARDWARE, **KINDS[kind]).state_dict()
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    places = [value.untyped_storage().data_ptr() for value in state.values() if value.numel()]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("kind", KINDS)
def test_dicts_in_their_places_load_as_well(kind):
    model = mho.convert(network(), HARDWARE, seed=1, **KINDS[kind])
    if kind != "not programmed":
        mho.age(model, 100.0)
    state = model.state_dict()
    for key in [key for key in state if key.endswith("_extra_state")]:
        state[key] = extra.plain(state[key])
        assert isinstance(state[key], dict)
    twin = mho.convert(network(), HARDWARE, seed=2, **KINDS[kind])
    assert twin.load_state_dict(state) == ([], [])
    if kind != "not programmed":
        assert torch.equal(twin.eval()(X), model.eval()(X))
        assert twin[0].crossbar.seconds == 100.0
    mho.program(model), mho.program(twin)
    assert torch.equal(twin[0].crossbar.G, model[0].crossbar.G)


def test_numbers_come_back_as_they_were():
    values = {"a": 0.1, "b": 2**62 + 1, "c": [1e-300, float("inf")], "d": None, "e": "µ", "f": True}
    assert extra.plain(extra.packed(values)) == values


def test_what_is_no_plain_value_stays_what_it_is():
    values = {"a": torch.ones(2)}
    assert extra.packed(values) is values


def test_safetensors_takes_a_model_there_and_back():
    safetensors = pytest.importorskip("safetensors.torch")
    model = mho.convert(network(), HARDWARE)
    mho.calibrate(model, X)
    file = safetensors.save(dict(model.state_dict()))
    twin = mho.convert(network(), HARDWARE, seed=3)
    twin.load_state_dict(safetensors.load(file))
    assert torch.equal(twin.eval()(X), model.eval()(X))


@pytest.mark.parametrize("settings", [{}, {"program": False}])
def test_a_transformers_model_is_saved_in_its_own_way(settings, tmp_path):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    config = transformers.LlamaConfig(vocab_size=16, **sizes, **heads)
    model = mho.convert(transformers.LlamaForCausalLM(config), HARDWARE, **settings)
    model.save_pretrained(tmp_path)
    assert any(tmp_path.glob("*.safetensors"))


def test_a_file_is_loaded_with_weights_only():
    model, file = mho.convert(network(), HARDWARE), io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    assert model.load_state_dict(torch.load(file, weights_only=True)) == ([], [])
