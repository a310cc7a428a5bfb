"""Reading a crossbar the other way: voltages on the bit lines, currents from the word lines."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mho.circuit.noise import NoiseForm
from mho.core import checks
from mho.core.constants import constant
from mho.crossbar import currents, pulses
from mho.crossbar import expansion as nonlinear
from mho.crossbar.readout import Noise, Readout, scaled
from mho.crossbar.tiling import Tiling
from mho.hardware import Hardware


def read_transposed(
    x: Tensor,
    g: Tensor,
    scale: Tensor,
    variance: Noise,
    hardware: Hardware,
    rng: Tensor | None,
    digital: Tensor | None = None,
) -> Tensor:
    """Read ``x @ weight.T`` from the same cells.

    Inputs drive the bit lines by amplitude (the two lines of a differential pair with opposite
    signs, an offset column with minus the sum), every tile's word lines are converted, tiles are
    added digitally. Converter ranges follow each vector, or each call where that is the policy:
    calibration is for the forward direction.

    Args:
        x: ``[batch, cols]``.
        g: conductances ``[slices, rows · terms, physical cols]`` (S), as a read sees them.
        scale: ``[]`` or ``[cols]`` (1/S).
        variance: of white read noise, as `readout.read_noise` returns it for this direction.
        hardware: what the array is made of.
        rng: stream for read noise.
        digital: weights of the converters' results per column ``[1, converters, cols]``; the
            arrays of different converters are then driven each by inputs of its own.

    Returns:
        ``[batch, rows]``.
    """
    hardware = _in_one_pulse(hardware)
    drive, encoding = hardware.drive, hardware.encoding
    terms = nonlinear.terms(hardware)
    x = (x * scale).unsqueeze(0)
    if digital is not None:
        x = x * digital.transpose(0, 1)
    limit = drive.measure(x, (0, 2))
    level = encoding.drive_columns(drive.to_levels(x, limit))
    level = pulses.lengthened(level, hardware, rng)
    sent = level if pulses.sends(hardware) and variance is not None else None
    v_step = drive.v_max * drive.step_per_range
    level = nonlinear.driven(level, hardware, v_step)
    rows, lines = g.shape[1] // terms, g.shape[2]

    # [rows · terms, converters · lines] → [1, lines · terms, converters · rows]
    def turned(matrix: Tensor, terms: int = 1) -> Tensor:
        matrix = matrix.expand(rows * terms, encoding.converters * lines)
        split = matrix.unflatten(1, (-1, lines)).unflatten(0, (rows, terms))
        if digital is not None:  # one group a converter: [converters, lines · terms, rows]
            return split.permute(2, 3, 1, 0).flatten(1, 2)
        return split.permute(3, 1, 2, 0).flatten(2).flatten(0, 1).unsqueeze(0)

    noise = scaled(turned(variance) if isinstance(variance, Tensor) else variance, v_step)
    if digital is not None and isinstance(noise, tuple):
        noise = tuple(_by_converter(form, encoding.converters) for form in noise)
    matrix = turned(encoding.converted(g), terms) * v_step
    readout = Readout(matrix, noise, None, scale, terms=terms)
    tiling = Tiling(len(g), 1, rows, lines, hardware.array)
    parts = currents.partial_currents(
        level, readout, hardware, rng, tile_rows=tiling.outputs, sent=sent
    )
    shares = constant(encoding.digital, x.dtype, x.device)
    if digital is not None:  # its weights are in the inputs already
        shares = torch.ones_like(shares)
        parts = [part.movedim(0, -2).flatten(-2).unsqueeze(0) for part in parts]
    parts = pulses.integrated(parts, None, hardware)
    total = currents.convert(parts, readout, hardware, None)
    y = torch.einsum("bkr,k->br", total[0].unflatten(-1, (encoding.converters, -1)), shares)
    return y * (limit.view(-1, 1) * (drive.step_per_range / v_step))


def _in_one_pulse(hardware: Hardware) -> Hardware:
    """Return hardware whose pulse-width drivers send an input as one pulse of either sign."""
    sent = hardware.drive.pulses
    if sent is None or not hardware.drive.serial:
        return hardware
    whole = hardware.drive.replace(pulses=sent.replace(split=()), converts_once=False)
    return hardware.replace(dac=whole)


def _by_converter(form: NoiseForm, converters: int) -> NoiseForm:
    """Make the converters of ``[1, …, converters · rows]`` groups, ``[converters, …, rows]``."""

    def split(x: Tensor, group: int) -> Tensor:
        return x.squeeze(group).unflatten(-1, (converters, -1)).movedim(-2, group)

    return NoiseForm(split(form.diagonal, 0), split(form.factors, 1), split(form.signs, 1))


class Transposed:
    """The transposed view of a crossbar: ``y = x @ crossbar.T`` reads the same cells.

    With wires, too, this is exact: a network of resistors passes currents alike both ways.

    Args:
        cols: inputs of this direction.
        read: maps ``[batch, cols]`` to ``[batch, rows]``.
        groups: of the crossbar; several cannot be read. Who looks at all attributes, as
            ``torch.jit.trace`` does, may have the view all the same.
    """

    def __init__(self, cols: int, read: Callable[[Tensor], Tensor], groups: int = 1) -> None:
        self.cols = cols
        self._read, self._groups = read, groups

    __array_ufunc__ = None  # as of the crossbar

    def __rmatmul__(self, x: Tensor) -> Tensor:
        """Read ``x [..., cols]`` to ``[..., rows]``.

        Raises:
            ValueError: if the crossbar has several groups.
        """
        if self._groups != 1:
            raise ValueError(f"only a crossbar of one group has .T, this has {self._groups}")
        checks.columns("input", x, self.cols)
        y = self._read(x.reshape(-1, self.cols))
        return y.reshape(*x.shape[:-1], y.shape[-1])
