"""Reading an array: inputs meet conductances, tile by tile, and currents are converted.

    inputs ──DAC──▶ levels ──▶ [ tile ] ──▶ currents (+ noise) ──ADC──▶ digital sum over tiles

Pure functions of tensors. No function loops over tiles, slices, samples or cells: whole tiles are
one batched product, a last, shorter tile is another, and bit-serial inputs are a larger batch. A
batch whose currents leave the cache is read in a few large blocks; one that would take too much
memory goes tile by tile and plane by plane (`mho.crossbar.stream`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mho.circuit.noise import NoiseForm
from mho.core import random
from mho.crossbar import blocks, exact, stream
from mho.crossbar import expansion as nonlinear
from mho.crossbar.blocks import Vectors
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
    limit: Tensor | float | None,
    full_scale: Tensor | None,
    rng: Tensor | None,
    multiply: Multiply | None = None,
    vectors: Vectors | None = None,
    memory: int = blocks.MEMORY,
    learned: bool = False,
) -> Tensor:
    """Read an array tile by tile.

    A large batch is read in blocks whose currents stay in the cache and within the memory. Where
    gradients would keep more than a part of that, they work each block out anew.

    Args:
        x: inputs ``[groups, batch, rows]``, or whatever ``vectors`` takes its vectors from.
        readout: the array.
        hardware: what it is made of.
        limit: input magnitude that becomes the largest voltage; one for all inputs, or one for
            each vector of the batch, ``[1, batch, 1]``; None measures that of each vector.
        full_scale: of the ADC (A) per converter ``[converters]``; None takes the largest currents,
            see `mho.ADC.measure`.
        rng: stream for read noise; None: torch's own generator.
        multiply: from levels to all tiles' currents ``[groups, tiles, batch, …, lines]``;
            `cell_currents` if not given.
        vectors: where the vectors are in the inputs; by default one for each item of the batch.
        memory: what the read may take beside its inputs and outputs (bytes).
        learned: whether converter ranges are parameters.

    Returns:
        ``[groups, batch, …, cols]``.
    """
    vectors = vectors or blocks.matrix(x)
    call = _Call(readout, hardware, full_scale, rng, multiply or cell_currents, vectors)
    given = (readout.matrix, readout.scale, readout.step, readout.unit, x, limit, full_scale)
    # A training read without gradients may be the first of two (``torch.utils.checkpoint``): it
    # goes the way of the second, so that both draw the same noise.
    follows = readout.training or (
        torch.is_grad_enabled()
        and any(isinstance(used, Tensor) and used.requires_grad for used in given)
    )
    one, each = _per_vector(readout, hardware, vectors)
    if blocks.followed_by_torch():
        # A torch.SymInt: the read is exported for any batch.
        whole = follows or _by_call(call) or not isinstance(vectors.number, int)
        most = vectors.number if whole else max(_at_once(x) // one, 1)
        return _in_blocks(x, limit, call, most, anew=False)
    needed = each * vectors.number
    small = needed <= memory * (_KEPT if follows or _by_call(call) else 1.0)
    if small and (follows or _by_call(call) or one * vectors.number <= _at_once(x)):
        return _shaped(_slab(x, limit, call), vectors)
    suited = stream.suits(readout, hardware)
    if follows and (learned or stream.learns_more(readout, limit, full_scale)):
        suited = False
    if suited and (follows or _by_call(call) or hardware.drive.planes_sent > 1):
        return stream.read(
            x,
            readout,
            hardware,
            vectors,
            limit=limit,
            full_scale=full_scale,
            rng=rng,
            memory=memory,
        )
    most = min(_at_once(x) // one, int(memory * _KEPT) // each)
    return _in_blocks(x, limit, call, max(most, 1), anew=follows)


_KEPT = 0.25
"""Share of the memory that may be kept for gradients, and until a call's range is known."""


class _Call(NamedTuple):
    readout: Readout
    hardware: Hardware
    full_scale: Tensor | None
    rng: Tensor | None
    multiply: Multiply
    vectors: Vectors
    measured: Tensor | None = None


def _per_vector(readout: Readout, hardware: Hardware, vectors: Vectors) -> tuple[int, int]:
    """Return how many currents a vector causes, and the bytes it takes to read it at once."""
    groups, rows, lines = readout.matrix.shape
    height = hardware.array.rows * readout.terms if hardware.by_tile else rows
    planes = hardware.drive.planes_sent
    currents = max(groups * len(range(0, rows, height)) * lines * planes, 1)
    # Currents, what they were before they were rounded, noise; of images the vectors themselves.
    unfolded = groups * rows * planes if len(vectors.sizes) > 1 or planes > 1 else 0
    return currents, (3 * currents + 2 * unfolded) * readout.matrix.element_size()


def _at_once(x: Tensor) -> int:
    return CURRENTS_AT_ONCE if x.device.type == "cpu" else CURRENTS_AT_ONCE_GPU


def _by_call(call: _Call) -> bool:
    """Whether converters follow the largest current of the whole call."""
    adc = call.hardware.adc
    measured = adc is not None and call.readout.step is None and call.full_scale is None
    return measured and adc is not None and adc.range == "per_call"


def _in_blocks(
    x: Tensor, limit: Tensor | float | None, call: _Call, most: int, *, anew: bool
) -> Tensor:
    """Read at most ``most`` vectors at once; ``anew`` works them out again for the gradients."""
    vectors = call.vectors
    if most >= vectors.number:
        return _shaped(_slab(x, limit, call), vectors)
    if _by_call(call):
        call = call._replace(rng=random.fork(call.rng, x.device))
        call = call._replace(measured=_over_the_call(x, limit, call, most))
    found = []
    for slab in vectors.slabs(most):
        part = vectors.take(x, slab.ranges)
        within = blocks.limit_of(slab, limit, vectors.number)
        y = _anew(part, within, call) if anew else _slab(part, within, call)
        found.append(y if len(vectors.sizes) == 1 else y.reshape(len(y), -1, y.shape[-1]))
    return _shaped(torch.cat(found, dim=1), vectors)


