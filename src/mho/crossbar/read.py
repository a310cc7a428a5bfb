"""Reading an array: inputs meet conductances, tile by tile, and currents are converted.

    inputs ──DAC──▶ levels ──▶ [ tile ] ──▶ currents (+ noise) ──ADC──▶ digital sum over tiles

Pure functions of tensors. No function loops over tiles, slices, samples or cells: whole tiles are
one batched product, a last, shorter tile is another, and bit-serial inputs are a larger batch. A
batch whose currents leave the cache is read in a few large blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from mho.circuit.noise import NoiseForm
from mho.core import random
from mho.crossbar import exact
from mho.crossbar import expansion as nonlinear
from mho.crossbar.readout import Readout, per_line
from mho.crossbar.tiling import spans
from mho.hardware import Hardware

CURRENTS_AT_ONCE = 1 << 20
"""Currents held at once on a CPU: more leaves the cache (measured: 2^19 to 2^20 are best)."""

CURRENTS_AT_ONCE_GPU = 1 << 26

Multiply: TypeAlias = Callable[[Tensor, Readout, Hardware, "Tensor | None"], list[Tensor]]
"""From levels, readout, hardware and a stream for noise to all tiles' currents."""


def product(
    x: Tensor,
    readout: Readout,
    hardware: Hardware,
    *,
    limit: Tensor | float,
    full_scale: Tensor | None,
    rng: Tensor | None,
    multiply: Multiply | None = None,
    vectors: int = 1,
) -> Tensor:
    """Read an array tile by tile.

    A large batch is read in blocks whose currents stay in the cache, unless gradients need them
    all, or converters follow the largest current of the whole batch.

    Args:
        x: inputs ``[groups, batch, rows]``, or whatever ``multiply`` takes with its batch there.
        readout: the array.
        hardware: what it is made of.
        limit: input magnitude that becomes the largest voltage; one for all inputs, or one for
            each vector of the batch, ``[1, batch, 1, …]``.
        full_scale: of the ADC (A) per converter ``[converters]``; None takes the largest currents,
            see `mho.ADC.measure`.
        rng: stream for read noise; None: torch's own generator.
        multiply: from levels to all tiles' currents ``[groups, tiles, batch, …, lines]``;
            `cell_currents` if not given.
        vectors: how many vectors ``multiply`` makes of each input.

    Returns:
        ``[groups, batch, …, cols]``.
    """
    multiply = multiply or cell_currents
    size = _block(x, readout, hardware, limit, full_scale, vectors)
    if size >= x.shape[1]:
        return _product(x, limit, readout, hardware, full_scale, rng, multiply)
    parts = x.split(size, dim=1)
    each = isinstance(limit, Tensor) and limit.dim() > 1 and limit.shape[1] == x.shape[1]
    limits = limit.split(size, dim=1) if each else [limit] * len(parts)  # type: ignore[union-attr]
    found = [
        _product(part, within, readout, hardware, full_scale, rng, multiply)
        for part, within in zip(parts, limits, strict=True)
    ]
    return torch.cat(found, dim=1)


