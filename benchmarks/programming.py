"""Write–verify of whole arrays, beside a naive loop that programs one cell after the other.

Prints one JSON object a line. Run on one thread: ``OMP_NUM_THREADS=1 python
benchmarks/programming.py``. The loop gives one cell object its pulses by the same controller and
runs over a few cells; its time is scaled to the array. In a passive array a naive tool computes
every neighbour's answer to every pulse too: its time is that of one pulse on one cell object,
times all pulses, times the cells of a row and a column.

Then what verify reads cost and leave, one by one, averaged and in Hadamard codes; what descent on
products leaves beside them; and how long recipes take to write and to read.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import torch

import mho
from mho.cells.device import Device
from mho.cells.programming import Programming
from mho.cells.spread import Spread
from mho.circuit import Wires
from mho.devices import ExponentialDevice, presets
from mho.devices.data_driven import DataDriven2018, DataDriven2021
from mho.devices.vteam import VTEAM
from mho.effects import StuckAt
from mho.programming import (
    OpenLoop,
    ProductDescent,
    Pulses,
    WriteReport,
    WriteVerify,
    load_recipe,
    save_recipe,
    write_verify,
)
from timing import options, report

# Thresholds of 1 V; half of the largest pulses lies beyond them.
PASSIVE = VTEAM(r_on=1e4, r_off=1e5, v_on=-1.0, v_off=1.0, k_on=-1e-2, k_off=1e-2, alpha_on=1.0)


def targets(device: Device, size: int) -> torch.Tensor:
    low, high = device.window
    generator = torch.Generator().manual_seed(0)
    return low + (high - low) * torch.rand(size, size, generator=generator)


def timed(device: Device, scheme: WriteVerify, size: int, rounds: int) -> tuple[float, WriteReport]:
    goal = targets(device, size)
    times = []
    for _ in range(rounds):
        cells = device.fabricate((size, size), seed=1)
        start = time.process_time()
        done = write_verify(cells, goal, scheme)
        times.append(time.process_time() - start)
    return statistics.median(times), done


def looped(device: Device, scheme: WriteVerify, size: int, some: int) -> tuple[float, float]:
    """Seconds of the naive loop for the whole array, and for one pulse on one cell."""
    goal = targets(device, size).flatten()[:some]
    gated = scheme.replace(access="1T1R", bias="V/2", wires=None, on_failure="report")
    pulses = 0
    start = time.process_time()
    for i in range(some):
        done = write_verify(device.fabricate((1,), seed=i), goal[i : i + 1], gated)
        pulses += int(done.pulses.sum())
    took = time.process_time() - start
    cell = device.fabricate((1,))
    start = time.process_time()
    for _ in range(200):
        cell.apply_pulse(scheme.set.start, scheme.set.width)
    return took / some * size**2, (time.process_time() - start) / 200


def line(name: str, device: Device, scheme: WriteVerify, size: int, rounds: int) -> None:
    took, done = timed(device, scheme, size, rounds)
    loop, pulse = looped(device, scheme, size, 12 if size >= 64 else 2)
    if scheme.access == "1R":
        loop += float(done.pulses.sum()) * 2 * (size - 1) * pulse
    report(
        name,
        size=size,
        access=scheme.access,
        order=scheme.order,
        tolerance=scheme.tolerance,
        seconds=round(took, 3),
        naive_seconds_extrapolated=round(loop, 1),
        times_faster=round(loop / took, 1),
        within_tolerance=done.history[-1],
        failed={why: float(count) for why, count in done.reasons.items()},
        pulses_per_cell=round(float(done.pulses.double().mean()), 1),
        rounds=float(done.rounds),
        chip_time_s=done.time,
        chip_energy_j=done.energy,
    )


def verify_reads(size: int, rounds: int) -> None:
    """What reads leave and cost: size × size cells, noise of 2 % of the window, row by row."""
    device = VTEAM()
    low, high = device.window
    ways = {"one by one": {}, "16 averaged": {"reads": 16}, "64 averaged": {"reads": 64}}
    ways |= {f"code of {n}": {"hadamard": n} for n in (4, 16, 64)}
    for name, fields in ways.items():
        scheme = WriteVerify.for_device(
            device, read_noise=0.02, order="row", on_failure="report", **fields
        )
        took, done = timed(device, scheme, size, rounds)
        report(
            f"verify_reads_{name}",
            size=size,
            sigma=round(float((done.error / (high - low)).std()), 4),
            reads=float(done.reads),
            chip_time_s=done.time,
            read_energy_j=done.read_energy,
            seconds=round(took, 3),
        )


def products() -> None:
    """What programming by products leaves, beside write–verify: 128 × 32 weights, 3 chips."""
    volts = PASSIVE.replace(alpha_on=3.0)
    devices = {"exponential": ExponentialDevice(nonlinearity_set=2, nonlinearity_reset=-2)}
    devices |= {name: presets.get(name) for name in ("alox_hfo2", "epiram", "gokmen_vlasov")}
    devices["vteam"] = volts
    wires = mho.Array(wires=Wires(source=2.0, word=2.0, bit=2.0, sense=2.0))
    cases = {"whole": {}, "stuck_2_percent": {"effects": (StuckAt(low=0.01, high=0.01),)}}
    for name, device in devices.items():
        here = {**cases, "wires": {"array": wires}} if name == "vteam" else cases
        rough = WriteVerify(tolerance=0.05, hadamard=16, read_noise=0.02, on_failure="report")
        first = rough if name == "vteam" else OpenLoop()
        for case, parts in here.items():
            for policy in (
                WriteVerify(read_noise=0.02, on_failure="report"),
                WriteVerify(read_noise=0.02, on_failure="report", hadamard=16),
                ProductDescent(read_noise=0.02, first=first),
            ):
                _product(
                    f"{name}_{case}", mho.Hardware(device, programming=policy, **parts), policy
                )


def _product(name: str, hardware: mho.Hardware, policy: Programming) -> None:
    weight = torch.randn(128, 32, generator=torch.Generator().manual_seed(0))
    errors, start = [], time.process_time()
    for seed in range(3):
        crossbar = mho.Crossbar(128, 32, hardware, seed=seed)
        done = crossbar.program(weight)
        off = crossbar.effective_weight - weight
        errors.append(float(off.norm() / weight.norm()))
    own = done.written.report
    before = getattr(own, "first", None)
    reads = own.reads + (before.report.reads if before is not None and before.report else 0)
    report(
        f"products_{name}",
        policy=str(policy),
        product_error=round(sum(errors) / 3, 4),
        reads=float(reads),
        pulses=float(done.pulses),
        seconds=round((time.process_time() - start) / 3, 3),
    )


def recipes(size: int) -> None:
    """Writing and reading the recipe of a crossbar of ``size`` × ``size`` weights."""
    hardware = mho.Hardware(device=VTEAM(), programming=WriteVerify(record=True))
    crossbar = mho.Crossbar(size, size, hardware)
    done = crossbar.program(torch.randn(size, size, generator=torch.Generator().manual_seed(0)))
    with tempfile.TemporaryDirectory() as folder:
        for ending in ("csv", "json"):
            path = Path(folder) / f"recipe.{ending}"
            start = time.process_time()
            save_recipe(done, path)
            middle = time.process_time()
            load_recipe(path)
            report(
                f"recipe_{ending}",
                cells=crossbar.G.numel(),
                pulses=float(done.pulses),
                megabytes=round(path.stat().st_size / 1e6, 1),
                write_seconds=round(middle - start, 2),
                read_seconds=round(time.process_time() - middle, 2),
            )


def main() -> None:
    given = options(__doc__, rounds=3, quick=1)
    rounds, size = given.rounds, 32 if given.quick else 128
    spread = Spread("Normal", (("loc", -10.0), ("scale", 2.0)), high=-1.0)
    gated = {
        "vteam": VTEAM(),
        "vteam_spread": VTEAM(k_on=spread),
        "data_driven_2018": DataDriven2018(),
        "data_driven_2021": DataDriven2021(),
    }
    for name, device in gated.items():
        start = time.process_time()
        scheme = WriteVerify.for_device(device, on_failure="report")
        report(f"{name}_schedule", seconds=round(time.process_time() - start, 3))
        line(name, device, scheme, size, rounds)
    pulses = Pulses(1.05, 0.05, 2.2, 2e-9)
    for order in ("row", "cell"):
        for bias in ("V/2", "V/3"):
            scheme = WriteVerify(
                set=pulses,
                reset=pulses,
                access="1R",
                order=order,
                bias=bias,
                on_failure="report",
            )
            line(f"vteam_disturbed_{bias}", PASSIVE, scheme, size // 2, rounds)
    # Row by row on real wires: the circuit of all cells is solved for every row and round.
    for bias in ("V/2", "V/3"):
        scheme = WriteVerify(
            set=pulses,
            reset=pulses,
            access="1R",
            order="row",
            bias=bias,
            wires=Wires(source=5.0, word=1.0, bit=1.0, sense=5.0),
            on_failure="report",
        )
        line(f"vteam_disturbed_{bias}_on_wires", PASSIVE, scheme, size // 2, rounds=1)
    verify_reads(size, rounds)
    if not given.quick:
        products()
    recipes(size)


if __name__ == "__main__":
    main()
