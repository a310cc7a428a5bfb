"""Calibration: converter ranges and output correction from sample inputs.

Passes over the samples, each with what the one before has set: the inputs of every crossbar give
the DAC ranges, its currents the ADC ranges, its outputs against the ideal product a gain and an
offset per column. A correction changes what later layers are given, so the ranges are then taken
once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mho.crossbar.crossbar import Crossbar
from mho.model.convert import layers
from mho.model.observe import batches_of, observed, watch

_NOTHING = 1e-5
_MAX_SAMPLES = 2**20  # of all batches, for a percentile


@torch.inference_mode(False)
@torch.no_grad()
def calibrate(model: nn.Module, inputs: Tensor | Iterable[Any], *, correct: bool = True) -> None:
    """Set converter ranges and output correction of a converted model, in place.

    Args:
        model: a converted model.
        inputs: one batch, or an iterable of batches (a DataLoader). Of a batch that is a tuple or
            list the first item is the input; a mapping is passed as keyword arguments.
        correct: also fit the output correction (gain and offset per column, least squares).

    Raises:
        ValueError: if the model has no crossbars, there are no inputs or they are not finite; the
            model is then unchanged.
    """
    batches = batches_of(inputs)
    owners = {
        crossbar: (layer, part)
        for layer in layers(model).values()
        for part, crossbar in layer.crossbars.items()
    }
    crossbars = list(owners)
    with observed(model, crossbars):
        _set_ranges(model, crossbars, batches)
        if not correct:
            return
        targets = {c: layer.matrices()[part] for c, (layer, part) in owners.items()}
        fits = {crossbar: _Fit(crossbar, targets[crossbar]) for crossbar in crossbars}
        watch(model, crossbars, batches, lambda c, x, y: fits[c].add(x, y))
        for fit in fits.values():
            fit.apply()
        _set_ranges(model, crossbars, batches)


def _set_ranges(model: nn.Module, crossbars: list[Crossbar], batches: list[Any]) -> None:
    for crossbar in crossbars:
        crossbar.input_range = torch.full_like(crossbar.input_range, torch.nan)
        crossbar.adc_range = torch.full_like(crossbar.adc_range, torch.nan)
        if crossbar.range_shift is not None:  # what was learned was a change of other ranges
            crossbar.range_shift.detach().zero_()
        crossbar.refresh()
    for crossbar, value in _extents(model, crossbars, batches, _inputs).items():
        if crossbar.hardware.bias == "array":  # its constant input of 1 must not be clipped
            value = value.clamp(min=1.0)
        crossbar.input_range = value.reshape(()).to(crossbar.input_range)
        crossbar.refresh()
    for crossbar, value in _extents(model, crossbars, batches, _currents).items():
        crossbar.adc_range = value.to(crossbar.adc_range)
        crossbar.refresh()


def _extents(
    model: nn.Module,
    crossbars: list[Crossbar],
    batches: list[Any],
    measure: Callable[[Crossbar, Tensor], tuple[Tensor, float]],
) -> dict[Crossbar, Tensor]:
    """Run the model; return a percentile of every crossbar's magnitudes, over all batches.

    ``measure`` gives the magnitudes of one batch ``[rows, count]`` and the percentile wanted.
    """
    seen: dict[Crossbar, list[Tensor]] = {}
    percentiles: dict[Crossbar, float] = {}
    most = max(1, _MAX_SAMPLES // len(batches))

    def see(crossbar: Crossbar, x: Tensor, _: Tensor) -> None:
        if not x.numel():
            return
        magnitudes, percentiles[crossbar] = measure(crossbar, x)
        if percentiles[crossbar] == 100.0:
            sample = magnitudes.amax(1, keepdim=True)
        else:  # evenly spaced samples are plenty for a percentile, and bound its cost
            sample = magnitudes[:, :: max(1, magnitudes.shape[1] // most)]
        seen.setdefault(crossbar, []).append(sample)

    watch(model, crossbars, batches, see)
    found = {}
    for crossbar, samples in seen.items():
        sample = torch.cat(samples, dim=1)
        rank = round(percentiles[crossbar] / 100.0 * sample.shape[1])
        value = sample.kthvalue(min(max(rank, 1), sample.shape[1]), dim=1).values
        found[crossbar] = torch.where(value > 0, value, 1.0)
    return found


def _inputs(crossbar: Crossbar, x: Tensor) -> tuple[Tensor, float]:
    return x.abs().reshape(1, -1), crossbar.hardware.drive.percentile


def _currents(crossbar: Crossbar, x: Tensor) -> tuple[Tensor, float]:
    """Currents (A) of every converter, over tiles, lines and inputs: ``[converters, count]``."""
    adc = crossbar.hardware.adc
    converters = crossbar.hardware.encoding.converters
    split = [p.unflatten(-1, (converters, -1)).movedim(-2, 0) for p in crossbar.observe(x)]
    flat = torch.cat([part.reshape(converters, -1) for part in split], dim=1)
    return flat.abs(), 100.0 if adc is None else adc.percentile


class _Fit:
    """Least squares of ``target ≈ gain · output + offset``, column by column, batch by batch."""

    def __init__(self, crossbar: Crossbar, matrix: Tensor) -> None:
        self.crossbar = crossbar
        self.matrix = matrix.detach().unflatten(0, (crossbar.groups, crossbar.rows))
        # count, Σy, Σt, Σyy, Σyt
        self.sums = torch.zeros(5, crossbar.gain.numel(), dtype=torch.float64).to(
            crossbar.gain.device
        )

    def add(self, x: Tensor, y: Tensor) -> None:
        groups = self.crossbar.groups
        target = torch.bmm(x.unflatten(-1, (groups, -1)).transpose(0, 1), self.matrix)
        t = target.transpose(0, 1).flatten(1).double()
        y = y.reshape(t.shape).double()
        count = torch.full_like(t[0] if len(t) else self.sums[0], len(t))
        self.sums += torch.stack((count, y.sum(0), t.sum(0), (y * y).sum(0), (y * t).sum(0)))

    def apply(self) -> None:
        count, y, t, yy, yt = self.sums
        if not bool(count.any()):
            return
        mean_y, mean_t = y / count, t / count
        variance = yy / count - mean_y**2
        covariance = yt / count - mean_y * mean_t
        # A column that hardly moves (all stuck, or no input) tells nothing about its gain.
        tells = (variance > 1e-12 * (yy / count)) & (covariance > 0)
        gain = torch.where(tells, covariance / variance.clamp(min=1e-300), 1.0)
        offset = mean_t - gain * mean_y
        # What only rounding would ask for is no correction; reads are then cheaper.
        size = (yy / count).sqrt().amax()
        exact = ((gain - 1).abs() < _NOTHING).all() and (offset.abs() < _NOTHING * size).all()
        if bool(exact):
            gain, offset = torch.ones_like(gain), torch.zeros_like(offset)
        self.crossbar.gain = gain.to(self.crossbar.gain)
        self.crossbar.reference = self.crossbar.column_sums(self.crossbar.weight)
        self.crossbar.offset = offset.to(self.crossbar.offset)
