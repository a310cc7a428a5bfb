"""Converters and drivers of a crossbar, with the errors that its chip drew for them.

In come the specs, how lines lie on tiles, and the seed of the chip's lines. Out go the errors of
every line's converter (`mho.periphery.errors.Errors`) and of every word line's driver. What is
drawn can be drawn again from that seed, which is in the ``state_dict`` with the cells: so the
errors are kept, moved, copied and loaded with these, and a chip fabricated anew has others.

Errors of drivers cost no read anything: the currents of ohmic cells are linear in the voltages, so
a driver's gain is a factor on its row, and its offset a current in every line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from mho.circuit.noise import NoiseForm
from mho.core import random
from mho.crossbar.readout import Noise, Readout
from mho.crossbar.tiling import Tiling
from mho.hardware import Hardware
from mho.periphery.build import Placed, by_line, draw
from mho.periphery.draws import Draws
from mho.periphery.errors import Errors

if TYPE_CHECKING:
    from mho.crossbar.crossbar import Crossbar

_TEST_POINTS = 1 << 12
_TEST_READS = 16
_SPAN = 0.9  # of full scale: the ends of the curve may be clipped


# ── converters ───────────────────────────────────────────────────────────────────────────────


def placed(tiling: Tiling, converters: int, columns: int, device: torch.device) -> Placed:
    """Say which converter reads which line of one row of tiles.

    Args:
        tiling: how lines lie on tiles.
        converters: of an output; the lines of one are neighbours among all lines.
        columns: neighbouring lines of an array that share a converter.
        device: of the result.
    """
    joined = tiling.array.interleaved
    line = torch.arange(converters * tiling.cols, device=device)
    which, column = line // tiling.cols, line % tiling.cols
    tile, position = column // tiling.outputs, column % tiling.outputs
    on_tile = min(tiling.outputs, tiling.cols)
    if joined:
        array, position, on_tile = tile, position * converters + which, on_tile * converters
    else:
        array = which * tiling.across + tile
    on_each = -(-on_tile // columns)
    arrays = tiling.across * (1 if joined else converters)
    return Placed(array * on_each + position // columns, arrays, on_each)


def errors(hardware: Hardware, tiling: Tiling, seed: int | None, like: Tensor) -> Errors | None:
    """Return the errors of all converters; None where there are none.

    Args:
        hardware: what the crossbar is made of.
        tiling: how it lies on tiles.
        seed: of the chip's lines; None draws from torch's own generator.
        like: gives dtype and device.
    """
    adc = hardware.adc
    if adc is None or not adc.errs:
        return None
    where = placed(tiling, hardware.encoding.converters, adc.columns_per_adc, like.device)
    tiles = tiling.groups, tiling.down
    count = where.arrays * where.on_each
    found = draw(adc, Draws(seed, "adc", like), tiles[0] * tiles[1] * count, where.on_each)
    return by_line(adc, found, where, tiles, like)


def trimmed(found: Errors, trim: Tensor) -> Errors:
    """Return converters with currents trimmed before them; see `Correction.trim`."""
    factor, added = trim.to(found.gain)
    gain, offset = found.gain * factor, found.offset + found.gain * added
    return found._replace(gain=gain, offset=offset, even=False)


def trimmed_anew(found: Errors) -> Errors:
    """Return newly made converters after a trim of their own: gain and offset are gone."""
    one = torch.ones_like(found.gain[:1, :1, :1])
    return found._replace(gain=one, offset=torch.zeros_like(one), even=True)


@torch.no_grad()
def trim_of(crossbar: Crossbar) -> Tensor | None:
    """Measure gain and offset of every converter of a crossbar, and return what takes them away.

    Known currents are converted, as on a test bench, some times each where converters are noisy,
    and a line is fitted to the codes that are not clipped.

    Returns:
        ``[2, groups, tiles, lines]``; see `Correction.trim`. None where converters have no errors.
    """
    view = crossbar.reader.view
    found = view.untrimmed
    if found is None:
        return None
    low, high = found.levels
    x = torch.linspace(_SPAN * low, _SPAN * high, _TEST_POINTS).to(found.gain)
    reads = _TEST_READS if found.noisy else 1
    rng, fits = random.stream(random.derive(crossbar.cells.lines_seed, "trim")), []
    rng = rng.to(x.device)
    tiling = Tiling.of(crossbar.cells.like, crossbar.groups, crossbar.hardware.array)
    lines = crossbar.hardware.encoding.converters * tiling.cols
    for tile in range(tiling.down):
        own = found.of_tiles(tile, tile + 1)
        current = x.view(1, 1, -1, 1).repeat(tiling.groups, 1, reads, lines)
        fits.append(_line(current, own.codes(current, rng, fresh=False), low, high))
    columns = crossbar.hardware.adc.columns_per_adc if crossbar.hardware.adc is not None else 1
    where = placed(tiling, crossbar.hardware.encoding.converters, columns, x.device)
    gain, offset = _by_converter(torch.stack(fits, dim=2), where)
    gain = gain.clamp_min(1e-3)
    return torch.stack((1.0 / gain, -offset / gain))


def _by_converter(value: Tensor, where: Placed) -> Tensor:
    """Return the mean of what was found on all lines of a converter, for each of them."""
    room = value.new_zeros(*value.shape[:-1], where.arrays * where.on_each)
    count = room.index_add(-1, where.converter, torch.ones_like(value))
    total = room.index_add(-1, where.converter, value)
    return (total / count.clamp_min(1.0))[..., where.converter]


def _line(x: Tensor, y: Tensor, low: int, high: int) -> Tensor:
    """Fit ``y = gain · x + offset`` of ``[groups, 1, points, lines]``: ``[2, groups, lines]``."""
    inside = ((y > low) & (y < high)).to(x)
    count = inside.sum(2).clamp_min(1.0)
    mean_x, mean_y = ((v * inside).sum(2) / count for v in (x, y))
    dx, dy = (x - mean_x.unsqueeze(2)) * inside, (y - mean_y.unsqueeze(2)) * inside
    gain = (dx * dy).sum(2) / dx.square().sum(2).clamp_min(1.0)
    return torch.stack((gain, mean_y - gain * mean_x)).squeeze(2)


def check_trim(crossbar: Crossbar, trim: Tensor | None) -> None:
    """Refuse a trim of another shape, or of converters without errors (TypeError, ValueError)."""
    if trim is None:
        return
    from_hardware = crossbar.hardware.adc
    if from_hardware is None or not from_hardware.errs:
        raise ValueError(
            f"trim is for converters with errors (ADC architecture), got adc={from_hardware}"
        )
    tiling = Tiling.of(crossbar.cells.like, crossbar.groups, crossbar.hardware.array)
    lines = crossbar.hardware.encoding.converters * tiling.cols
    wanted = (2, tiling.groups, tiling.down, lines)
    if tuple(trim.shape) != wanted:
        raise TypeError(f"trim must have shape {list(wanted)}, got {list(trim.shape)}")


# ── drivers ──────────────────────────────────────────────────────────────────────────────────


class Drivers(NamedTuple):
    """The drivers of all word lines.

    Attributes:
        gain: ``[groups · rows]`` or ``[1]``; None where they are exact.
        offset: in levels, likewise; None where there are none.
    """

    gain: Tensor | None
    offset: Tensor | None


def drivers(hardware: Hardware, rows: int, seed: int | None, like: Tensor) -> Drivers | None:
    """Return the mismatch of all drivers; None where there is none.

    Args:
        hardware: what the crossbar is made of.
        rows: word lines of all groups.
        seed: of the chip's lines; None draws from torch's own generator.
        like: gives dtype and device.
    """
    spec = hardware.drive.errors
    if spec is None or not (spec.mismatched or spec.offsets):
        return None
    draws = Draws(seed, "dac", like)
    gain = draws.spread("gain", spec.gain, (rows,)) if spec.mismatched else None
    offset = None
    if spec.offsets:
        unit = 1.0 / hardware.drive.step_per_range
        offset = draws.spread("offset", spec.offset, (rows,)) * unit
    return Drivers(
        None if gain is None else gain.to(like), None if offset is None else offset.to(like)
    )


def driven(found: Readout, known: Drivers, groups: int, height: int) -> Readout:
    """Return what is seen of an array whose drivers have errors.

    Args:
        found: the array, seen through exact drivers.
        known: its drivers.
        groups: how many matrices lie side by side.
        height: word lines of a tile.
    """
    matrix, bias = found.matrix, None
    rows = matrix.shape[1]
    if known.offset is not None:
        volts = known.offset.expand(groups * rows).view(groups, rows, 1)
        each = pad(volts * matrix, (0, 0, 0, -rows % height))
        bias = each.unflatten(1, (-1, height)).sum(2) * found.unit
    noise = found.noise
    if known.gain is not None:
        gain = known.gain.expand(groups * rows).view(groups, rows, 1)
        matrix, noise = matrix * gain, _driven_noise(noise, gain, matrix.shape[-1])
    return found._replace(matrix=matrix, noise=noise, bias=bias)


def _driven_noise(noise: Noise, gain: Tensor, lines: int) -> Noise:
    if noise is None:
        return None
    if isinstance(noise, Tensor):
        cells = noise if noise.dim() == 3 else noise.expand(lines)
        return cells * gain.square()
    sizes = [form.diagonal.shape[1] * form.diagonal.shape[2] for form in noise]
    found = []
    for form, part in zip(noise, gain.split(sizes, dim=1), strict=True):
        own = part.unflatten(1, (form.diagonal.shape[1], -1)).to(form.diagonal)
        found.append(NoiseForm(form.diagonal * own.square(), form.factors * own, form.signs))
    return tuple(found)


# ── kept ─────────────────────────────────────────────────────────────────────────────────────


def kept(crossbar: Any, name: str, key: Any, work: Callable[[], Any]) -> Any:
    """Return what was worked out for a crossbar and a key before, or work it out now.

    Readers are made anew at every change of a crossbar; its circuits are the same.
    """
    known = crossbar.circuits.get(name)
    if known is None or known[0] != key:
        known = (key, work())
        crossbar.circuits[name] = known
    return known[1]
