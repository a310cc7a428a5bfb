"""A convolution on several tiles: each is driven by the pixels of its own rows alone."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mho
from mho.nn import convolve

KINDS = {
    "rows of a channel on two tiles": (nn.Conv2d(5, 3, 3), 16, (2, 5, 6, 7)),
    "channels on a tile": (nn.Conv2d(8, 4, 2, stride=2), 16, (2, 8, 6, 6)),
    "a channel on several tiles": (nn.Conv2d(1, 2, 5), 10, (3, 1, 9, 8)),
    "groups": (nn.Conv2d(6, 4, 3, groups=2, dilation=2), 20, (2, 6, 9, 9)),
    "one dimension": (nn.Conv1d(7, 3, 4), 13, (2, 7, 11)),
    "three dimensions": (nn.Conv3d(3, 2, 2), 11, (1, 3, 4, 4, 4)),
    "pixels alone": (nn.Conv2d(30, 3, 1), 9, (2, 30, 3, 3)),
}


def unfolded(layer, x, height):
    """Currents of all tiles, patch by patch: ``[groups, tiles, batch, patches, outputs]``."""
    groups, kernel = layer.groups, layer.weight.shape[2:]
    for d, (k, step, gap) in enumerate(zip(kernel, layer.stride, layer.dilation, strict=True)):
        x = x.unfold(2 + d, gap * (k - 1) + 1, step)[..., ::gap]
    dims = len(kernel)
    x = x.movedim(1, 1 + dims).flatten(1, dims)  # [batch, patches, channels, *kernel]
    rows = x.flatten(2).unflatten(2, (groups, -1))
    weight = layer.weight.flatten(1).unflatten(0, (groups, -1)).transpose(1, 2)
    count = rows.shape[-1]
    spans = [slice(a, min(a + height, count)) for a in range(0, count, height)]
    each = [torch.einsum("bpgr,gro->gbpo", rows[..., s], weight[:, s]) for s in spans]
    return torch.stack(each, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_currents_of_tiles_are_those_of_their_rows(kind):
    layer, height, shape = KINDS[kind]
    layer = layer.double()
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    geometry = convolve.Geometry(layer.kernel_size, layer.stride, layer.dilation, layer.groups)
    matrix = layer.weight.flatten(1).unflatten(0, (layer.groups, -1)).transpose(1, 2)
    assert math.ceil(matrix.shape[1] / height) > 1
    found = convolve._by_tile(x, matrix, height, geometry)
    wanted = unfolded(layer, x, height)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(
        torch.autograd.grad(found.square().sum(), layer.weight),
        torch.autograd.grad(wanted.square().sum(), layer.weight),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-11)


def test_terms_of_a_nonlinear_cell_stay_with_their_pixels():
    torch.manual_seed(0)
    geometry = convolve.Geometry((2, 2), (1, 1), (1, 1), 1)
    channels, terms, height, outputs = 5, 3, 6, 2
    x = torch.randn(2, channels * terms, 4, 4, dtype=torch.float64)
    matrix = torch.randn(1, channels * 4 * terms, outputs, dtype=torch.float64)
    found = convolve._by_tile(x, matrix, height, geometry, terms)
    # Rows go by channel, pixel and term; torch unfolds by channel and term, then pixel.
    patches = F.unfold(x, 2).unflatten(1, (channels, terms, 4)).transpose(2, 3).flatten(1, 3)
    each = [
        torch.einsum("brp,ro->bpo", patches[:, a : a + 18], matrix[0, a : a + 18])
        for a in range(0, channels * 4 * terms, height * terms)
    ]
    torch.testing.assert_close(found[0], torch.stack(each), rtol=1e-12, atol=1e-12)


def test_a_read_on_tiles_is_the_sum_of_converted_tiles():
    layer = nn.Conv2d(5, 3, 3, padding=1)
    hardware = mho.Hardware(dac=mho.DAC(12), adc=mho.ADC(14), array=mho.Array(rows=16))
    analog = mho.convert(layer, hardware).eval()
    x = torch.rand(4, 5, 6, 7)
    mho.calibrate(analog, x)
    with torch.no_grad():
        torch.testing.assert_close(analog(x), layer(x), rtol=0.0, atol=2e-3)
