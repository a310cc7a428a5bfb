"""Where the vectors of a read are, and in which blocks they are read in bounded memory."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from mho.core import checks, derivatives
from mho.core.memory import of_device
from mho.crossbar.readout import Readout
from mho.hardware import Hardware

MEMORY = 256 * 10**6
"""Extra memory of a read (bytes) unless another limit is set; on an accelerator, at least."""

SHARE = 16
"""On an accelerator a read may take one part in so many of all its memory: small blocks are slow
where every operation has to be launched."""

AT_ONCE = 1 << 19
"""Currents of one piece of a block on a CPU: they stay in the cache (measured: 2^19 is best)."""

AT_ONCE_GPU = 1 << 28

HELD = 1 << 23
"""Currents held on a CPU until their range is known, where they are not worked out twice."""

KEPT = 0.25
"""Share of the memory that may be kept for gradients, and until a call's range is known."""

COPIES = 3
"""Of all currents that are read at once: these, what they were before they were rounded, noise."""

_WIDEST = 1 << 12
_FEWEST = 32
_FEW = 256


Found = TypeVar("Found")


class Slab(NamedTuple):
    """Vectors read at once: a range in every dimension they are numbered by.

    Attributes:
        ranges: one slice for each dimension.
        start, stop: their numbers, counted through; a slab has no gaps.
    """

    ranges: tuple[slice, ...]
    start: int
    stop: int


class Vectors(NamedTuple):
    """The vectors that drive an array, and how they are made from the inputs of a read.

    Attributes:
        sizes: what they are numbered by: the batch, of an image also its outputs.
        take: from the inputs and ranges to the part of the inputs that these vectors need, a view.
        unfold: from that part to ``[groups, vectors, rows]``.
        raw: whether inputs are unfolded before they are driven, as drivers that look at every
            vector alone need it; else driven inputs are unfolded.
    """

    sizes: tuple[int, ...]
    take: Callable[[Tensor, tuple[slice, ...]], Tensor]
    unfold: Callable[[Tensor], Tensor]
    raw: bool = False

    @property
    def number(self) -> int:
        """How many there are."""
        return math.prod(self.sizes)

    def empty(self, like: Tensor, groups: int, cols: int) -> Tensor:
        """Return room for results ``[groups, batch, …, cols]``, laid out as layers return them."""
        if len(self.sizes) == 1:
            return like.new_empty(groups, self.sizes[0], cols)
        room = like.new_empty(self.sizes[0], groups, cols, math.prod(self.sizes[1:]))
        return room.permute(1, 0, 3, 2)

    def of(self, slab: Slab, results: Tensor) -> Tensor:
        """View the results of a slab in those of all, both ``[groups, batch, …, cols]``."""
        if len(self.sizes) == 1:
            return results[:, slab.start : slab.stop]
        each = results.shape[2]
        first, last = slab.start // each, (slab.stop - 1) // each
        if slab.start % each == 0 and slab.stop % each == 0:
            return results[:, first : last + 1]
        start = first * each  # less than one item: a slab has no parts of two
        return results[:, first : first + 1, slab.start - start : slab.stop - start]

    def slabs(self, most: int) -> Iterator[Slab]:
        """Cut all vectors into slabs of at most ``most`` vectors (>= 1)."""
        start = 0
        for ranges in _cut(self.sizes, most):
            stop = start + math.prod(r.stop - r.start for r in ranges)
            yield Slab(ranges, start, stop)
            start = stop


