"""The snippet that is the contract, word for word, and what it promises."""

import torch
from torch import nn

import mho


def test_contract():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    inputs, x, weight = torch.rand(50, 64), torch.rand(7, 64), torch.randn(64, 10)

    hardware = mho.Hardware(
        device=mho.devices.LinearDevice(g_min=1e-6, g_max=100e-6),
        encoding=mho.encoding.Differential(),
        array=mho.Array(rows=128, cols=128),
        dac=mho.DAC(bits=8),
        adc=mho.ADC(bits=8),
        effects=(
            mho.effects.StuckAt(low=0.01, high=0.01),
            mho.effects.WriteNoise(sigma=0.01),
            mho.effects.PowerLawDrift(nu=0.06, nu_spread=0.02, t0=1.0),
            mho.effects.ReadNoise(sigma=0.01),
        ),
    )
    analog = mho.convert(model, hardware, seed=0)
    mho.calibrate(analog, inputs)
    report = mho.program(analog)
    mho.age(analog, seconds=86_400)
    print(mho.summary(analog))
    logits = analog(x)
    fast = mho.collapse(analog)
    xbar = mho.Crossbar(64, 10, hardware, seed=0)
    xbar.program(weight)
    y = x @ xbar

    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert analog is not model
    assert set(report) == {"0", "2"}
    assert logits.shape == (7, 10)
    assert torch.isfinite(logits).all()
    assert type(fast[0]) is nn.Linear
    assert fast(x).shape == (7, 10)
    assert y.shape == (7, 10)
    # A day of drift halves the weights (86 400^-0.06 = 0.51), unevenly; reads still follow them.
    assert torch.corrcoef(torch.stack((y.flatten(), (x @ weight).flatten())))[0, 1] > 0.7
    words = str(mho.summary(analog))
    for word in (
        "StuckAt",
        "WriteNoise",
        "PowerLawDrift",
        "ReadNoise",
        "128 × 128",
        "tiled",
        "1 d",
    ):
        assert word in words
