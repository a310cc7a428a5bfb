"""Ranges by input vector: what a sample reads never depends on the other samples of its batch."""

import itertools

import pytest
import torch
from torch import nn

import mho
from mho import ADC, DAC, Array, Crossbar, Hardware
from mho.effects import WriteNoise
from mho.encoding import BitSliced, Differential, SingleColumn

METHODS = ("uniform", "linear", "log", "minmax", "log_minmax", "tanh")
DACS = {
    "ideal": None,
    "amplitude": DAC(6),
    "sign": DAC(1),
    "serial": DAC(5, mode="bit_serial"),
    "once": DAC(5, mode="bit_serial", converts_once=True),
    "vector": DAC(6, range="per_vector"),
}
ENCODINGS = {
    "differential": Differential(),
    "digital": Differential(subtract="digital"),
    "single": SingleColumn(),
    "sliced": BitSliced(bits=6, bits_per_cell=2),
}
LAYERS = {
    "linear": (lambda: nn.Linear(11, 5), (11,)),
    "conv": (lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2), (4, 5, 6)),
    "up": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), (4, 3, 4)),
    "many_tiles": (lambda: nn.Conv1d(8, 3, 5), (8, 9)),
    "lstm": (lambda: _Last(nn.LSTM(11, 4, batch_first=True, proj_size=3)), (4, 11)),
    "gru": (lambda: _Last(nn.GRU(11, 4, bidirectional=True, batch_first=True)), (4, 11)),
}


