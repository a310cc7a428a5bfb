"""A model moves to the meta device and back; another default device changes nothing of a model."""

import copy

import pytest
import torch
from torch import nn

import menu
import mho

HARDWARE = mho.Hardware(
    dac=mho.DAC(4, mode="bit_serial"),
    adc=mho.ADC(8),
    effects=(*menu.EFFECTS["stuck"], *menu.EFFECTS["reading"], *menu.EFFECTS["drift"]),
)


def built():
    model, x = menu.built("two", HARDWARE, seed=1), menu.given("two", batch=40)
    mho.calibrate(model, x)
    mho.limit_memory(model, 2000)
    return model, x


def test_to_the_meta_device_and_back():
    model, x = built()
    state = copy.deepcopy(model.state_dict())
    wanted = model(x)
    model.to("meta")
    assert model(x.to("meta")).is_meta
    assert model.train()(x.to("meta")).is_meta
    with pytest.raises(ValueError, match="meta device"):
        mho.program(model)
    model.eval().to_empty(device="cpu").load_state_dict(state)
    assert torch.equal(model(x), wanted)


def life(digital, x):
    """What becomes of a model that is converted, read, trained, aged and made anew."""
    model = mho.convert(digital, HARDWARE, seed=1).eval()
    mho.calibrate(model, x)
    mho.limit_memory(model, 2000)
    found = [model(x)]
    torch.manual_seed(0)
    model.train()(x).square().sum().backward()
    found += [p.grad for p in model.parameters()]
    model.eval()
    mho.age(model, 100.0)
    found.append(model(x))
    mho.fabricate(model, 3)
    mho.program(model)
    return [*found, model(x)]


def test_of_another_default_device_nothing_is_seen():
    torch.manual_seed(0)
    digital, x = nn.Linear(7, 5), menu.given("two", batch=40)
    wanted = life(digital, x)
    with torch.device("meta"):
        found = life(digital, x)
    for one, two in zip(found, wanted, strict=True):
        assert torch.equal(one, two)