def _cut(sizes: tuple[int, ...], most: int) -> Iterator[tuple[slice, ...]]:
    inner = math.prod(sizes[1:])
    if inner > most:
        for k in range(sizes[0]):
            for rest in _cut(sizes[1:], most):
                yield slice(k, k + 1), *rest
        return
    step = math.ceil(sizes[0] / math.ceil(sizes[0] * inner / (most // inner * inner)))
    for k in range(0, sizes[0], step):
        yield slice(k, min(k + step, sizes[0])), *(slice(0, size) for size in sizes[1:])


def limit_of(slab: Slab, limit: Tensor | float | None, count: int) -> Tensor | float | None:
    """Return a slab's part of limits: of one for all, or one for each of ``count`` vectors."""
    if isinstance(limit, Tensor) and limit.dim() > 1 and limit.shape[1] == count:
        return limit[:, slab.start : slab.stop]
    return limit


def matrix(x: Tensor) -> Vectors:
    """Return the vectors of inputs ``[groups, batch, rows]``: one for each item of the batch."""
    return Vectors((x.shape[1],), lambda x, ranges: x[:, ranges[0]], lambda part: part)


class Run(NamedTuple):
    """Lines read at once: all, or some of one converter.

    Attributes:
        lines: their range.
        converters: which converters they are of.
    """

    lines: slice
    converters: slice


class Plan(NamedTuple):
    """How much of a read happens at once.

    Attributes:
        vectors: of a block.
        tiles: word lines of each tile.
        runs: bit lines of a piece.
        holds: whether the currents of a block are held until their range is known.
        together: whether all pulses of a vector are one product, as suits few vectors: of many
            the product of one pulse is as quick, and what is done to it then stays in the cache
            (measured).
    """

    vectors: int
    tiles: list[slice]
    runs: list[Run]
    holds: bool
    together: bool


def plan(
    readout: Readout, hardware: Hardware, count: int, memory: int, *, measured: bool, draws: bool
) -> Plan:
    """Choose blocks that stay in the cache, and within the memory, whatever the array's size.

    Args:
        readout: the array.
        hardware: what it is made of.
        count: vectors of the read.
        memory: what a block may take (bytes).
        measured: whether the range of every vector's currents is measured before they are
            converted.
        draws: whether there is noise, which is drawn pulse by pulse.
    """
    array, on_cpu = readout.matrix, readout.matrix.device.type == "cpu"
    groups, rows, lines = array.shape
    height = min(hardware.array.rows, rows)
    converters = hardware.encoding.converters
    tiles = [slice(k, min(k + height, rows)) for k in range(0, rows, height)]
    widest = _WIDEST if on_cpu else AT_ONCE_GPU // _FEWEST
    runs = _runs(lines, converters, max(widest // groups, 1))
    width = max(run.lines.stop - run.lines.start for run in runs)
    piece = AT_ONCE if on_cpu else AT_ONCE_GPU
    pulses = 1 if hardware.drive.converts_once else hardware.drive.planes_sent
    most = max(piece // (groups * max(width, height)), 1)
    # The vectors themselves (raw, and as levels), what is added up, and a few copies of a piece.
    each = groups * (2 * rows + 5 * height + 3 * lines + 5 * width)
    room = memory // (2 * array.element_size())
    every = groups * len(tiles) * lines * pulses
    held = min(HELD if on_cpu else AT_ONCE_GPU, room) // every
    holds = measured and held >= min(_FEWEST, count)
    if holds:
        most, each = min(most, held), each + every
    # On an accelerator every operation has to be launched: the fewer the better.
    few = min(most, count) < _FEW or not on_cpu
    together = pulses > 1 and few and not draws and readout.converters is None
    if together:
        each += groups * pulses * (rows + 2 * height + 3 * width)
    return Plan(max(min(most, room // each, count), 1), tiles, runs, holds, together)


def _runs(lines: int, converters: int, most: int) -> list[Run]:
    if lines <= most:
        return [Run(slice(0, lines), slice(0, converters))]
    width = lines // converters
    step = math.ceil(width / math.ceil(width / most))
    return [
        Run(slice(start, min(start + step, (k + 1) * width)), slice(k, k + 1))
        for k in range(converters)
        for start in range(k * width, (k + 1) * width, step)
    ]


@functools.cache
def allowed(device: torch.device) -> int:
    """Return what a read on a device may take unless another limit is set (bytes)."""
    return max(MEMORY, (of_device(device) or 0) // SHARE)


def checked(memory: object) -> int:
    """Return a limit of memory (bytes), which may also be a whole float such as ``64e6``.

    Raises:
        TypeError, ValueError: if it is no positive whole number.
    """
    if isinstance(memory, float) and memory.is_integer():
        memory = int(memory)
    return checks.integer("memory", memory, least=1)


_tracing = torch._C._get_tracing_state
_set_tracing: Any = getattr(torch._C, "_set_tracing_state")  # noqa: B009 (its stub lacks it)


def for_keeping(work: Callable[[], Found]) -> Found:
    """Return what ``work`` gives, which is to be kept and must serve all reads, with gradients too.

    ``torch.jit.trace`` and ONNX's older exporter note down every operation; what is kept is a
    constant to them, whether it was worked out before or is now.
    """
    if torch.compiler.is_compiling():
        with torch.inference_mode(False):
            return work()
    trace = _tracing()
    _set_tracing(None)
    try:
        with torch.inference_mode(False):
            return work()
    finally:
        _set_tracing(trace)


def in_a_graph() -> bool:
    """Whether the operations of a read become those of a graph: they are to be plain, and all."""
    return torch.compiler.is_compiling() or _tracing() is not None


def followed_by_torch() -> bool:
    """Whether torch follows the operations of a read: a compiler, a tracer, or a transform.

    Such a read is one graph, and what it keeps is theirs to decide.
    """
    if in_a_graph() or derivatives.forward_mode():
        return True
    active: bool = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)()
    return active
