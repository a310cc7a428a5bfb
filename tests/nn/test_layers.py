"""Linear and convolution layers on ideal crossbars against torch's own."""

import pytest
import torch
from torch import nn

import mho
from mho import ADC, DAC, Array, Hardware
from mho.effects import ReadNoise
from mho.encoding import BitSliced, SingleColumn

PATHS = {
    "collapsed": {},
    "tiled": {"effects": (ReadNoise(0.0),), "array": Array(4, 3)},
    "single": {"effects": (ReadNoise(0.0),), "array": Array(5, 5), "encoding": SingleColumn()},
}
paths = pytest.mark.parametrize("path", PATHS)
biases = pytest.mark.parametrize("bias", ["digital", "array"])


def agree(digital, hardware, *shape):
    digital = digital.double()
    analog = mho.convert(digital, hardware)
    x = torch.randn(*shape, dtype=torch.float64)
    for train in (False, True):
        found, wanted = analog.train(train)(x), digital(x)
        assert found.shape == wanted.shape
        assert torch.allclose(found, wanted, rtol=1e-9, atol=1e-10)
    return analog


@paths
@biases
@pytest.mark.parametrize("lead", [(), (0,), (4,), (2, 3)])
def test_linear(path, bias, lead):
    agree(nn.Linear(7, 5), Hardware(**PATHS[path], bias=bias), *lead, 7)
    agree(nn.Linear(7, 5, bias=False), Hardware(**PATHS[path], bias=bias), *lead, 7)


CONVOLUTIONS = [
    (nn.Conv1d(3, 4, 3), (2, 3, 9)),
    (nn.Conv1d(3, 4, 3), (3, 9)),  # no batch
    (nn.Conv1d(2, 4, 4, stride=3, padding=2, dilation=2), (2, 2, 13)),
    (nn.Conv1d(2, 4, 4, padding="same"), (2, 2, 9)),  # an even kernel: one more on the right
    (nn.Conv1d(2, 4, 3, padding="valid", dilation=3), (2, 2, 9)),
    (nn.Conv1d(4, 4, 3, groups=4), (2, 4, 6)),
    (nn.Conv1d(2, 2, 3, padding=1, padding_mode="reflect"), (1, 2, 6)),
    (nn.Conv2d(3, 4, 3), (2, 3, 6, 5)),
    (nn.Conv2d(3, 4, 3), (3, 6, 5)),
    (nn.Conv2d(3, 4, 3), (0, 3, 6, 5)),
    (nn.Conv2d(3, 4, 1, bias=False), (2, 3, 4, 4)),
    (nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2)), (2, 3, 7, 6)),
    (nn.Conv2d(4, 6, 3, groups=2, padding=1), (2, 4, 5, 5)),
    (nn.Conv2d(4, 8, 3, groups=4, stride=2, bias=False), (2, 4, 7, 7)),
    (nn.Conv2d(2, 3, (3, 4), padding="same", dilation=(2, 1)), (2, 2, 6, 7)),
    (nn.Conv2d(2, 3, 3, padding=(2, 1), padding_mode="reflect"), (2, 2, 6, 5)),
    (nn.Conv2d(2, 3, 3, padding=(2, 1), padding_mode="replicate"), (2, 2, 6, 5)),
    (nn.Conv2d(2, 3, 3, padding=(2, 1), padding_mode="circular", stride=2), (2, 2, 6, 5)),
    (nn.Conv2d(2, 3, 4, padding="same", padding_mode="circular"), (2, 2, 6, 5)),
    (nn.Conv3d(2, 3, 2), (2, 2, 3, 4, 3)),
    (nn.Conv3d(2, 3, 2), (2, 3, 4, 3)),
    (nn.Conv3d(2, 4, (1, 2, 3), stride=(1, 2, 1), padding=1, groups=2), (2, 2, 3, 4, 3)),
    (nn.Conv3d(2, 2, 3, padding="same", padding_mode="replicate"), (1, 2, 3, 4, 3)),
]


