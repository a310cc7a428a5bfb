"""Data without a download: scikit-learn's handwritten digits, and the generated mnist1d."""

from __future__ import annotations

import random as python_random
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mho.core import random
from mho.core.extras import need

_TEST = 450


class Samples(NamedTuple):
    """Inputs ``[n, features]`` and their labels ``[n]``; shuffled and split."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor


def digits(seed: int) -> Samples:
    """Load 1,797 images of 8 × 8 pixels in [0, 1], a quarter of them kept for testing.

    Args:
        seed: of the split.
    """
    raw = need("sklearn.datasets", "viz").load_digits()
    order = torch.randperm(len(raw.data), generator=random.generator(seed))
    x = torch.tensor(raw.data / 16.0, dtype=torch.float32)[order]
    y = torch.tensor(raw.target, dtype=torch.int64)[order]
    return Samples(x[_TEST:], y[_TEST:], x[:_TEST], y[:_TEST])


def mnist1d(seed: int, count: int = 5000) -> Samples:
    """Generate mnist1d: ten sorts of signals of 40 samples, shifted, sheared and noisy.

    Needs the package mnist1d (``pip install "mho[examples]"``), which generates and needs no
    download. Source: S. Greydanus, D. Kobak, "Scaling down deep learning with MNIST-1D",
    arXiv:2011.14439.

    Args:
        seed: of the samples.
        count: how many, a fifth of them kept for testing.

    Raises:
        ImportError: if the package is missing.
    """
    source = need("mnist1d.data", "examples")
    arguments = source.get_dataset_args()
    arguments.seed, arguments.num_samples = seed, count
    # The package seeds the process's own generators: they are put back as they were.
    states = python_random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        made = source.make_dataset(arguments)
    finally:
        python_random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
    x, test_x = (torch.tensor(made[k], dtype=torch.float32) for k in ("x", "x_test"))
    y, test_y = (torch.tensor(made[k], dtype=torch.int64) for k in ("y", "y_test"))
    return Samples(x, y, test_x, test_y)
