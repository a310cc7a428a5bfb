"""Half precision, cells later and cells in float16, crossed with the layers beyond `Linear`."""

import io

import pytest
import torch
from torch import nn

import mho

HARDWARE = mho.Hardware(
    dac=mho.DAC(8), adc=mho.ADC(8), effects=(mho.effects.WriteNoise(0.02), mho.effects.StuckAt())
)


class Attends(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        return self.inner(x, x, x)[0]


class Transposes(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.ConvTranspose2d(3, 4, 3), nn.ConvTranspose1d(4, 2, 3, groups=2)

    def forward(self, x):
        return self.second(self.first(x).mean(3))


class Pairs(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Bilinear(4, 5, 3)

    def forward(self, x):
        return self.inner(x[:, :4], x[:, 4:])


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(10, 8), nn.Linear(8, 10, bias=False)
        self.head.weight = self.table.weight

    def forward(self, x):
        return self.head(self.table(x))


class Bags(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.EmbeddingBag(10, 8), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.table(x))


class Recurs(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.LSTM(6, 5, batch_first=True), nn.GRUCell(5, 4)

    def forward(self, x):
        return self.second(self.first(x)[0][:, -1])


MODELS = {
    Attends: torch.linspace(-1, 1, 48).view(2, 3, 8),
    Transposes: torch.linspace(-1, 1, 150).view(2, 3, 5, 5),
    Pairs: torch.linspace(-1, 1, 18).view(2, 9),
    Tied: torch.arange(6).view(2, 3),
    Bags: torch.arange(6).view(2, 3),
    Recurs: torch.linspace(-1, 1, 48).view(2, 4, 6),
}


def saved(model):
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def held(model):
    return {name: crossbar.G for name, crossbar in mho.crossbars(model).items()}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("cells_dtype", [None, torch.float16])
@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.__name__)
def test_a_whole_life(kind, cells_dtype, dtype):
    torch.manual_seed(0)
    model, x = kind().to(dtype), MODELS[kind]
    x = x.to(dtype) if x.is_floating_point() else x
    settings = {"seed": 3, "cells_dtype": cells_dtype, "embeddings": kind in (Tied, Bags)}
    at_once = mho.convert(model, HARDWARE, **settings)
    later = mho.convert(model, HARDWARE, **settings, program=False).train()
    assert "not programmed" in str(mho.summary(later))
    assert ("float16" in str(mho.summary(later))) is (cells_dtype is not None)
    y = later(x)
    assert y.dtype == dtype
    y.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in later.parameters())
    elsewhere = mho.convert(model, HARDWARE, **{**settings, "seed": 9}, program=False)
    assert elsewhere.load_state_dict(saved(later)) == ([], [])
    mho.program(later), mho.program(elsewhere)
    for other in (later, elsewhere):
        found = held(other)
        assert all(torch.equal(g, found[name]) for name, g in held(at_once).items())
    mho.calibrate(later, x)
    y = later.eval()(x)
    assert y.dtype == dtype
    elsewhere.load_state_dict(saved(later))
    assert torch.equal(elsewhere.eval()(x), y)
    mho.age(later, 1e3)
    mho.compensate(later)
    plain = mho.collapse(later)
    assert {p.dtype for p in plain.parameters()} == {dtype}
    assert plain(x).dtype == dtype
    again = mho.convert(later, mho.Hardware(dac=mho.DAC(8)), program=False).train()
    assert again(x).dtype == dtype


@pytest.mark.filterwarnings("ignore")
def test_a_shared_crossbar_arrives_from_the_meta_device():
    torch.manual_seed(0)
    model, x = Tied(), MODELS[Tied]
    with torch.device("meta"):
        empty = Tied()
    hardware = mho.Hardware(dac=mho.DAC(8), adc=mho.ADC(8))
    analog = mho.convert(empty, hardware, embeddings=True).to_empty(device="cpu")
    for crossbar in mho.crossbars(analog).values():
        assert crossbar.input_range.isnan()
        assert (crossbar.gain == 1).all()
    analog.load_state_dict(model.state_dict())
    mho.program(analog)
    wanted = model(x)
    assert (analog.eval()(x) - wanted).norm() < 0.1 * wanted.norm()
