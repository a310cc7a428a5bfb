"""Pulse-count devices: time of one pulse on a million cells, beside a naive per-cell loop.

Prints one JSON object a line: ``python benchmarks/devices_pulsed.py [--cells 1000000]``. The loop
is what a simulator with one Python object per cell does: every cell looks itself up and moves
itself, in plain floats; it runs over fewer cells and its time is scaled up.
"""

import argparse
import bisect
import json
import math
import random
import time

import torch
from scipy.stats import norm

from mho.devices.exponential import ExponentialDevice
from mho.devices.steps import ExpStep, SoftBoundsDevice
from mho.devices.tabular import JumpTable, TabularDevice

LOOP_CELLS = 20_000


def make_table(sign: int) -> JumpTable:
    g = torch.linspace(5e-6, 30e-6, 100, dtype=torch.float64)
    dg = torch.linspace(-30e-6, 30e-6, 100, dtype=torch.float64)
    mean = sign * 5e-6 * ((30e-6 - g) if sign > 0 else (g - 5e-6)) / 25e-6
    cdf = norm.cdf(dg.numpy()[None], mean.numpy()[:, None], 2e-6)
    return JumpTable(g.tolist(), dg.tolist(), cdf)


class ExponentialCell:
    """One cell of the naive loop."""

    def __init__(self, spec):
        cell = spec.constants()
        self.g, self.low, self.high = cell["g_min"], cell["g_min"], cell["g_max"]
        self.k, self.levels, self.c2c = cell["curvature_set"], cell["levels"], cell["c2c"]

    def pulse(self):
        """One set pulse."""
        b = (self.high - self.low) / (1 - math.exp(-self.k))
        decay = math.exp(-self.k / self.levels)
        g = self.low + (self.g - self.low) * decay + b * (1 - decay)
        if self.c2c:
            g += random.gauss(0.0, self.c2c * (self.high - self.low))
        self.g = min(max(g, self.low), self.high)


class TabularCell:
    """One cell of the naive loop."""

    def __init__(self, spec):
        self.g, self.low, self.high = spec.g_min, spec.g_min, spec.g_max
        self.table = spec.set_table

    def pulse(self):
        """One set pulse."""
        table = self.table
        row = min(bisect.bisect_right(table.g, self.g), len(table.g) - 1)
        cdf, u = table.cdf[row], random.random()
        j = min(max(bisect.bisect_right(cdf, u), 1), len(cdf) - 1)
        part = (u - cdf[j - 1]) / max(cdf[j] - cdf[j - 1], 1e-300)
        jump = table.dg[j - 1] + part * (table.dg[j] - table.dg[j - 1])
        self.g = min(max(self.g + jump, self.low), self.high)


def best(action, repeats=5):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times), sorted(times)[len(times) // 2]


def loop_time(kind, spec, cells):
    population = [kind(spec) for _ in range(LOOP_CELLS)]

    def action():
        for cell in population:
            cell.pulse()

    return best(action, 3)[0] * cells / LOOP_CELLS


def report(**values):
    print(json.dumps(values), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=1_000_000)
    number = parser.parse_args().cells
    torch.set_num_threads(1)
    exponential = ExponentialDevice(nonlinearity_set=2.4, nonlinearity_reset=-4.88, levels=100)
    noisy = exponential.replace(c2c=0.035)
    tabular = TabularDevice(make_table(1), make_table(-1))
    mixed = torch.randint(0, 2, (number,), generator=torch.Generator().manual_seed(0)) * 2 - 1
    trains = torch.randint(-50, 51, (number,), generator=torch.Generator().manual_seed(1))
    cases = [
        ("tabular, one set pulse", tabular, 1, TabularCell),
        ("tabular, one pulse either way", tabular, mixed, None),
        ("exponential with noise, one set pulse", noisy, 1, ExponentialCell),
        ("exponential, train of up to 50 pulses either way", exponential, trains, None),
        ("soft bounds, train of up to 50 pulses either way", SoftBoundsDevice(), trains, None),
        ("exponential step with noise, one pulse either way", ExpStep(c2c=0.3), mixed, None),
    ]
    for name, spec, counts, kind in cases:
        cells = spec.fabricate((number,), seed=0)
        cells.pulse(5)
        least, median = best(lambda cells=cells, counts=counts: cells.pulse(counts))
        result = {"benchmark": name, "cells": number, "seconds": least, "median_seconds": median}
        if kind is not None:
            naive = loop_time(kind, spec, number)
            result |= {"naive_loop_seconds": naive, "times_faster": naive / least}
        report(**result)
    start = time.perf_counter()
    exponential.replace(d2d=0.3).fabricate((number,), seed=0)
    report(
        benchmark="exponential, fabricate with spread labels (solved per cell)",
        cells=number,
        seconds=time.perf_counter() - start,
    )


if __name__ == "__main__":
    main()
