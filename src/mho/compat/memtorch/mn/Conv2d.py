"""Convolutions of two dimensions."""
# ruff: noqa: N999
# mypy: disable-error-code="misc"

from __future__ import annotations

from torch import nn

from mho.compat.memtorch.mn._conv import Convolution


class Conv2d(Convolution, nn.Conv2d):
    """A convolution whose kernels are columns of crossbars.

    Args: ``convolutional_layer`` is what it stands for; for the others see `patch_model`.
    """

    digital = nn.Conv2d
