"""Convolutions of one dimension."""
# ruff: noqa: N999

from torch import nn

from mho.compat.memtorch.mn._conv import Convolution


class Conv1d(Convolution, nn.Conv1d):
    """Kernels are columns of crossbars; for arguments see `patch_model`."""

    digital = nn.Conv1d
