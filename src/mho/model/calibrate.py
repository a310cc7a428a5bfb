"""Calibration: converter ranges and output correction from sample inputs.

Passes over the samples, each with what the one before has set: the inputs of every crossbar give
the DAC ranges, its currents the ADC ranges, its outputs against the ideal product a gain and an
offset per column. A correction changes what later layers are given, so the ranges are then taken
once more. What is looked for is in `mho.model.ranges`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import count
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from mho.core import checks, notice
from mho.core.text import bar
from mho.crossbar.blocks import MEMORY
from mho.crossbar.converters import trim_of
from mho.crossbar.correction import Correction
from mho.crossbar.crossbar import Crossbar
from mho.crossbar.undo import all_or_nothing
from mho.crossbar.watching import by_call, vectors_at_once
from mho.hardware import Hardware
from mho.model.crossbars import listing
from mho.model.inputs import batches_of
from mho.model.observe import See, observed, watched
from mho.model.quiet import is_noisy
from mho.model.ranges import Line, Moments, Samples, least_error, lines, percentile

Show: TypeAlias = Callable[[See], None]
"""Runs the model on all batches, showing its crossbars."""

_NOTHING = 1e-5
_RANGES = ("input_range", "adc_range")
_MAX_SAMPLES = 2**19  # of all batches, for a range
_FEWEST_SAMPLES = 2**14  # however many crossbars share the memory
_AT_ONCE = 2**13  # samples of crossbars that are alike, whose ranges are found in one go


@torch.inference_mode(False)
@torch.no_grad()
def calibrate(
    model: nn.Module,
    inputs: Tensor | Iterable[Any],
    *,
    correct: bool = True,
    unbiased: bool = True,
    trim: bool = False,
) -> None:
    """Set converter ranges and output correction of a converted model, in place.

    A range is the one with the smallest squared error of the converted samples, or the percentile
    that the converter's spec asks for. A crossbar that no sample reaches is left uncalibrated, and
    a warning names it.

    Args:
        model: a converted model.
        inputs: one batch (a tensor, an array, a table of pandas, a list of rows, or a mapping), an
            iterable of batches (a DataLoader, a list), or a Dataset. Of a batch that is a tuple or
            list the first item is the input; a mapping is passed as keyword arguments. Numbers
            take the dtype and device of the model's parameters; whole ones stay what they are
            where the model has embeddings, and in tensors of int32 and int64.
        correct: also fit the output correction (gain and offset per column, least squares); else
            it stays as it is, that of `mho.compensate` included.
        unbiased: fit it to the *mean* output of noisy reads, so that zero-mean read noise does not
            shrink outputs: every sample is read twice, with noise of its own. False fits it to
            single reads: their squared error is then smallest, and outputs shrink towards their
            mean by the share of noise in their variance (regression dilution).
        trim: first measure gain and offset of every converter with errors (``ADC(architecture=…)``)
            by known currents, and take them away before it. False leaves a trim as it is.

    Raises:
        TypeError: if inputs are of another kind.
        ValueError: if the model has no crossbars, there are no inputs or they are not finite, or
            there is nothing to trim. After any error, and after an interruption, the model is as it
            was.
    """
    correct = checks.truth("correct", correct)
    unbiased = checks.truth("unbiased", unbiased)
    trim = checks.truth("trim", trim)
    batches = batches_of(inputs, model)
    found = listing(model)
    crossbars = [entry.crossbar for entry in found]
    if trim:
        with all_or_nothing(crossbars):
            _trim(crossbars)
            calibrate(model, batches, correct=correct, unbiased=unbiased)
        return
    # Without ``correct``, what corrects outputs now goes on doing so.
    with (
        observed(model, crossbars, lambda was: _unranged(was, corrects=not correct)) as modes,
        watched(crossbars) as watch,
        bar(len(batches) * (5 if correct else 2), "calibrating") as shown,
    ):
        show = partial(_run, watch, model, batches, shown)
        most = _samples_of_each(crossbars)
        _set_ranges(show, most, None if correct else modes)
        if correct:
            wanted = {entry.crossbar: entry.weight() for entry in found}
            matrices = {c: weight for c, weight in wanted.items() if weight is not None}
            _correct(show, matrices, unbiased)
            _set_ranges(show, most, modes)
    missed = [e.name or "it" for e in found if bool(e.crossbar.input_range.isnan())]
    if missed:
        notice.warn(f"no sample reached {', '.join(missed)}: left uncalibrated")


def _run(
    watch: Callable[[nn.Module, list[Any], See], None],
    model: nn.Module,
    batches: list[Any],
    shown: Any,
    see: See,
) -> None:
    """Run the model on all batches, showing its crossbars, and how far that has come."""
    for batch in batches:
        watch(model, [batch], see)
        shown.update()


def _trim(crossbars: list[Crossbar]) -> None:
    erring = [c for c in crossbars if c.hardware.adc is not None and c.hardware.adc.trims]
    if not erring:
        raise ValueError(
            "trim=True needs converters with errors, ADC(architecture=…) of 2 bits or more; no "
            "crossbar of this model has any"
        )
    for crossbar in erring:
        trim = trim_of(crossbar)
        crossbar.commit(correction=crossbar.correction.replace(trim=trim))


# ── ranges ───────────────────────────────────────────────────────────────────────────────────


def _unranged(now: Correction, *, corrects: bool = True) -> Correction:
    """Return a correction of which the ranges are to be found, anew or for the first time."""
    unknown = {name: torch.full_like(getattr(now, name), torch.nan) for name in _RANGES}
    # What was learned was a change of other ranges.
    shift = None if now.shift is None else torch.zeros_like(now.shift)
    return (now if corrects else now.of_ranges_alone).replace(**unknown, shift=shift)


def _set_ranges(show: Show, most: int, last: dict[nn.Module, bool] | None) -> None:
    """Find and set the ranges of crossbars whose corrections are `_unranged`.

    Args:
        show: runs the model, showing its crossbars.
        most: samples of a converter.
        last: the modes to be in again where nothing is watched afterwards; else None.
    """
    sampled = _sampled(show, most, _inputs)
    for crossbar, value in _solved(sampled, lambda c: (c.drive, c.bias), _input_range):
        now = crossbar.correction
        crossbar.commit(correction=now.replace(input_range=value.reshape(())))
    sampled = _sampled(show, most, _currents)
    for crossbar, value in _solved(sampled, lambda c: c.adc, _adc_range):
        found = crossbar.correction.replace(adc_range=value)
        if last is None:
            crossbar.commit(correction=found)
        else:  # what reads of the cells need is worked out in eval() alone
            crossbar.training = last.get(crossbar, False)
            crossbar.commit(correction=found, observed=False)


def _solved(
    sampled: list[tuple[Crossbar, Samples]],
    alike: Callable[[Hardware], Any],
    solve: Callable[[Hardware, Samples], Tensor],
) -> list[tuple[Crossbar, Tensor]]:
    """Find a range for every crossbar, in one go for those that are alike.

    Args:
        sampled: the crossbars, and what their converters were given.
        alike: what of the hardware counts.
        solve: from hardware and samples ``[converters, count]`` to ranges ``[converters]``.
    """
    together: dict[Any, list[list[tuple[Crossbar, Samples]]]] = {}
    for crossbar, samples in sampled:
        value = samples.value
        most = max(1, _AT_ONCE // value.numel())
        key = alike(crossbar.hardware), value.shape, value.dtype, value.device
        parts = together.setdefault(key, [[]])
        if len(parts[-1]) == most:
            parts.append([])
        parts[-1].append((crossbar, samples))
    found = []
    for members in (members for parts in together.values() for members in parts):
        value = torch.cat([samples.value for _, samples in members])
        weight = torch.cat([s.weight.expand_as(s.value) for _, s in members])
        ranges = solve(members[0][0].hardware, Samples(value, weight)).split(
            len(members[0][1].value)
        )
        found += [(crossbar, own) for (crossbar, _), own in zip(members, ranges, strict=True)]
    return found


def _input_range(hardware: Hardware, samples: Samples) -> Tensor:
    drive = hardware.drive
    if drive.percentile is not None:
        value = percentile(samples, drive.percentile)
    elif drive.ideal or drive.range != "calibrated":
        value = percentile(samples, 100.0)
    else:
        value = least_error(samples, drive.quantise, in_place=False)
    # The constant input of 1 of a bias on the array must not be clipped.
    return value.clamp(min=1.0) if hardware.bias == "array" else value


def _adc_range(hardware: Hardware, samples: Samples) -> Tensor:
    adc = hardware.adc
    if adc is not None and adc.percentile is not None:
        return percentile(samples, adc.percentile)
    if adc is None or not adc.ranged or adc.range != "calibrated":
        return percentile(samples, 100.0)
    return least_error(samples, adc.convert)


def _samples_of_each(crossbars: list[Crossbar]) -> int:
    """Return how many samples of every converter are kept.

    All that are kept of a model together, with their weights, stay within the memory of a read.
    """
    each = sum(
        (crossbar.hardware.encoding.converters + 1) * crossbar.scale.element_size()
        for crossbar in crossbars
    )
    memory = min(crossbar.limited or MEMORY for crossbar in crossbars)  # on every device alike
    return max(min(_MAX_SAMPLES, memory // each), _FEWEST_SAMPLES)


class _Kept:
    """Samples of one crossbar's converters: evenly spaced over all calls; and the largest ones.

    Of all values, in the order in which they come, every so many one is kept, however they are cut
    into calls and blocks. That number has no factor in common with the lines: samples of some of
    them only would not stand for all.

    Args:
        most: how many are kept.
        lines: word or bit lines, next to each other in what is given.
    """

    def __init__(self, most: int, lines: int) -> None:
        self.most, self.stride, self.count, self.seen = most, 1, 0, 0
        self._parts: list[Samples] = []
        self._largest: Samples | None = None
        self._fewer = next(n for n in count(2) if math.gcd(n, lines) == 1)

    def add(self, samples: Samples) -> None:
        """Take in the samples of one call."""
        given = samples.value.shape[1]
        while self.count + -(-given // self.stride) > self.most:
            self._thin()
        if self.stride > 1:
            self._remember(samples)
        first = -self.seen % self.stride
        self.seen += given
        if first < given:
            part = _every(samples, self.stride, first)
            self._parts.append(part)
            self.count += part.value.shape[1]

    @property
    def samples(self) -> Samples:
        """All that are kept."""
        largest = [] if self._largest is None else [self._largest]
        return _joined(self._parts + largest)

    def _thin(self) -> None:
        self.stride *= self._fewer
        if self._parts:
            whole = _joined(self._parts)
            if self._largest is None:
                self._remember(whole)
            self._parts = [_every(whole, self._fewer)]
            self.count = self._parts[0].value.shape[1]

    def _remember(self, samples: Samples) -> None:
        """Keep the largest sample of every converter beside the others."""
        found = _largest(samples)
        known = self._largest
        self._largest = found if known is None else _largest(_joined([known, found]))


def _sampled(
    show: Show, most: int, look: Callable[[Crossbar, Tensor], Samples]
) -> list[tuple[Crossbar, Samples]]:
    """Run the model; return what ``look`` sees of every crossbar's inputs, over all batches."""
    seen: dict[Crossbar, _Kept] = {}

    def see(crossbar: Crossbar, x: Tensor, _: Tensor) -> None:
        if not x.numel():
            return
        if crossbar not in seen:
            lines = crossbar.hardware.encoding.physical_cols(crossbar.cols)
            seen[crossbar] = _Kept(most, crossbar.groups * crossbar.rows * lines)
        for (part,) in _blocks(crossbar, x):
            seen[crossbar].add(look(crossbar, part))

    show(see)
    return [(crossbar, kept.samples) for crossbar, kept in seen.items()]


