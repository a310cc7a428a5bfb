"""Readout: what a set of conductances looks like to the circuits around it.

Everything that does not depend on the inputs is worked out here, once per change of the cells:
what each converter sees of every cell, the variance of read noise, the converters' steps.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from mho.cells import life
from mho.cells.behaviour import Behaviour
from mho.cells.life import Drawn
from mho.circuit.noise import NoiseForm
from mho.core import random
from mho.crossbar import expansion as nonlinear
from mho.crossbar.floating import Ports, floats
from mho.crossbar.training import NoiseInjection
from mho.crossbar.wires import TileWires, wired_noise
from mho.encoding.base import Encoding
from mho.hardware import Hardware
from mho.periphery.amplifier import Lines
from mho.periphery.errors import Errors

Noise: TypeAlias = Tensor | tuple[NoiseForm, ...] | None
"""Variance of white noise: of bare cells, or of the tiles of an array with wires."""


class Readout(NamedTuple):
    """Conductances as a read sees them.

    Attributes:
        matrix: ``[groups, rows, lines]``. Of a collapsed array: the effective weights. Else each
            converter's current per input level, in ADC steps where ``step`` is given, else in A.
        noise: variance of white read noise in the squared units of ``matrix``: per cell,
            ``[groups, rows, lines]``; or ``[lines]`` or ``[1]`` where cells are alike; or behind
            wires as `mho.crossbar.wires.wired_noise` returns it; or None.
        step: the ADC's step (A), ``[lines]`` or ``[1]``, divided out of ``matrix``; or None.
        scale: ``[]`` or ``[cols]``, from currents (A) to outputs for inputs of one unit a level.
        unit: what a level is multiplied by before ``matrix``.
        terms: neighbouring rows of ``matrix`` that stand for one row of cells, 1 unless currents
            do not separate (`mho.crossbar.expansion`); ``noise`` has one row for each row of cells.
        digital: weights of the converters' results per column ``[groups, converters, cols]``, in
            place of the encoding's own; None keeps those.
        training: whether noise is drawn as training draws, from torch's own generator.
        cells: low-voltage conductances ``[slices, groups · rows, cols]`` (S) of an array whose
            circuit is solved for every input (`mho.crossbar.exact`), in place of ``matrix``; or
            what it is to its drivers where lines float (`mho.crossbar.floating`); None where reads
            are products.
        lines: the amplifiers; None where these are ideal.
        bias: current that offsets of the drivers cause, in units of ``matrix``,
            ``[groups, tiles, lines]``; or None.
        converters: their errors; None where they have none.
    """

    matrix: Tensor
    noise: Noise
    step: Tensor | None
    scale: Tensor
    unit: Tensor | float = 1.0
    terms: int = 1
    digital: Tensor | None = None
    training: bool = False
    cells: Tensor | Ports | None = None
    lines: Lines | None = None
    bias: Tensor | None = None
    converters: Errors | None = None


def collapses(hardware: Hardware) -> bool:
    """Whether nothing between cells and outputs depends on the input: one matrix says it all."""
    return (
        not hardware.by_tile
        and hardware.device.ohmic
        and hardware.drive.mode != "bit_serial"
        and hardware.drive.proportional
        and not floats(hardware)
        and not any(b.acts_on("read_std") for b in hardware.behaviours)
    )


def full_scale(hardware: Hardware, calibrated: Tensor | None, rows: int) -> float | Tensor | None:
    """Return the ADC's full scale (A) where it does not depend on the inputs, else None.

    Args:
        hardware: gives the range policy.
        calibrated: calibrated full scale per converter ``[converters]``, if there is one.
        rows: word lines used in a tile.
    """
    adc = hardware.adc
    if adc is None or not adc.ranged or adc.range in ("per_call", "per_vector"):
        return None
    if not isinstance(adc.range, str):
        return adc.range
    if adc.range == "calibrated":
        return calibrated
    f_max = nonlinear.largest_transfer(hardware)
    return hardware.encoding.full_scale(*hardware.device.window) * f_max * rows


def effective(
    matrix: Tensor,
    scale: Tensor,
    hardware: Hardware,
    groups: int,
    siemens: Tensor | None = None,
    digital: Tensor | None = None,
) -> Readout:
    """Return the readout of a collapsed array: its weights.

    Args:
        matrix: conductances as converters see them, ``[groups · rows, lines]`` (S).
        scale: ``[]`` or ``[cols]`` (1/S).
        hardware: what the array is made of.
        groups: how many matrices lie side by side.
        siemens: unit of ``matrix``, the inverse of ``scale``; None is 1 S.
        digital: see `Readout`.
    """
    weight = hardware.encoding.assemble(matrix.unflatten(0, (groups, -1)), digital)
    if siemens is None:
        weight = weight * scale
    return Readout(weight, None, None, scale)


def electrical(
    matrix: Tensor,
    scale: Tensor,
    variance: Noise,
    limit: Tensor | None,
    hardware: Hardware,
    groups: int,
    siemens: Tensor | None = None,
) -> Readout:
    """Return the readout of an array whose currents are converted, or noisy, or nonlinear.

    Args:
        matrix: conductances as converters see them, ``[groups · rows · terms, lines]`` (S).
        scale: ``[]`` or ``[cols]`` (1/S).
        variance: of white read noise, as `read_noise` returns it.
        limit: full scale (A) per converter, if the ADC's step is to be divided out.
        hardware: what the array is made of.
        groups: how many matrices lie side by side.
        siemens: unit of ``matrix``, the inverse of ``scale``; None is 1 S.
    """
    adc, v_step = hardware.adc, hardware.drive.v_step
    matrix = matrix.unflatten(0, (groups, -1))
    if isinstance(variance, Tensor) and variance.dim() == 2:
        variance = variance.unflatten(0, (groups, -1))
    step = None
    unit: float | Tensor = v_step
    if siemens is not None:
        unit = unit * siemens
        variance = scaled(variance, 1.0 / siemens)
    if adc is not None and adc.on_grid and limit is not None:
        step = per_line(adc.step(limit), matrix.shape[-1] // limit.numel())
        unit = unit / step
    readout = Readout(matrix, variance, step, scale / v_step, unit, nonlinear.terms(hardware))
    # Lines of different units cannot share one unit of the inputs.
    return fold(readout) if isinstance(unit, Tensor) and unit.numel() > 1 else readout


def fold(readout: Readout) -> Readout:
    """Multiply the unit into the matrix: dearer once, cheaper at every read."""
    noise = scaled(readout.noise, readout.unit)
    return readout._replace(matrix=readout.matrix * readout.unit, noise=noise, unit=1.0)


def scaled(noise: Noise, unit: Tensor | float) -> Noise:
    """Return the variance of currents ``unit`` times as large, one or ``[lines]``."""
    if isinstance(noise, tuple):
        return tuple(form.scaled(unit) for form in noise)
    return None if noise is None else noise * unit**2


def white_noise(stage: str, g: Tensor, encoding: Encoding, drawn: Drawn) -> Tensor | None:
    """Return the variance (S²) of a stage's white noise as converters see it.

    Args:
        stage: ``"read_std"`` or ``"write_std"``.
        g: conductances (S).
        encoding: how weights are spread over cells.
        drawn: the population.

    Returns:
        ``[groups · rows, lines]``; or ``[lines]`` or ``[1]`` where cells are alike; None for none.
    """
    return _at_converters(life.variance_of(stage, g.detach(), drawn), g, encoding)


def _at_converters(variance: Tensor | float, g: Tensor, encoding: Encoding) -> Tensor | None:
    if isinstance(variance, Tensor):
        return encoding.converted_variance(variance.expand_as(g))
    if variance == 0.0:
        return None
    cells = g.new_full((encoding.slices, 1, 1), variance)
    return per_line(encoding.converted_variance(cells)[0], g.shape[-1])


def read_noise(
    g: Tensor,
    encoding: Encoding,
    drawn: Drawn,
    wires: TileWires,
    *,
    transposed: bool = False,
    training: bool = False,
) -> Noise:
    """Return the variance (S²) of white read noise as converters see it, through the wires.

    Args:
        g: conductances as this read sees them, ``[slices, groups · rows, cols]`` (S).
        encoding: how weights are spread over cells.
        drawn: the population.
        wires: of the array.
        transposed: drive the bit lines and convert the word lines.
        training: cells were drawn for this read alone, and their wires solved with `fresh`.

    Returns:
        As `white_noise` where wires are ideal, else as `mho.crossbar.wires.wired_noise`.
    """
    if wires.array.wires.ideal:
        return white_noise("read_std", g, encoding, drawn)
    variance = life.variance_of("read_std", g.detach(), drawn)
    if not isinstance(variance, Tensor):
        if variance == 0.0:
            return None
        variance = g.new_full((), variance)
    variance = variance.detach().expand_as(g)
    if training:
        return wires.fresh_noise(g.detach(), variance, encoding)
    return wired_noise(g, variance, encoding, wires.array, wires.groups, transposed=transposed)


class Lumped(NamedTuple):
    """Cells that are sound but for white noise, alike for all, or broken.

    Attributes:
        write: variance (S²) of the error of programming as converters see it, or None.
        read: that of noise of reading.
        breaking: what breaks further cells at every training read.
        breaks: whether cells may be broken; see `mho.crossbar.broken`.
    """

    write: Tensor | None
    read: Tensor | None
    breaking: tuple[Behaviour, ...]
    breaks: bool


def lumped(hardware: Hardware, injection: NoiseInjection, cells: Any) -> Lumped | None:
    """Return the noise of cells that need not be drawn one by one in training, else None.

    Independent Gaussian errors of the cells of one weight add up to one normal; that says all
    unless cells differ, round, or are changed at every read. The few that are broken are known by
    their places, where the encoding can tell the cells of one weight from those of the others.

    Args:
        hardware: what training is done on.
        injection: what training reads see beyond the hardware.
        cells: the crossbar's own, or those that it will have.
    """
    per_cell = any(b.acts_on(stage) for b in hardware.behaviours for stage in ("program", "read"))
    device, policy, encoding = hardware.device, hardware.policy, hardware.encoding
    if per_cell or injection.ages_cells:
        return None
    may = injection.effects if injection.own_cells else hardware.behaviours
    breaking = tuple(b for b in may if b.acts_on("broken"))
    breaks = bool(breaking) or (injection.own_cells and cells.broken_at is not None)
    home = whole = cells.like
    if home.is_meta:  # what is small is worked out
        whole = torch.zeros((), dtype=home.dtype, device="cpu").expand(home.shape)
    one = whole.new_ones(1)
    if breaks and (encoding.converters > 1 or encoding.each(one, one, *device.window) is None):
        return None
    if device.spreads() or device.discrete or policy.cell_by_cell or not device.separable:
        return None
    if not hardware.array.wires.ideal:
        return None
    g = one.new_zeros(len(whole), 1, 1)
    # Not those that break cells: there are none here at the places they may name.
    noisy = [b for b in hardware.behaviours if b.acts_on("write_std") or b.acts_on("read_std")]
    if not noisy and not policy.deviation(device.window):
        return Lumped(None, None, breaking, breaks)
    drawn = life.fabricate((device, *(b for b in noisy if b is not device)), g, random.stream(0))
    write = life.variance_of("write_std", g, drawn, own=policy.statistical)
    write = write + policy.deviation(device.window) ** 2
    read = life.variance_of("read_std", g, drawn)
    if isinstance(write, Tensor) or isinstance(read, Tensor):
        return None
    like = whole[:, :1]
    written, seen = (
        None if found is None else found.to(home.device)
        for found in (_at_converters(variance, like, encoding) for variance in (write, read))
    )
    return Lumped(written, seen, breaking, breaks)


def per_line(value: Tensor, physical_cols: int) -> Tensor:
    """Spread one value per converter ``[converters]`` over its lines; one alone broadcasts."""
    return value if value.numel() == 1 else value.repeat_interleave(physical_cols)