@paths
@biases
@pytest.mark.parametrize(("layer", "shape"), CONVOLUTIONS, ids=lambda v: str(v)[:90])
def test_convolution(layer, shape, path, bias):
    analog = agree(layer, Hardware(**PATHS[path], bias=bias), *shape)
    plain = mho.collapse(analog.eval())
    assert type(plain) is type(layer)
    x = torch.randn(*shape, dtype=torch.float64)
    assert torch.allclose(plain(x), layer(x), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("groups", [1, 2])
def test_convolution_is_the_crossbar_on_patches(groups):
    # With converters: the same as unfolding by torch and reading every patch.
    hardware = Hardware(
        array=Array(5, 4), dac=DAC(5), adc=ADC(6), encoding=BitSliced(bits=5), bias="array"
    )
    analog = mho.nn.Conv2d(4, 6, 3, groups=groups, stride=2, hardware=hardware).double().eval()
    analog.program()
    x = torch.randn(3, 4, 7, 8, dtype=torch.float64)
    patches = nn.functional.unfold(x, 3, stride=2).transpose(1, 2)  # [3, L, 4·9]
    by_group = patches.unflatten(-1, (groups, -1))
    rows = torch.cat((by_group, torch.ones_like(by_group[..., :1])), -1).flatten(-2)
    wanted = analog.crossbar(rows).transpose(1, 2).unflatten(-1, (3, 3))
    assert torch.equal(analog(x), wanted)


def test_one_matrix_per_group():
    layer = mho.nn.Conv2d(6, 9, 3, groups=3, hardware=Hardware())
    crossbar = layer.crossbar
    assert (crossbar.groups, crossbar.rows, crossbar.cols) == (3, 2 * 9, 3)
    matrix = crossbar.weight
    for g, i, o, a, b in ((0, 0, 0, 0, 0), (1, 1, 2, 2, 0), (2, 0, 1, 1, 2)):
        kernel = layer.weight[g * 3 + o, i, a, b]
        assert torch.isclose(matrix[g * 18 + i * 9 + a * 3 + b, o], kernel)


@pytest.mark.parametrize("hardware", [Hardware(), Hardware(adc=ADC(8))])
def test_wrong_inputs_are_refused(hardware):
    conv = mho.nn.Conv2d(3, 4, 3, hardware=hardware).eval()
    for shape in ((2, 4, 5, 5), (3, 5), (1, 2, 3, 5, 5)):
        with pytest.raises(ValueError, match="3"):
            conv(torch.zeros(shape))
    with pytest.raises((ValueError, RuntimeError), match=r"[Kk]ernel"):
        conv(torch.zeros(1, 3, 2, 2))
    linear = mho.nn.Linear(3, 4, hardware=hardware).eval()
    with pytest.raises(ValueError, match="3"):
        linear(torch.zeros(2, 4))


@pytest.mark.parametrize("values", [{"in_features": 0}, {"out_features": -1}])
def test_wrong_sizes_are_refused(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        mho.nn.Linear(**{"in_features": 2, "out_features": 2, **values}, hardware=Hardware())


def test_layers_print_as_torch_s_do():
    assert "in_features=3, out_features=4" in repr(mho.nn.Linear(3, 4, hardware=Hardware()))
    assert "kernel_size=(3, 3)" in repr(mho.nn.Conv2d(3, 4, 3, hardware=Hardware()))


@pytest.mark.parametrize("path", ["collapsed", "tiled"])
def test_bias_on_the_array_drifts_with_it(path):
    effects = (mho.effects.PowerLawDrift(0.1), *PATHS[path].get("effects", ()))
    layer = mho.nn.Linear(4, 3, hardware=Hardware(bias="array", effects=effects)).eval()
    x = torch.randn(2, 4)
    before = layer(x)
    mho.age(layer, 1e4)
    assert torch.allclose(layer(x), before * 1e4**-0.1, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(3, 2), (4, 3)),
        (nn.Conv2d(3, 2, 3), (2, 3, 5, 5)),
        (nn.ConvTranspose2d(3, 2, 3), (2, 3, 5, 5)),
        (nn.LSTM(3, 2), (4, 2, 3)),
        (nn.GRUCell(3, 2), (4, 3)),
    ],
)
def test_inputs_are_named_as_torch_names_them(layer, shape):
    analog, x = mho.convert(layer, mho.Hardware()).eval(), torch.randn(shape)
    found, expected = analog(input=x), layer(input=x)
    if isinstance(found, tuple):
        found, expected = found[0], expected[0]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
