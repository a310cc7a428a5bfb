# ruff: noqa: N802
"""Utilities."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, random_split

from mho.compat._common import require, truth
from mho.core.extras import need

__all__ = ["LoadCIFAR10", "LoadMNIST", "clip", "convert_range", "pad_tensor"]


def convert_range(
    old_value: Any, old_min: float, old_max: float, new_min: float, new_max: float
) -> Any:
    """Convert values linearly: ``old_min`` to ``new_min``, and ``old_max`` to ``new_max``.

    Values are a number, an array or a tensor.

    Raises:
        Refused: if ``old_min`` and ``old_max`` are equal.
    """
    require(old_min != old_max, f"old_min and old_max must differ, both are {old_min!r}")
    return new_min + (old_value - old_min) * (new_max - new_min) / (old_max - old_min)


def clip(value: float, lower: float, upper: float) -> float:
    """Return the value, or the bound that it is beyond."""
    return lower if value < lower else min(value, upper)


def pad_tensor(tensor: Tensor, tile_shape: tuple[int, int]) -> Tensor:
    """Pad a vector ``[rows]`` or a matrix ``[rows, columns]`` with zeros to whole tiles.

    Raises:
        Refused: if the tensor has another number of dimensions.
    """
    require(tensor.ndim in (1, 2), f"tensor must be 1- or 2-D, got {list(tensor.shape)}")
    pads: list[int] = []
    for size, side in reversed(list(zip(tensor.shape, tile_shape, strict=False))):
        pads += [0, -size % int(side)]
    return F.pad(tensor, pads)


def LoadMNIST(
    batch_size: int = 32, validation: bool = True, num_workers: int = 1
) -> tuple[Any, Any, Any]:
    """Load MNIST from ``data/`` with torchvision; nothing is downloaded.

    Returns:
        Loaders for training, validation (a fifth of the training set; or None) and test (with half
        of the batch size). ``num_workers`` are processes of each.

    Raises:
        ImportError: if torchvision is not installed.
        FileNotFoundError: if the data are not there.
    """
    return _loaders("MNIST", batch_size, validation, num_workers)


def LoadCIFAR10(
    batch_size: int = 32, validation: bool = True, num_workers: int = 1
) -> tuple[Any, Any, Any]:
    """Load CIFAR-10 from ``data/`` with torchvision; see `LoadMNIST`."""
    return _loaders("CIFAR10", batch_size, validation, num_workers)


def _loaders(name: str, batch_size: int, validation: bool, workers: int) -> tuple[Any, Any, Any]:
    validation = truth("validation", validation)
    vision = need("torchvision", "vision")
    kind = getattr(vision.datasets, name)
    as_tensor = vision.transforms.ToTensor()
    try:
        train = kind(root="data", train=True, transform=as_tensor, download=False)
        test = kind(root="data", train=False, transform=as_tensor, download=False)
    except RuntimeError as error:
        raise FileNotFoundError(
            f"{name} is not in ./data, and nothing is downloaded here; fetch it once with "
            f"torchvision.datasets.{name}('data', download=True)"
        ) from error
    batch_size, workers = int(batch_size), int(workers)
    held_out = None
    if validation:
        size = int(0.8 * len(train))
        train, rest = random_split(train, [size, len(train) - size])
        held_out = DataLoader(rest, batch_size, shuffle=True, num_workers=workers)
    return (
        DataLoader(train, batch_size, shuffle=True, num_workers=workers),
        held_out,
        DataLoader(test, max(batch_size // 2, 1), num_workers=workers),
    )
