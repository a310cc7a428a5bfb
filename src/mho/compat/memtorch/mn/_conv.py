"""What the convolutions share: kernels as columns, patches as inputs."""
# mypy: disable-error-code="misc, override, attr-defined"

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.conv import _ConvNd

from mho.compat._common import require
from mho.compat.memtorch.bh.Quantize import Converter
from mho.compat.memtorch.mn import _read
from mho.compat.memtorch.mn._layer import Memristive, constructor
from mho.nn.convolve import Geometry

_MOST_UNFOLDED = 1 << 24


class Convolution(Memristive, _ConvNd):
    """Base, before the torch layer, of convolutions whose kernels are columns of crossbars."""

    __init__ = constructor("convolutional_layer")

    def forward(self, input: Tensor) -> Tensor:
        """Return the outputs of inputs ``[batch, in_channels, *size]`` (batch optional)."""
        dims, given = len(self.kernel_size), list(input.shape)
        wanted = f"[batch, {self.in_channels}, {', '.join(['size'] * dims)}]"
        fits = len(given) in (dims + 1, dims + 2) and given[-1 - dims] == self.in_channels
        require(fits, f"input must have shape {wanted}, got {given}")
        if input.dim() == dims + 1:
            return self._outputs(input.unsqueeze(0)).squeeze(0)
        return self._outputs(input)

    def tune(self, input_batch_size: int = 8, input_shape: int = 32) -> None:
        """Find ``transform_output`` with random inputs of this size; see `naive_tune`."""
        self._tune(input_batch_size, self.in_channels, *[input_shape] * len(self.kernel_size))

    def _arranged(self, matrices: Tensor) -> Tensor:
        # From [arrays, rows, columns]: rows are channels and kernel, or each channel is an array.
        kernels = matrices.permute(2, 0, 1).reshape(self.out_channels, -1, *self.kernel_size)
        return kernels.contiguous()

    def _product(self, v: Tensor, arranged: Tensor) -> Tensor:
        return self._conv_forward(v, arranged, None)

    def _by_vector(self, v: Tensor, ready: Converter | None) -> Tensor:
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        image = F.pad(v, self._reversed_padding_repeated_twice, mode=mode)
        geometry = Geometry(self.kernel_size, self.stride, self.dilation, self.groups)
        # Unfolded images are many times as large: no more of them at once than memory bears.
        places = geometry.out(tuple(image.shape[2:]))
        each = math.prod((image.shape[1], *places, *self.kernel_size))
        parts = image.split(max(1, _MOST_UNFOLDED // max(each, 1)))
        return torch.cat([self._unfolded(part, geometry, ready) for part in parts])

    def _unfolded(self, image: Tensor, geometry: Geometry, ready: Converter | None) -> Tensor:
        patches = geometry.patches(image)  # [batch, *out, groups, rows]
        places, groups = patches.shape[:-2], self.groups
        rows = self.crossbars[0].rows
        count = math.prod(places)
        flat = patches.reshape(count * groups, patches.shape[-1] // rows, rows)
        currents = _read.vectors(self, flat, ready).reshape(count, groups, self.out_channels)
        if groups > 1:  # a column answers to the inputs of its own group alone
            blocks = currents.unflatten(-1, (groups, -1))
            currents = blocks.diagonal(dim1=1, dim2=2).transpose(1, 2)
        return currents.reshape(*places, self.out_channels).movedim(-1, 1).contiguous()

    def __str__(self) -> str:
        names = ["in_channels", "out_channels", "kernel_size", "stride", "padding"]
        names += ["dilation"] if set(self.dilation) != {1} else []
        names += ["groups"] if self.groups != 1 else []
        values = ", ".join(f"{name}={getattr(self, name)}" for name in names)
        return f"bh.{type(self).__name__}({values})"