def _blocks(crossbar: Crossbar, *given: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """Cut what belongs to vectors into parts that are looked at one after the other."""
    at_once = vectors_at_once(crossbar)
    if len(given[0]) <= at_once or by_call(crossbar):
        return (given,)
    return zip(*(tensor.split(at_once) for tensor in given), strict=True)


def _joined(parts: list[Samples]) -> Samples:
    if len(parts) == 1:
        return parts[0]
    value = torch.cat([part.value for part in parts], dim=-1)
    if all(part.weight.numel() == 1 for part in parts):
        return Samples(value, parts[0].weight)
    return Samples(value, torch.cat([part.weight for part in parts]))


def _every(samples: Samples, stride: int, first: int = 0) -> Samples:
    """Keep every so many samples one, of memory of its own."""
    if stride == 1:
        return samples
    value, weight = samples
    weight = weight if weight.numel() == 1 else weight[first::stride].clone()
    return Samples(value[:, first::stride].clone(), weight)


def _largest(samples: Samples) -> Samples:
    """Keep as many samples as there are converters: the largest of each."""
    value, weight = samples
    index = value.abs().argmax(1)
    return Samples(value[:, index], weight if weight.numel() == 1 else weight[index])


def _inputs(crossbar: Crossbar, x: Tensor) -> Samples:
    value = x.reshape(1, -1)
    return Samples(value, value.new_ones(1))


def _currents(crossbar: Crossbar, x: Tensor) -> Samples:
    """Currents (A) of every converter, over tiles, lines and inputs: ``[converters, count]``.

    The errors of bit planes that are converted one by one count by the squares of their weights.
    """
    drive = crossbar.hardware.drive
    converters = crossbar.hardware.encoding.converters
    parts = crossbar.reader.observe(x)
    if len(parts) == converters == 1:
        value = parts[0].reshape(1, -1)
    else:
        split = [p.unflatten(-1, (converters, -1)).movedim(-2, 0) for p in parts]
        value = torch.cat([p.reshape(converters, -1) for p in split], dim=1)
    planes = 1 if drive.converts_once else drive.planes_sent
    if planes == 1:
        return Samples(value, value.new_ones(1))
    power = value.new_tensor(drive.plane_weights).square()
    power = power / power.max()
    of = [power.repeat_interleave(p.shape[2] // planes) for p in parts]  # [planes · vectors]
    shaped = [
        w.unsqueeze(-1).expand(*p.shape[:-1], p.shape[-1] // converters).flatten()
        for w, p in zip(of, parts, strict=True)
    ]
    return Samples(value, torch.cat(shaped))


# ── output correction ────────────────────────────────────────────────────────────────────────


def _correct(show: Show, matrices: dict[Crossbar, Tensor], unbiased: bool) -> None:
    """Fit and set the gain and offset of every column; the ranges are then to be found anew."""
    moments = {c: Moments(c.gain.numel(), c.gain.device) for c in matrices}

    def see(crossbar: Crossbar, x: Tensor, y: Tensor) -> None:
        found = moments.get(crossbar)
        if found is None:
            return
        noisy = unbiased and is_noisy(crossbar.hardware)
        for some, once in _blocks(crossbar, x, y.reshape(-1, y.shape[-1])):
            again = crossbar.reader.read(some, crossbar.reader.stored) if noisy else once
            found.add(once, again, _product(some, matrices[crossbar], crossbar.groups))

    show(see)
    for crossbar, line in _fitted(moments):
        now = _unranged(crossbar.correction)
        if line is not None:
            reference = crossbar.reference_read()
            now = now.replace(gain=line.gain, offset=line.offset, reference=reference)
        crossbar.commit(correction=now)


def _fitted(moments: dict[Crossbar, Moments]) -> Iterator[tuple[Crossbar, Line | None]]:
    """Find the line of every crossbar, in one go for those alike; None for one without samples."""
    together: dict[Any, list[Crossbar]] = {}
    for crossbar, found in moments.items():
        together.setdefault((found.sums.shape, found.sums.device), []).append(crossbar)
    for members in together.values():
        sums = torch.stack([moments[crossbar].sums for crossbar in members])
        line, size = lines(sums)
        trivial = _is_rounding(line, size)
        gain = torch.where(trivial, 1.0, line.gain)
        offset = torch.where(trivial, 0.0, line.offset)
        reached = (sums[:, 0] > 0).any(-1).tolist()
        for crossbar, there, *own in zip(members, reached, gain, offset, strict=True):
            yield crossbar, Line(*own) if there else None


def _product(x: Tensor, matrix: Tensor, groups: int) -> Tensor:
    """Return the ideal product ``[vectors, groups · cols]``."""
    by_group = x.unflatten(-1, (groups, -1)).transpose(0, 1)
    return (
        torch.bmm(by_group, matrix.to(x.dtype).unflatten(0, (groups, -1)))
        .transpose(0, 1)
        .flatten(1)
    )


def _is_rounding(line: Line, size: Tensor) -> Tensor:
    """Whether only rounding asks for a correction ``[crossbars, 1]``; reads are cheaper without."""
    gain, offset = (line.gain - 1).abs(), line.offset.abs()
    return ((gain < _NOTHING) & (offset < _NOTHING * size.unsqueeze(-1))).all(-1, keepdim=True)
