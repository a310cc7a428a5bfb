"""Bilinear layers on crossbars against torch's own."""

import pytest
import torch
from torch import nn

import mho
from mho import ADC, DAC, Array, Hardware
from mho.effects import PowerLawDrift, ReadNoise
from mho.nn import columns

T = torch.float64
PATHS = {
    "collapsed": Hardware(),
    "tiled": Hardware(effects=(ReadNoise(0.0),), array=Array(3, 4)),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("lead", [(), (0,), (4,), (2, 3)])
@pytest.mark.parametrize("bias", [False, True])
def test_it_computes_what_torch_does(path, lead, bias):
    layer = nn.Bilinear(5, 3, 4, bias=bias).double()
    analog = mho.convert(layer, PATHS[path])
    x1, x2 = torch.randn(*lead, 5, dtype=T), torch.randn(*lead, 3, dtype=T)
    for model in (analog.eval(), analog.train(), mho.collapse(analog)):
        found = model(x1, x2)
        assert found.shape == (*lead, 4)
        assert torch.allclose(found, layer(x1, x2), rtol=1e-10, atol=1e-12)


def test_the_first_input_drives_and_the_second_weighs():
    hardware = Hardware(array=Array(3, 4), dac=DAC(5), adc=ADC(6))
    layer = nn.Bilinear(5, 3, 4).double()
    analog = mho.convert(layer, hardware).eval()
    assert (analog.crossbar.rows, analog.crossbar.cols) == (5, 12)
    x1, x2 = torch.randn(7, 5, dtype=T), torch.randn(7, 3, dtype=T)
    read = analog.crossbar(x1).view(7, 4, 3)
    wanted = torch.einsum("boj,bj->bo", read, x2) + layer.bias
    assert torch.allclose(analog(x1, x2), wanted)
    assert not torch.allclose(analog(x1, x2), layer(x1, x2), rtol=1e-3)
    # Twice the second input: no converter sees it.
    assert torch.allclose(analog(x1, 2 * x2) - layer.bias, 2 * (wanted - layer.bias))


def test_blocks_are_the_whole(monkeypatch):
    analog = mho.convert(nn.Bilinear(5, 3, 4), Hardware(adc=ADC(8))).eval()
    x1, x2 = torch.randn(7, 5), torch.randn(7, 3)
    with torch.no_grad():
        whole = analog(x1, x2)
        monkeypatch.setattr(columns, "COLUMNS_AT_ONCE", 25)
        assert torch.equal(analog(x1, x2), whole)


@pytest.mark.parametrize(
    ("x1", "x2", "word"),
    [((2, 4), (2, 3), "input1"), ((2, 5), (2, 5), "input2"), ((2, 5), (3, 3), "alike")],
)
def test_wrong_inputs_are_refused(x1, x2, word):
    analog = mho.nn.Bilinear(5, 3, 4, hardware=Hardware())
    with pytest.raises(ValueError, match=word):
        analog(torch.zeros(x1), torch.zeros(x2))


def test_a_bias_on_the_array_is_said_to_be_digital():
    with pytest.warns(UserWarning, match="bias of Bilinear is added digitally"):
        analog = mho.convert(
            nn.Bilinear(5, 3, 4), Hardware(bias="array", effects=(PowerLawDrift(0.1),))
        )
    mho.age(analog.eval(), 1e5)
    assert torch.equal(analog(torch.zeros(1, 5), torch.ones(1, 3))[0], analog.bias)


def test_offsets_that_torch_s_layer_cannot_hold_are_named():
    layer = nn.Bilinear(5, 3, 4).double()
    analog = mho.convert(layer, Hardware()).eval()
    crossbar = analog.crossbar
    gain, offset = torch.rand(12, dtype=T) + 0.5, torch.randn(12, dtype=T)
    crossbar.commit(correction=crossbar.correction.replace(gain=gain, offset=offset))
    with pytest.warns(UserWarning, match="left out"):
        plain = analog.to_digital()
    x1, x2 = torch.randn(7, 5, dtype=T), torch.randn(7, 3, dtype=T)
    found = plain(x1, x2) + x2 @ offset.view(4, 3).T
    assert torch.allclose(found, analog(x1, x2))
