"""Convolutions on crossbars: every kernel is a column, every patch of the input drives the rows."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mho.core import checks
from mho.crossbar.currents import followed, times
from mho.crossbar.readout import Readout
from mho.crossbar.watching import by_call, vectors_at_once
from mho.hardware import Hardware
from mho.nn.base import AnalogLayer
from mho.nn.convolve import Geometry, currents, vectors
from mho.nn.layout import as_torch, described

Size = int | tuple[int, ...]


class _Conv(AnalogLayer):
    """Base of `Conv1d`, `Conv2d` and `Conv3d`.

    Takes the arguments of the torch layer, and ``hardware`` and ``seed``. A layer of several
    groups has one matrix per group, each on tiles of its own.

    Attributes:
        weight: digital kernels ``[out_channels, in_channels / groups, *kernel_size]``.
        bias: digital bias ``[out_channels]`` or None.
        crossbar: the cells, ``in_channels / groups · Π kernel_size`` rows per group.
    """

    kind: ClassVar[type[nn.Conv1d | nn.Conv2d | nn.Conv3d]]
    weight: nn.Parameter
    bias: nn.Parameter | None
    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Any
    dilation: tuple[int, ...]
    groups: int
    padding_mode: str

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        hardware: Hardware,
        seed: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        bias = checks.truth("bias", bias)
        super().__init__()
        kind: Any = self.kind
        digital = kind(
            checks.integer("in_channels", in_channels),
            checks.integer("out_channels", out_channels),
            checks.sizes("kernel_size", kernel_size),
            checks.sizes("stride", stride),
            padding if isinstance(padding, str) else checks.sizes("padding", padding, least=0),
            checks.sizes("dilation", dilation),
            checks.integer("groups", groups),
            bias,
            padding_mode,
            device,
            dtype,
        )
        self._build(digital, hardware, seed)

    @property
    def _kernel_shape(self) -> tuple[int, ...]:
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    def _groups(self, name: str) -> int:
        return self.groups

    @property
    def _bias_on_array(self) -> bool:
        return self.hardware.bias == "array" and self.holds("bias")

    def matrices(self) -> dict[str, Tensor]:
        """One column per kernel; groups below one another, each with its bias row if it has one."""
        matrix = self.weight.flatten(1).unflatten(0, (self.groups, -1)).transpose(1, 2)
        if self._bias_on_array:
            bias: Any = self.bias
            matrix = torch.cat((matrix, bias.view(self.groups, 1, -1)), dim=1)
        return {"crossbar": matrix.flatten(0, 1)}

    def forward(self, input: Tensor) -> Tensor:
        """Map ``[batch, in_channels, *size]`` (batch optional) to ``[batch, out_channels, …]``."""
        dims = len(self.kernel_size)
        checks.instance("input", input, Tensor)
        if input.dim() not in (dims + 1, dims + 2) or input.shape[-dims - 1] != self.in_channels:
            sizes = ", ".join(["size"] * dims)
            raise ValueError(
                f"input must have shape [batch, {self.in_channels}, {sizes}], "
                f"got {list(input.shape)}"
            )
        if input.dim() == dims + 1:
            return self.forward(input.unsqueeze(0)).squeeze(0)
        return as_torch(self._read(input), input, self._parameters.get("weight"))

    def _read(self, x: Tensor) -> Tensor:
        crossbar = self.crossbars["crossbar"]
        # What every patch is driven with may depend on that patch: it is then a vector of its own.
        alone = self._bias_on_array or crossbar.reader.drives_by_vector
        if crossbar.observed and x.numel():
            return self._watched(self._padded(x))
        if crossbar.observed or (alone and crossbar.collapsed):
            rows = self._rows(self._padded(x))
            bias = None if self._bias_on_array else self.bias
            return self.read("crossbar", rows, bias).movedim(-1, 1)
        if crossbar.collapsed:
            return self._native(x)
        return self._tiled(self._padded(x), raw=alone)

    def _watched(self, x: Tensor) -> Tensor:
        """Read every patch as a vector of its own, some at a time, for who looks at all of them."""
        crossbar, images, constant = self.crossbars["crossbar"], x.unsqueeze(0), self._bias_on_array
        patches = vectors(self._geometry, images, raw=True, constant=constant)
        most = patches.number if by_call(crossbar) else vectors_at_once(crossbar)
        found = []
        for slab in patches.slabs(most):
            rows = patches.unfold(patches.take(images, slab.ranges))  # [groups, patches, rows]
            rows = rows.transpose(0, 1).flatten(1).contiguous()
            found.append(self.read("crossbar", rows, None if constant else self.bias))
        y = found[0] if len(found) == 1 else torch.cat(found)
        return y.unflatten(0, patches.sizes).movedim(-1, 1)

    def _seen(self, x: Tensor) -> tuple[Readout, Tensor | None, Tensor | None]:
        """What this read sees, and the gain and offset per channel that follow it."""
        crossbar = self.crossbars["crossbar"]
        self.check_dtype(x)
        bias = None if self._bias_on_array else self.bias
        if self.training:
            return self.training_readout("crossbar", self.matrices()["crossbar"]), None, bias
        self.warn_if_stale()
        if not crossbar.reader.corrected:
            return crossbar.reader.stored_for(x), None, bias
        offset = crossbar.offset if bias is None else crossbar.offset + bias
        return crossbar.reader.stored_for(x), crossbar.gain, offset

    def _tiled(self, x: Tensor, *, raw: bool) -> Tensor:
        """Convolve tile by tile: inputs are driven before they are unfolded, unless ``raw``."""
        seen, gain, offset = self._seen(x)
        geometry, constant = self._geometry, self._bias_on_array

        def multiply(
            level: Tensor, readout: Readout, hardware: Hardware, rng: Tensor | None
        ) -> list[Tensor]:
            return currents(level, readout, hardware, rng, geometry)

        images = x.unsqueeze(0)
        patches = vectors(geometry, images, raw=raw, constant=constant)
        y = self.crossbars["crossbar"].reader.product(images, seen, multiply, patches)
        kind = y.dtype
        y = y.permute(1, 0, 3, 2).flatten(1, 2)  # [batch, out_channels, patches]
        if gain is not None:
            gain = gain.unsqueeze(-1)
            y = y * gain if y.dtype != gain.dtype else times(y, gain)
        if offset is not None:
            offset = offset.unsqueeze(-1)
            apart = y.dtype != offset.dtype or followed(y, offset)
            y = y + offset if apart else y.add_(offset)
        return y.to(kind).unflatten(2, patches.sizes[1:])

    def _native(self, x: Tensor) -> Tensor:
        """One matrix says it all: torch's own convolution, with the effective weights."""
        padding: Any = self.padding
        # Quantised drivers convert the padding, too (a single bit has no zero).
        if self.padding_mode != "zeros" or not self.hardware.drive.ideal:
            x, padding = self._padded(x), 0
        seen, gain, offset = self._seen(x)
        kernel = seen.matrix
        if gain is not None:
            kernel = (kernel * gain.unflatten(0, (self.groups, 1, -1))).to(kernel.dtype)
            offset = None if offset is None else offset.to(kernel.dtype)
        kernel = kernel.transpose(1, 2).reshape(self._kernel_shape)
        conv = (F.conv1d, F.conv2d, F.conv3d)[len(self.kernel_size) - 1]
        driven = self.crossbars["crossbar"].reader.ranges.driven(x, training=self.training)
        return conv(driven, kernel, offset, self.stride, padding, self.dilation, self.groups)

    def _padded(self, x: Tensor) -> Tensor:
        sides: list[int] = []
        for d in reversed(range(len(self.kernel_size))):  # F.pad starts with the last dimension
            if self.padding == "same":
                total = self.dilation[d] * (self.kernel_size[d] - 1)
                sides += [total // 2, total - total // 2]
            else:
                sides += [0, 0] if self.padding == "valid" else [self.padding[d]] * 2
        if not any(sides):
            return x
        return F.pad(x, sides, "constant" if self.padding_mode == "zeros" else self.padding_mode)

    @property
    def _geometry(self) -> Geometry:
        return Geometry(self.kernel_size, self.stride, self.dilation, self.groups)

    def _rows(self, x: Tensor) -> Tensor:
        """Unfold padded ``x [batch, channels, *size]`` to ``[batch, *out, groups · rows]``."""
        rows = self._geometry.patches(x)
        if self._bias_on_array:
            rows = torch.cat((rows, torch.ones_like(rows[..., :1])), dim=-1)
        return rows.flatten(-2)

    def to_digital(self) -> nn.Module:
        """Return the torch layer with the weights as now stored, output correction included.

        The weights are plain parameters, whatever computed the digital ones.
        """
        crossbar = self.crossbars["crossbar"]
        matrix = crossbar.effective_weight.unflatten(0, (self.groups, -1)).detach()
        matrix = matrix * crossbar.gain.view(self.groups, 1, -1)
        bias = crossbar.offset.detach().clone()
        if self._bias_on_array:
            bias += matrix[:, -1].flatten()
            matrix = matrix[:, :-1]
        elif self.holds("bias"):
            with self.at_rest():
                digital: Any = self.bias
            bias += digital.detach()
        needed = self.holds("bias") or bool(bias.any())
        kind: Any = self.kind
        options = (self.stride, self.padding, self.dilation, self.groups, needed, self.padding_mode)
        layer: nn.Module = kind(
            self.in_channels, self.out_channels, self.kernel_size, *options, device="meta"
        )
        kernel = matrix.transpose(1, 2).reshape(self._kernel_shape)
        layer.weight = nn.Parameter(kernel.contiguous())
        if needed:
            layer.bias = nn.Parameter(bias)
        return layer.to(self.kind_of_numbers).train(self.training)

    def extra_repr(self) -> str:
        """As the torch layer prints its channels, kernel and stride."""
        return described(self, "kernel_size", "stride", "padding", "groups")


class Conv1d(_Conv):
    """A `torch.nn.Conv1d` whose kernels are on a crossbar."""

    kind = nn.Conv1d


class Conv2d(_Conv):
    """A `torch.nn.Conv2d` whose kernels are on a crossbar."""

    kind = nn.Conv2d


class Conv3d(_Conv):
    """A `torch.nn.Conv3d` whose kernels are on a crossbar."""

    kind = nn.Conv3d