def _block(
    x: Tensor,
    readout: Readout,
    hardware: Hardware,
    limit: Tensor | float,
    full_scale: Tensor | None,
    vectors: int,
) -> int:
    """Return how much of a batch is read at once."""
    batch = x.shape[1]
    if not isinstance(batch, int):  # a torch.SymInt: the read is exported for any batch
        return batch  # type: ignore[unreachable]
    if torch.is_grad_enabled():
        for used in (readout.matrix, x, readout.scale, limit, full_scale):
            if isinstance(used, Tensor) and used.requires_grad:
                return batch
    adc = hardware.adc
    if adc is not None and full_scale is None and adc.range == "per_call":
        return batch
    groups, rows, lines = readout.matrix.shape
    height = hardware.array.rows * readout.terms if hardware.by_tile else rows
    each = groups * len(range(0, rows, height)) * lines * vectors * hardware.drive.planes_sent
    most = CURRENTS_AT_ONCE if x.device.type == "cpu" else CURRENTS_AT_ONCE_GPU
    blocks = math.ceil(batch / max(most // max(each, 1), 1))
    return math.ceil(batch / max(blocks, 1))  # blocks alike, and no larger than that


def _product(
    x: Tensor,
    limit: Tensor | float,
    readout: Readout,
    hardware: Hardware,
    full_scale: Tensor | None,
    rng: Tensor | None,
    multiply: Multiply,
) -> Tensor:
    drive = hardware.drive
    level, weight = _levels(x, limit, hardware)
    parts = multiply(level, readout, hardware, rng)
    if weight is None:
        total = convert(amplified(parts, readout, hardware, rng), readout, hardware, full_scale)
    elif drive.converts_once:
        # In units of the full input the joint current stays within one line's full scale.
        unit = drive.step_per_range
        parts = amplified(_joint(parts, weight * unit, 2), readout, hardware, rng)
        total = convert(parts, readout, hardware, full_scale) / unit
    else:
        planes, parts = len(weight), amplified(parts, readout, hardware, rng)
        total = _joint([convert(parts, readout, hardware, full_scale, planes)], weight, 1)[0]
    outputs = hardware.encoding.assemble(total, readout.digital)
    if isinstance(limit, Tensor) and limit.dim():
        limit = limit.reshape(1, -1, *[1] * (outputs.dim() - 2))
    return outputs * (readout.scale * (limit * drive.step_per_range))


def currents(
    x: Tensor, readout: Readout, hardware: Hardware, *, limit: Tensor | float, rng: Tensor | None
) -> list[Tensor]:
    """Return the currents (A) that converters see.

    Arguments are those of `product`, the result is that of `partial_currents`.
    """
    level, weight = _levels(x, limit, hardware)
    parts = cell_currents(level, readout, hardware, rng)
    if weight is not None and hardware.drive.converts_once:
        parts = _joint(parts, weight * hardware.drive.step_per_range, 2)
    return amplified(parts, readout, hardware, rng)


def amplified(
    parts: list[Tensor], readout: Readout, hardware: Hardware, rng: Tensor | None
) -> list[Tensor]:
    """Return the currents of tiles as their amplifiers hand them on, in the same units."""
    if hardware.amplified is None or readout.lines is None:
        return parts
    unit = 1.0 if readout.step is None else readout.step
    return hardware.amplified.amplify(parts, readout.lines, unit, rng)


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
    return level, weight


def _joint(parts: list[Tensor], weight: Tensor, dim: int) -> list[Tensor]:
    """Add bit planes by weight, where ``dim`` is ``planes · batch``."""
    joined = []
    for part in parts:
        split = part.unflatten(dim, (len(weight), -1))
        joined.append((split * weight.view(-1, *[1] * (split.dim() - dim - 1))).sum(dim))
    return joined


def cell_currents(
    level: Tensor, readout: Readout, hardware: Hardware, rng: Tensor | None
) -> list[Tensor]:
    """Return every tile's bit-line currents, read noise included, for levels as drivers give them.

    Args:
        level: inputs ``[groups, batch, rows]`` in DAC steps.
        readout: the array.
        hardware: what it is made of.
        rng: stream for read noise.

    Returns:
        As `partial_currents`; of an array whose circuit is solved for every input, one tensor for
        each band of tiles.
    """
    driven = nonlinear.driven(level, hardware)
    if readout.cells is None:
        return partial_currents(driven, readout, hardware, rng)
    parts = exact.currents(level, readout.cells, hardware)
    if readout.step is not None:
        parts = [part / readout.step for part in parts]
    if isinstance(readout.noise, tuple):
        volts = in_units(driven[..., :: readout.terms], readout)
        parts = _with_noise(parts, volts, readout.noise, rng)
    return parts


def partial_currents(
    level: Tensor,
    readout: Readout,
    hardware: Hardware,
    rng: Tensor | None,
    *,
    tile_rows: int | None = None,
) -> list[Tensor]:
    """Return every tile's bit-line currents, read noise included.

    Args:
        level: inputs as cells take them, ``[groups, batch, rows · terms]`` in DAC steps.
        readout: the array.
        hardware: what it is made of.
        rng: stream for read noise; None: torch's own generator.
        tile_rows: inputs of one tile; by default the array's rows.

    Returns:
        One tensor ``[groups, tiles, batch, lines]`` for all whole tiles, and one with
        ``tiles = 1`` for the last, shorter one; either may be missing.
    """
    if not hardware.by_tile:  # no converter can tell one tile's current from another's
        height = level.shape[-1]
    else:
        height = (tile_rows or hardware.array.rows) * readout.terms
    level = in_units(level, readout)
    rows = level.shape[-1]
    sizes = spans(rows, height)
    noise = readout.noise
    noises: Sequence[Tensor | None]
    if isinstance(noise, tuple):  # added below: tiles may be smaller than what is converted
        noises = [None] * len(sizes)
    elif noise is not None and noise.dim() == 3:  # of every cell
        noises = noise.split([size // readout.terms for size in sizes], dim=1)
    else:
        noises = [noise] * len(sizes)
    matrices = _split_rows(readout.matrix, sizes)
    pieces = zip(level.split(sizes, dim=2), matrices, noises, strict=True)
    parts = [_tiles(*piece, height, readout.terms, rng) for piece in pieces]
    if isinstance(noise, tuple):
        parts = _with_noise(parts, level[..., :: readout.terms], noise, rng)
    return parts


def _with_noise(
    parts: list[Tensor], volts: Tensor, forms: tuple[NoiseForm, ...], rng: Tensor | None
) -> list[Tensor]:
    """Add the noise of arrays with wires to the currents of their tiles.

    Args:
        parts: as `partial_currents` returns them.
        volts: inputs ``[groups, batch, rows]``.
        forms: one for each band of rows, as `mho.crossbar.wires.wired_noise` returns them.
        rng: stream for read noise.
    """
    volts = volts.detach()
    # [groups, down, inputs, lines] each
    rows = [form.diagonal.shape[1] * form.diagonal.shape[2] for form in forms]
    variances = [
        form.variance(v.unflatten(2, (form.diagonal.shape[1], -1)).transpose(1, 2))
        for v, form in zip(volts.split(rows, dim=2), forms, strict=True)
    ]
    if sum(v.shape[1] for v in variances) != sum(part.shape[1] for part in parts):
        # Nothing is converted: the currents of all tiles have been added up.
        total = sum((v.sum(1, keepdim=True) for v in variances[1:]), variances[0].sum(1, True))
        variances = [total]
    return [
        part.addcmul(root(variance), random.normal_like(part, rng))
        for part, variance in zip(parts, variances, strict=True)
    ]


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
    level: Tensor, matrix: Tensor, noise: Tensor | None, height: int, terms: int, rng: Tensor | None
) -> Tensor:
    """Read equal tiles as one batched product: ``[groups, tiles, batch, lines]``."""
    groups, _, rows = level.shape
    height = min(height, rows)
    lines = matrix.shape[-1]
    inputs = level.unflatten(2, (-1, height)).transpose(1, 2).flatten(0, 1)
    current = torch.bmm(inputs, matrix.reshape(-1, height, lines))
    if noise is not None:
        # Independent cells: variances add with the squared inputs. Where all cells of a line are
        # alike that is one sum over the inputs, not a product. For gradients noise is constant.
        # The first of several terms is the voltage itself.
        power = inputs.detach()[..., ::terms].square()
        if noise.dim() == 1:
            deviation = root(power.sum(-1, keepdim=True) * noise)
        else:
            deviation = root(torch.bmm(power, noise.reshape(-1, height // terms, lines)))
        current = current.addcmul_(deviation, random.normal_like(current, rng))
    return current.unflatten(0, (groups, -1))


def root(variance: Tensor) -> Tensor:
    """Return the deviation of a fresh ``variance``, 0 where it is not positive, as its gradient.

    Learned converter ranges make noise in their units differentiable. A read without input has no
    noise, whatever the range.
    """
    if not (torch.is_grad_enabled() and variance.requires_grad):
        return variance.clamp_(min=0.0).sqrt_()
    positive = variance > 0.0
    return torch.where(positive, torch.where(positive, variance, 1.0).sqrt(), 0.0)


def convert(
    parts: list[Tensor],
    readout: Readout,
    hardware: Hardware,
    limit: Tensor | None,
    planes: int = 1,
) -> Tensor:
    """Convert every tile's currents and add the tiles digitally.

    Args:
        parts: as `partial_currents` returns them; overwritten where no gradient is needed.
        readout: the array.
        hardware: what it is made of.
        limit: full scale (A) per converter ``[converters]``; None takes the largest currents.
        planes: how many bit planes of each vector the batch holds.

    Returns:
        ``[groups, batch, lines]`` in amperes.
    """
    adc = hardware.adc
    if adc is None:
        return _sum_tiles(parts)
    if readout.step is not None:
        return _sum_tiles([adc.to_levels(part) for part in parts]) * readout.step
    if limit is None:
        limit = adc.measure(parts, converters=hardware.encoding.converters, planes=planes)
    else:
        limit = per_line(limit, readout.matrix.shape[-1] // limit.numel())
    return _sum_tiles([adc.convert(part, limit) for part in parts])


def _sum_tiles(parts: list[Tensor]) -> Tensor:
    total: Tensor | None = None
    for part in parts:
        added = part.sum(1) if part.shape[1] > 1 else part.squeeze(1)
        total = added if total is None else total + added
    assert total is not None
    return total
