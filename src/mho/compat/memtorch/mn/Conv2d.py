"""Convolutions of two dimensions."""
# ruff: noqa: N999

from torch import nn

from mho.compat.memtorch.mn._conv import Convolution


class Conv2d(Convolution, nn.Conv2d):
    """Kernels are columns of crossbars; for arguments see `patch_model`."""

    digital = nn.Conv2d
