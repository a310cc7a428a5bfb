"""Reading one line at a time: what a one-hot input gives, without making one.

Where a single line is driven, the product with the whole matrix is one of its rows (or columns):
`DAC(1) · G[row]`. Its conductances are gathered, converted, and the slices added. Tiles in which
nothing is driven carry no current, and add nothing to the digital sum; where that is not so (a
converter without a zero, amplifiers with an offset), `rows` says that it cannot help.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mho.core.constants import constant
from mho.crossbar import currents, expansion, pulses
from mho.crossbar.reader import Reader
from mho.crossbar.readout import Readout
from mho.hardware import Hardware


def refusal(hardware: Hardware, rows: int) -> str | None:
    """Say why lines cannot be read one by one on this hardware; None where they can.

    Args:
        hardware: what the array is made of.
        rows: lines that may be driven.
    """
    drive, adc = hardware.drive, hardware.adc
    if hardware.amplified is not None:
        return "amplifiers of idle tiles have offsets"
    if adc is not None and adc.errs:
        return "converters of idle tiles have errors"
    if drive.errs:
        return "drivers of idle lines have errors"
    if drive.bits == 1 and drive.signed:
        return "a signed DAC of one bit has no zero"
    if not drive.proportional:
        return "pulses of idle lines carry current, or their lengths jitter"
    if pulses.sends(hardware) and any(b.acts_on("read_std") for b in hardware.behaviours):
        return "read noise goes by the lengths of pulses"
    if not pulses.plain(hardware, noisy=False):
        return "integrators saturate"
    if expansion.terms(hardware) > 1:
        return "the cells' current does not separate into conductance and voltage"
    if adc is not None and not adc.on_grid and rows > 1:
        return f"ADC method {adc.method!r} has no exact zero for idle tiles"
    return None


def backward_refusal(hardware: Hardware, cols: int) -> str | None:
    """Say why columns cannot be read one by one, in training as well; None where they can."""
    encoding = hardware.encoding
    if encoding.defect_aware:
        return f"{type(encoding).__name__} weights converters column by column"
    if encoding.physical_cols(cols) != cols:
        return f"{type(encoding).__name__} shares a column among all outputs"
    noisy = any(b.acts_on("read_std") for b in hardware.behaviours)
    if noisy and not hardware.array.wires.ideal:
        return "read noise behind wires depends on all lines"
    return refusal(hardware, cols)


def rows(
    reader: Reader,
    index: Tensor,
    seen: Readout,
    *,
    padding: int | None = None,
    by_frequency: bool = False,
) -> Tensor | None:
    """Read ``one_hot(index) @ weight``, uncorrected; the numbers are those of that read.

    Args:
        reader: of a crossbar of one group.
        index: of the driven rows ``[vectors]``.
        seen: what `Reader.stored` or `Reader.training_readout` gave.
        padding: a row that takes no gradient, as in `torch.nn.Embedding`.
        by_frequency: divide gradients by how often a row is read, likewise.

    Returns:
        ``[vectors, cols]``; None where only the whole read gives the right numbers.
    """
    hardware = reader.hardware
    drive = hardware.drive
    table = seen.matrix.squeeze(0)

    def gathered(matrix: Tensor) -> Tensor:
        return F.embedding(index, matrix, padding, scale_grad_by_freq=by_frequency)

    if drive.bits == 1 and drive.signed:
        return None
    one = table.new_ones(1, 1, 1)
    if reader.collapsed:
        found = gathered(table)
        return found if drive.ideal else found * reader.ranges.driven(one[0])
    if refusal(hardware, reader.rows) or seen.cells is not None or isinstance(seen.noise, tuple):
        return None
    ranges = reader.ranges
    one, limit = ranges.limited(ranges.lifted(one), (0, 2))
    level, weight, shares = drive.to_levels(one, limit), None, None
    if drive.serial:
        planes, weight = drive.planes(level)
        if _alike(seen, hardware) and not currents.followed(table, level):
            # All pulses that are sent are one, and so are their currents and results.
            shares, weight = weight * planes.flatten(), None
            level = (level != 0.0).to(level.dtype)
        else:
            level = planes.transpose(0, 1).flatten(1, 2)  # [1, planes, 1]
    # [1, tiles, planes · vectors, lines], of the one tile that is driven
    level = currents.in_units(expansion.driven(level, hardware), seen).reshape(-1, 1, 1)
    current = (level * gathered(table)).flatten(0, 1)
    if seen.noise is not None:
        cells = F.embedding(index, seen.noise[0]) if seen.noise.dim() == 3 else seen.noise
        variance = (level.detach().square() * cells).expand(len(level), len(index), -1)
        rng = None if seen.training else reader.cells.streams[-1]
        current = currents.with_noise(current, variance.flatten(0, 1).clone(), rng)
    total = _converted(current, weight, reader, seen)
    total = total if shares is None else _over_planes(total, shares)
    outputs = hardware.encoding.assemble(total, seen.digital)[0]
    outputs = outputs * (seen.scale * (_plain(limit) * drive.step_per_range))
    return outputs if ranges.lift is None else outputs / ranges.lift


def _alike(seen: Readout, hardware: Hardware) -> bool:
    """Whether equal pulses give equal results, and no pulse gives none."""
    grid = hardware.adc is None or hardware.adc.on_grid
    grid = grid and hardware.drive.mode == "bit_serial"
    return seen.noise is None and not hardware.drive.converts_once and grid


def _over_planes(result: Tensor, shares: Tensor) -> Tensor:
    """Add up results ``[1, vectors, lines]`` that are the same in all planes.

    They are added as different ones are, and so rounded alike; in blocks that stay in the cache.
    """
    size = max(_AT_ONCE // (len(shares) * result.shape[2]), 1)
    blocks = result.unsqueeze(1).split(size, dim=2)
    return torch.cat([(block * shares.view(-1, 1, 1)).sum(1) for block in blocks], dim=1)


_AT_ONCE = 1 << 18


def _plain(limit: Tensor | float) -> Tensor | float:
    return limit.reshape(()) if isinstance(limit, Tensor) else limit


def _converted(current: Tensor, weight: Tensor | None, reader: Reader, seen: Readout) -> Tensor:
    """Convert currents ``[planes · vectors, lines]``: ``[1, vectors, lines]``."""
    hardware, limit = reader.hardware, reader.ranges.full_scale()
    parts = current.unsqueeze(0).unsqueeze(0)
    if weight is None:
        return currents.convert([parts], seen, hardware, limit)
    shares = weight.view(-1, 1, 1)
    if hardware.drive.converts_once:
        unit = hardware.drive.joint_step
        joint = (parts.unflatten(2, (len(weight), -1)) * (shares * unit)).sum(2)
        return currents.convert([joint], seen, hardware, limit) / unit
    results = currents.convert([parts], seen, hardware, limit, len(weight))
    return (results.unflatten(1, (len(weight), -1)) * shares).sum(1)


def columns(reader: Reader, index: Tensor, seen: Readout, *, padding: int | None = None) -> Tensor:
    """Read ``one_hot(index) @ weight.T``, as `Crossbar.T` does: from a bit line to the word lines.

    Args:
        reader: of a crossbar of one group, whose hardware `backward_refusal` allows.
        index: of the driven columns ``[vectors]``.
        seen: what `Reader.stored` or `Reader.training_readout` gave.
        padding: a column that takes no gradient.

    Returns:
        ``[vectors, rows]``, uncorrected.
    """
    hardware = reader.hardware
    drive, encoding = hardware.drive, hardware.encoding

    def gathered(lines: Tensor) -> Tensor:
        """From ``[…, converters · cols]`` or ``[1]`` to ``[…, converters, vectors]``."""
        if lines.shape[-1] == 1:
            return lines.unsqueeze(-1)
        by_converter = lines.unflatten(-1, (-1, encoding.physical_cols(reader.outputs)))
        return by_converter.index_select(-1, index)

    if reader.collapsed:
        found = F.embedding(index, seen.matrix.squeeze(0).T, padding)
        if drive.ideal:
            return found
        scale = seen.scale.detach().expand(reader.outputs)[index].unsqueeze(1)
        return found * (drive.quantise(scale, drive.measure(scale, 1)) / scale)
    scale = (seen.scale * drive.v_step).expand(reader.outputs)[index].view(1, -1, 1)
    limit = drive.measure(scale, (0, 2))
    v_step = drive.v_max * drive.step_per_range
    level = expansion.driven(drive.to_levels(scale, limit), hardware, v_step)
    level = level.view(-1) * v_step
    # Back to siemens: converters at the word lines have steps of their own.
    unit: Any = seen.unit if seen.step is None else seen.unit * seen.step
    level = level * (gathered(unit) if isinstance(unit, Tensor) and unit.dim() else unit)
    level = level / drive.v_step  # [vectors], or [converters, vectors]
    current = gathered(seen.matrix.squeeze(0)) * level  # [rows, converters, vectors]
    if padding is not None:
        current = torch.where(index == padding, current.detach(), current)
    if isinstance(seen.noise, Tensor):
        noise = seen.noise[0] if seen.noise.dim() == 3 else seen.noise
        variance = (gathered(noise) * level.square()).detach().expand_as(current)
        rng = None if seen.training else reader.cells.streams[-1]
        current = currents.with_noise(current, variance.clone(), rng)
    parts = current.permute(2, 1, 0).flatten(1)[None, None]  # [1, 1, vectors, converters · rows]
    backward = seen._replace(step=None, lines=None)
    total = currents.convert([parts], backward, hardware, None)[0]
    shares = constant(encoding.digital, total.dtype, total.device)
    y = torch.einsum("bkr,k->br", total.unflatten(-1, (encoding.converters, -1)), shares)
    return y * (limit.view(-1, 1) * (drive.step_per_range / v_step))
