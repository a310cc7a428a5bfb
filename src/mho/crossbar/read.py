"""Reading an array: inputs meet conductances, tile by tile, and currents are converted.

In come inputs and a readout, out go outputs. The steps are those of `mho.crossbar.currents`; here
is how much is read at once. A batch whose currents leave the cache is read in a few large blocks;
one that would take too much memory goes tile by tile and plane by plane (`mho.crossbar.stream`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mho.core import random
from mho.crossbar import blocks, pulses, stream
from mho.crossbar.blocks import Vectors
from mho.crossbar.currents import amplified, cell_currents, convert, joint, levels, times
from mho.crossbar.readout import Readout
from mho.hardware import Hardware

CURRENTS_AT_ONCE = 1 << 20
"""Currents held at once on a CPU: more leaves the cache (measured: 2^19 to 2^20 are best)."""

CURRENTS_AT_ONCE_GPU = 1 << 28

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
    small = needed <= memory * (blocks.KEPT if follows or _by_call(call) else 1.0)
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
    most = min(_at_once(x) // one, int(memory * blocks.KEPT) // each)
    return _in_blocks(x, limit, call, max(most, 1), anew=follows)


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
    at_once = currents
    if vectors.raw and readout.noise is None and readout.lines is None:
        # Patches driven each for itself are what is held. (Noise is drawn block by block.)
        at_once = max(currents, groups * rows * planes)
    # Currents, what they were before they were rounded, noise; of images the vectors themselves.
    unfolded = groups * rows * planes if len(vectors.sizes) > 1 or planes > 1 else 0
    return at_once, (blocks.COPIES * currents + 2 * unfolded) * readout.matrix.element_size()


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
    if anew or _by_call(call):  # a stream of its own, that can be read again
        converters = call.readout.converters
        draws = call.readout.noise is not None or call.readout.lines is not None
        draws = draws or not call.hardware.drive.proportional  # pulses may jitter
        draws = draws or (converters is not None and converters.noisy)
        call = call._replace(rng=random.fork(call.rng, x.device) if draws else random.stream(0))
    if _by_call(call):
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
    assert call.rng is not None
    start, first = call.rng.clone(), [call.rng]

    def again(part: Tensor) -> Tensor:
        rng = first.pop() if first else start.clone()
        return _slab(part, limit, call._replace(rng=rng))

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
def _over_the_call(x: Tensor, limit: Tensor | float | None, call: _Call, at_once: int) -> Tensor:
    """Return the range of all currents of a call that is read in blocks."""
    adc, encoding = call.hardware.adc, call.hardware.encoding
    assert adc is not None
    assert call.rng is not None

    def ends(known: Tensor | None = None) -> Tensor:
        rng, found = call.rng.clone(), None  # type: ignore[union-attr]
        for slab in call.vectors.slabs(at_once):
            part = call.vectors.take(x, slab.ranges)
            multiply = call.multiply
            if call.vectors.raw:
                part, multiply = call.vectors.unfold(part), cell_currents
            within = blocks.limit_of(slab, limit, call.vectors.number)
            if within is None:
                within = call.hardware.drive.measure(part, (0, 2))
            parts = _converted_currents(part, within, call._replace(rng=rng), multiply)[0]
            if call.readout.converters is not None:  # they draw next, when they convert
                random.skip(rng, len(parts) * call.readout.converters.draws)
            most = None if known is None else known.view([1] * (parts[0].dim() + 2))
            one = adc.measure(parts, converters=encoding.converters, most=most).flatten()
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
    total = convert(parts, readout, hardware, call.full_scale, planes, call.measured, call.rng)
    if weight is not None:
        total = joint([total], weight, 1)[0]
    elif drive.converts_once:
        total = total / drive.joint_step
    outputs = hardware.encoding.assemble(total, readout.digital)
    if isinstance(limit, Tensor) and limit.dim():
        limit = limit.reshape(1, -1, *[1] * (outputs.dim() - 2))
    factor = readout.scale * (limit * drive.step_per_range)
    fresh = 0 not in outputs.stride()  # an encoding may expand what it has
    return times(outputs, factor) if fresh else outputs * factor


def _converted_currents(
    part: Tensor, limit: Tensor | float, call: _Call, multiply: Multiply
) -> tuple[list[Tensor], Tensor | None]:
    """Return what converters are given, and the weights of the bit planes in the digital sum."""
    readout, hardware = call.readout, call.hardware
    level, weight = levels(part, limit, hardware)
    parts = multiply(level, readout, hardware, call.rng)
    if weight is not None and hardware.drive.converts_once:
        # In units of the full input the joint current stays within one line's full scale.
        parts = joint(parts, weight * hardware.drive.joint_step, 2)
        weight = None
    parts = pulses.integrated(parts, readout.step, hardware)
    return amplified(parts, readout, hardware, call.rng), weight


def currents(
    x: Tensor, readout: Readout, hardware: Hardware, *, limit: Tensor | float, rng: Tensor | None
) -> list[Tensor]:
    """Return the currents (A) that converters see.

    Arguments are those of `product`, the result is that of `partial_currents`.
    """
    call = _Call(readout, hardware, None, rng, cell_currents, blocks.matrix(x))
    return _converted_currents(x, limit, call, cell_currents)[0]
