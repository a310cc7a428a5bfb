"""Twins of arrays with hidden parameters: how long they take, and how far off they are.

    python benchmarks/fit_twin.py [--size 64] [--reads 2000] [--chips 3] [--threads 1]

Prints one JSON object a line: seconds of the fit, mean squared errors in standard errors, and
whether all broken cells were found and no others.
"""

import statistics
import time

import numpy as np
import torch

import mho
from mho import Amplifier, Array, Hardware, effects, fit
from mho.circuit import Wires
from mho.devices import LinearDevice
from mho.encoding import SingleColumn
from timing import options, report

DEVICE = LinearDevice(g_min=1e-6, g_max=1e-4)
WIRES = Wires(source=5.0, word=2.0, bit=3.0)
BROKEN = 5


def chip(size, reads, seed):
    """Return hidden hardware, voltages, conductances asked for, and outputs."""
    rng = np.random.default_rng(seed)
    g = rng.uniform(DEVICE.g_min, DEVICE.g_max, (1, size, size))
    # Broken ones that differ from what they should hold by half the window.
    at = rng.choice(size * size, BROKEN, replace=False)
    places = tuple((0, int(k // size), int(k % size)) for k in at)
    values = tuple(0.0 if g[p] > 5e-5 else 1.2e-4 for p in places)
    hidden = Hardware(
        device=DEVICE,
        encoding=SingleColumn(),
        array=Array(size, size, wires=WIRES),
        amplifier=Amplifier(
            tuple(rng.normal(1.0, 0.05, size)), tuple(rng.normal(0.0, 2e-7, size)), 300.0, 2e-8
        ),
        effects=(effects.StuckCells(places, values), effects.ReadNoise(0.01)),
    )
    crossbar = mho.Crossbar(size, size - 1, hidden, seed=seed, dtype=torch.float64)
    crossbar.store(torch.from_numpy(g))
    volts = crossbar.correction.replace(input_range=torch.tensor(0.2, dtype=torch.float64))
    crossbar.commit(correction=volts, observed=True)
    v = torch.from_numpy(rng.uniform(-0.2, 0.2, (reads, size)))
    return hidden, v, g, crossbar.reader.observe(v)[0][0, 0]


def scores(found, hidden):
    """Return errors in standard errors, by kind."""
    size, amplifier = hidden.array.cols, hidden.amplifier
    truth = {f"gain[{j}]": amplifier.gain[j] for j in range(size)}
    truth |= {f"offset[{j}]": amplifier.offset[j] for j in range(size)}
    truth |= {name: getattr(WIRES, name) for name in ("source", "word", "bit")}
    truth |= {"compression": amplifier.compression, "read_noise": 0.01}
    by_kind = {}
    for name, value in truth.items():
        estimate = found.estimates[name]
        score = (estimate.value - value) / estimate.error
        by_kind.setdefault(name.partition("[")[0], []).append(score)
    return by_kind


def main():
    """Fit a few chips and print what came out."""
    number = {"type": int}
    given = options(__doc__, rounds=1, size=number, reads=number, chips=number)
    size = given.size or (32 if given.quick else 64)
    reads = given.reads or (1000 if given.quick else 2000)
    for seed in range(given.chips or (1 if given.quick else 3)):
        hidden, v, g, y = chip(size, reads, seed)
        known = hidden.replace(array=Array(size, size), amplifier=None, effects=())
        times = []
        for _ in range(given.rounds):
            start, work = time.perf_counter(), time.process_time()
            found = fit.hardware(known, v, g, y, seed=seed)
            times.append((time.perf_counter() - start, time.process_time() - work))
        passed, used = (round(statistics.median(part), 2) for part in zip(*times, strict=True))
        squares = {
            kind: float(np.mean(np.square(each))) for kind, each in scores(found, hidden).items()
        }
        places = {tuple(place) for place in np.argwhere(found.suspicious).tolist()}
        errors = {kind: round(value, 2) for kind, value in squares.items()}
        report(
            "twin",
            cells=f"{size} x {size}",
            reads=reads,
            seed=seed,
            seconds=passed,
            cpu_seconds=used,
            map_right=places == set(hidden.effects[0].places),
            held_out_p=round(found.agreement.p_value, 3),
            **{"squared errors in standard errors": errors},
        )


if __name__ == "__main__":
    main()
