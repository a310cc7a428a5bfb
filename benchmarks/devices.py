"""Devices, in one run: a million cells, an array beside a per-cell loop, one cell, one pulse.

    python benchmarks/devices.py [--cells 1000000] [--steps 1000] [--rounds 7] [--threads 1]

Prints one JSON object a line. The per-cell loops are those of `naive_cells`; their time is
measured on fewer cells (voltage-driven ones on a waveform of floats, of numpy's and of torch's
numbers) and scaled up.
"""

import gc
import resource
import time

import torch
from scipy.stats import norm

from mho.devices import (
    VTEAM,
    Biolek,
    ExponentialDevice,
    ExpStep,
    JumpTable,
    Kvatinsky,
    SoftBoundsDevice,
    TabularDevice,
    open_loop,
    waveforms,
)
from naive_cells import ExponentialCell, TabularCell, VTEAMCell, one_vteam_cell
from timing import medians, options, report

VTEAM_SPEC = VTEAM(k_on=-1e-7, k_off=5e-9)
SWITCHING_LOOP_CELLS = 16
PULSED_LOOP_CELLS = 20_000


# ── voltage-driven devices ───────────────────────────────────────────────────────────────────


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
    cells = VTEAM_SPEC.fabricate((128, 128))

    def ours():
        cells.write(0.002)
        return cells.simulate(volts, dt=dt)

    def moved():
        cells.write(0.002)
        cells.simulate(volts, dt=dt, every=None)

    def naive(values):
        objects = [VTEAMCell(VTEAM_SPEC, 0.5) for _ in range(SWITCHING_LOOP_CELLS)]
        return [[cell.step(v, dt) for cell in objects] for v in values]

    work = {
        "currents": ours,
        "no_currents": moved,
        "objects_of_floats": lambda: naive(listed),
        "objects_on_a_numpy_waveform": lambda: naive(volts.double().numpy()),
        "objects_on_a_torch_waveform": lambda: naive(volts),
    }
    seconds = medians(work, rounds, warm_up=1)
    scale = 128 * 128 / SWITCHING_LOOP_CELLS
    loops = {k: round(v * scale, 1) for k, v in seconds.items() if k.startswith("objects")}
    report(
        "switching_array_128x128_1000_steps",
        seconds=round(seconds["currents"], 4),
        seconds_without_currents=round(seconds["no_currents"], 4),
        loop_seconds=loops,
        speedup={k: round(v / seconds["currents"], 1) for k, v in loops.items()},
        speedup_without_currents={
            k: round(v / seconds["no_currents"], 1) for k, v in loops.items()
        },
    )


def one_cell(rounds):
    """One cell for 100 000 steps beside a plain loop over floats."""
    dt, steps = 1e-6, 100_000
    _, volts = waveforms.sine(0.5, 50.0, dt=dt, cycles=5)
    volts = volts[:steps]
    listed = volts.tolist()
    windows = {"none": None, "biolek": Biolek(p=2), "kvatinsky": Kvatinsky()}
    for name, window in windows.items():
        spec = VTEAM_SPEC if window is None else VTEAM_SPEC.replace(window_function=window)
        cell = spec.fabricate((), dtype=torch.float64)

        def ours(method="heun", cell=cell):
            cell.write(0.002)
            return cell.simulate(volts, dt=dt, method=method)

        seconds = medians(
            {
                "heun": ours,
                "euler": lambda ours=ours: ours("euler"),
                "loop": lambda name=name: torch.tensor(
                    one_vteam_cell(VTEAM_SPEC, listed, dt, 0.5, name)
                ),
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


# ── pulse-count devices ──────────────────────────────────────────────────────────────────────


def make_table(sign: int) -> JumpTable:
    g = torch.linspace(5e-6, 30e-6, 100, dtype=torch.float64)
    dg = torch.linspace(-30e-6, 30e-6, 100, dtype=torch.float64)
    mean = sign * 5e-6 * ((30e-6 - g) if sign > 0 else (g - 5e-6)) / 25e-6
    cdf = norm.cdf(dg.numpy()[None], mean.numpy()[:, None], 2e-6)
    return JumpTable(g.tolist(), dg.tolist(), cdf)


def best(action, repeats=5):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times), sorted(times)[len(times) // 2]


def loop_time(kind, spec, cells):
    population = [kind(spec) for _ in range(PULSED_LOOP_CELLS)]

    def action():
        for cell in population:
            cell.pulse()

    return best(action, 3)[0] * cells / PULSED_LOOP_CELLS


def pulses(number):
    """One pulse, and trains of them, on a million cells, beside a loop over Python objects."""
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
        result = {"seconds": round(least, 4), "median_seconds": round(median, 4)}
        if kind is not None:
            naive = loop_time(kind, spec, number)
            result |= {"loop_seconds": round(naive, 2), "speedup": round(naive / least, 1)}
        report(name, cells=number, **result)
    start = time.perf_counter()
    exponential.replace(d2d=0.3).fabricate((number,), seed=0)
    report(
        "exponential, fabricate with spread labels (solved per cell)",
        cells=number,
        seconds=round(time.perf_counter() - start, 3),
    )


def open_loop_programming(number):
    """Random targets to a million cells by counted pulses; the first time makes the laws."""
    exponential = ExponentialDevice(
        nonlinearity_set=2.4, nonlinearity_reset=-4.88, levels=100, c2c=0.035
    )
    cases = {
        "exponential with noise": exponential,
        "exponential with noise and spread labels": exponential.replace(d2d=0.3),
        "tabular": TabularDevice(make_table(1), make_table(-1)),
        "tabular with spread gains": TabularDevice(make_table(1), make_table(-1), d2d=0.2),
        "soft bounds with noise and spread steps": SoftBoundsDevice(c2c=0.3, d2d=0.2),
    }
    for name, spec in cases.items():
        low, high = spec.window
        source = torch.Generator().manual_seed(0)
        target = low + (high - low) * torch.rand(number, generator=source)
        drawn = spec.fabricate((number,), seed=0).parameters_drawn()

        def program(spec=spec, target=target, drawn=drawn):
            return open_loop.stored(spec, open_loop.counts(spec, target), drawn)

        start = time.perf_counter()
        program()
        first = time.perf_counter() - start
        least, median = best(program)
        report(
            f"open loop, {name}",
            cells=number,
            seconds=round(least, 3),
            median_seconds=round(median, 3),
            first_seconds=round(first, 2),
        )


def main():
    number = {"type": int}
    given = options(__doc__, rounds=7, cells=number, steps=number)
    cells = given.cells or (100_000 if given.quick else 1_000_000)
    steps = given.steps or (100 if given.quick else 1000)
    # These two first: the peak of memory is that of the whole process so far.
    population(cells, steps, "switching_vteam_population", VTEAM_SPEC)
    windowed = VTEAM_SPEC.replace(window_function=Kvatinsky())
    population(cells, steps, "switching_vteam_kvatinsky_population", windowed)
    array(given.rounds)
    one_cell(given.rounds)
    pulses(cells)
    open_loop_programming(cells)


if __name__ == "__main__":
    main()
