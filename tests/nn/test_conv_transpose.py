"""Transposed convolutions on crossbars against torch's own and against a sum over taps."""

import copy
import warnings

import pytest
import torch
from torch import nn

import mho
from mho import ADC, DAC, Array, Hardware
from mho.effects import PowerLawDrift, ReadNoise, StuckAt, WriteNoise
from mho.encoding import BitSliced, Differential, Scaling, SingleColumn
from mho.nn import columns
from mho.nn.overlap import Spread

T = torch.float64
PATHS = {
    "collapsed": Hardware(),
    "tiled": Hardware(effects=(ReadNoise(0.0),), array=Array(3, 4)),
    "single": Hardware(effects=(ReadNoise(0.0),), array=Array(5, 5), encoding=SingleColumn()),
}
paths = pytest.mark.parametrize("path", PATHS)
one, two, three = nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d
LAYERS = [
    (one(3, 4, 3), (2, 3, 5)),
    (one(3, 4, 3), (3, 5)),  # no batch
    (one(2, 4, 4, stride=3, padding=2, dilation=2, output_padding=1), (2, 2, 5)),
    (one(2, 2, 2, stride=4), (1, 2, 3)),  # pixels that no tap falls on
    (one(2, 2, 1), (1, 2, 1)),
    (two(3, 4, 3), (2, 3, 4, 5)),
    (two(3, 4, 3), (0, 3, 4, 5)),
    (two(3, 4, 3, bias=False), (3, 4, 5)),
    (two(3, 4, 4, stride=2, padding=1), (2, 3, 4, 4)),
    (two(3, 4, (3, 2), stride=(2, 3), padding=(1, 0), output_padding=(1, 2)), (2, 3, 4, 3)),
    (two(3, 2, 2, stride=1, dilation=3, output_padding=2), (2, 3, 4, 3)),  # beyond all taps
    (two(4, 6, (3, 2), groups=2, dilation=(1, 2)), (2, 4, 3, 3)),
    (two(4, 4, 3, groups=4, stride=2, padding=1, output_padding=1), (2, 4, 3, 3)),
    (three(2, 3, 2), (2, 2, 2, 3, 4)),
    (three(2, 3, 2), (2, 2, 3, 4)),
    (three(2, 4, (1, 2, 3), stride=(1, 2, 1), padding=(0, 1, 1), groups=2), (2, 2, 3, 4, 3)),
    (three(1, 2, 3, stride=2, dilation=(2, 1, 1), output_padding=1), (1, 1, 2, 3, 2)),
]
for layer, _ in LAYERS:
    if layer.bias is not None:
        nn.init.normal_(layer.bias)
layers = pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda v: str(v)[:100])


def agree(found, wanted):
    assert found.shape == wanted.shape
    assert torch.allclose(found, wanted, rtol=1e-10, atol=1e-10)


@paths
@layers
def test_every_option(layer, shape, path):
    layer = layer.double()
    analog = mho.convert(layer, PATHS[path])
    assert set(layer.state_dict()) <= set(analog.state_dict())
    x = torch.randn(*shape, dtype=T)
    for train in (False, True):
        found = analog.train(train)(x)
        agree(found, layer(x))
        assert found.is_contiguous() == layer(x).is_contiguous()
    plain = mho.collapse(analog.eval())
    assert type(plain) is type(layer)
    agree(plain(x), layer(x))


@paths
def test_an_output_size_may_be_asked_for(path):
    layer = two(2, 3, 3, stride=3, padding=1).double()
    analog = mho.convert(layer, PATHS[path])
    x = torch.randn(1, 2, 3, 4, dtype=T)
    for size in ((7, 10), (8, 12), (1, 3, 9, 11), torch.Size((9, 10))):
        agree(analog(x, size), layer(x, list(size)))
        agree(analog(x[0], output_size=size[-2:]), layer(x[0], output_size=list(size[-2:])))
    for size in ((6, 10), (10, 10), (7,), (2, 3, 7, 10, 1)):
        with pytest.raises(ValueError, match="output_size"):
            analog(x, size)


@paths
def test_wrong_inputs_are_refused(path):
    analog = mho.convert(two(2, 3, 3, padding=2), PATHS[path])
    for shape in ((1, 3, 4, 4), (2, 4), (1, 1, 2, 4, 4)):
        with pytest.raises(ValueError, match="input must have shape"):
            analog(torch.zeros(shape))
    with pytest.raises(TypeError, match="input"):
        analog([1.0])
    with pytest.raises(ValueError, match="too small"):
        analog(torch.zeros(1, 2, 2, 2))
    with pytest.raises(ValueError, match="zeros"):
        mho.nn.ConvTranspose2d(2, 3, 3, padding_mode="reflect", hardware=Hardware())


