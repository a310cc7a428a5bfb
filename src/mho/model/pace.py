"""How fast this machine makes, reads and trains a crossbar, measured on a small one."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mho.crossbar.floating import floats
from mho.hardware import Hardware
from mho.nn.linear import Linear

clock = time.perf_counter  # by which all here is timed

SIDE = 1024
"""Rows and columns of the crossbar that is measured, at most."""

_VECTORS = 64  # that it is given, at least
_PRODUCTS = 1 << 24  # and that many multiply–accumulates, if not more than
_MOST = 1024  # vectors
_FLAT = (16, 64, 1024)  # rows, columns and vectors of one with many results of little work
_REPEATS = 5
_PATIENCE = 0.4  # s for the runs of one piece of work, of which there are two at least


@dataclass(frozen=True)
class Pace:
    """Times (s) and bytes of a layer: a fixed part, and one for each of what is counted.

    Attributes:
        convert: fixed, and for a weight.
        program: likewise.
        read: fixed, for a multiply–accumulate, and for an input or a result of a tile.
        step: likewise.
        kept: bytes kept for the backward pass: for a weight, for an output of a tile.
        load: that of the machine meanwhile, which the times contain.
    """

    convert: tuple[float, ...]
    program: tuple[float, ...]
    read: tuple[float, ...]
    step: tuple[float, ...]
    kept: tuple[float, float]
    load: float = 1.0


def on_line(pace: tuple[float, ...], *counts: float) -> float:
    """Return the fixed part and the shares of what is counted."""
    return pace[0] + sum(each * count for each, count in zip(pace[1:], counts, strict=True))


def values(rows: int, cols: int, vectors: float, hardware: Hardware) -> float:
    """Return how many inputs are driven and results converted: ``cols`` ones a tile."""
    down = len(range(0, rows, hardware.array.rows)) if hardware.by_tile else 1
    return vectors * (rows + cols * down)


@torch.inference_mode(False)
def measured(
    hardware: Hardware, rows: int, cols: int, device: torch.device, count: float | None = None
) -> Pace:
    """Measure a tiny crossbar, a flat one, and one of so many rows and columns.

    What is solved for each vector by itself (lines that float after their pulses) takes longer for
    many at once, which leave the caches: such reads are measured with as many as there will be.

    Short runs find a gap between what others do on the machine, long ones do not: the times of the
    quickest runs are multiplied by how much longer everything took than it was at work.
    """
    start, worked = clock(), time.thread_time()
    pace = _undisturbed(hardware, rows, cols, device, count)
    if device.type != "cpu":
        return pace
    busy = time.thread_time() - worked
    load = max((clock() - start) / max(busy, 1e-9), 1.0)

    def slowed(parts: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(part * load for part in parts)

    return Pace(
        convert=slowed(pace.convert),
        program=slowed(pace.program),
        read=slowed(pace.read),
        step=slowed(pace.step),
        kept=pace.kept,
        load=load,
    )


def _undisturbed(
    hardware: Hardware, rows: int, cols: int, device: torch.device, count: float | None
) -> Pace:
    vectors = min(max(_PRODUCTS // (rows * cols), _VECTORS), _MOST)
    flat = _FLAT
    if floats(hardware):
        vectors = min(vectors, _VECTORS if count is None else max(math.ceil(count), 1))
        flat = (*_FLAT[:2], vectors)
    sizes = ((8, 8, 1), flat, (rows, cols, vectors))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layers = [_small(hardware, n, m, device) for n, m, _ in sizes]
        weights = [(1.0, float(n * m)) for n, m, _ in sizes]
        work = [
            (1.0, float(n * m * v), values(n, m, v, hardware)) for n, m, v in sizes
        ]  # of a read

        def made(size: tuple[int, int, int]) -> Callable[[], Any]:
            return lambda: _small(hardware, size[0], size[1], device)

        def reads(of: Callable[[Linear, int], Callable[[], Any]]) -> tuple[float, ...]:
            taken = [_time(of(m, s[2]), device) for m, s in zip(layers, sizes, strict=True)]
            return _shares(work, taken)

        ends = (0, 2)
        return Pace(
            convert=_shares(
                [weights[i] for i in ends], [_time(made(sizes[i]), device) for i in ends]
            ),
            program=_shares(
                [weights[i] for i in ends], [_time(layers[i].program, device) for i in ends]
            ),
            read=reads(_read),
            step=reads(_step),
            kept=_kept(layers[2], hardware),
        )


def _shares(counts: Sequence[tuple[float, ...]], taken: Sequence[float]) -> tuple[float, ...]:
    """Return what each of what is counted takes: nothing, or more.

    Args:
        counts: of each piece of work, which mostly is of what stands at its own place.
        taken: its time.
    """
    found = [0.0] * len(taken)
    for _ in range(30):  # Gauss–Seidel, each kept from falling below nothing
        for i in reversed(range(len(found))):
            pick = _OWN[len(found)][i]
            rest = sum(
                n * t for k, (n, t) in enumerate(zip(counts[pick], found, strict=True)) if k != i
            )
            found[i] = max(taken[pick] - rest, 0.0) / counts[pick][i]
    return tuple(found)


_OWN = {2: (0, 1), 3: (0, 2, 1)}
"""Which piece of work is mostly of which part: fixed, products, values; or fixed, weights."""


def _small(hardware: Hardware, rows: int, cols: int, device: torch.device) -> Linear:
    return Linear(rows, cols, False, hardware=hardware, device=device).eval()


def _input(layer: Linear, vectors: int) -> Tensor:
    weight: Any = layer.weight
    return torch.randn(vectors, weight.shape[1], device=weight.device, requires_grad=True)


def _read(layer: Linear, vectors: int) -> Callable[[], Any]:
    x = _input(layer, vectors)
    layer.eval()

    def run() -> None:
        with torch.no_grad():
            layer(x)

    return run


def _step(layer: Linear, vectors: int) -> Callable[[], Any]:
    x = _input(layer, vectors)
    layer.train()

    def run() -> None:
        layer(x).sum().backward()

    return run


def _kept(layer: Linear, hardware: Hardware) -> tuple[float, float]:
    """Return the bytes a step keeps: for a weight, and for an output of a tile."""
    found = []
    for vectors in (1, 1 + _VECTORS):
        held: dict[int, int] = {}

        def hold(x: Tensor, held: dict[int, int] = held) -> Tensor:
            storage = x.untyped_storage()
            held[storage.data_ptr()] = storage.nbytes()
            return x

        layer.train()
        x = _input(layer, vectors)
        with torch.autograd.graph.saved_tensors_hooks(hold, lambda x: x):
            y = layer(x).sum()
        found.append(sum(held.values()))
        del y
    rows, cols = layer.in_features, layer.out_features
    results = cols * len(range(0, rows, hardware.array.rows)) if hardware.by_tile else cols
    each = (found[1] - found[0]) / (_VECTORS * results)
    return max(found[0] - each * results, 0.0) / (rows * cols), max(each, 0.0)


def plain(device: torch.device) -> float:
    """Return the time (s) of one multiply–accumulate of torch's own."""
    side = SIDE // 2
    x, w = torch.randn(_VECTORS, side, device=device), torch.randn(side, side, device=device)
    return _time(lambda: F.linear(x, w), device) / (_VECTORS * side**2)


def _time(run: Callable[[], Any], device: torch.device) -> float:
    """Return the least time (s) of a few runs after a first: what others do here is not counted."""
    run()
    taken: list[float] = []
    while len(taken) < 2 or (len(taken) < _REPEATS and sum(taken) < _PATIENCE):
        _wait(device)
        start = clock()
        run()
        _wait(device)
        taken.append(clock() - start)
    return min(taken)


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.get_device_module(device).synchronize(device)
