"""Convolutions under tracers, which look all attributes of a module up, and in exported graphs."""

import inspect

import pytest
import torch
from torch import nn

import mho

EIGHT = mho.Hardware(dac=mho.DAC(bits=8, range=2.0), adc=mho.ADC(bits=8))


@pytest.mark.parametrize("hardware", [mho.Hardware(), EIGHT], ids=["ideal", "converters"])
@pytest.mark.parametrize("layer", [nn.Conv2d, nn.ConvTranspose2d])
def test_grouped_convolutions_can_be_traced(layer: type[nn.Module], hardware: mho.Hardware) -> None:
    torch.manual_seed(0)
    analog = mho.convert(layer(4, 6, 3, groups=2), hardware).eval()
    x = torch.randn(2, 4, 7, 7)
    mho.calibrate(analog, x)
    traced = torch.jit.trace(analog, (x,))
    torch.testing.assert_close(traced(x), analog(x))


def test_several_groups_are_refused_where_they_are_read() -> None:
    crossbar = next(iter(mho.crossbars(mho.convert(nn.Conv2d(4, 6, 3, groups=2), EIGHT)).values()))
    inspect.getmembers(crossbar)  # raises where an attribute does
    with pytest.raises(ValueError, match="this has 2"):
        torch.randn(3, crossbar.cols) @ crossbar.T


@pytest.mark.parametrize("hardware", [mho.Hardware(), EIGHT], ids=["ideal", "converters"])
@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolutions_are_exported_for_any_batch(
    groups: int, hardware: mho.Hardware
) -> None:
    torch.manual_seed(0)
    digital = nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1, groups=groups)
    analog, x = mho.convert(digital, hardware).eval(), torch.randn(4, 4, 7, 7)
    mho.calibrate(analog, x)
    batch = torch.export.Dim("batch", min=2, max=64)
    graph = torch.export.export(analog, (x,), dynamic_shapes=({0: batch},)).module()
    other = torch.randn(9, 4, 7, 7)
    torch.testing.assert_close(graph(other), analog(other))