def by_taps(pixels, layer):
    """Add what every pixel gives to every tap, one by one, for a two-dimensional image.

    Args:
        pixels: ``[batch, height, width, groups · kernel · kernel · channels / groups]``.
    """
    batch, height, width, _ = pixels.shape
    (ka, kb), (sa, sb), (da, db) = layer.kernel_size, layer.stride, layer.dilation
    whole = (height - 1) * sa + da * (ka - 1) + 1, (width - 1) * sb + db * (kb - 1) + 1
    y = torch.zeros(batch, layer.out_channels, *whole, dtype=pixels.dtype)
    groups = layer.groups
    taps = pixels.unflatten(-1, (groups, ka, kb, layer.out_channels // groups))
    taps = taps.permute(0, 1, 2, 3, 6, 4, 5).flatten(3, 4)
    for i in range(height):
        for j in range(width):
            for a in range(ka):
                for b in range(kb):
                    y[:, :, i * sa + a * da, j * sb + b * db] += taps[:, i, j, :, a, b]
    cut = tuple(slice(p, n - p) for p, n in zip(layer.padding, whole, strict=True))
    return y[:, :, cut[0], cut[1]]


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("serial", [False, True])
def test_converters_see_one_pixel_s_product_at_a_time(groups, serial):
    dac = DAC(5, mode="bit_serial") if serial else DAC(5)
    hardware = Hardware(array=Array(2, 4), dac=dac, adc=ADC(6), encoding=BitSliced(bits=5))
    layer = two(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=groups)
    analog = mho.convert(layer.double(), hardware).eval()
    x = torch.randn(3, 4, 3, 4, dtype=T)
    for calibrated in (False, True):
        if calibrated:
            mho.calibrate(analog, x)
        read = analog.crossbar(x.permute(0, 2, 3, 1))
        wanted = by_taps(read, layer) + layer.bias.view(-1, 1, 1)
        agree(analog(x), wanted)
        assert not torch.allclose(analog(x), layer(x), rtol=1e-4)


def test_a_row_is_a_channel_and_a_column_a_tap_of_an_output():
    layer = mho.nn.ConvTranspose2d(4, 6, (3, 2), groups=2, hardware=Hardware())
    crossbar = layer.crossbar
    assert (crossbar.groups, crossbar.rows, crossbar.cols) == (2, 2, 3 * 6)
    matrix = crossbar.weight
    for i, o, a, b in ((0, 0, 0, 0), (1, 2, 2, 1), (3, 1, 1, 0)):
        assert torch.isclose(matrix[i, (a * 2 + b) * 3 + o], layer.weight[i, o, a, b])


@pytest.mark.parametrize("path", ["collapsed", "tiled"])
def test_a_correction_acts_on_every_tap(path):
    """Gains and offsets are those of the columns: read by the crossbar, added tap by tap."""
    layer = two(3, 2, 3, stride=2, padding=1).double()
    analog = mho.convert(layer, PATHS[path]).eval()
    crossbar = analog.crossbar
    gain, offset = torch.rand(18, dtype=T) + 0.5, torch.randn(18, dtype=T)
    crossbar.commit(correction=crossbar.correction.replace(gain=gain, offset=offset))
    x = torch.randn(2, 3, 4, 5, dtype=T)
    matrix = layer.weight.permute(0, 2, 3, 1).flatten(1)
    pixels = x.permute(0, 2, 3, 1) @ matrix * gain + offset
    agree(analog(x), by_taps(pixels, layer) + layer.bias.view(-1, 1, 1))
    with pytest.warns(UserWarning, match="one bias a channel"):
        plain = analog.to_digital()
    # What is lost is one pattern over the positions of a stride, which has no mean.
    lost = (plain(x) - analog(x))[:, :, 2:-3, 2:-3][:, :, :2, :4].mean((0, 2, 3))
    assert float(lost.abs().max()) < 1e-9


def test_blocks_are_the_whole(monkeypatch):
    hardware = Hardware(adc=ADC(8), dac=DAC(8), array=Array(4, 4))
    analog = mho.convert(two(3, 4, 3, stride=2), hardware).eval()
    x = torch.randn(5, 3, 4, 4)
    mho.calibrate(analog, x)
    with torch.no_grad():
        whole = analog(x)
        monkeypatch.setattr(columns, "COLUMNS_AT_ONCE", 2 * 16 * 36)
        reads = []
        handle = analog.crossbar.register_forward_hook(lambda *seen: reads.append(len(seen[1][0])))
        assert torch.equal(analog(x), whole)
        handle.remove()
        assert reads == [2, 2, 1]
        analog.train()(x)  # one chip for all blocks
    chips = mho.convert(two(3, 4, 1), Hardware(effects=(WriteNoise(0.3),), adc=ADC(10))).train()
    same = x[:1].expand(5, -1, -1, -1)
    with torch.no_grad():
        found = chips(same)
    assert torch.allclose(found, found[:1].expand_as(found), atol=1e-6)


@pytest.mark.parametrize("layer", [one(2, 3, 3, stride=2), two(2, 2, 2), three(1, 2, 2)])
def test_gradients(layer):
    analog = mho.convert(layer.double(), PATHS["tiled"])
    dims = len(layer.kernel_size)
    x = torch.randn(2, layer.in_channels, *[3] * dims, dtype=T, requires_grad=True)
    for train in (False, True):
        analog.train(train)
        assert torch.autograd.gradcheck(analog, (x,))
    grads = []
    for model in (analog, layer):
        model.zero_grad()
        model(x).square().sum().backward()
        grads.append([model.weight.grad, model.bias.grad])
    for found, wanted in zip(*grads, strict=True):
        agree(found, wanted)


def test_overlap_and_add_is_the_adjoint_of_cutting_patches():
    for dims in (1, 2, 3):
        spread = Spread((3, 2, 2)[:dims], (2, 1, 3)[:dims], (1, 2, 1)[:dims])
        size = (3, 4, 2)[:dims]
        columns_ = torch.randn(2, *size, 2 * spread.taps, dtype=T)
        image = torch.randn(2, 2, *spread.whole(size), dtype=T)
        added = spread.add(columns_).movedim(-1, 1)
        patches = image
        for d in range(dims):
            span = spread.dilation[d] * (spread.kernel[d] - 1) + 1
            patches = patches.unfold(2 + d, span, spread.stride[d])[..., :: spread.dilation[d]]
        patches = patches.movedim(1, -1).flatten(1 + dims)
        one, other = (added * image).sum(), (columns_ * patches).sum()
        assert torch.isclose(one, other)


def test_a_bias_on_the_array_is_said_to_be_digital():
    hardware = Hardware(bias="array", effects=(PowerLawDrift(0.1),))
    with pytest.warns(UserWarning, match="bias of ConvTranspose2d is added digitally"):
        analog = mho.convert(two(3, 4, 3), hardware).eval()
    mho.age(analog, 1e4)
    zero = analog(torch.zeros(1, 3, 2, 2))
    assert torch.equal(zero, analog.bias.view(1, 4, 1, 1).expand_as(zero))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mho.convert(two(3, 4, 3, bias=False), hardware)
        with torch.no_grad():
            analog.bias.mul_(2.0)
        analog(torch.zeros(1, 3, 2, 2))  # nothing stale


def test_costs_are_those_of_one_read_a_pixel():
    hardware = Hardware(dac=DAC(8), adc=ADC(8), encoding=Differential(Scaling(per_column=True)))
    analog = mho.convert(two(3, 4, 3, stride=2), hardware)
    (cost,) = mho.analysis.cost(analog, torch.randn(2, 3, 5, 6)).layers
    assert cost.reads == 30
    assert cost.conversions == 30 * 4 * 9


@pytest.mark.parametrize("kind", [one, two, three])
def test_a_chip_in_service(kind):
    effects = (WriteNoise(0.02), ReadNoise(0.02), PowerLawDrift(0.05), StuckAt(low=0.02))
    hardware = Hardware(array=Array(8, 16), dac=DAC(7), adc=ADC(8), effects=effects)
    layer = kind(8, 4, 3, stride=2, padding=1)
    analog = mho.convert(layer, hardware).eval()
    x = torch.randn(4, 8, *[4] * len(layer.kernel_size))

    def error():
        return float((analog(x) - layer(x)).square().mean() / layer(x).var())

    mho.calibrate(analog, x)
    assert error() < 0.1
    mho.age(analog, 1e6)
    aged = error()
    mho.compensate(analog)
    assert error() < aged
    mho.chip.Chip(300, 300, hardware, seed=1).place(analog)
    assert bool(torch.isfinite(analog(x)).all())


def test_decomposition_does_not_take_it_for_a_convolution():
    from mho.decomposition import capture

    for model in (two(2, 3, 3), mho.convert(two(2, 3, 3), Hardware())):
        with capture(model) as samples:
            model.train()(torch.randn(1, 2, 3, 3)).sum().backward()
            assert samples.of(model.weight) is None
            assert "weight" in samples.missing


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("train", [True, False])
def test_half_precision_is_rounded_once(kind: torch.dtype, train: bool) -> None:
    torch.manual_seed(0)
    hardware = mho.Hardware(array=mho.Array(rows=32), adc=mho.ADC(bits=16))
    digital = nn.ConvTranspose2d(6, 8, 3, stride=2).to(kind)
    x = torch.randn(5, 6, 9, 9).to(kind)
    analog = mho.convert(digital, hardware).train(train)
    y = analog(x)
    assert y.dtype == kind
    expected = copy.deepcopy(digital).double()(x.double())
    off = (y.double() - expected).abs() / (expected.abs() + 0.02 * expected.abs().max())
    assert off.max() < 1.5 * torch.finfo(kind).eps


@pytest.mark.parametrize("train", [True, False])
def test_autocast_hands_out_what_torch_does(train: bool) -> None:
    torch.manual_seed(0)
    hardware = mho.Hardware(array=mho.Array(rows=32), adc=mho.ADC(bits=16))
    digital = nn.ConvTranspose2d(6, 8, 3, stride=2)
    analog, x = mho.convert(digital, hardware).train(train), torch.randn(2, 6, 5, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, expected = analog(x), digital(x)
    assert found.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), digital(x), rtol=0.01, atol=0.01)
