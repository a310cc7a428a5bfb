"""Reading an array: inputs meet conductances, tile by tile, and currents are converted.

    inputs ──DAC──▶ levels ──▶ [ tile ] ──▶ currents (+ noise) ──ADC──▶ digital sum over tiles

Pure functions of tensors. No function loops over tiles, slices, samples or cells: whole tiles are
one batched product, a last, shorter tile is another, and bit-serial inputs are a larger batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from mho.core import random
from mho.crossbar import expansion as nonlinear
from mho.crossbar.readout import Readout, per_line
from mho.hardware import Hardware

Multiply: TypeAlias = Callable[[Tensor, Readout, Hardware, Tensor], list[Tensor]]
"""From levels, readout, hardware and a stream for noise to all tiles' currents."""


def product(
    x: Tensor,
    readout: Readout,
    hardware: Hardware,
    *,
    limit: Tensor | float,
    full_scale: Tensor | None,
    rng: Tensor,
    multiply: Multiply | None = None,
) -> Tensor:
    """Read an array tile by tile.

    Args:
        x: inputs ``[groups, batch, rows]``, or whatever ``multiply`` takes.
        readout: the array.
        hardware: what it is made of.
        limit: input magnitude that becomes the largest voltage.
        full_scale: of the ADC (A) per converter ``[converters]``; None takes this call's largest.
        rng: stream for read noise.
        multiply: from levels to all tiles' currents ``[groups, tiles, batch, …, lines]``;
            `partial_currents` if not given.

    Returns:
        ``[groups, batch, …, cols]``.
    """
    drive = hardware.drive
    level, weight = _levels(x, limit, hardware)
    parts = (multiply or partial_currents)(level, readout, hardware, rng)
    if weight is None:
        total = convert(parts, readout, hardware, full_scale)
    elif drive.converts_once:
        # In units of the full input the joint current stays within one line's full scale.
        unit = drive.step_per_range
        total = convert(_joint(parts, weight * unit, 2), readout, hardware, full_scale) / unit
    else:
        total = _joint([convert(parts, readout, hardware, full_scale)], weight, 1)[0]
    outputs = hardware.encoding.assemble(total, readout.digital)
    return outputs * (readout.scale * (limit * drive.step_per_range))


def currents(
    x: Tensor, readout: Readout, hardware: Hardware, *, limit: Tensor | float, rng: Tensor
) -> list[Tensor]:
    """Return the currents (A) that converters see.

    Arguments are those of `product`, the result is that of `partial_currents`.
    """
    level, weight = _levels(x, limit, hardware)
    parts = partial_currents(level, readout, hardware, rng)
    if weight is None or not hardware.drive.converts_once:
        return parts
    return _joint(parts, weight * hardware.drive.step_per_range, 2)


def _levels(x: Tensor, limit: Tensor | float, hardware: Hardware) -> tuple[Tensor, Tensor | None]:
    """Drive the lines: levels, and the weights of bit planes that are sent one after the other.

    Bit planes become one larger batch, ``[groups, planes · batch, rows]``.
    """
    drive = hardware.drive
    level = drive.to_levels(x, limit)
    weight = None
    if drive.mode == "bit_serial":
        planes, weight = drive.planes(level)
        level = planes.transpose(0, 1).flatten(1, 2)
    return nonlinear.driven(level, hardware), weight


def _joint(parts: list[Tensor], weight: Tensor, dim: int) -> list[Tensor]:
    """Add bit planes by weight, where ``dim`` is ``planes · batch``."""
    joined = []
    for part in parts:
        split = part.unflatten(dim, (len(weight), -1))
        joined.append((split * weight.view(-1, *[1] * (split.dim() - dim - 1))).sum(dim))
    return joined


