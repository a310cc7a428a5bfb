"""Nonlinear cells: Newton on wires, low-rank reads, sneak paths and disturb. JSON lines.

Run on one thread: ``OMP_NUM_THREADS=1 python benchmarks/circuit_nonlinear.py``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from mho.circuit import (
    InSeries,
    Selector,
    Wires,
    bias,
    disturb,
    expand,
    linearisation_error,
    sneak_read,
    solve,
    solve_nonlinear,
)
from mho.devices.pickett import Pickett
from mho.devices.vteam import VTEAM
from timing import options, report


def milliseconds(function: Callable[[], Any], rounds: int) -> float:
    function()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return round(1e3 * statistics.median(times), 3)


def tile(size: int, low: float = 1e4, high: float = 1e5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(size)
    return 1 / (low + (high - low) * torch.rand(size, size, generator=generator).double())


def newton(size: int, vectors: int, rounds: int, b: float = 3.0) -> None:
    wires, G = Wires(5, 5, 5, 5), tile(size)
    v = torch.rand(vectors, size, generator=torch.Generator().manual_seed(1)).double()

    def law(u: torch.Tensor) -> torch.Tensor:
        return G * torch.sinh(b * u) / b

    found = solve_nonlinear(law, (size, size), wires, v)
    report(
        "newton",
        size=size,
        vectors=vectors,
        ms=milliseconds(lambda: solve_nonlinear(law, (size, size), wires, v), rounds),
        linear_solve_ms=milliseconds(lambda: solve(G, wires, v), rounds),
        steps=float(found.steps),
        residual=float(found.residual.max()),
        chord_error=linearisation_error(law, (size, size), wires, v, 0.3).rms,
    )


def lowrank(rounds: int, size: int = 128, vectors: int = 32) -> None:
    device = Pickett()
    p = device.parameters()

    def law(v: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return device.current_at(x, v, p)

    x, v = torch.rand(size, size).double(), torch.rand(vectors, size).double() - 0.5
    whole = milliseconds(lambda: law(v[..., None], x).sum(-2), rounds)
    for tolerance in (1e-2, 1e-3, 1e-4):
        found = expand(law, (-0.5, 0.5), tolerance=tolerance)
        matrix = found.matrix(x)
        exact = law(v[..., None], x).sum(-2)
        report(
            "low rank, Pickett",
            size=size,
            vectors=vectors,
            tolerance=tolerance,
            rank=float(found.rank),
            max_error=found.max_error,
            read_error=float((found.read(v, x) - exact).abs().max() / exact.abs().max()),
            ms=milliseconds(lambda found=found, matrix=matrix: found.read_with(v, matrix), rounds),
            cell_by_cell_ms=whole,
        )


def passive(rounds: int, size: int = 16) -> None:
    G, wires = tile(size), Wires(5, 5, 5, 5)
    at = torch.arange(size)
    row, col = (t.flatten() for t in torch.meshgrid(at, at, indexing="ij"))
    laws = {
        "ohmic": lambda v: G * v,
        "with selector": InSeries(lambda v: G * v, Selector().current),
    }
    for name, law in laws.items():
        for scheme in ("V/2", "floating"):
            start = time.perf_counter()
            read = sneak_read(law, (size, size), row, col, 1.0, wires=wires, scheme=scheme)
            report(
                "sneak map of all cells",
                size=size,
                cells=name,
                scheme=scheme,
                seconds=time.perf_counter() - start,
                mean_sneak=float(read.ratio.mean()),
            )
    device = VTEAM(v_on=-0.3, v_off=0.3, k_on=-1e-3, k_off=1e-3, r_on=1e4, r_off=1e5)
    for side in (64, 128):
        cells = device.fabricate((side, side))
        lines = bias("V/2", (side, side), side // 2, side // 2, -0.8)
        ms = milliseconds(lambda c=cells, b=lines: disturb(c, b, 1e-9, wires=wires), rounds)
        report("one disturbing pulse, V/2", size=side, ms=ms)


def main() -> None:
    given = options(__doc__, rounds=5)
    for case in ((32, 1), (32, 32), (64, 1), (64, 32), (128, 1), (128, 32), (256, 1)):
        if not (given.quick and case[0] > 64):
            newton(*case, given.rounds)
    lowrank(given.rounds)
    passive(given.rounds)


if __name__ == "__main__":
    main()
