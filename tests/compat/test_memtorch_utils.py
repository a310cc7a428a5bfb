"""Utilities, and loaders that download nothing."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mho.compat.memtorch.bh import Scheme
from mho.compat.memtorch.map import naive_map, naive_scale
from mho.compat.memtorch.utils import LoadCIFAR10, LoadMNIST, clip, convert_range, pad_tensor

loaders = pytest.mark.parametrize(
    ("load", "name"), [(LoadMNIST, "MNIST"), (LoadCIFAR10, "CIFAR10")]
)


def test_ranges_are_converted_linearly():
    assert convert_range(5.0, 0.0, 10.0, -1.0, 1.0) == 0.0
    x = np.linspace(2, 3, 7)
    np.testing.assert_allclose(convert_range(x, 2, 3, 10, 20), np.linspace(10, 20, 7))
    assert torch.equal(convert_range(torch.ones(3), 0, 1, 0, 4), torch.full((3,), 4.0))
    with pytest.raises(ValueError, match="old_min"):
        convert_range(1.0, 2.0, 2.0, 0.0, 1.0)


def test_clipping():
    assert [clip(value, -1, 2) for value in (-3, -1, 0.5, 2, 7)] == [-1, -1, 0.5, 2, 2]


def test_padding_to_whole_tiles():
    matrix = torch.rand(5, 7)
    padded = pad_tensor(matrix, (4, 3))
    assert padded.shape == (8, 9)
    assert torch.equal(padded[:5, :7], matrix)
    assert padded.sum() == pytest.approx(float(matrix.sum()))
    vector = torch.rand(5)
    assert pad_tensor(vector, (4, 3)).shape == (8,)
    assert torch.equal(pad_tensor(vector, (5, 3)), vector)
    with pytest.raises(AssertionError, match="1- or 2-D"):
        pad_tensor(torch.rand(2, 2, 2), (2, 2))


@pytest.mark.parametrize("number", [np.float64, np.float32, torch.tensor])
def test_numbers_of_numpy_and_torch(number):
    tiles = [np.int64(4), torch.tensor(3)]
    assert pad_tensor(torch.rand(5, 7), tiles).shape == (8, 9)
    weight = torch.linspace(-2.0, 2.0, 12)
    for scheme in Scheme:
        found = naive_map(weight, number(1e3), number(1e4), scheme, p_l=number(0.5))
        wanted = naive_map(weight, 1e3, 1e4, scheme, p_l=0.5)
        for a, b in zip(found, wanted, strict=True):
            torch.testing.assert_close(a, b)
    volts = naive_scale(SimpleNamespace(max_input_voltage=number(0.5)), weight)
    assert float(volts.abs().max()) == pytest.approx(0.5)
    assert float(convert_range(number(0.5), 0, 1, 0, 4)) == 2.0
    assert [float(clip(number(v), number(-1), number(2))) for v in (-3.0, 0.5, 7.0)] == [-1, 0.5, 2]


@loaders
def test_without_torchvision_it_is_named(load, name, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ImportError, match=r'torchvision is missing: pip install "mho\[vision\]"'):
        load()


class Data:
    """Stands in for a torchvision data set."""

    def __init__(self, root, train, transform, download):
        assert (root, transform, download) == ("data", "as tensor", False)
        self.x = torch.arange(100 if train else 40).float()

    def __len__(self):
        return len(self.x)

    def __getitem__(self, k):
        return self.x[k], 0


def vision(kind):
    transforms = SimpleNamespace(ToTensor=lambda: "as tensor")
    return SimpleNamespace(
        datasets=SimpleNamespace(MNIST=kind, CIFAR10=kind), transforms=transforms
    )


@loaders
def test_loaders_of_what_is_there(load, name, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", vision(Data))
    assert load()[0].num_workers == 1
    train, held_out, test = load(batch_size=10, num_workers=0)
    assert [loader.num_workers for loader in (train, held_out, test)] == [0, 0, 0]
    assert [len(loader.dataset) for loader in (train, held_out, test)] == [80, 20, 40]
    assert (train.batch_size, test.batch_size) == (10, 5)
    seen = torch.cat([x for loader in (train, held_out) for x, _ in loader])
    assert torch.equal(seen.sort().values, torch.arange(100.0))
    train, held_out, _ = load(validation=False)
    assert len(train.dataset) == 100
    assert held_out is None


@loaders
def test_what_is_not_there_is_not_downloaded(load, name, monkeypatch):
    def missing(**kwargs):
        raise RuntimeError("Dataset not found")

    monkeypatch.setitem(sys.modules, "torchvision", vision(missing))
    with pytest.raises(FileNotFoundError, match=f"{name} is not in"):
        load()
