"""Loops of compact models, one cell and a thousand, beside scipy's Radau in the same run.

    python benchmarks/fit_dynamics.py [--rounds 3] [--cells 1000] [--threads 1]

Prints one JSON object a line: seconds of processor time (the best of the rounds) of a loop of 2000
samples, which on an idle machine and one thread are those of the clock. Radau
follows one cell, without noise, to rtol 1e-6. ``--quick``: one loop of 200 samples, 100 cells.
"""

import time

import numpy as np
import torch
from scipy.integrate import solve_ivp

from mho.devices import Pickett, StanfordPKU, Transistor
from timing import options, report


def triangle(up, down, samples):
    n = samples // 4
    return np.r_[np.linspace(0, up, n), np.linspace(up, down, 2 * n), np.linspace(down, 0, n)]


def ours(device, volts, seconds, cells, rounds, x0, **options):
    waveform, times = torch.from_numpy(volts), []
    for seed in range(rounds):
        population = device.fabricate((cells,), seed=seed, dtype=torch.float64)
        population.x = torch.full((cells,), x0, dtype=torch.float64)
        start = time.process_time()
        population.simulate(waveform, dt=seconds / len(volts), **options)
        times.append(time.process_time() - start)
    return round(min(times), 3)


def radau(device, volts, seconds, x0):
    p = device.parameters()
    grid = np.arange(len(volts)) * seconds / len(volts)

    def slope(t, y):
        x = min(max(float(y[0]), 0.0), 1.0)
        rate = device.rate(x, device.drive(float(np.interp(t, grid, volts)), p), p)
        return [0.0 if (x >= 1.0 and rate > 0.0) or (x <= 0.0 and rate < 0.0) else rate]

    start = time.process_time()
    solved = solve_ivp(slope, (0, grid[-1]), [x0], "Radau", rtol=1e-6, atol=1e-8, max_step=grid[1])
    return round(time.process_time() - start, 2) if solved.success else None


def main():
    given = options(__doc__, rounds=3, quick=1, cells={"type": int})
    many = given.cells or (100 if given.quick else 1000)
    still = StanfordPKU(delta_gap=0.0)
    samples = 200 if given.quick else 2000
    loop, gentle = triangle(1.5, -1.7, samples), triangle(0.75, -0.75, samples)
    # Radau does not get past the jump of the threshold on the field: it follows one without.
    cases = [
        ("Stanford–PKU, 8 ms, with its noise", StanfordPKU(), None, loop, 8e-3, 0.1, {}),
        ("Stanford–PKU, 8 ms", still, still.replace(f_min=0.0), loop, 8e-3, 0.1, {}),
        ("Stanford–PKU, 10 s", still, still.replace(f_min=0.0), loop, 10.0, 0.1, {}),
        ("Pickett, 8 ms", Pickett(), Pickett(), gentle, 8e-3, 0.6, {}),
        ("Pickett, 50 s", Pickett(), Pickett(), gentle, 50.0, 0.6, {}),
    ]
    for name, device, reference, volts, seconds, x0, extra in cases[1:2] if given.quick else cases:
        report(
            name,
            seconds_one_cell=ours(device, volts, seconds, 1, given.rounds, x0, **extra),
            **{f"seconds_{many}_cells": ours(device, volts, seconds, many, 1, x0, **extra)},
            radau_seconds_one_cell=reference and radau(reference, volts, seconds, x0),
        )
    report(
        "Stanford–PKU, 8 ms, behind a transistor",
        seconds_one_cell=ours(
            still, loop, 8e-3, 1, given.rounds, 0.1, series=Transistor(1.1, k=4e-4)
        ),
    )


if __name__ == "__main__":
    main()
