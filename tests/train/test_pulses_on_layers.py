"""Training on cells of models with layers that are not a linear layer's kind."""

import copy
import warnings

import pytest
import torch
from torch import nn

import mho
from mho.devices import ConstantStep, ExponentialDevice
from mho.train import InSitu, PulsedSGD
from mho.train.on_cells.coincidence import ExpectedPulses


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


def test_attention_with_dropout_stays_digital_under_pulses():
    """Which of its weights were dropped is drawn inside of torch's kernel."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.1)
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


class First(nn.Module):
    """A layer's first output, of a sequence attending to itself or plainly."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        heads = isinstance(self.layer, nn.MultiheadAttention)
        y = self.layer(x, x, x, need_weights=False) if heads else self.layer(x)
        return y[0] if isinstance(y, tuple) else y


KINDS = {
    "convolution": (lambda: nn.Conv2d(2, 5, 3, padding=1), (4, 2, 6, 6)),
    "groups": (lambda: nn.Conv2d(4, 6, 3, stride=2, groups=2), (4, 4, 7, 7)),
    "RNN": (lambda: nn.RNN(6, 5, batch_first=True), (3, 7, 6)),
    "LSTM": (lambda: nn.LSTM(6, 5, 2, batch_first=True, bidirectional=True), (3, 7, 6)),
    "GRU": (lambda: nn.GRU(6, 5, batch_first=True), (3, 7, 6)),
    "attention": (lambda: nn.MultiheadAttention(6, 2, batch_first=True), (3, 7, 6)),
    "transformer": (
        lambda: nn.TransformerEncoderLayer(6, 2, 9, batch_first=True, dropout=0.0),
        (3, 7, 6),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_ideal_cells_step_as_plain_sgd_whatever_the_layer(kind):
    make, shape = KINDS[kind]
    torch.manual_seed(0)
    plain = First(make())
    on_cells = copy.deepcopy(plain)
    fine = ConstantStep(g_min=1e-6, g_max=101e-6, step=1e-10)  # a pulse moves weights by 2e-6
    x = torch.randn(shape)
    optimizers = (
        torch.optim.SGD(plain.parameters(), lr=0.1),
        PulsedSGD(on_cells, 0.1, device=fine, update=ExpectedPulses()),
    )
    for _ in range(2):
        for model, optimizer in zip((plain, on_cells), optimizers, strict=True):
            optimizer.zero_grad()
            model(x).sin().square().mean().backward()
            optimizer.step()
    moved = 0
    for name, p in on_cells.named_parameters():
        torch.testing.assert_close(p, plain.get_parameter(name), rtol=0, atol=2e-5)
        moved += name in optimizers[1].arrays and bool(optimizers[1].arrays[name].writes.any())
    assert moved == len(optimizers[1].arrays) > 0