def _shaped(y: Tensor, vectors: Vectors) -> Tensor:
    """Return results ``[groups, vectors, cols]`` of images as ``[groups, batch, …, cols]``."""
    flat = len(vectors.sizes) > 1 and y.dim() == 3
    return y.unflatten(1, (vectors.sizes[0], math.prod(vectors.sizes[1:]))) if flat else y


def _anew(part: Tensor, limit: Tensor | float | None, call: _Call) -> Tensor:
    """Keep nothing for the gradients: these read again, with the noise there was."""
    start = random.fork(call.rng, part.device)

    def again(part: Tensor) -> Tensor:
        return _slab(part, limit, call._replace(rng=start.clone()))

    found: Tensor = checkpoint(again, part, use_reentrant=False, preserve_rng_state=False)
    return found


def _slab(part: Tensor, limit: Tensor | float | None, call: _Call) -> Tensor:
    """Read some vectors at once: ``[groups, batch, …, cols]``, of unfolded ones all in one row."""
    multiply = call.multiply
    if call.vectors.raw:
        part, multiply = call.vectors.unfold(part), cell_currents
        if limit is None:
            limit = call.hardware.drive.measure(part, (0, 2))
    assert limit is not None
    return _product(part, limit, call, multiply)


@torch.no_grad()
def _over_the_call(x: Tensor, limit: Tensor | float | None, call: _Call, most: int) -> Tensor:
    """Return the range of all currents of a call that is read in blocks."""
    adc, encoding = call.hardware.adc, call.hardware.encoding
    assert adc is not None
    assert call.rng is not None

    def ends(known: Tensor | None = None) -> Tensor:
        rng, found = call.rng.clone(), None  # type: ignore[union-attr]
        for slab in call.vectors.slabs(most):
            part = call.vectors.take(x, slab.ranges)
            multiply = call.multiply
            if call.vectors.raw:
                part, multiply = call.vectors.unfold(part), cell_currents
            within = blocks.limit_of(slab, limit, call.vectors.number)
            if within is None:
                within = call.hardware.drive.measure(part, (0, 2))
            parts = _converted_currents(part, within, call._replace(rng=rng), multiply)[0]
            one = adc.measure(parts, converters=encoding.converters, most=known).flatten()
            if found is None:
                found = one
            elif adc.ranged:
                found = torch.maximum(found, one)
            else:
                found = torch.stack(
                    (torch.minimum(found[0], one[0]), found[1:].maximum(one[1:])[0])
                )
        assert found is not None
        return found

    first = ends()
    return ends(first[1]) if adc.method == "log_minmax" else first


def _product(part: Tensor, limit: Tensor | float, call: _Call, multiply: Multiply) -> Tensor:
    readout, hardware, drive = call.readout, call.hardware, call.hardware.drive
    parts, weight = _converted_currents(part, limit, call, multiply)
    planes = 1 if weight is None else len(weight)
    total = convert(parts, readout, hardware, call.full_scale, planes, call.measured)
    if weight is not None:
        total = _joint([total], weight, 1)[0]
    elif drive.converts_once:
        total = total / drive.step_per_range
    outputs = hardware.encoding.assemble(total, readout.digital)
    if isinstance(limit, Tensor) and limit.dim():
        limit = limit.reshape(1, -1, *[1] * (outputs.dim() - 2))
    return outputs * (readout.scale * (limit * drive.step_per_range))


def _converted_currents(
    part: Tensor, limit: Tensor | float, call: _Call, multiply: Multiply
) -> tuple[list[Tensor], Tensor | None]:
    """Return what converters are given, and the weights of the bit planes in the digital sum."""
    readout, hardware = call.readout, call.hardware
    level, weight = _levels(part, limit, hardware)
    parts = multiply(level, readout, hardware, call.rng)
    if weight is not None and hardware.drive.converts_once:
        # In units of the full input the joint current stays within one line's full scale.
        parts = _joint(parts, weight * hardware.drive.step_per_range, 2)
        weight = None
    return amplified(parts, readout, hardware, call.rng), weight


def currents(
    x: Tensor, readout: Readout, hardware: Hardware, *, limit: Tensor | float, rng: Tensor | None
) -> list[Tensor]:
    """Return the currents (A) that converters see.

    Arguments are those of `product`, the result is that of `partial_currents`.
    """
    call = _Call(readout, hardware, None, rng, cell_currents, blocks.matrix(x))
    return _converted_currents(x, limit, call, cell_currents)[0]


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
    measured: Tensor | None = None,
) -> Tensor:
    """Convert every tile's currents and add the tiles digitally.

    Args:
        parts: as `partial_currents` returns them; overwritten where no gradient is needed.
        readout: the array.
        hardware: what it is made of.
        limit: full scale (A) per converter ``[converters]``; None takes the largest currents.
        planes: how many bit planes of each vector the batch holds.
        measured: the range of the whole call, where these are some of its currents.

    Returns:
        ``[groups, batch, lines]`` in amperes.
    """
    adc = hardware.adc
    if adc is None:
        return _sum_tiles(parts)
    if readout.step is not None:
        return _sum_tiles([adc.to_levels(part) for part in parts]) * readout.step
    if measured is not None:
        limit = measured
    elif limit is None:
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
