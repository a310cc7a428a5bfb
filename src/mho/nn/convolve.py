"""Convolution on tiles: the currents of every tile for every patch of an image."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mho.crossbar import expansion as nonlinear
from mho.crossbar import pulses
from mho.crossbar.blocks import Vectors
from mho.crossbar.currents import cell_currents, in_units, partial_currents, with_noise
from mho.crossbar.readout import Readout
from mho.hardware import Hardware

_MOST_TILES = 4
"""Tiles up to which each is convolved on its own: more arithmetic, but no unfolded copy."""


class Geometry(NamedTuple):
    """How a kernel moves over a (padded) image of any number of dimensions."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def spans(self) -> list[int]:
        """Pixels that the kernel spans in each dimension."""
        return [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True)]

    def out(self, size: tuple[int, ...]) -> list[int]:
        """Size of the output for a padded image ``size``.

        Raises:
            ValueError: if the kernel does not fit.
        """
        spans = self.spans()
        if any(s < span for s, span in zip(size, spans, strict=True)):
            raise ValueError(f"the kernel spans {spans}, larger than the padded input {list(size)}")
        moves = zip(size, spans, self.stride, strict=True)
        return [(s - span) // step + 1 for s, span, step in moves]

    def patches(self, image: Tensor) -> Tensor:
        """Unfold ``[batch, channels, *size]`` to ``[batch, *out, groups, rows]``."""
        self.out(tuple(image.shape[2:]))
        for d, span in enumerate(self.spans()):
            image = image.unfold(2 + d, span, self.stride[d])[..., :: self.dilation[d]]
        image = image.movedim(1, 1 + len(self.kernel))  # [batch, *out, channels, *kernel]
        batch_and_out = image.shape[: 1 + len(self.kernel)]
        rows = image.shape[1 + len(self.kernel)] // self.groups * math.prod(self.kernel)
        return image.reshape(*batch_and_out, self.groups, rows)

    def rows(self, image: Tensor, *, constant: bool = False) -> Tensor:
        """Unfold ``[batch, channels, *size]`` to ``[groups, batch · Π out, rows]``.

        In memory the patches of one row are neighbours, as the pixels of an image are: they are
        copied a line at a time.
        """
        dims = len(self.kernel)
        for d, span in enumerate(self.spans()):
            image = image.unfold(2 + d, span, self.stride[d])[..., :: self.dilation[d]]
        # [batch, channels, *out, *kernel] to [channels, *kernel, batch, *out]
        order = (1, *range(2 + dims, 2 + 2 * dims), 0, *range(2, 2 + dims))
        rows = image.permute(order)
        each = math.prod(rows.shape[: 1 + dims]) // self.groups
        rows = rows.reshape(self.groups, each, math.prod(rows.shape[1 + dims :]))
        if constant:
            rows = torch.cat((rows, torch.ones_like(rows[:, :1])), dim=1)
        return rows.transpose(1, 2)

    def convolve(self, image: Tensor, kernels: Tensor) -> Tensor:
        """Convolve ``[batch, channels, *size]`` with ``[outputs, channels / groups, *kernel]``."""
        conv: Any = (F.conv1d, F.conv2d, F.conv3d)[len(self.kernel) - 1]
        result: Tensor = conv(image, kernels, None, self.stride, 0, self.dilation, self.groups)
        return result


def vectors(geometry: Geometry, image: Tensor, *, raw: bool, constant: bool) -> Vectors:
    """Return the patches of padded images ``[1, batch, channels, *size]`` as vectors of a read.

    Args:
        geometry: of the convolution.
        image: the images.
        raw: whether patches are cut before they are driven.
        constant: whether every patch is followed by an input of 1, of a bias on the array.
    """
    out = geometry.out(tuple(image.shape[3:]))

    def take(image: Tensor, ranges: tuple[slice, ...]) -> Tensor:
        across = zip(ranges[1:], geometry.stride, geometry.spans(), strict=True)
        pixels = [slice(r.start * step, (r.stop - 1) * step + span) for r, step, span in across]
        return image[(slice(None), ranges[0], slice(None), *pixels)]

    def unfold(part: Tensor) -> Tensor:
        return geometry.rows(part[0], constant=constant)

    return Vectors((image.shape[1], *out), take, unfold, raw)


def currents(
    level: Tensor, readout: Readout, hardware: Hardware, rng: Tensor | None, geometry: Geometry
) -> list[Tensor]:
    """Return every tile's bit-line currents for every patch, read noise included.

    Args:
        level: padded images ``[1, batch, channels, *size]`` in DAC steps.
        readout: the array, ``groups`` matrices of ``channels / groups · Π kernel`` rows.
        hardware: what it is made of.
        rng: stream for read noise; None: torch's own generator.
        geometry: of the convolution.

    Returns:
        ``[groups, tiles, batch, patches, lines]``: one tensor, or one of all whole tiles and one
        of the last, shorter ones.
    """
    # What noise of pulses goes by, and jitter, is each patch's own.
    lasting = pulses.sends(hardware) and (readout.noise is not None or hardware.drive.jitters)
    solved = readout.cells is not None or lasting
    image = level[0] if solved else nonlinear.driven(level, hardware)[0]
    terms = 1 if solved else readout.terms
    rows = readout.matrix.shape[1] // readout.terms
    height = min(rows, hardware.array.rows) if hardware.by_tile else rows
    wired = isinstance(readout.noise, tuple)  # noise of a tile's inputs together
    if wired or solved or math.ceil(rows / height) > _MOST_TILES:
        patches = geometry.patches(image).flatten(1, -3)  # [batch, patches, groups, rows]
        flat = patches.movedim(2, 0).flatten(1, 2)
        if terms > 1:  # from channels · terms · kernel to channels · kernel · terms
            kernel = math.prod(geometry.kernel)
            flat = flat.unflatten(-1, (-1, terms, kernel)).transpose(-1, -2).flatten(-3)
        multiply = cell_currents if solved else partial_currents
        parts = multiply(flat, readout, hardware, rng)
        return [part.unflatten(2, patches.shape[:2]) for part in parts]
    image = in_units(image, readout)
    current = _by_tile(image, readout.matrix, height, geometry, terms)
    if isinstance(readout.noise, Tensor):
        power = image.detach()[:, ::terms].square()  # the first term is the voltage itself
        if readout.noise.dim() == 1:  # all cells of a line are alike: one sum for all lines
            ones = torch.ones_like(readout.matrix[:, ::terms, :1])
            variance = _by_tile(power, ones, height, geometry) * readout.noise
        else:
            variance = _by_tile(power, readout.noise, height, geometry)
        current = with_noise(current, variance, rng)
    return [current]


def _by_tile(
    image: Tensor, matrix: Tensor, height: int, geometry: Geometry, terms: int = 1
) -> Tensor:
    """Convolve with every tile's rows alone: ``[groups, tiles, batch, patches, lines]``.

    A tile is given the channels that its rows are of, and no others.
    """
    groups, rows, lines = matrix.shape
    height, each = height * terms, math.prod(geometry.kernel) * terms  # rows of a tile, a channel
    if rows <= height:
        found = geometry.convolve(image, _kernels(matrix, geometry, terms))
        return found.flatten(2).unflatten(1, (groups, 1, lines)).permute(1, 2, 0, 4, 3)
    channels = image.unflatten(1, (groups, -1))
    parts = []
    for start in range(0, rows, height):
        stop = min(start + height, rows)
        first, last = start // each, -(-stop // each)
        own = F.pad(matrix[:, start:stop], (0, 0, start - first * each, last * each - stop))
        some = channels[:, :, first * terms : last * terms].flatten(1, 2)
        part = geometry.convolve(some, _kernels(own, geometry, terms))
        parts.append(part.flatten(2).unflatten(1, (groups, lines)))
    return torch.stack(parts, dim=2).permute(1, 2, 0, 4, 3)


def _kernels(matrix: Tensor, geometry: Geometry, terms: int) -> Tensor:
    """Return ``[groups, rows of some channels, lines]`` as kernels of a grouped convolution."""
    channels = matrix.shape[1] // math.prod(geometry.kernel)
    if terms > 1:  # from channels · kernel · terms to channels · terms · kernel
        split = matrix.unflatten(1, (channels // terms, -1, terms))
        matrix = split.transpose(2, 3).flatten(1, 3)
    return matrix.transpose(1, 2).reshape(-1, channels, *geometry.kernel)
