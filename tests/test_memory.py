"""Reads in bounded memory: the same outputs and gradients, whatever the limit."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import mho
import naive
from live import peak
from mho import ADC, DAC, Array, Crossbar, Hardware
from mho.crossbar import blocks, job, read
from mho.effects import ReadNoise, WriteNoise
from mho.encoding import BitSliced, Differential, SingleColumn

F64 = torch.float64
SERIAL = {"mode": "bit_serial"}
DACS = {
    "amplitude": DAC(bits=5, range=1.0),
    "ideal": None,
    "signs and magnitudes": DAC(bits=4, range=1.0, **SERIAL),
    "two's complement": DAC(bits=4, range=1.0, code="twos_complement", **SERIAL),
    "unsigned": DAC(bits=3, range=1.0, signed=False, **SERIAL),
    "one bit": DAC(bits=1, range=1.0, **SERIAL),
    "converted once": DAC(bits=4, range=1.0, converts_once=True, **SERIAL),
    "own ranges": DAC(bits=4, **SERIAL),
    "the call's range": DAC(bits=4, range="per_call", **SERIAL),
}
ADCS = {
    "exact": None,
    "known": ADC(bits=6, range=3e-5),
    "each vector's": ADC(bits=6),
    "the call's": ADC(bits=6, range="per_call"),
    "linear": ADC(bits=6, range="per_call", method="linear"),
    "log": ADC(bits=6, range="per_call", method="log"),
    "minmax": ADC(bits=6, range="per_call", method="minmax"),
    "minmax of vectors": ADC(bits=6, range="per_vector", method="minmax"),
    "log minmax": ADC(bits=6, range="per_call", method="log_minmax"),
    "log minmax of vectors": ADC(bits=6, range="per_vector", method="log_minmax"),
    "tanh": ADC(bits=6, range=3e-5, method="tanh"),
    "sign": ADC(bits=1, range=3e-5),
}
ENCODINGS = {
    "pairs": Differential(),
    "two converters": Differential(subtract="digital"),
    "slices": BitSliced(bits=5, bits_per_cell=2),
    "offset": SingleColumn(),
}
LITTLE = 3000


def seeded(*shape, seed=0):
    return torch.rand(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture
def tiny(monkeypatch):
    """Make pieces a few vectors and a few lines large."""
    monkeypatch.setattr(read, "CURRENTS_AT_ONCE", 50)
    monkeypatch.setattr(blocks, "AT_ONCE", 50)
    monkeypatch.setattr(blocks, "HELD", 50)
    monkeypatch.setattr(blocks, "_WIDEST", 3)


def crossbar(hardware, memory, groups=1):
    made = Crossbar(20, 5, hardware, dtype=F64, groups=groups)
    made.program(seeded(20 * groups, 5))
    made.limit_memory(memory)
    return made


def gradients(made, x):
    x = x.clone().requires_grad_()
    y = made(x)
    y.backward(seeded(*y.shape, seed=3))
    return y.detach(), x.grad


PAIRED = [
    (dac, adc, list(ENCODINGS)[(k + j) % len(ENCODINGS)])
    for k, dac in enumerate(DACS)
    for j, adc in enumerate(ADCS)
]


@pytest.mark.parametrize(("dac", "adc", "encoding"), PAIRED)
def test_blocks_give_what_the_definitions_give(tiny, dac, adc, encoding):
    hardware = Hardware(
        dac=DACS[dac],
        adc=ADCS[adc],
        encoding=ENCODINGS[encoding],
        array=Array(8, 8),
        effects=(WriteNoise(0.03),),  # no current falls between two levels
    )
    x = seeded(7, 20, seed=1)
    whole, made = crossbar(hardware, 10**9), crossbar(hardware, LITTLE)
    with torch.no_grad():
        y = made(x)
    own = ADCS[adc] is not None and isinstance(ADCS[adc].range, float)
    limit = 1.0 if DACS[dac] is not None and isinstance(DACS[dac].range, float) else None
    wanted = naive.read(
        x, made.G, made.scale, hardware, limit=limit, full_scale=ADCS[adc].range if own else None
    )
    np.testing.assert_allclose(y, wanted, rtol=1e-9, atol=1e-12)
    found, of_x = gradients(made, x)
    torch.testing.assert_close(found, y, rtol=1e-9, atol=1e-12)
    _, expected = gradients(whole, x)
    torch.testing.assert_close(of_x, expected, rtol=1e-9, atol=1e-12)


CONVOLUTIONS = {
    "1d": (nn.Conv1d(3, 4, 5, stride=2, padding=2), (2, 3, 19)),
    "2d": (nn.Conv2d(4, 6, 3, padding=1, groups=2), (2, 4, 6, 5)),
    "2d, apart": (nn.Conv2d(2, 5, (3, 2), dilation=(1, 2), stride=(2, 1)), (3, 2, 9, 7)),
    "2d, around": (nn.Conv2d(2, 5, 3, padding="same", padding_mode="circular"), (2, 2, 5, 5)),
    "2d, points": (nn.Conv2d(9, 5, 1, bias=False), (2, 9, 4, 4)),
    "3d": (nn.Conv3d(1, 4, 2), (2, 1, 4, 4, 5)),
}
CHIPS = {
    "converters": {"dac": DAC(bits=5, range=1.0), "adc": ADC(bits=6, range=3e-5)},
    "serial": {"dac": DACS["signs and magnitudes"], "adc": ADC(bits=6, range=3e-5)},
    "own ranges": {"dac": DAC(bits=5), "adc": ADC(bits=6)},
    "serial, own ranges": {"dac": DAC(bits=4, **SERIAL), "adc": ADC(bits=6)},
    "the call's": {"dac": DAC(bits=5), "adc": ADC(bits=6, range="per_call")},
    "amplified": {
        "dac": DAC(bits=5),
        "adc": ADC(bits=6, range="per_call"),
        "amplifier": mho.Amplifier(gain=1.1, compression=1e3),
    },
    "wires": {"adc": ADC(bits=6), "array": Array(4, 4, wires=mho.circuit.Wires(word=5.0))},
}


@pytest.mark.parametrize("bias", ["digital", "array"])
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_convolutions_in_blocks(tiny, kind, chip, bias):
    layer, shape = CONVOLUTIONS[kind]
    parts = {"array": Array(8, 8), "effects": (WriteNoise(0.03),), **CHIPS[chip]}
    hardware = Hardware(encoding=Differential(subtract="digital"), bias=bias, **parts)
    whole = mho.convert(copy.deepcopy(layer).double(), hardware).eval()
    cut = copy.deepcopy(whole)
    mho.limit_memory(whole, 10**9)
    mho.limit_memory(cut, LITTLE)
    x = seeded(*shape, seed=1)
    with torch.no_grad():
        torch.testing.assert_close(cut(x), whole(x), rtol=1e-9, atol=1e-12)
    for one, other in zip(gradients(cut, x), gradients(whole, x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("chip", ["converters", "serial", "serial, own ranges", "amplified"])
def test_training_steps_in_blocks(tiny, chip):
    """Gradients of weights, biases and inputs are those of one read, step for step."""
    layers = [copy.deepcopy(CONVOLUTIONS["2d"][0]), nn.ReLU(), nn.Flatten(), nn.Linear(180, 5)]
    hardware = Hardware(array=Array(8, 8), encoding=BitSliced(bits=4), **CHIPS[chip])
    whole = mho.convert(nn.Sequential(*layers).double(), hardware).train()
    cut = copy.deepcopy(whole)
    mho.limit_memory(whole, 10**9)
    mho.limit_memory(cut, LITTLE)
    x = seeded(3, 4, 6, 5, seed=1)
    for one, other in zip(gradients(cut, x), gradients(whole, x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    pairs = zip(cut.named_parameters(), whole.parameters(), strict=True)
    for (name, parameter), other in pairs:
        torch.testing.assert_close(parameter.grad, other.grad, rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize("train", [False, True])
def test_gradients_meet_the_noise_of_their_read(tiny, train):
    """Where the output is not clipped its gradient passes, so noise must be what it was."""
    hardware = Hardware(
        dac=DACS["amplitude"],
        adc=ADC(bits=6, range=2e-5),
        array=Array(8, 8),
        effects=(ReadNoise(0.3, "value"),),
    )
    layer = mho.convert(nn.Linear(2, 1, bias=False).double(), hardware)
    with torch.no_grad():
        layer.weight.fill_(0.5)
    mho.program(layer)
    mho.limit_memory(layer.train(train), LITTLE)
    x = torch.full((400, 2), 0.5, dtype=F64, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    top = y.detach().abs().amax()
    passed = x.grad[:, 0] != 0
    within = y[:, 0].detach() < top * 0.999
    assert 50 < int(within.sum()) < 350
    assert bool(passed[within].all())
    assert 0 < int((~passed).sum()) <= int((~within).sum())


def test_noise_is_the_noise_there_was(tiny):
    chip = Hardware(adc=ADC(bits=12, range=1e-3), effects=(ReadNoise(0.05, "value"),))
    chip = chip.replace(dac=DAC(bits=4, range=1.0, **SERIAL), array=Array(8, 8))
    x = seeded(1, 20, seed=1).expand(3000, -1)
    with torch.no_grad():
        y = crossbar(chip, LITTLE)(x)
        assert torch.equal(y, crossbar(chip, LITTLE)(x))
        wanted = crossbar(chip, 10**9)
        read.CURRENTS_AT_ONCE = 10**9  # restored by the fixture
        wanted = wanted(x)
    assert len(y.unique(dim=0)) > 2900
    torch.testing.assert_close(y.std(0), wanted.std(0), rtol=6 / 3000**0.5, atol=0.0)
    error = 5 * wanted.std(0) / 1500**0.5
    assert bool(((y.mean(0) - wanted.mean(0)).abs() < error).all())


@pytest.mark.parametrize("calibrated", [False, True])
def test_the_usual_chip_stays_within_its_limit(calibrated):
    conv = nn.Conv2d(16, 16, 3, padding=1)
    x = torch.rand(8, 16, 40, 40)
    hardware = Hardware(
        dac=DAC(bits=8, **SERIAL), adc=ADC(bits=8), encoding=BitSliced(), array=Array(128, 128)
    )
    analog = mho.convert(conv, hardware).eval()
    if calibrated:
        mho.calibrate(analog, x[:1])
    limit = 8 * 10**6  # all currents at once are 46 MB, and more with what they come from
    mho.limit_memory(analog, limit)
    beside = 4 * x.numel() * x.element_size()  # the padded input, the output, its gradient
    with torch.no_grad():
        assert peak(lambda: analog(x))[0] < limit + beside

    def step():
        analog.train()(x).sum().backward()

    assert peak(step)[0] < limit + 2 * beside


def test_limits_are_kept_and_checked():
    analog = mho.convert(nn.Sequential(nn.Linear(4, 3)), Hardware(adc=ADC(bits=8)))
    state = analog.state_dict()
    assert analog[0].crossbar.memory == 256 * 10**6
    mho.limit_memory(analog, 12345)
    for twin in (copy.deepcopy(analog), pickle.loads(pickle.dumps(analog)), analog.double()):
        assert twin[0].crossbar.memory == twin[0].crossbar.reader.memory == 12345
    assert analog.state_dict().keys() == state.keys()
    with pytest.raises(ValueError, match="memory must be"):
        mho.limit_memory(analog, 0)
    with pytest.raises(TypeError, match="memory must be an integer"):
        mho.limit_memory(analog, 1.5)
    with pytest.raises(TypeError, match="memory must be an integer"):
        mho.limit_memory(analog, float("inf"))
    mho.limit_memory(analog, 64e6)
    assert [crossbar.memory for crossbar in mho.crossbars(analog).values()] == [64 * 10**6]
    with pytest.raises(ValueError, match="crossbar"):
        mho.limit_memory(nn.Linear(2, 2), 1000)


def test_a_default_limit_is_that_of_where_a_model_is(monkeypatch):
    """Not of where it was converted: a model made on a large accelerator reads elsewhere."""
    monkeypatch.setattr("mho.crossbar.crossbar.allowed", lambda device: 5 * 10**9)
    monkeypatch.setattr(blocks, "allowed", lambda device: 5 * 10**9)
    analog = mho.convert(nn.Linear(4, 3), Hardware(adc=ADC(bits=8)))
    assert analog.crossbar.memory == analog.crossbar.reader.memory == 5 * 10**9
    saved = pickle.dumps(analog)
    monkeypatch.undo()
    there = pickle.loads(saved).crossbar
    assert there.memory == there.reader.memory == 256 * 10**6


def test_a_nan_in_one_group_hides_no_clip_of_another():
    hardware = Hardware(array=Array(16, 16), dac=DAC(4, range=1.0), adc=ADC(4, range=2e-6))
    found = []
    for stray in (0.0, float("nan")):
        torch.manual_seed(0)
        layer = mho.convert(nn.Conv1d(8, 8, 1, groups=2, bias=False), hardware).train()
        mho.limit_memory(layer, 30_000)
        x = seeded(64, 8, 64).float()
        x[0, 0, 0] = stray
        x.requires_grad_()
        layer(x).sum().backward()
        found.append(x.grad[:, 4:])
    assert torch.equal(*found)


def test_the_least_limit_still_reads(tiny):
    hardware = Hardware(dac=DACS["own ranges"], adc=ADC(bits=6), array=Array(8, 8))
    x = seeded(3, 20, seed=1)
    with torch.no_grad():
        torch.testing.assert_close(crossbar(hardware, 1)(x), crossbar(hardware, 10**9)(x))


def test_autocast_holds_in_the_backward_pass_too(tiny):
    chip = Hardware(dac=DACS["signs and magnitudes"], adc=ADC(bits=6, range=3e-5))
    layer = mho.convert(nn.Linear(20, 5), chip.replace(array=Array(8, 8)))
    x = torch.rand(6, 20)
    found = []
    for memory in (LITTLE, 10**9):
        mho.limit_memory(layer, memory)
        layer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = layer.train()(x)
        y.float().sum().backward()
        found.append((y.detach().float(), layer.weight.grad.clone()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.05)


# ── gradients past converters that clip, and planes side by side ─────────────────────────────


CLIPPING = {
    "known": ADC(bits=6, range=8e-6),
    "power of two": ADC(bits=6, range="per_vector", method="linear"),
    "one side": ADC(bits=6, range="per_vector", rest=0.0),
}


@pytest.mark.parametrize("few", [0, 10**6])
@pytest.mark.parametrize("adc", CLIPPING)
@pytest.mark.parametrize("dac", ["signs and magnitudes", "two's complement", "converted once"])
def test_what_was_clipped_passes_no_gradient(tiny, monkeypatch, dac, adc, few):
    """Of inputs and matrix, whether planes are read side by side or one after the other."""
    monkeypatch.setattr(blocks, "_FEW", few)
    parts = {"dac": DACS[dac], "adc": CLIPPING[adc], "array": Array(8, 8)}
    hardware = Hardware(encoding=BitSliced(bits=5, bits_per_cell=2), **parts)
    whole = mho.convert(nn.Linear(20, 5).double(), hardware, seed=0).train()
    cut = copy.deepcopy(whole)
    mho.limit_memory(whole, 10**9)
    mho.limit_memory(cut, LITTLE)
    x = seeded(9, 20, seed=1)
    for one, other in zip(gradients(cut, x), gradients(whole, x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    assert cut.weight.grad.abs().sum() > 0
    torch.testing.assert_close(cut.weight.grad, whole.weight.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("train", [False, True])
def test_clipped_planes_meet_the_noise_of_their_read(tiny, monkeypatch, train):
    """What is less than all passes is what the converters' own gradients give, with one noise."""
    chip = {"dac": DACS["signs and magnitudes"], "adc": ADC(bits=6, range=2e-5)}
    hardware = Hardware(array=Array(8, 8), effects=(ReadNoise(0.1, "value"),), **chip)
    made = mho.convert(nn.Linear(20, 3).double(), hardware, seed=0).train(train)
    mho.limit_memory(made, LITTLE)
    x, found = seeded(60, 20, seed=1), []
    for passes in (True, False):
        layer = copy.deepcopy(made)
        if not passes:
            monkeypatch.setattr(job.Job, "passes", property(lambda self: False))
        torch.manual_seed(5)
        found.append((*gradients(layer, x), layer.weight.grad if train else layer.bias.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    exact = seeded(60, 3, seed=3) @ made.crossbar.effective_weight.mT
    clipped = ~torch.isclose(found[0][1], exact, rtol=1e-6)
    assert train or 0 < int(clipped.sum()) < x.numel()