def partial_currents(
    level: Tensor,
    readout: Readout,
    hardware: Hardware,
    rng: Tensor,
    *,
    tile_rows: int | None = None,
) -> list[Tensor]:
    """Return every tile's bit-line currents, read noise included.

    Args:
        level: inputs ``[groups, batch, rows · terms]`` in DAC steps.
        readout: the array.
        hardware: what it is made of.
        rng: stream for read noise.
        tile_rows: inputs of one tile; by default the array's rows.

    Returns:
        One tensor ``[groups, tiles, batch, lines]`` for all whole tiles, and one with
        ``tiles = 1`` for the last, shorter one; either may be missing.
    """
    if hardware.adc is None:  # no converter can tell one tile's current from another's
        height = level.shape[-1]
    else:
        height = (tile_rows or hardware.array.rows) * readout.terms
    level = in_units(level, readout)
    rows = level.shape[-1]
    last = rows % height
    sizes = [size for size in (rows - last, last) if size]
    noise = readout.noise
    shared = noise is None or noise.dim() == 1
    cells = [size // readout.terms for size in sizes]
    noises = [noise] * len(sizes) if shared else noise.split(cells, dim=1)  # type: ignore[union-attr]
    matrices = _split_rows(readout.matrix, sizes)
    pieces = zip(level.split(sizes, dim=2), matrices, noises, strict=True)
    return [_tiles(*piece, height, readout.terms, rng) for piece in pieces]


def _split_rows(matrix: Tensor, sizes: list[int]) -> Sequence[Tensor]:
    """Split ``[groups, rows, lines]`` by rows, so that gradients come back laid out as it is."""
    if matrix.stride(-1) == 1:
        return matrix.split(sizes, dim=1)
    # A torch weight, [outputs, inputs], turned: its gradient is then written once, not twice.
    return [piece.mT for piece in matrix.mT.split(sizes, dim=2)]


def in_units(level: Tensor, readout: Readout) -> Tensor:
    """Return levels as the readout's matrix expects them."""
    folded = isinstance(readout.unit, float) and readout.unit == 1.0
    return level if folded else level * readout.unit


def _tiles(
    level: Tensor, matrix: Tensor, noise: Tensor | None, height: int, terms: int, rng: Tensor
) -> Tensor:
    """Read equal tiles as one batched product: ``[groups, tiles, batch, lines]``."""
    groups, _, rows = level.shape
    height = min(height, rows)

    def stacked(m: Tensor, high: int) -> Tensor:  # [groups, rows, …] → [groups · tiles, high, …]
        return m.reshape(-1, high, m.shape[-1])

    inputs = level.unflatten(2, (-1, height)).transpose(1, 2).flatten(0, 1)
    current = torch.bmm(inputs, stacked(matrix, height))
    if noise is not None:
        # Independent cells: variances add with the squared inputs. Where all cells of a line are
        # alike that is one sum over the inputs, not a product. For gradients noise is constant.
        # The first of several terms is the voltage itself.
        power = inputs.detach()[..., ::terms].square()
        if noise.dim() == 1:
            deviation = (power.sum(-1, keepdim=True) * noise).sqrt()
        else:
            deviation = torch.bmm(power, stacked(noise, height // terms)).clamp_(min=0.0).sqrt_()
        current = current.addcmul_(deviation, random.normal_like(current, rng))
    return current.unflatten(0, (groups, -1))


def convert(
    parts: list[Tensor], readout: Readout, hardware: Hardware, limit: Tensor | None
) -> Tensor:
    """Convert every tile's currents and add the tiles digitally.

    Args:
        parts: as `partial_currents` returns them; overwritten where no gradient is needed.
        readout: the array.
        hardware: what it is made of.
        limit: full scale (A) per converter ``[converters]``; None takes this call's largest.

    Returns:
        ``[groups, batch, lines]`` in amperes.
    """
    adc = hardware.adc
    if adc is None:
        return _sum_tiles(parts)
    if readout.step is not None:
        return _sum_tiles([adc.to_levels(part) for part in parts]) * readout.step
    if limit is None:
        limit = adc.measure(parts)
    else:
        limit = per_line(limit, readout.matrix.shape[-1] // limit.numel())
    return _sum_tiles([adc.convert(part, limit) for part in parts])


def _sum_tiles(parts: list[Tensor]) -> Tensor:
    sums = [part.sum(1) if part.shape[1] > 1 else part.squeeze(1) for part in parts]
    return sums[0] if len(sums) == 1 else sums[0] + sums[1]
