"""Time of pulse fits: a jump table of 10⁴ pairs, and the laws of one cell. JSON lines.

    python benchmarks/fit_pulses.py [--rounds 3]

Best of the rounds, one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from mho import fit
from mho.devices import presets
from timing import options, report

PAIRS = 10_000


def best(work: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def pairs(number: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    g = rng.uniform(0, 1e-4, number)
    sigma = 2e-7 + 8e-7 * g / 1e-4
    return g, 2e-6 * (1 - g / 1e-4) ** 2 + sigma * rng.standard_normal(number)


def main() -> None:
    rounds = options(__doc__, rounds=3, quick=1).rounds
    g, dg = pairs(PAIRS)
    cell = presets.get("alox_hfo2").fabricate((), seed=0, dtype=torch.float64)
    response = cell.respond(40, cycles=10).numpy()
    readings = response + 4.6e-7 * np.random.default_rng(0).standard_normal(response.shape)
    work: dict[str, Callable[[], object]] = {
        f"jump table of {PAIRS} pairs": lambda: fit.jump_table(g, dg),
        "exponential law, 800 pulses": lambda: fit.exponential(response),
        "best of five laws, 800 pulses": lambda: fit.pulses(response),
        "exponential law, 800 noisy readings": lambda: fit.exponential(readings),
    }
    for name, function in work.items():
        report(name, seconds=round(best(function, rounds), 3))


if __name__ == "__main__":
    main()