class _Last(nn.Module):
    """The outputs of a recurrent layer alone."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)[0]


def on_crossbars(layer, **parts):
    torch.manual_seed(0)
    parts = {"array": Array(8, 4), "effects": (WriteNoise(0.02),), **parts}
    return mho.convert(layer().double(), Hardware(**parts), seed=1).eval()


def samples(shape, count=5):
    x = torch.randn(count, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    return x * torch.logspace(-2, 2, count).double().view(-1, *[1] * len(shape))


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("dac", DACS)
@pytest.mark.parametrize("bias", ["digital", "array"])
def test_one_bad_sample_spoils_itself_alone(layer, dac, bias):
    make, shape = LAYERS[layer]
    for adc, encoding in ((ADC(6), "digital"), (None, "single")):
        parts = {"dac": DACS[dac], "adc": adc, "encoding": ENCODINGS[encoding], "bias": bias}
        analog = on_crossbars(make, **parts)
        x = samples(shape)
        clean = analog(x).detach()
        for bad in (torch.nan, torch.inf, 1e30):
            y = x.clone()
            y[2].view(-1)[0] = bad
            found = analog(y).detach()
            others = [0, 1, 3, 4]
            assert torch.equal(found[others], clean[others])
            assert not torch.equal(found[2], clean[2])
            if bad is torch.nan:
                assert found[2].isnan().any()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("layer", "encoding"), list(itertools.product(LAYERS, ENCODINGS)))
def test_a_batch_is_its_samples(layer, encoding, method):
    make, shape = LAYERS[layer]
    for dac in DACS.values():
        analog = on_crossbars(
            make, dac=dac, adc=ADC(6, method=method), encoding=ENCODINGS[encoding]
        )
        x = samples(shape)
        together, alone = analog(x), torch.cat([analog(one.unsqueeze(0)) for one in x])
        size = alone.detach().abs().amax()
        assert torch.allclose(together, alone, rtol=1e-9, atol=1e-12 * float(size))


@pytest.mark.parametrize("bias", ["digital", "array"])
@pytest.mark.parametrize("dac", DACS)
def test_a_patch_is_a_vector(dac, bias):
    conv = nn.Conv2d(3, 4, 3).double()
    hardware = Hardware(dac=DACS[dac], adc=ADC(6), array=Array(8, 4), bias=bias)
    linear = nn.Linear(27, 4).double()
    with torch.no_grad():
        linear.weight.copy_(conv.weight.flatten(1))
        linear.bias.copy_(conv.bias)
    x = samples((3, 5, 5))
    patches = nn.functional.unfold(x, 3).transpose(1, 2)
    wanted = mho.convert(linear, hardware).eval()(patches).transpose(1, 2)
    assert torch.allclose(mho.convert(conv, hardware).eval()(x).flatten(2), wanted, rtol=1e-9)


@pytest.mark.parametrize("dac", DACS)
def test_the_transposed_read_is_by_vector_too(dac):
    for encoding in ENCODINGS.values():
        hardware = Hardware(dac=DACS[dac], adc=ADC(6), array=Array(4, 4), encoding=encoding)
        crossbar = Crossbar(6, 9, hardware, dtype=torch.float64)
        crossbar.program(torch.randn(6, 9, dtype=torch.float64))
        x = samples((9,))
        clean = x @ crossbar.T
        assert torch.allclose(clean, torch.cat([one[None] @ crossbar.T for one in x]), rtol=1e-9)
        x[1, 0] = torch.nan
        assert torch.equal((x @ crossbar.T)[[0, 2, 3, 4]], clean[[0, 2, 3, 4]])


def test_per_call_still_means_the_call():
    policy = {"range": "per_call"}
    analog = on_crossbars(LAYERS["linear"][0], dac=DAC(4, **policy), adc=ADC(4, **policy))
    x = samples((11,))
    assert not torch.allclose(analog(x)[:1], analog(x[:1]), rtol=1e-3)


@pytest.mark.parametrize("dac", [None, DAC(6)])
def test_a_hook_that_multiplies_gets_one_range_an_item(dac):
    """Whatever follows the batch dimension belongs to one vector."""
    hardware = Hardware(dac=dac, adc=ADC(24))
    crossbar = Crossbar(3, 2, hardware, dtype=torch.float64)
    crossbar.program(torch.randn(3, 2, dtype=torch.float64))
    x = samples((7, 3)).unsqueeze(0)  # [1, batch, positions, rows]

    def multiply(level, seen, hardware, rng):
        volts = level * seen.unit
        return [(volts @ seen.matrix).unsqueeze(1)]  # [1, tiles, batch, positions, lines]

    found = crossbar.reader.product(x, crossbar.reader.stored, multiply)
    largest = x.abs().amax((2, 3), keepdim=True)
    driven = x if dac is None else (x / largest * 31).round() / 31 * largest
    assert torch.allclose(found, driven @ crossbar.weight, rtol=1e-5)


def test_a_vector_of_zeros_reads_as_nothing():
    """A single bit has no zero, so a vector of zeros must have no range either."""
    for dac, method in itertools.product(DACS.values(), METHODS):
        for bits in (1, 6):
            analog = on_crossbars(LAYERS["linear"][0], dac=dac, adc=ADC(bits, method=method))
            x = samples((11,))
            x[1] = 0.0
            assert torch.allclose(analog(x)[1], analog.bias, atol=1e-12)


@pytest.mark.parametrize("method", ["minmax", "log_minmax"])
@pytest.mark.parametrize("range", [1e-6, "full_scale"])
def test_a_range_that_would_not_act_is_refused(method, range):
    with pytest.raises(ValueError, match="min–max"):
        ADC(8, method=method, range=range)


@pytest.mark.parametrize(
    "spec", [lambda **kind: ADC(8, **kind), lambda **kind: DAC(8, **kind)], ids=["adc", "dac"]
)
@pytest.mark.parametrize("range", [1.0, "per_call", "per_vector"])
def test_a_percentile_of_ranges_that_are_not_calibrated_is_refused(spec, range):
    with pytest.raises(ValueError, match="percentile"):
        spec(range=range, percentile=99.0)


@pytest.mark.parametrize("method", ["minmax", "log_minmax"])
def test_ends_of_a_call_read_in_blocks(method: str) -> None:
    """Amplifiers are read in blocks, whose currents are measured one after the other."""
    torch.manual_seed(3)
    hardware = mho.Hardware(
        dac=mho.DAC(bits=5, range=1.0),
        adc=mho.ADC(bits=6, range="per_call", method=method),
        amplifier=mho.Amplifier(gain=2.0),
    )
    analog = mho.convert(torch.nn.Linear(64, 32), hardware).eval()
    x = torch.rand(64, 64)
    small = analog(x)
    mho.limit_memory(analog, 40000)
    torch.testing.assert_close(analog(x), small)
