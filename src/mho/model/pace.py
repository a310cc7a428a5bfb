"""How fast this machine makes, reads and trains a crossbar, measured on a small one."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mho.hardware import Hardware
from mho.nn.linear import Linear

SIDE = 512
"""Rows and columns of the small crossbar, at most."""

_VECTORS = 64  # that it is given
_REPEATS = 5


@dataclass(frozen=True)
class Pace:
    """Times (s) and bytes of a layer: a fixed part, and one for each weight, or product."""

    convert: tuple[float, float]
    program: tuple[float, float]
    read: tuple[float, float]
    step: tuple[float, float]
    kept: tuple[float, float]  # bytes kept for the backward pass: a weight, an output of a tile
    load: float = 1.0  # that of the machine meanwhile, which the times contain


def on_line(pace: tuple[float, float], count: float) -> float:
    """Return the fixed part and the share of ``count`` weights, or products."""
    return pace[0] + pace[1] * count


@torch.inference_mode(False)
def measured(hardware: Hardware, side: int, device: torch.device) -> Pace:
    """Measure a tiny crossbar, and one of ``side`` rows and columns.

    Short runs find a gap between what others do on the machine, long ones do not: the times of the
    quickest runs are multiplied by how much longer everything took than it was at work.
    """
    start, worked = time.perf_counter(), time.thread_time()
    pace = _undisturbed(hardware, side, device)
    if device.type != "cpu":
        return pace
    busy = time.thread_time() - worked
    load = max((time.perf_counter() - start) / max(busy, 1e-9), 1.0)

    def slowed(both: tuple[float, float]) -> tuple[float, float]:
        return both[0] * load, both[1] * load

    return Pace(
        convert=slowed(pace.convert),
        program=slowed(pace.program),
        read=slowed(pace.read),
        step=slowed(pace.step),
        kept=pace.kept,
        load=load,
    )


def _undisturbed(hardware: Hardware, side: int, device: torch.device) -> Pace:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tiny, large = _small(hardware, 8, device), _small(hardware, side, device)
        both = ((tiny, 64, 1), (large, side * side, _VECTORS))

        def pace(of: Callable[[Linear, int], Callable[[], Any]], products: bool) -> Any:
            points = [(w * (v if products else 1), _time(of(m, v), device)) for m, w, v in both]
            (few, quick), (many, slow) = points
            each = max(slow - quick, 0.0) / (many - few)
            return max(quick - each * few, 0.0), each

        return Pace(
            convert=pace(lambda m, v: lambda: _small(hardware, m.in_features, device), False),
            program=pace(lambda m, v: m.program, False),
            read=pace(_read, True),
            step=pace(_step, True),
            kept=_kept(large, side, hardware),
        )


def _small(hardware: Hardware, side: int, device: torch.device) -> Linear:
    return Linear(side, side, False, hardware=hardware, device=device).eval()


def _input(layer: Linear, vectors: int) -> Tensor:
    weight: Any = layer.weight
    return torch.randn(vectors, weight.shape[1], device=weight.device, requires_grad=True)


def _read(layer: Linear, vectors: int) -> Callable[[], Any]:
    x = _input(layer, vectors)

    def run() -> None:
        layer.eval()
        with torch.no_grad():
            layer(x)

    return run


def _step(layer: Linear, vectors: int) -> Callable[[], Any]:
    x = _input(layer, vectors)

    def run() -> None:
        layer.train()
        layer(x).sum().backward()

    return run


def _kept(layer: Linear, side: int, hardware: Hardware) -> tuple[float, float]:
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
    results = side * len(range(0, side, hardware.array.rows)) if hardware.by_tile else side
    each = (found[1] - found[0]) / (_VECTORS * results)
    return max(found[0] - each * results, 0.0) / side**2, max(each, 0.0)


def plain(device: torch.device) -> float:
    """Return the time (s) of one multiply–accumulate of torch's own."""
    x, w = torch.randn(_VECTORS, SIDE, device=device), torch.randn(SIDE, SIDE, device=device)
    return _time(lambda: F.linear(x, w), device) / (_VECTORS * SIDE**2)


def _time(run: Callable[[], Any], device: torch.device) -> float:
    """Return the least time (s) of a few runs after a first: what others do here is not counted."""
    run()
    taken = []
    for _ in range(_REPEATS):
        _wait(device)
        start = time.perf_counter()
        run()
        _wait(device)
        taken.append(time.perf_counter() - start)
    return min(taken)


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.get_device_module(device).synchronize(device)
