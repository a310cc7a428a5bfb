"""Convolutions of three dimensions."""
# ruff: noqa: N999

from torch import nn

from mho.compat.memtorch.mn._conv import Convolution


class Conv3d(Convolution, nn.Conv3d):
    """Kernels are columns of crossbars, one array a channel; for arguments see `patch_model`."""

    digital = nn.Conv3d

    def tune(self, input_batch_size: int = 4, input_shape: int = 32) -> None:
        """Find ``transform_output`` with random inputs of this size; see `naive_tune`."""
        super().tune(input_batch_size, input_shape)
