"""Twins of arrays with hidden parameters: how long they take, and how far off they are.

    python benchmarks/fit_twin.py [--size 64] [--reads 2000] [--chips 3] [--threads 1]

Prints one JSON object a line: seconds of the fit, mean squared errors in standard errors, and
whether all broken cells were found and no others.
"""

import argparse
import json
import time

import numpy as np
import torch

import mho
from mho import Amplifier, Array, Hardware, effects, fit
from mho.circuit import Wires
from mho.devices import LinearDevice
from mho.encoding import SingleColumn

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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--reads", type=int, default=2000)
    parser.add_argument("--chips", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for seed in range(options.chips):
        hidden, v, g, y = chip(options.size, options.reads, seed)
        known = hidden.replace(array=Array(options.size, options.size), amplifier=None, effects=())
        start, work = time.perf_counter(), time.process_time()
        found = fit.hardware(known, v, g, y, seed=seed)
        took = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - work}
        squares = {
            kind: float(np.mean(np.square(each))) for kind, each in scores(found, hidden).items()
        }
        places = {tuple(place) for place in np.argwhere(found.suspicious).tolist()}
        print(
            json.dumps(
                {
                    "name": "twin",
                    "cells": f"{options.size} x {options.size}",
                    "reads": options.reads,
                    **{name: round(value, 2) for name, value in took.items()},
                    "squared errors in standard errors": {
                        kind: round(value, 2) for kind, value in squares.items()
                    },
                    "map right": places == set(hidden.effects[0].places),
                    "held-out p": round(found.agreement.p_value, 3),
                }
            )
        )


if __name__ == "__main__":
    main()
