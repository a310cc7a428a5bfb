"""How recurrent layers read their crossbars: prepared once a call, as calls of modules would."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import mho
from mho.nn import recurrent_base

CONVERTERS = {"dac": mho.DAC(bits=8), "adc": mho.ADC(bits=8)}
NOISE = (mho.effects.ReadNoise(sigma=0.01),)
CHIPS = {
    "converters": CONVERTERS,
    "read noise": {**CONVERTERS, "effects": NOISE},
    "bias on the array": {**CONVERTERS, "bias": "array"},
    "bit-serial": {"dac": mho.DAC(8, mode="bit_serial"), "adc": mho.ADC(8)},
    "redrawn": {**CONVERTERS, "effects": (mho.effects.TelegraphNoise(0.1), *NOISE)},
}


def analog(kind: type[nn.Module], chip: str, **form: object) -> nn.Module:
    torch.manual_seed(2)
    hardware = mho.Hardware(**CHIPS[chip])
    model = mho.convert(nn.Sequential(kind(10, 24, **form)), hardware, seed=4).eval()
    with torch.no_grad():
        mho.calibrate(model, torch.randn(5, 4, 10))
    return model[0]


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize(
    ("kind", "form"),
    [
        (nn.LSTM, {}),
        (nn.LSTM, {"num_layers": 2, "bidirectional": True}),
        (nn.LSTM, {"proj_size": 7}),
        (nn.GRU, {"bias": False}),
        (nn.RNN, {"nonlinearity": "relu"}),
    ],
    ids=lambda v: getattr(v, "__name__", str(v)),
)
def test_as_calls_of_modules(
    kind: type[nn.Module], form: dict[str, object], chip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = analog(kind, chip, **form)
    other = copy.deepcopy(one)
    x = torch.randn(5, 4, 10)
    pack = pack_padded_sequence(x, torch.tensor([5, 3, 3, 1]))

    def outputs(layer: nn.Module) -> list[Tensor]:
        with torch.no_grad():
            found = [layer(x)[0], layer(pack)[0].data, layer(x[:, 0])[0]]
        return [*found, layer(x)[0]]

    if chip == "read noise":  # other numbers are drawn: see below
        one, other = mho.noise_free(one), mho.noise_free(other)
    prepared = outputs(one)
    monkeypatch.setattr(recurrent_base, "_plain_reads", lambda *_: None)
    for y, z in zip(prepared, outputs(other), strict=True):
        # One factor is rounded otherwise than two: a few values cross to the next level.
        assert (y - z).abs().median() < 1e-6
        torch.testing.assert_close(y, z, rtol=0.0, atol=0.02)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_noise_drawn_at_once_is_that_of_each_step(
    kind: type[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, count = analog(kind, "read noise"), 4000
    x = torch.randn(5, 1, 10).expand(-1, count, -1)
    with torch.no_grad():
        found = layer(x)[0]
        again = layer(x)[0]
        monkeypatch.setattr(recurrent_base, "_plain_reads", lambda *_: None)
        wanted = layer(x)[0]
    # Spreads over the batch, of all units and steps: each is known to 1 / sqrt(2 · count).
    ratio = found.std(1) / wanted.std(1)
    assert (ratio - 1.0).abs().max() < 6.0 / count**0.5
    error = wanted.std(1) * (2.0 / count) ** 0.5
    assert ((found.mean(1) - wanted.mean(1)) / error).abs().max() < 5.0
    noise = torch.stack([(y - y.mean(1, keepdim=True)).flatten(1) for y in (found[0], again[0])])
    assert not torch.equal(*noise)
    # Steps draw apart: what one read adds is not what the next adds.
    steps = (found - found.mean(1, keepdim=True))[:2].permute(0, 2, 1)
    assert not torch.equal(*steps)


def test_hooks_of_a_crossbar_see_every_step() -> None:
    layer = analog(nn.LSTM, "converters")
    seen: list[Tensor] = []
    handle = layer.crossbar_hh_l0.register_forward_hook(lambda _m, _x, y: seen.append(y))
    x = torch.randn(6, 4, 10)
    with torch.no_grad():
        watched = layer(x)[0]
        assert len(seen) == 6
        handle.remove()
        torch.testing.assert_close(layer(x)[0], watched, rtol=0.0, atol=0.02)
        assert len(seen) == 6


def test_what_a_call_prepares_is_not_kept_too_long() -> None:
    layer = analog(nn.GRU, "converters")
    x = torch.randn(6, 4, 10)
    with torch.no_grad():
        before = layer(x)[0]
        for value in layer.parameters():
            value.zero_()
        mho.program(layer)
        after = layer(x)[0]
    # Without weights and biases the state stays 0 but for calibrated offsets of the outputs.
    assert after.abs().max() < 0.2 * before.abs().max()


def test_autocast_and_other_dtypes() -> None:
    layer = analog(nn.LSTM, "converters")
    x = torch.randn(6, 4, 10)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(x)[0].isfinite().all()
    assert layer.double()(x.double())[0].dtype == torch.float64
