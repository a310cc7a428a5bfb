"""Readout: what a set of conductances looks like to the circuits around it.

Everything that does not depend on the inputs is worked out here, once per change of the cells:
what each converter sees of every cell, the variance of read noise, the converters' steps.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from mho.cells import life
from mho.cells.life import Born, ContextOf
from mho.crossbar import expansion as nonlinear
from mho.hardware import Hardware


class Readout(NamedTuple):
    """Conductances as a read sees them.

    Attributes:
        matrix: ``[groups, rows, lines]``. Of a collapsed array: the effective weights. Else each
            converter's current per input level, in ADC steps where ``step`` is given, else in A.
        noise: variance of white read noise in the squared units of ``matrix``: per cell,
            ``[groups, rows, lines]``; or ``[lines]`` or ``[1]`` where cells are alike; or None.
        step: the ADC's step (A), ``[lines]`` or ``[1]``, divided out of ``matrix``; or None.
        scale: ``[]`` or ``[cols]``, from currents (A) to outputs for inputs of one unit a level.
        unit: what a level is multiplied by before ``matrix``.
        terms: neighbouring rows of ``matrix`` that stand for one row of cells, 1 unless currents
            do not separate (`mho.crossbar.expansion`); ``noise`` has one row for each row of cells.
        digital: weights of the converters' results per column ``[groups, converters, cols]``, in
            place of the encoding's own; None keeps those.
    """

    matrix: Tensor
    noise: Tensor | None
    step: Tensor | None
    scale: Tensor
    unit: Tensor | float = 1.0
    terms: int = 1
    digital: Tensor | None = None


def collapses(hardware: Hardware) -> bool:
    """Whether nothing between cells and outputs depends on the input: one matrix says it all."""
    return (
        hardware.adc is None
        and hardware.device.ohmic
        and hardware.drive.mode == "amplitude"
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
    if adc is None or not adc.ranged or adc.range == "per_call":
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
    variance: Tensor | None,
    limit: Tensor | None,
    hardware: Hardware,
    groups: int,
    siemens: Tensor | None = None,
) -> Readout:
    """Return the readout of an array whose currents are converted, or noisy, or nonlinear.

    Args:
        matrix: conductances as converters see them, ``[groups · rows · terms, lines]`` (S).
        scale: ``[]`` or ``[cols]`` (1/S).
        variance: of white read noise, as `white_noise` returns it.
        limit: full scale (A) per converter, if the ADC's step is to be divided out.
        hardware: what the array is made of.
        groups: how many matrices lie side by side.
        siemens: unit of ``matrix``, the inverse of ``scale``; None is 1 S.
    """
    adc, v_step = hardware.adc, hardware.drive.v_step
    matrix = matrix.unflatten(0, (groups, -1))
    if variance is not None and variance.dim() == 2:
        variance = variance.unflatten(0, (groups, -1))
    step = None
    unit: float | Tensor = v_step
    if siemens is not None:
        unit = unit * siemens
        variance = None if variance is None else variance / siemens**2
    if adc is not None and adc.on_grid and limit is not None:
        step = per_line(adc.step(limit), matrix.shape[-1] // limit.numel())
        unit = unit / step
    readout = Readout(matrix, variance, step, scale / v_step, unit, nonlinear.terms(hardware))
    # Lines of different units cannot share one unit of the inputs.
    return fold(readout) if isinstance(unit, Tensor) and unit.numel() > 1 else readout


def fold(readout: Readout) -> Readout:
    """Multiply the unit into the matrix: dearer once, cheaper at every read."""
    noise = readout.noise
    if noise is not None:
        noise = noise * readout.unit**2
    return readout._replace(matrix=readout.matrix * readout.unit, noise=noise, unit=1.0)


def seen(g: Tensor, hardware: Hardware, born: Born, context: ContextOf) -> Tensor:
    """Return the conductances (S) of one read: those stored, as reading effects show them."""
    for behaviour, state in zip(hardware.behaviours, born.states, strict=True):
        if behaviour.acts_on("read"):
            g = behaviour.read(g, context(state))
    return g


def white_noise(
    stage: str, g: Tensor, hardware: Hardware, born: Born, context: ContextOf
) -> Tensor | None:
    """Return the variance (S²) of a stage's white noise as converters see it.

    Args:
        stage: ``"read_std"`` or ``"write_std"``.
        g: conductances (S).
        hardware: what the array is made of.
        born: what fabrication drew.
        context: makes a behaviour's context.

    Returns:
        ``[groups · rows, lines]``; or ``[lines]`` or ``[1]`` where cells are alike; None for none.
    """
    encoding = hardware.encoding
    variance = life.white(stage, g.detach(), hardware, born, context)
    if isinstance(variance, Tensor):
        return encoding.converted_variance(variance.expand_as(g))
    if variance == 0.0:
        return None
    cells = g.new_full((encoding.slices, 1, 1), variance)
    return per_line(encoding.converted_variance(cells)[0], g.shape[-1])


class Lumped(NamedTuple):
    """Cells whose only fate is white noise, alike for all: variances (S²) as converters see it."""

    write: Tensor | None
    read: Tensor | None


def lumped(g: Tensor, hardware: Hardware, born: Born, context: ContextOf) -> Lumped | None:
    """Return the noise of cells that need not be drawn one by one in training, else None.

    Independent Gaussian errors of the cells of one weight add up to one normal; that says all
    unless cells differ, break, round, or are changed at every read.
    """
    per_cell = any(b.acts_on(s) for b in hardware.behaviours for s in ("stuck", "program", "read"))
    device = hardware.device
    if per_cell or device.spreads() or born.states[0] or not hardware.array.wires.ideal:
        return None
    if not device.separable:
        return None
    stages = ("write_std", "read_std")
    found = Lumped(*(white_noise(stage, g, hardware, born, context) for stage in stages))
    return None if any(v is not None and v.dim() == 2 for v in found) else found


def per_line(value: Tensor, physical_cols: int) -> Tensor:
    """Spread one value per converter ``[converters]`` over its lines; one alone broadcasts."""
    return value if value.numel() == 1 else value.repeat_interleave(physical_cols)
