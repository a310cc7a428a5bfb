"""How long fits of current–voltage curves and loops take, one JSON line each.

    python benchmarks/fit_loops.py [--folder FOLDER of the ReRAM cycles] [--rounds 1]

The folder has the files ``iv_positive_cycle1.txt``, ``iv_negative_cycle1.txt``, … (Yousuf et al.
2025, doi 10.1038/s41467-025-56319-6, figure 3c); without it loops are made.
"""

import statistics
import time
from pathlib import Path

import numpy as np
import torch

from mho import fit
from mho.devices import VTEAM, Spread
from timing import options, report


def measured(folder):
    """Voltages and currents of the measured cycles."""
    parts = [
        np.vstack([np.loadtxt(folder / f"iv_{s}_cycle{k}.txt") for s in ("positive", "negative")])
        for k in range(1, 20)
    ]
    return [part[:, 0] for part in parts], [part[:, 1] for part in parts]


def made(cycles=19, samples=90, dt=5e-3):
    """Cycles of as many cells whose thresholds differ."""
    device = VTEAM(
        r_on=1e3,
        r_off=1e4,
        v_on=Spread("Normal", (("loc", -0.5), ("scale", 0.03)), high=-0.3),
        v_off=0.4,
        k_on=-2e-8,
        k_off=1e-8,
    )
    out = np.linspace(0.0, 1.0, samples)
    v = np.concatenate([out, out[::-1], -out, -out[::-1]])
    cells = device.fabricate((cycles,), dtype=torch.float64)
    cells.x = torch.ones(cycles, dtype=torch.float64)
    current = cells.simulate(torch.from_numpy(v), dt=dt, adaptive=True).numpy()
    noise = 5e-6 * np.random.default_rng(0).standard_normal(current.shape)
    return [v] * cycles, list((current + noise).T)


def line(name, rounds, work, **more):
    """Run some times, and print median seconds of wall and of processor time."""
    times = []
    for _ in range(rounds):
        wall, began = time.perf_counter(), time.process_time()
        found = work()
        times.append((time.perf_counter() - wall, time.process_time() - began))
    passed, used = (round(statistics.median(part), 3) for part in zip(*times, strict=True))
    told = {key: value(found) for key, value in more.items()}
    report(name, seconds=passed, cpu_seconds=used, **told)


def main():
    """Print all lines."""
    given = options(__doc__, rounds=1, folder={"type": Path})
    rounds = given.rounds
    small = {"cycles": 3, "samples": 20} if given.quick else {}
    voltage, current = measured(given.folder) if given.folder else made(**small)
    cycles = f"{len(voltage)} cycles"
    line(f"hysteresis of {cycles}", rounds, lambda: fit.hysteresis(voltage, current))
    v = np.linspace(-1.0, 1.0, 101)
    i = 1e-5 * np.sinh(2.5 * v) * (1.0 + 0.01 * np.random.default_rng(0).standard_normal(101))
    line("iv, best law", rounds, lambda: fit.iv(v, i))
    line("iv, table", rounds, lambda: fit.iv(v, i, law="table"))
    models = ("vteam", "yakopcic", "stanford_pku", "data_driven_2018", "data_driven_2021", "best")
    for model in models[:1] if given.quick else models:
        line(
            f"loop of {cycles}, {model}",
            rounds,
            lambda model=model: fit.loop(voltage, current, model=model),
            relative_rmse=lambda found: round(found.pooled_rmse, 4),
            shared_rmse=lambda found: round(float((found.shared_rmse**2).mean() ** 0.5), 4),
            model=lambda found: found.model,
            set_voltage=lambda found: [str(found.measured), str(found.drawn)],
        )


if __name__ == "__main__":
    main()
