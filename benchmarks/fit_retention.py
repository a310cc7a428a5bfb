"""What fits of programming and retention, and cells in service, cost.

    python benchmarks/fit_retention.py [--rounds 5] [--threads 1]

Prints one JSON line each: median seconds of a fit of so many pairs or cells, and of a step of a
million cells in service (an hour of drift is there to compare with). ``--quick``: a hundredth of
them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from mho import effects, fit
from mho.devices import LinearDevice
from timing import medians, options, report


def pairs(count: int) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    target = rng.uniform(1e-6, 25e-6, count)
    achieved = target + (0.2e-6 + 0.02 * target) * rng.standard_normal(count)
    return lambda: fit.programming(target, achieved)


def records(cells: int) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    time = np.r_[0.0, np.geomspace(1.0, 1e5, 24)]
    g0, nu = rng.uniform(2e-6, 25e-6, cells), rng.normal(0.05, 0.01, cells)
    g = g0[:, None] * np.maximum(time, 1.0) ** -nu[:, None]
    g = g + 1e-7 * rng.standard_normal(g.shape)
    return lambda: fit.retention(time, g)


def service(count: int, effect: effects.Effect, reads: float = 0.0) -> Callable[[], object]:
    device = LinearDevice(g_min=1e-6, g_max=1e-4)
    cells = device.cells_type((device, effect), (count,))
    cells.program(torch.tensor(5e-5))
    return lambda: cells.age(3600.0, reads)


def main() -> None:
    given = options(__doc__, rounds=5, quick=1)
    part = 100 if given.quick else 1
    many, some = 1_000_000 // part, 10_000 // part
    drift, traps = effects.PowerLawDrift(0.05), effects.TelegraphNoise(0.1, tau=1e3)
    work = {
        ("programming", 1_000): pairs(1_000),
        ("programming", many): pairs(many),
        ("retention, 25 readings", 10): records(10),
        ("retention, 25 readings", some): records(some),
        ("an hour of power-law drift", many): service(many, drift),
        ("an hour of traps", many): service(many, traps),
        ("8 000 reads", many): service(many, effects.ReadDisturb(1e6), 8000.0),
    }
    for (name, count), seconds in medians(work, given.rounds, warm_up=0).items():
        report(name, count=count, seconds=round(seconds, 5))


if __name__ == "__main__":
    main()
