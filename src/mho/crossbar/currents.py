"""Currents: the steps of a read, from inputs to what converters make of them.

    inputs ──DAC──▶ levels ──▶ [ tile ] ──▶ currents (+ noise) ──ADC──▶ digital sum over tiles

In come inputs or levels of drivers, out go currents of all tiles, or the converters' digital sum.
One function for each step, whoever reads: whole (`mho.crossbar.read`), piece by piece
(`mho.crossbar.stream`), by a plan (`mho.crossbar.plan`), or one line (`mho.crossbar.lookup`). No
function loops over tiles, slices, samples or cells: whole tiles are one batched product, a last,
shorter tile is another, and bit-serial inputs are a larger batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mho.circuit.noise import NoiseForm
from mho.core import derivatives, random
from mho.crossbar import blocks, exact, pulses
from mho.crossbar import expansion as nonlinear
from mho.crossbar.readout import Readout, per_line
from mho.crossbar.tiling import spans
from mho.hardware import Hardware
from mho.periphery import ADC


def levels(x: Tensor, limit: Tensor | float, hardware: Hardware) -> tuple[Tensor, Tensor | None]:
    """Drive the lines: levels, and the weights of bit planes that are sent one after the other.

    Bit planes become one larger batch, ``[groups, planes · batch, rows]``.
    """
    drive = hardware.drive
    level = drive.to_levels(x, limit)
    weight = None
    if drive.serial:
        planes, weight = drive.planes(level)
        level = planes.transpose(0, 1).flatten(1, 2)
    return level, weight


def joint(parts: list[Tensor], weight: Tensor, dim: int) -> list[Tensor]:
    """Add bit planes by weight, where ``dim`` is ``planes · batch``."""
    joined = []
    for part in parts:
        split = part.unflatten(dim, (len(weight), -1))
        joined.append((split * weight.view(-1, *[1] * (split.dim() - dim - 1))).sum(dim))
    return joined


def amplified(
    parts: list[Tensor], readout: Readout, hardware: Hardware, rng: Tensor | None
) -> list[Tensor]:
    """Return the currents of tiles as their amplifiers hand them on, in the same units."""
    if readout.bias is not None:
        parts = [part + own for part, own in zip(parts, _biases(readout.bias, parts), strict=True)]
    if hardware.amplified is None or readout.lines is None:
        return parts
    unit = 1.0 if readout.step is None else readout.step
    return hardware.amplified.amplify(parts, readout.lines, unit, rng)


def _biases(bias: Tensor, parts: list[Tensor]) -> list[Tensor]:
    """Lay ``[groups, tiles, lines]`` beside the currents of some tiles each."""
    tiles = bias.split([part.shape[1] for part in parts], dim=1)
    return [
        own.reshape(*own.shape[:2], *[1] * (part.dim() - 3), own.shape[2])
        for own, part in zip(tiles, parts, strict=True)
    ]


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
    level = pulses.lengthened(level, hardware, rng)
    driven = nonlinear.driven(level, hardware)
    sent = level if pulses.sends(hardware) and readout.noise is not None else None
    if readout.cells is None:
        return partial_currents(driven, readout, hardware, rng, sent=sent)
    parts = exact.currents(level, readout.cells, hardware)
    if readout.step is not None:
        parts = [part / readout.step for part in parts]
    if isinstance(readout.noise, tuple):
        volts = in_units(driven[..., :: readout.terms], readout)
        parts = _with_noise(parts, volts, readout, hardware, rng, sent)
    return parts


def partial_currents(
    level: Tensor,
    readout: Readout,
    hardware: Hardware,
    rng: Tensor | None,
    *,
    tile_rows: int | None = None,
    sent: Tensor | None = None,
) -> list[Tensor]:
    """Return every tile's bit-line currents, read noise included.

    Args:
        level: inputs as cells take them, ``[groups, batch, rows · terms]`` in DAC steps.
        readout: the array.
        hardware: what it is made of.
        rng: stream for read noise; None: torch's own generator.
        tile_rows: inputs of one tile; by default the array's rows.
        sent: levels of pulses ``[groups, batch, rows]``, where noise goes by their lengths.

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
    powers: Sequence[Tensor | None] = [None] * len(sizes)
    if sent is not None and isinstance(noise, Tensor):
        power = in_units(in_units(pulses.power(sent, hardware), readout), readout)
        powers = power.split([size // readout.terms for size in sizes], dim=2)
    matrices = _split_rows(readout.matrix, sizes)
    pieces = zip(level.split(sizes, dim=2), matrices, noises, powers, strict=True)
    parts = [_tiles(*piece, height, readout.terms, rng) for piece in pieces]
    if isinstance(noise, tuple):
        parts = _with_noise(parts, level[..., :: readout.terms], readout, hardware, rng, sent)
    return parts


def _with_noise(
    parts: list[Tensor],
    volts: Tensor,
    readout: Readout,
    hardware: Hardware,
    rng: Tensor | None,
    sent: Tensor | None = None,
) -> list[Tensor]:
    """Add the noise of arrays with wires to the currents of their tiles.

    Args:
        parts: as `partial_currents` returns them.
        volts: inputs ``[groups, batch, rows]``.
        readout: the array, with a form for each band of rows, as `mho.crossbar.wires.wired_noise`
            returns them.
        hardware: what it is made of.
        rng: stream for read noise.
        sent: levels of pulses, as for `partial_currents`.
    """
    forms = readout.noise
    assert isinstance(forms, tuple)
    volts = (volts if sent is None else sent).detach()

    def of(form: NoiseForm, v: Tensor) -> Tensor:
        if sent is None:
            return form.variance(v)
        return in_units(in_units(pulses.variance(form, v, hardware), readout), readout)

    # [groups, down, inputs, lines] each
    rows = [form.diagonal.shape[1] * form.diagonal.shape[2] for form in forms]
    variances = [
        of(form, v.unflatten(2, (form.diagonal.shape[1], -1)).transpose(1, 2))
        for v, form in zip(volts.split(rows, dim=2), forms, strict=True)
    ]
    if sum(v.shape[1] for v in variances) != sum(part.shape[1] for part in parts):
        # Nothing is converted: the currents of all tiles have been added up.
        total = sum((v.sum(1, keepdim=True) for v in variances[1:]), variances[0].sum(1, True))
        variances = [total]
    return [with_noise(*each, rng) for each in zip(parts, variances, strict=True)]


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
    level: Tensor,
    matrix: Tensor,
    noise: Tensor | None,
    power: Tensor | None,
    height: int,
    terms: int,
    rng: Tensor | None,
) -> Tensor:
    """Read equal tiles as one batched product: ``[groups, tiles, batch, lines]``."""
    groups, _, rows = level.shape
    height = min(height, rows)
    lines = matrix.shape[-1]
    inputs = _by_tile(level, height)
    current = multiply(inputs, matrix.reshape(-1, height, lines))
    if noise is not None:
        # For gradients noise is constant. The first of several terms is the voltage itself.
        if power is None:
            power = inputs.detach()[..., ::terms].square()
        else:
            power = _by_tile(power, height // terms)
        if noise.dim() > 1:
            noise = noise.reshape(-1, height // terms, lines)
        current = with_noise(current, variance_of(power, noise), rng)
    return current.unflatten(0, (groups, -1))


def _by_tile(level: Tensor, height: int) -> Tensor:
    """From ``[groups, batch, rows]`` to ``[groups · tiles, batch, rows of a tile]``."""
    return level.unflatten(2, (-1, height)).transpose(1, 2).flatten(0, 1)


def multiply(left: Tensor, right: Tensor, *, bits: bool = False) -> Tensor:
    """Return ``left @ right`` of every tile or group, ``[batch, n, k]`` and ``[batch, k, m]``.

    Large products without gradients are oneDNN's, where torch has it: it is the faster one, twice
    on AMD processors (measured). Many products with a few columns each are worked out turned,
    three to ten times faster (measured).

    Args:
        left: inputs.
        right: matrices.
        bits: whether inputs are -1, 0 and 1: products are then exact, and rounded by no kernel.
    """
    if len(left) > 1:
        narrow = right.shape[2] <= (_NARROW if bits else 2) and right.shape[2] < left.shape[1]
        if not narrow or left.device.type != "cpu" or not _bare(left, right):
            return torch.bmm(left, right)
        return torch.bmm(right.mT, left.mT).mT.contiguous()
    # Of columns of a wider matrix oneDNN makes a thousand times as slow a product (measured).
    dense = right.is_contiguous() or right.mT.is_contiguous()
    large = dense and left.numel() * right.shape[2] >= BULK
    if _LINEAR is None or not large or left.device.type != "cpu" or not _bare(left, right):
        return torch.bmm(left, right)
    found: Tensor = _LINEAR(left[0], right[0].mT, None, "none", [], "")
    return found.unsqueeze(0)


_NARROW = 10


BULK = 1 << 22
"""Multiplications from which a product is large: oneDNN's calls take some 10 µs more (measured)."""


def _bare(left: Tensor, right: Tensor) -> bool:
    """Whether a product of these is all that is asked: no gradients, graphs or other dtypes."""
    if not left.dtype == right.dtype == torch.float32 or torch.is_autocast_enabled("cpu"):
        return False
    return not followed(left, right)


def followed(*operands: Tensor | float | None) -> bool:
    """Whether gradients, a graph or a transform follow what is done to these.

    Where nothing does, fresh results may be overwritten: fresh memory costs more than arithmetic.
    """
    if torch.is_grad_enabled():
        for used in operands:
            if isinstance(used, Tensor) and used.requires_grad:
                return True
    return blocks.followed_by_torch()


def times(fresh: Tensor, factor: Tensor | float) -> Tensor:
    """Return ``fresh · factor``, which broadcasts to it, in place where nothing follows that."""
    return fresh * factor if followed(fresh, factor) else fresh.mul_(factor)


def _onednn() -> Any:
    """Return oneDNN's linear map, which torch has for its compiler, or None."""
    if not torch.backends.mkldnn.is_available():
        return None
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


_LINEAR = _onednn()


def variance_of(power: Tensor, noise: Tensor) -> Tensor:
    """Return the variance of currents: of independent cells it adds up with the squared inputs.

    Args:
        power: squares of inputs ``[..., batch, rows]``; of cells that are alike also their sums.
        noise: variance of every cell ``[..., rows, lines]``; or ``[lines]`` or ``[1]`` where all
            cells of a line are alike, which is one sum over the inputs and no product.
    """
    if noise.dim() == 1:
        return (power if power.shape[-1] == 1 else power.sum(-1, keepdim=True)) * noise
    return torch.mm(power, noise) if power.dim() == 2 else multiply(power, noise)


def with_noise(
    current: Tensor, variance: Tensor, rng: Tensor | None, drawn: Tensor | None = None
) -> Tensor:
    """Add white noise to currents; both may be overwritten.

    Args:
        current: any shape, the result of a product.
        variance: broadcasts to it.
        rng: stream for read noise; None: torch's own generator.
        drawn: standard normals drawn before, shaped like ``current``.
    """
    drawn = random.normal_like(current, rng) if drawn is None else drawn
    return current.addcmul_(root(variance), drawn)


def root(variance: Tensor) -> Tensor:
    """Return the deviation of a fresh ``variance``, 0 where it is not positive, as its gradient.

    Learned converter ranges make noise in their units differentiable. A read without input has no
    noise, whatever the range.
    """
    if not derivatives.wanted(variance):
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
    rng: Tensor | None = None,
) -> Tensor:
    """Convert every tile's currents and add the tiles digitally.

    Args:
        parts: as `partial_currents` returns them; overwritten where no gradient is needed.
        readout: the array.
        hardware: what it is made of.
        limit: full scale (A) per converter ``[converters]``; None takes the largest currents.
        planes: how many bit planes of each vector the batch holds.
        measured: the range of the whole call, where these are some of its currents.
        rng: stream for noise of the converters; None: torch's own generator.

    Returns:
        ``[groups, batch, lines]`` in amperes.
    """
    adc = hardware.adc
    if adc is None:
        return _sum_tiles(parts)
    if readout.converters is not None:
        return _erring(parts, readout, hardware, limit, planes, measured, rng)
    if readout.step is not None:
        levels = [adc.to_levels(part) for part in parts]
        return times(_sum_tiles(levels, whole=True), readout.step)
    if measured is not None:
        limit = measured
    elif limit is None:
        return _by_their_ranges(parts, adc, hardware.encoding.converters, planes)
    else:
        limit = per_line(limit, readout.matrix.shape[-1] // limit.numel())
    return _sum_tiles([adc.convert(part, limit) for part in parts])


def _by_their_ranges(parts: list[Tensor], adc: ADC, converters: int, planes: int) -> Tensor:
    """Convert currents by the ranges that they ask for, of each vector and converter."""
    limit = adc.measure(parts, converters=converters, planes=planes, spread=False)
    split = [part.unflatten(-1, (converters, -1)).unflatten(2, (planes, -1)) for part in parts]
    return _sum_tiles([adc.convert(part, limit).flatten(2, 3).flatten(-2) for part in split])


def _erring(
    parts: list[Tensor],
    readout: Readout,
    hardware: Hardware,
    limit: Tensor | None,
    planes: int,
    measured: Tensor | None,
    rng: Tensor | None,
) -> Tensor:
    """As `convert`, by converters with errors."""
    adc, errors = hardware.adc, readout.converters
    assert adc is not None
    assert errors is not None
    each = list(zip(parts, errors.by_part(parts), strict=True))
    if readout.step is not None:
        return _sum_tiles([own.codes(part, rng) for part, own in each]) * readout.step
    if measured is not None:
        limit = measured
    elif limit is None:
        limit = adc.measure(parts, converters=hardware.encoding.converters, planes=planes)
    else:
        limit = per_line(limit, readout.matrix.shape[-1] // limit.numel())
    return _sum_tiles([adc.convert_by(own, part, limit, rng) for part, own in each])


def sum_tiles(current: Tensor, *, whole: bool = False) -> Tensor:
    """Add up equal tiles ``[tiles, …]``, as those of one group; see `_sum_tiles`."""
    return _sum_tiles([current.unsqueeze(0)], whole=whole)[0]


def _sum_tiles(parts: list[Tensor], *, whole: bool = False) -> Tensor:
    """Add ``[groups, tiles, …]`` up over all tiles; the result is fresh where the parts are.

    Args:
        parts: tiles.
        whole: whether they hold integers, whose sum is the same in any order.
    """
    total: Tensor | None = None
    for part in parts:
        tiles, few = part.shape[1], (4 if whole else 2)
        if tiles == 1:
            added = part.squeeze(1)
        elif tiles > few or followed(part):
            added = part.sum(1)
        else:  # keeps the layout, and is three to ten times faster than a sum (measured)
            added = torch.add(*part.unbind(1)[:2])
            for more in part.unbind(1)[2:]:
                added.add_(more)
        total = added if total is None else total + added
    assert total is not None
    return total
