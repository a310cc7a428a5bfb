"""Wires: forming T, reading through it, batching tiles; beside what others do.

Prints one JSON object per line. Run on one thread:
``OMP_NUM_THREADS=1 python benchmarks/circuit.py``. Every time is the median of several runs, in
milliseconds of processor time (the wall clock of one thread on a machine of its own).
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy
import scipy.sparse as sp
import scipy.sparse.linalg as spla
import torch

from mho.circuit import Wires, effective_conductance, solve

SEVERE = ("severe", 5.0, 1e4, 1e5)
MILD = ("mild", 1.0, 1e5, 1e6)


def report(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def milliseconds(function: Callable[[], Any], budget: float = 3.0, most: int = 15) -> float:
    """Median time of a call, after one to warm up, within a budget of seconds."""
    start = time.process_time()
    function()
    first = time.process_time() - start
    runs = [] if first < budget else [first]
    while len(runs) < most and (not runs or sum(runs) < budget):
        start = time.process_time()
        function()
        runs.append(time.process_time() - start)
    return 1e3 * statistics.median(runs)


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


def forming(sizes: list[int]) -> None:
    for name, r, low, high in (SEVERE, MILD):
        wires = Wires(r, r, r, r)
        for size in sizes:
            G = tile(size, low, high)[0]
            ours = milliseconds(lambda G=G, w=wires: effective_conductance(G, w))
            theirs = milliseconds(lambda G=G, r=r: superlu(G.numpy(), r), most=7)
            T, reference = effective_conductance(G, wires), superlu(G.numpy(), r)
            report(
                name="form T",
                case=name,
                size=size,
                ms=ours,
                superlu_ms=theirs,
                speedup=theirs / ours,
                relative_error=float(np.abs(T.numpy() - reference).max() / reference.max()),
                share_of_ideal=float(T.sum() / G.sum()),
            )


def training(size: int = 128) -> None:
    name, r, low, high = SEVERE
    G = tile(size, low, high)[0].requires_grad_()
    wires = Wires(r, r, r, r)

    def step() -> None:
        effective_conductance(G, wires).sum().backward()

    report(name="form T and its gradient", case=name, size=size, ms=milliseconds(step))


def reading(size: int = 128, count: int = 32) -> None:
    _, r, low, high = SEVERE
    wires = Wires(r, r, r, r)
    G = tile(size, low, high)[0]
    V = torch.rand(count, size, dtype=torch.float64)
    T = effective_conductance(G, wires)
    ours = milliseconds(lambda: V @ effective_conductance(G, wires))
    full = milliseconds(lambda: solve(G, wires, V))
    one = milliseconds(lambda: solve(G, wires, V[0]))
    after = milliseconds(lambda: V @ T)
    sparse = milliseconds(lambda: per_vector(G.numpy(), r, V.numpy()), most=3)
    results = {
        "per_vector_sparse_ms": sparse,
        "speedup_sparse": sparse / ours,
        "relative_error": float(
            np.abs((V @ T).numpy() - per_vector(G.numpy(), r, V.numpy())).max() / (V @ T).max()
        ),
    }
    try:
        import badcrossbar
    except ImportError:
        results["badcrossbar_ms"] = "not installed"
    else:
        import logging

        logging.disable(logging.INFO)
        ohms, volts = (1 / G).numpy(), V.T.numpy()
        other = milliseconds(lambda: badcrossbar.compute(volts, ohms, r), most=3)
        results |= {"badcrossbar_ms": other, "speedup_badcrossbar": other / ours}
    report(
        name="read vectors, T included",
        size=size,
        vectors=count,
        ms=ours,
        all_nodes_ms=full,
        all_nodes_one_vector_ms=one,
        afterwards_ms=after,
        **results,
    )


def batching(size: int = 128, count: int = 28) -> None:
    _, r, low, high = SEVERE
    wires = Wires(r, r, r, r)
    tiles = tile(size, low, high, count)
    together = milliseconds(lambda: effective_conductance(tiles, wires), most=5)
    single = milliseconds(lambda: [effective_conductance(G, wires) for G in tiles], most=5)
    report(name="batch of tiles", size=size, tiles=count, ms=together, one_by_one_ms=single)


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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256, 512])
    sizes = parser.parse_args().sizes
    torch.set_num_threads(1)
    report(
        name="machine",
        cpu=platform.processor() or platform.machine(),
        torch=torch.__version__,
        scipy=scipy.__version__,
        threads=torch.get_num_threads(),
    )
    forming(sizes)
    training()
    reading()
    batching()
    for gradient in (False, True):
        report(name="memory", size=128, gradient=gradient, mb=peak(128, gradient))


if __name__ == "__main__":
    main()
