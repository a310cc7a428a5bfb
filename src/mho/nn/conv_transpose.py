"""Transposed convolutions on crossbars: every pixel is read once and spread over the output."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mho.core import checks
from mho.core.precision import exactly, handed_out, plain
from mho.hardware import Hardware
from mho.nn.base import AnalogLayer
from mho.nn.columns import in_its_dtype, summed, tell_bias_is_digital
from mho.nn.layout import as_torch, described
from mho.nn.overlap import Spread

Size = int | tuple[int, ...]

_NEGLIGIBLE = 1e-4  # offsets, relative to the largest weight


class _ConvTranspose(AnalogLayer):
    """Base of `ConvTranspose1d`, `ConvTranspose2d` and `ConvTranspose3d`.

    The rows are the channels of the input, the columns are the output channels, once for every
    tap of the kernel: each pixel, a vector of its channels, is read once, and what it gives to
    each tap is added to the output position where that tap falls (col2im). Converters see a tap's
    product alone, over the channels of one pixel. The sum over overlapping taps is digital. (The
    other way, a convolution of the image with zeros between its pixels, would drive most rows with
    zero and read stride² times as often.) A layer of several groups has one matrix per group.

    A bias is added digitally even where ``hardware.bias`` is ``"array"``: a row of the array would
    add it once for every tap that falls on a pixel, and their number differs between pixels. A
    warning says so.

    Takes the arguments of the torch layer, and ``hardware`` and ``seed``.

    Attributes:
        weight: digital kernels ``[in_channels, out_channels / groups, *kernel_size]``.
        bias: digital bias ``[out_channels]`` or None.
        crossbar: the cells, ``in_channels / groups`` rows and
            ``out_channels / groups · Π kernel_size`` columns per group.
    """

    kind: ClassVar[type[nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d]]
    weight: nn.Parameter
    bias: nn.Parameter | None
    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    output_padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
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
            checks.sizes("padding", padding, least=0),
            checks.sizes("output_padding", output_padding, least=0),
            checks.integer("groups", groups),
            bias,
            checks.sizes("dilation", dilation),
            padding_mode,
            device,
            dtype,
        )
        self._build(digital, hardware, seed)

    def put_on(self, hardware: Hardware, seed: int, **how: Any) -> None:
        """As the base's; says where the bias is."""
        super().put_on(hardware, seed, **how)
        tell_bias_is_digital(self, "a row would add it once for every overlapping tap")

    def _versions(self) -> dict[str, tuple[int, int]]:
        return {path: v for path, v in super()._versions().items() if "bias" not in path}

    def _groups(self, name: str) -> int:
        return self.groups

    def matrices(self) -> dict[str, Tensor]:
        """One row per input channel, one column per tap and output channel."""
        return {"crossbar": self.weight.flatten(2).transpose(1, 2).flatten(1)}

    def _kernels(self, matrix: Tensor) -> Tensor:
        """Turn columns as `matrices` lays them into ``[rows, channels, *kernel_size]``."""
        by_tap = matrix.reshape(-1, self._spread.taps, self.out_channels // self.groups)
        return by_tap.transpose(1, 2).contiguous().unflatten(2, self.kernel_size)

    @property
    def _spread(self) -> Spread:
        return Spread(self.kernel_size, self.stride, self.dilation, self.groups)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Map ``[batch, in_channels, *size]`` (batch optional) to ``[batch, out_channels, …]``.

        Args:
            input: the image.
            output_size: of the output, where several are possible: its last dimensions, or all.

        Raises:
            TypeError, ValueError: if the input is of another kind or shape, or cannot give an
                output of that size.
        """
        dims = len(self.kernel_size)
        checks.instance("input", input, Tensor)
        if input.dim() not in (dims + 1, dims + 2) or input.shape[-dims - 1] != self.in_channels:
            sizes = ", ".join(["size"] * dims)
            raise ValueError(
                f"input must have shape [batch, {self.in_channels}, {sizes}], "
                f"got {list(input.shape)}"
            )
        more = self._output_padding(input, output_size)
        alone = input.dim() == dims + 1
        batch = input.unsqueeze(0) if alone else input
        y = as_torch(self._read(batch, more), batch, self._parameters.get("weight"))
        return y.squeeze(0) if alone else y

    def _output_padding(self, x: Tensor, output_size: Sequence[int] | None) -> tuple[int, ...]:
        """Return how far the output reaches beyond the smallest possible one."""
        dims = len(self.kernel_size)
        whole = self._spread.whole(tuple(x.shape[-dims:]))
        least = [w - 2 * p for w, p in zip(whole, self.padding, strict=True)]
        found = self.output_padding
        if output_size is not None:
            wanted = tuple(output_size)
            if len(wanted) not in (dims, x.dim()):
                raise ValueError(
                    f"output_size must have {dims} or {x.dim()} elements, got {list(wanted)}"
                )
            found = tuple(w - n for w, n in zip(wanted[-dims:], least, strict=True))
            if any(not 0 <= more < s for more, s in zip(found, self.stride, strict=True)):
                most = [n + s - 1 for n, s in zip(least, self.stride, strict=True)]
                raise ValueError(
                    f"output_size must be between {least} and {most}, got {list(wanted[-dims:])}"
                )
        if any(n + more < 1 for n, more in zip(least, found, strict=True)):
            size = [n + more for n, more in zip(least, found, strict=True)]
            raise ValueError(f"the output would have the size {size}; the input is too small")
        return found

    def _read(self, x: Tensor, more: tuple[int, ...]) -> Tensor:
        crossbar = self.crossbars["crossbar"]
        if crossbar.collapsed and not crossbar.reader.drives_by_vector:
            return self._native(x, more)
        self.check_dtype(x)
        wide = crossbar.scale.dtype
        if plain(x, wide):
            return self._tiled(x, more)
        with exactly(x.device):  # taps are added in the cells' dtype, and rounded once
            y = self._tiled(x.to(wide), more)
        return y.to(handed_out(x))

    def _tiled(self, x: Tensor, more: tuple[int, ...]) -> Tensor:
        """Read every pixel, and add up what it gives to each tap."""
        spread = self._spread
        beyond = [max(extra - p, 0) for p, extra in zip(self.padding, more, strict=True)]
        columns = self.out_channels * spread.taps * math.prod(x.shape[2:])
        add = partial(spread.add, beyond=beyond)
        y = summed(self, add, x.movedim(1, -1), outputs=columns)
        whole = spread.whole(tuple(x.shape[2:]))
        for d, (n, p, extra) in enumerate(zip(whole, self.padding, more, strict=True), 1):
            y = y.narrow(d, p, n - 2 * p + extra)
        bias = self.bias  # looked at once: a parametrization computes it anew
        y = y if bias is None else y + bias
        return y.movedim(-1, 1)

    def _native(self, x: Tensor, more: tuple[int, ...]) -> Tensor:
        """One matrix says it all: torch's own transposed convolution, with effective weights."""
        crossbar = self.crossbars["crossbar"]
        corrected = not self.training and crossbar.reader.corrected
        if self.training:
            kernel = self.training_readout("crossbar", self.matrices()["crossbar"]).matrix
        else:
            self.warn_if_stale()
            kernel = crossbar.reader.stored.matrix
        if corrected:
            kernel = kernel * crossbar.gain.unflatten(0, (self.groups, 1, -1))
        driven = crossbar.reader.ranges.driven(x)
        kernel = self._kernels(kernel).to(driven.dtype)
        y = self._convolved(driven, kernel, self.bias, more, self.groups)
        if not corrected:
            return y
        # Every pixel adds every tap's offset: an image of ones, spread by a kernel of offsets.
        ones = crossbar.offset.new_ones(1, 1, *x.shape[2:])
        offset = self._kernels(crossbar.offset).flatten(0, 1).unsqueeze(0)
        return y + self._convolved(ones, offset, None, more, 1).to(y.dtype)

    def _convolved(
        self, x: Tensor, kernel: Tensor, bias: Tensor | None, more: tuple[int, ...], groups: int
    ) -> Tensor:
        kinds = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
        conv: Any = kinds[len(self.kernel_size) - 1]
        found: Tensor = conv(
            x, kernel, bias, self.stride, self.padding, more, groups, self.dilation
        )
        return found

    def to_digital(self) -> nn.Module:
        """Return the torch layer with the weights as now stored, gains of a correction included.

        Its offsets are one a tap, where torch has one bias a channel: that takes what they give on
        average to an output pixel far from the border. A warning says so where they matter. The
        weights are plain parameters, whatever computed the digital ones.
        """
        crossbar = self.crossbars["crossbar"]
        matrix = crossbar.effective_weight.detach().unflatten(0, (self.groups, -1))
        matrix = matrix * crossbar.gain.unflatten(0, (self.groups, 1, -1))
        offset = crossbar.offset.detach()
        lost = float(offset.abs().max())
        if lost > _NEGLIGIBLE * float(matrix.abs().max()):
            warnings.warn(
                f"torch.nn.{self.kind.__name__} has one bias a channel: the output offsets of the "
                f"crossbar, one a tap, up to {lost:.3g}, are in it as their average",
                stacklevel=2,
            )
        average = self._kernels(offset).flatten(0, 1).flatten(1).sum(1) / math.prod(self.stride)
        if self.holds("bias"):
            with self.at_rest():
                digital: Any = self.bias
            average = average + digital.detach()
        needed = self.holds("bias") or bool(average.any())
        kind: Any = self.kind
        options = (self.stride, self.padding, self.output_padding, self.groups, needed)
        layer: nn.Module = kind(
            self.in_channels,
            self.out_channels,
            self.kernel_size,
            *options,
            self.dilation,
            device="meta",
        )
        layer.weight = nn.Parameter(self._kernels(matrix))
        if needed:
            layer.bias = nn.Parameter(average)
        return in_its_dtype(self, layer)

    def extra_repr(self) -> str:
        """As the torch layer prints its channels, kernel and stride."""
        return described(self, "kernel_size", "stride", "padding", "output_padding", "groups")


class ConvTranspose1d(_ConvTranspose):
    """A `torch.nn.ConvTranspose1d` whose kernels are on a crossbar."""

    kind = nn.ConvTranspose1d


class ConvTranspose2d(_ConvTranspose):
    """A `torch.nn.ConvTranspose2d` whose kernels are on a crossbar."""

    kind = nn.ConvTranspose2d


class ConvTranspose3d(_ConvTranspose):
    """A `torch.nn.ConvTranspose3d` whose kernels are on a crossbar."""

    kind = nn.ConvTranspose3d
