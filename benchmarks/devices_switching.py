"""Voltage-driven devices: a million cells, an array beside a per-cell loop, and one cell.

Prints one JSON object a line: ``python benchmarks/devices_switching.py [--cells 1000000]``. The
per-cell loop is what a simulator with one Python object per cell does: every cell reads its own
parameters and moves itself with Euler's rule, on a waveform of floats (the leanest there can
be), of numpy's or of torch's numbers; its time is measured on fewer cells and scaled up. The
loop for one cell has its constants in local variables and no calls.
"""

import argparse
import gc
import math
import resource
import time

import torch

from mho.devices import waveforms
from mho.devices.vteam import VTEAM
from mho.devices.windows import Biolek, Kvatinsky
from timing import medians, report

SPEC = VTEAM(k_on=-1e-7, k_off=5e-9)
LOOP_CELLS = 16


class NaiveCell:
    """One cell of the naive loop."""

    def __init__(self, spec, x):
        self.r_on, self.r_off = spec.r_on, spec.r_off
        self.v_on, self.v_off = spec.v_on, spec.v_off
        self.k_on, self.k_off = spec.k_on, spec.k_off
        self.alpha_on, self.alpha_off = spec.alpha_on, spec.alpha_off
        self.width = spec.w_off - spec.w_on
        self.w = (1.0 - x) * self.width

    def step(self, v, dt):
        """Return the current and move the state."""
        current = v / (self.r_on + (self.r_off - self.r_on) * self.w / self.width)
        if v > self.v_off:
            speed = self.k_off * (v / self.v_off - 1.0) ** self.alpha_off
        elif v < self.v_on:
            speed = self.k_on * (v / self.v_on - 1.0) ** self.alpha_on
        else:
            speed = 0.0
        self.w = min(max(self.w + speed * dt, 0.0), self.width)
        return current


def single_loop(volts, dt, x, window=None):
    """One cell, Euler, everything inlined; returns its currents."""
    r_on, r_off, v_on, v_off = SPEC.r_on, SPEC.r_off, SPEC.v_on, SPEC.v_off
    width = SPEC.w_off - SPEC.w_on
    k_on, k_off = SPEC.k_on / width, SPEC.k_off / width
    w, exp, currents = 1.0 - x, math.exp, []
    for v in volts:
        currents.append(v / (r_on + (r_off - r_on) * w))
        if v > v_off:
            speed = k_off * (v / v_off - 1.0) ** 1.0
            if window == "kvatinsky":
                speed *= exp(-exp((w - 0.9) / 0.035667))
            elif window == "biolek":
                speed *= 1.0 - w**4
        elif v < v_on:
            speed = k_on * (v / v_on - 1.0) ** 3.0
            if window == "kvatinsky":
                speed *= exp(-exp((0.1 - w) / 0.035667))
            elif window == "biolek":
                speed *= 1.0 - (w - 1.0) ** 4
        else:
            continue
        w += speed * dt
        if w < 0.0:
            w = 0.0
        elif w > 1.0:
            w = 1.0
    return currents


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def population(cells, steps, name, spec):
    """A million cells: time and the peak of memory beyond what the cells hold."""
    dt = 1e-6
    _, volts = waveforms.sine(0.5, 1.0 / (steps * dt), dt=dt)
    volts = volts[:steps]
    state = spec.fabricate((cells,))
    state.write(0.002)
    spec.fabricate((10,)).simulate(volts[:3], dt=dt, every=None)
    gc.collect()
    before = peak_mb()
    start = time.perf_counter()
    state.simulate(volts, dt=dt, every=None)
    seconds = time.perf_counter() - start
    report(
        name,
        cells=cells,
        steps=steps,
        seconds=round(seconds, 2),
        extra_mb=round(peak_mb() - before, 1),
    )


def array(rounds):
    """A 128×128 array for 1000 steps beside a loop over Python objects."""
    dt, steps = 1e-6, 1000
    _, volts = waveforms.sine(0.5, 1.0 / (steps * dt), dt=dt)
    volts = volts[:steps]
    listed = volts.tolist()
    cells = SPEC.fabricate((128, 128))

    def ours():
        cells.write(0.002)
        return cells.simulate(volts, dt=dt)

    def moved():
        cells.write(0.002)
        cells.simulate(volts, dt=dt, every=None)

    def naive(values):
        objects = [NaiveCell(SPEC, 0.5) for _ in range(LOOP_CELLS)]
        return [[cell.step(v, dt) for cell in objects] for v in values]

    work = {
        "currents": ours,
        "no_currents": moved,
        "objects_of_floats": lambda: naive(listed),
        "objects_on_a_numpy_waveform": lambda: naive(volts.double().numpy()),
        "objects_on_a_torch_waveform": lambda: naive(volts),
    }
    seconds = medians(work, rounds, warm_up=1)
    scale = 128 * 128 / LOOP_CELLS
    loops = {k: round(v * scale, 1) for k, v in seconds.items() if k.startswith("objects")}
    report(
        "switching_array_128x128_1000_steps",
        seconds=round(seconds["currents"], 4),
        seconds_without_currents=round(seconds["no_currents"], 4),
        loop_seconds=loops,
        speedup={k: round(v / seconds["currents"]) for k, v in loops.items()},
        speedup_without_currents={k: round(v / seconds["no_currents"]) for k, v in loops.items()},
    )


def one_cell(rounds):
    """One cell for 100 000 steps beside a plain loop over floats."""
    dt, steps = 1e-6, 100_000
    _, volts = waveforms.sine(0.5, 50.0, dt=dt, cycles=5)
    volts = volts[:steps]
    listed = volts.tolist()
    windows = {"none": None, "biolek": Biolek(p=2), "kvatinsky": Kvatinsky()}
    for name, window in windows.items():
        spec = SPEC if window is None else SPEC.replace(window_function=window)
        cell = spec.fabricate((), dtype=torch.float64)

        def ours(method="heun", cell=cell):
            cell.write(0.002)
            return cell.simulate(volts, dt=dt, method=method)

        seconds = medians(
            {
                "heun": ours,
                "euler": lambda ours=ours: ours("euler"),
                "loop": lambda name=name: torch.tensor(single_loop(listed, dt, 0.5, name)),
            },
            rounds,
            warm_up=1,
        )
        report(
            f"switching_one_cell_1e5_steps_window_{name}",
            heun_seconds=round(seconds["heun"], 4),
            euler_seconds=round(seconds["euler"], 4),
            plain_euler_loop_seconds=round(seconds["loop"], 4),
            heun_over_loop=round(seconds["heun"] / seconds["loop"], 2),
        )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    population(options.cells, options.steps, "switching_vteam_population", SPEC)
    windowed = SPEC.replace(window_function=Kvatinsky())
    population(options.cells, options.steps, "switching_vteam_kvatinsky_population", windowed)
    array(options.rounds)
    one_cell(options.rounds)


if __name__ == "__main__":
    main()
