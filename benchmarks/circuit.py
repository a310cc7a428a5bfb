"""Wires: forming T, reading through it, batching tiles; beside what others do.

Prints one JSON object per line. Run on one thread:
``OMP_NUM_THREADS=1 python benchmarks/circuit.py``. Every time is the median of several runs, in
milliseconds of processor time (the wall clock of one thread on a machine of its own). What is
compared takes turns.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla
import torch

from mho.circuit import Wires, effective_conductance, solve
from timing import options, report

SEVERE = ("severe", 5.0, 1e4, 1e5)
MILD = ("mild", 1.0, 1e5, 1e6)
SHORT = 0.5
"""Seconds of a call that is repeated for the sake of caches."""


def milliseconds(rounds: int, budget: float = 6.0, **work: Callable[[], Any]) -> dict[str, float]:
    """Median times of calls that take turns, after one round to warm up, within some seconds.

    A short call that is timed follows one that is not: it does not pay for caches left cold.
    """
    runs: dict[str, list[float]] = {name: [] for name in work}
    begin = time.process_time()
    for number in range(rounds + 1):
        for name, function in work.items():
            if runs[name] and runs[name][-1] < SHORT:
                function()
            start = time.process_time()
            function()
            runs[name].append(time.process_time() - start)
        if number > 0 and time.process_time() - begin > budget:
            break
    return {name: 1e3 * statistics.median(times[1:]) for name, times in runs.items()}


def tile(size: int, low: float, high: float, count: int = 1) -> torch.Tensor:
    """Cells with resistances uniform between two bounds."""
    generator = torch.Generator().manual_seed(size)
    ohms = low + (high - low) * torch.rand(
        count, size, size, generator=generator, dtype=torch.float64
    )
    return 1 / ohms


def admittance(G: np.ndarray, r: float) -> tuple[sp.csc_matrix, np.ndarray]:
    """Node-admittance matrix of a tile with ``r`` everywhere, and the word and bit node numbers."""
    m, n = G.shape
    nodes = np.arange(2 * m * n).reshape(2, m, n)
    w, b = nodes
    pairs = [(w, b, G), (w[:, :-1], w[:, 1:], 1 / r), (b[:-1], b[1:], 1 / r)]
    rows, cols, vals = [], [], []
    for p, q, g in pairs:
        p, q, g = p.ravel(), q.ravel(), np.broadcast_to(g, p.shape).ravel()
        rows += [p, q, p, q]
        cols += [p, q, q, p]
        vals += [g, g, -g, -g]
    for end in (w[:, 0], b[-1]):
        rows.append(end)
        cols.append(end)
        vals.append(np.full(end.shape, 1 / r))
    entries = (np.concatenate(vals), (np.concatenate(rows), np.concatenate(cols)))
    return sp.csc_matrix(entries, shape=(nodes.size, nodes.size)), nodes


def superlu(G: np.ndarray, r: float) -> np.ndarray:
    """``T`` by one factorisation and n adjoint solves."""
    matrix, (w, b) = admittance(G, r)
    n = G.shape[1]
    right = np.zeros((matrix.shape[0], n))
    right[b[-1], np.arange(n)] = 1 / r
    return spla.splu(matrix).solve(right)[w[:, 0]] / r


def per_vector(G: np.ndarray, r: float, vectors: np.ndarray) -> np.ndarray:
    """Currents by one sparse solve per input vector."""
    matrix, (w, b) = admittance(G, r)
    currents = []
    for v in vectors:
        right = np.zeros(matrix.shape[0])
        right[w[:, 0]] = v / r
        currents.append(spla.spsolve(matrix, right)[b[-1]] / r)
    return np.stack(currents)


def relaxed(
    G: np.ndarray, r: float, vectors: np.ndarray, tolerance: float = 1e-6
) -> tuple[np.ndarray, int]:
    """Currents by successive relaxation, vector by vector; and sweeps, of all vectors together.

    Cell voltages are moved by a part of what they miss of driver less drops, by running sums of the
    currents; where that diverges the part is halved and the vector begun anew. Simulators with an
    iterative solver of parasitic resistance work like this; the code is our own.
    """
    currents, sweeps, part = [], 0, 1.0
    for v in vectors:
        across = np.repeat(v[:, None], G.shape[1], 1)
        seen, last = across, np.inf
        while True:
            sweeps += 1
            J = G * seen
            word = r * np.cumsum(np.cumsum(J[:, ::-1], 1)[:, ::-1], 1)
            bit = r * np.cumsum(np.cumsum(J, 0)[::-1], 0)[::-1]
            miss = across - word - bit - seen
            worst = np.abs(miss).max()
            if worst < tolerance * np.abs(v).max():
                break
            if worst > 10 * last or not np.isfinite(worst):
                part, seen, last = part / 2, across, np.inf
                continue
            seen, last = seen + part * miss, min(last, worst)
        currents.append(J.sum(0))
    return np.stack(currents), sweeps


def forming(sizes: list[int], rounds: int) -> None:
    for name, r, low, high in (SEVERE, MILD):
        wires = Wires(r, r, r, r)
        for size in sizes:
            G = tile(size, low, high)[0]
            ms = milliseconds(
                rounds,
                ours=lambda G=G, w=wires: effective_conductance(G, w),
                superlu=lambda G=G, r=r: superlu(G.numpy(), r),
            )
            T, reference = effective_conductance(G, wires), superlu(G.numpy(), r)
            report(
                "form T",
                case=name,
                size=size,
                ms=ms["ours"],
                superlu_ms=ms["superlu"],
                speedup=ms["superlu"] / ms["ours"],
                relative_error=float(np.abs(T.numpy() - reference).max() / reference.max()),
                share_of_ideal=float(T.sum() / G.sum()),
            )


def training(size: int, rounds: int) -> None:
    for name, r, low, high in (SEVERE, MILD):
        G = tile(size, low, high)[0].requires_grad_()
        wires = Wires(r, r, r, r)

        def step(G: torch.Tensor = G, wires: Wires = wires) -> None:
            effective_conductance(G, wires).sum().backward()

        report("form T and its gradient", case=name, size=size, **milliseconds(rounds, ms=step))


def reading(rounds: int, size: int = 128, count: int = 32) -> None:
    _, r, low, high = SEVERE
    wires = Wires(r, r, r, r)
    G = tile(size, low, high)[0]
    V = torch.rand(count, size, dtype=torch.float64)
    T = effective_conductance(G, wires)
    ours = {
        "ms": lambda: V @ effective_conductance(G, wires),
        "all_nodes_ms": lambda: solve(G, wires, V),
        "all_nodes_one_vector_ms": lambda: solve(G, wires, V[0]),
        "afterwards_ms": lambda: V @ T,
    }
    others: dict[str, Callable[[], Any]] = {
        "per_vector_sparse_ms": lambda: per_vector(G.numpy(), r, V.numpy()),
        "successive_relaxation_per_vector_ms": lambda: relaxed(G.numpy(), r, V.numpy()),
    }
    try:
        import badcrossbar
    except ImportError:
        missing = {"badcrossbar_ms": "not installed"}
    else:
        import logging

        logging.disable(logging.INFO)
        ohms, volts, missing = (1 / G).numpy(), V.T.numpy(), {}
        others["badcrossbar_ms"] = lambda: badcrossbar.compute(volts, ohms, r)
    ms = milliseconds(rounds, **ours) | milliseconds(min(rounds, 3), **others)
    exact = per_vector(G.numpy(), r, V.numpy())
    near, sweeps = relaxed(G.numpy(), r, V.numpy())
    report(
        "read vectors, T included",
        size=size,
        vectors=count,
        **ms,
        **missing,
        **{f"speedup_{name[:-3]}": ms[name] / ms["ms"] for name in others},
        relative_error=float(np.abs((V @ T).numpy() - exact).max() / exact.max()),
        relaxation_relative_error=float(np.abs(near - exact).max() / exact.max()),
        relaxation_sweeps_per_vector=sweeps / count,
    )


def batching(size: int, rounds: int, count: int = 28) -> None:
    _, r, low, high = SEVERE
    wires = Wires(r, r, r, r)
    tiles = tile(size, low, high, count)
    ms = milliseconds(
        rounds,
        together=lambda: effective_conductance(tiles, wires),
        one_by_one=lambda: [effective_conductance(G, wires) for G in tiles],
        budget=20.0,
    )
    report(
        "batch of tiles",
        size=size,
        tiles=count,
        ms=ms["together"],
        one_by_one_ms=ms["one_by_one"],
        batched_over_one_by_one=ms["together"] / ms["one_by_one"],
    )


def peak(size: int, gradient: bool) -> float:
    """Peak memory of one tile above that of the imports, in MB, in a process of its own."""
    code = (
        "import sys, torch; sys.path.insert(0, sys.argv[1])\n"
        "from mho.circuit import Wires, effective_conductance\n"
        "torch.set_num_threads(1); gradient = sys.argv[3] == 'True'\n"
        "status = lambda: dict(l.split(':') for l in open('/proc/self/status'))\n"
        "peak = lambda: int(status()['VmHWM'].split()[0]) / 1024\n"
        "def run(n):\n"
        "    G = torch.full((n, n), 1e-4, dtype=torch.float64, requires_grad=gradient)\n"
        "    T = effective_conductance(G, Wires(5, 5, 5, 5))\n"
        "    if gradient: T.sum().backward()\n"
        "run(8); base = peak(); run(int(sys.argv[2])); print(peak() - base)\n"
    )
    command = [sys.executable, "-c", code, "src", str(size), str(gradient)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    given = options(__doc__, rounds=15, sizes={"type": int, "nargs": "+"})
    forming(given.sizes or ([64, 128] if given.quick else [64, 128, 256, 512]), given.rounds)
    for size in (64, 128):
        training(size, given.rounds)
    reading(given.rounds)
    for size in (64, 128):
        batching(size, given.rounds)
    for gradient in (False, True):
        report("memory", size=128, gradient=gradient, mb=peak(128, gradient))


if __name__ == "__main__":
    main()
