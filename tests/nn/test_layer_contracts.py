"""The conformance kit on attention, transposed convolutions, bilinear layers and Conv1D."""

import pytest
import torch
from torch import nn

import mho
from mho import ADC, DAC, Array, Hardware
from mho.effects import ReadNoise, WriteNoise
from mho.testing import LayerContract


def _self_attention(**options):
    return nn.MultiheadAttention(6, 2, **options)


class TestSelfAttention(LayerContract):
    def layer(self):
        return _self_attention()

    def inputs(self):
        x = torch.randn(3, 2, 6)
        return (x, x, x)

    def samples(self, inputs):
        return [dict(zip(("query", "key", "value"), inputs, strict=True))]


class TestCrossAttention(TestSelfAttention):
    def layer(self):
        return _self_attention(
            kdim=4, vdim=5, batch_first=True, add_bias_kv=True, add_zero_attn=True, dropout=0.3
        )

    def inputs(self):
        return torch.randn(2, 3, 6), torch.randn(2, 4, 4), torch.randn(2, 4, 5)


class TestAttentionWithoutBias(TestSelfAttention):
    def layer(self):
        return _self_attention(bias=False, kdim=6, vdim=4)

    def inputs(self):
        return torch.randn(3, 6), torch.randn(5, 6), torch.randn(5, 4)


class TestEncoderLayer(LayerContract):
    def layer(self):
        return nn.Sequential(nn.TransformerEncoderLayer(6, 2, 8, batch_first=True), nn.Linear(6, 3))

    def inputs(self):
        return (torch.randn(2, 3, 6),)


class _Translator(nn.Module):
    """A `torch.nn.Transformer` with a head: the squares of normed outputs have no gradient."""

    def __init__(self):
        super().__init__()
        self.both = nn.Transformer(4, 2, 1, 1, 6, dropout=0.1)
        self.head = nn.Linear(4, 3)

    def forward(self, src, tgt):
        return self.head(self.both(src, tgt))


class TestTransformer(LayerContract):
    def layer(self):
        return _Translator()

    def samples(self, inputs):
        return [dict(zip(("src", "tgt"), inputs, strict=True))]

    def inputs(self):
        return torch.randn(3, 2, 4), torch.randn(2, 2, 4)


class TestConvTranspose1d(LayerContract):
    def layer(self):
        return nn.ConvTranspose1d(4, 6, 3, stride=2, padding=1, output_padding=1)

    def inputs(self):
        return (torch.randn(2, 4, 5),)


class TestConvTranspose2d(LayerContract):
    def layer(self):
        return nn.ConvTranspose2d(4, 6, (3, 2), stride=(2, 1), dilation=(1, 2), groups=2)

    def inputs(self):
        return (torch.randn(2, 4, 3, 4),)


class TestConvTranspose3d(LayerContract):
    def layer(self):
        return nn.ConvTranspose3d(2, 3, 2, stride=(1, 2, 1), padding=(0, 1, 0), bias=False)

    def inputs(self):
        return (torch.randn(2, 2, 3, 4, 3),)


class TestBilinear(LayerContract):
    def layer(self):
        return nn.Bilinear(5, 3, 4)

    def inputs(self):
        return torch.randn(2, 3, 5), torch.randn(2, 3, 3)

    def samples(self, inputs):
        return [dict(zip(("input1", "input2"), inputs, strict=True))]


class TestBilinearWithoutBias(TestBilinear):
    def layer(self):
        return nn.Bilinear(5, 3, 4, bias=False)


HARD = Hardware(
    array=Array(4, 3), dac=DAC(6), adc=ADC(6), effects=(ReadNoise(0.02), WriteNoise(0.02))
)


@pytest.mark.parametrize("case", [TestSelfAttention, TestConvTranspose2d, TestBilinear])
@pytest.mark.parametrize("zero", ["weights", "inputs"])
@pytest.mark.parametrize("policy", ["calibrated", "per_vector", "per_call"])
def test_gradients_of_nothing_are_finite(case, zero, policy):
    kit = case()
    layer, inputs = kit.layer(), kit.inputs()
    with torch.no_grad():
        for tensor in layer.parameters() if zero == "weights" else inputs:
            tensor.zero_()
    parts = {"dac": DAC(6, range=policy), "adc": ADC(6, range=policy)}
    analog = mho.convert(layer, HARD.replace(**parts)).train()
    inputs = [x.requires_grad_() for x in inputs]
    y = analog(*inputs)
    y = y[0] if isinstance(y, tuple) else y
    y.square().sum().backward()
    assert bool(torch.isfinite(y).all())
    assert all(bool(torch.isfinite(t.grad).all()) for t in (*inputs, *analog.parameters()))


class TestConv1D(LayerContract):
    def layer(self):
        utilities = pytest.importorskip("transformers.pytorch_utils")
        layer = utilities.Conv1D(5, 7)
        nn.init.normal_(layer.bias)
        return layer

    def inputs(self):
        return (torch.randn(2, 3, 7),)
