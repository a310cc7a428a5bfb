"""Scikit-learn's handwritten digits: 1,797 images of 8 × 8 pixels, in the package, no download."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mho import random

try:
    from sklearn.datasets import load_digits
except ImportError as error:
    raise ImportError("the demo needs scikit-learn: pip install 'mho[viz]'") from error

_TEST = 450


class Digits(NamedTuple):
    """Images ``[n, 64]`` with pixels in [0, 1], and their labels ``[n]``; shuffled and split."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor


def digits(seed: int) -> Digits:
    """Load the digits, a quarter of them kept for testing.

    Args:
        seed: of the split.
    """
    raw = load_digits()
    order = torch.randperm(len(raw.data), generator=random.generator(seed))
    x = torch.tensor(raw.data / 16.0, dtype=torch.float32)[order]
    y = torch.tensor(raw.target, dtype=torch.int64)[order]
    return Digits(x[_TEST:], y[_TEST:], x[:_TEST], y[:_TEST])
