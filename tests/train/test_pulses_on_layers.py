"""Training on cells of models with layers that are not a linear layer's kind."""

import warnings

import pytest
import torch
from torch import nn

import mho
from mho.devices import ConstantStep, ExponentialDevice
from mho.train import InSitu, PulsedSGD


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(10, 8), nn.Linear(8, 10)

    def forward(self, index):
        return self.head(self.words(index))


def test_trained_embeddings_are_deployed_and_recalled():
    torch.manual_seed(0)
    model, index, device = Words(), torch.randint(10, (6,)), ExponentialDevice()
    adam = torch.optim.Adam(model.parameters(), 1e-2)
    optimizer = InSitu(adam, device, weight_range=(-4, 4), model=model)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(index), index).backward()
        optimizer.step()
    hardware = mho.Hardware(device=device, encoding=mho.encoding.SingleColumn())
    chip = optimizer.deploy(model, hardware).eval()
    torch.testing.assert_close(chip(index), model(index), rtol=0, atol=1e-4)
    assert "words" in mho.crossbars(chip)
    before = model.words.weight.detach().clone()
    optimizer.recall(model, chip)
    torch.testing.assert_close(model.words.weight, before, rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match=r"words\.weight.*embeddings=True"):
        optimizer.deploy(model, hardware, embeddings=False)


def test_attention_s_last_layer_stays_digital_under_pulses():
    """Attention multiplies by it without calling it: nobody sees its samples."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    with pytest.warns(UserWarning, match="self_attn.out_proj.weight: attention multiplies"):
        optimizer = PulsedSGD(layer, 0.1, device=ConstantStep())
    before = {name: p.detach().clone() for name, p in layer.named_parameters()}
    layer(torch.randn(2, 5, 8))[..., 0].sum().backward()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step()
    after = dict(layer.named_parameters())
    assert not torch.equal(after["self_attn.out_proj.weight"], before["self_attn.out_proj.weight"])
    assert not torch.equal(after["linear1.weight"], before["linear1.weight"])
    assert "linear1.weight" in optimizer.arrays
    assert "self_attn.out_proj.weight" not in optimizer.arrays


def test_no_layer_for_pulses_says_which_and_why():
    with pytest.raises(ValueError, match=r"weight: ConvTranspose2d is not a .*not transposed"):
        PulsedSGD(nn.ConvTranspose2d(2, 2, 2), device=ConstantStep())
