"""Training in half precision behind converters saves its matrices in the dtype of the model."""

import gc

import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.checkpoint import checkpoint

import mho
from mho.crossbar import half_kept
from mho.crossbar.reader import Reader

NOISE = (mho.effects.WriteNoise(0.02),)
HARDWARE = mho.Hardware(dac=mho.DAC(8), adc=mho.ADC(8), effects=NOISE)
TILED = HARDWARE.replace(array=mho.Array(rows=10, cols=16))
BF16 = torch.bfloat16


def network(dtype, hardware):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(24, 20), nn.ReLU(), nn.Linear(20, 8)).to(dtype)
    return mho.convert(model, hardware, program=False).train()


def gradients(analog, x, *, by_checkpoint=False):
    torch.manual_seed(1)
    analog.zero_grad()
    x = x.clone().requires_grad_()
    y = checkpoint(analog, x, use_reentrant=False) if by_checkpoint else analog(x)
    y.float().square().sum().backward()
    return [y.detach(), x.grad, *(p.grad.clone() for p in analog.parameters())]


def kept_after_a_read(analog, x, monkeypatch):
    """Which matrices of a read are still in memory when it is over, gradients being to come."""
    seen = []
    product, save = Reader.product, half_kept.saved_as

    def watched(reader, x, readout, *args, **kwargs):
        seen.append(StorageWeakRef(readout.matrix.untyped_storage()))
        return product(reader, x, readout, *args, **kwargs)

    def saved(kind, matrix):
        seen.append(StorageWeakRef(matrix.untyped_storage()))
        return save(kind, matrix)

    monkeypatch.setattr(Reader, "product", watched)
    monkeypatch.setattr("mho.crossbar.reader.saved_as", saved)
    y = analog(x.requires_grad_())
    gc.collect()
    assert y.requires_grad
    assert len(half_kept._known) == 0
    return [not storage.expired() for storage in seen]


@pytest.mark.parametrize("hardware", [HARDWARE, TILED], ids=["one tile", "tiles"])
def test_no_matrix_in_float32_outlives_the_read(hardware, monkeypatch):
    x = torch.rand(5, 24)
    assert not any(kept_after_a_read(network(BF16, hardware), x.to(BF16), monkeypatch))
    if hardware is HARDWARE:
        assert all(kept_after_a_read(network(torch.float32, hardware), x, monkeypatch))


@pytest.mark.parametrize("hardware", [HARDWARE, TILED], ids=["one tile", "tiles"])
@pytest.mark.parametrize("dtype", [BF16, torch.float16])
def test_gradients_are_those_of_the_matrix_itself_up_to_rounding(hardware, dtype, monkeypatch):
    x = torch.rand(5, 24, dtype=dtype)
    analog = network(dtype, hardware)
    found = gradients(analog, x)
    monkeypatch.setattr("mho.crossbar.reader.saved_as", lambda *_: torch.enable_grad())
    wanted = gradients(analog, x)
    assert torch.equal(found[0], wanted[0])
    assert torch.equal(found[4], wanted[4])  # of the last layer: nothing comes before it
    for one, other in zip(found[1:], wanted[1:], strict=True):
        error = (one.float() - other.float()).norm() / other.float().norm()
        assert float(error) < 4 * torch.finfo(dtype).eps


def test_single_precision_is_what_it_was(monkeypatch):
    x, analog = torch.rand(5, 24), network(torch.float32, TILED)
    found = gradients(analog, x)
    monkeypatch.setattr("mho.crossbar.reader.saved_as", lambda *_: torch.enable_grad())
    assert all(map(torch.equal, found, gradients(analog, x)))


def test_gradient_checkpointing_decides_itself():
    x, analog = torch.rand(5, 24, dtype=BF16), network(BF16, TILED)
    plain, again = gradients(analog, x), gradients(analog, x, by_checkpoint=True)
    assert torch.equal(plain[0], again[0])
    for one, other in zip(plain, again, strict=True):
        assert torch.allclose(one, other, rtol=0.05, atol=0.05 * float(other.abs().max()))


def test_where_hooks_are_refused_nothing_is_saved_otherwise(monkeypatch):
    x, analog = torch.rand(5, 24, dtype=BF16), network(BF16, TILED)
    with torch.autograd.graph.disable_saved_tensors_hooks("none here"):
        found = gradients(analog, x)
    monkeypatch.setattr("mho.crossbar.reader.saved_as", lambda *_: torch.enable_grad())
    assert all(map(torch.equal, found, gradients(analog, x)))


def test_second_derivatives_reach_the_weights(monkeypatch):
    x, analog = torch.rand(5, 24, dtype=BF16, requires_grad=True), network(BF16, TILED)

    def second():
        torch.manual_seed(1)
        (first,) = torch.autograd.grad(analog(x).float().square().sum(), x, create_graph=True)
        (found,) = torch.autograd.grad(first.float().square().sum(), analog[0].weight)
        return found.float()

    found = second()
    monkeypatch.setattr("mho.crossbar.reader.saved_as", lambda *_: torch.enable_grad())
    wanted = second()
    assert float((found - wanted).norm() / wanted.norm()) < 8 * torch.finfo(BF16).eps


def test_steps_of_one_sequence_share_what_is_saved(monkeypatch):
    torch.manual_seed(0)
    analog = mho.convert(nn.LSTM(6, 8).to(BF16), HARDWARE, program=False).train()
    made = []
    original = half_kept.WeakTensorKeyDictionary.__setitem__
    monkeypatch.setattr(
        half_kept.WeakTensorKeyDictionary,
        "__setitem__",
        lambda self, key, value: made.append(tuple(key.shape)) or original(self, key, value),
    )
    y, _ = analog(torch.rand(7, 3, 6, dtype=BF16, requires_grad=True))
    y.float().sum().backward()
    assert 0 < len(made) <= 2  # one a crossbar, not one a step


def test_a_model_without_cells_compiles_before_anything_was_read():
    analog = network(BF16, TILED)
    compiled = torch.compile(analog, fullgraph=True, backend="aot_eager")
    y = compiled(torch.rand(5, 24, dtype=BF16))
    y.float().sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in analog.parameters())
