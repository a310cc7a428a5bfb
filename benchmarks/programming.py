"""Write–verify of whole arrays, beside a naive loop that programs one cell after the other.

Prints one JSON object a line. Run on one thread: ``OMP_NUM_THREADS=1 python
benchmarks/programming.py``. The loop gives one cell object its pulses by the same controller and
runs over a few cells; its time is scaled to the array. In a passive array a naive tool computes
every neighbour's answer to every pulse too: its time is that of one pulse on one cell object,
times all pulses, times the cells of a row and a column.
"""

from __future__ import annotations

import time

import torch

from mho.cells.device import Device
from mho.cells.spread import Spread
from mho.circuit import Wires
from mho.devices.data_driven import DataDriven2018, DataDriven2021
from mho.devices.vteam import VTEAM
from mho.programming import Pulses, WriteReport, WriteVerify, write_verify
from timing import report

LOOP_CELLS = 12
# Thresholds of 1 V; half of the largest pulses lies beyond them.
PASSIVE = VTEAM(r_on=1e4, r_off=1e5, v_on=-1.0, v_off=1.0, k_on=-1e-2, k_off=1e-2, alpha_on=1.0)


def targets(device: Device, size: int) -> torch.Tensor:
    low, high = device.window
    generator = torch.Generator().manual_seed(0)
    return low + (high - low) * torch.rand(size, size, generator=generator)


def timed(
    device: Device, scheme: WriteVerify, size: int, runs: int = 3
) -> tuple[float, WriteReport]:
    goal = targets(device, size)
    times = []
    for _ in range(runs):
        cells = device.fabricate((size, size), seed=1)
        start = time.process_time()
        done = write_verify(cells, goal, scheme)
        times.append(time.process_time() - start)
    return sorted(times)[runs // 2], done


def looped(device: Device, scheme: WriteVerify, size: int) -> tuple[float, float]:
    """Seconds of the naive loop for the whole array, and for one pulse on one cell."""
    goal = targets(device, size).flatten()[:LOOP_CELLS]
    gated, pulses = scheme.replace(access="1T1R", wires=None, on_failure="report"), 0
    start = time.process_time()
    for i in range(LOOP_CELLS):
        done = write_verify(device.fabricate((1,), seed=i), goal[i : i + 1], gated)
        pulses += int(done.pulses.sum())
    took = time.process_time() - start
    cell = device.fabricate((1,))
    start = time.process_time()
    for _ in range(200):
        cell.apply_pulse(scheme.set.start, scheme.set.width)
    return took / LOOP_CELLS * size**2, (time.process_time() - start) / 200


def line(name: str, device: Device, scheme: WriteVerify, size: int, runs: int = 3) -> None:
    took, done = timed(device, scheme, size, runs)
    loop, pulse = looped(device, scheme, size)
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
        times_faster=round(loop / took),
        within_tolerance=done.history[-1],
        failed=done.reasons,
        pulses_per_cell=round(float(done.pulses.double().mean()), 1),
        rounds=done.rounds,
        chip_time_s=done.time,
        chip_energy_j=done.energy,
    )


def main() -> None:
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
        line(name, device, scheme, 128)
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
            line(f"vteam_disturbed_{bias}", PASSIVE, scheme, 64)
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
        line(f"vteam_disturbed_{bias}_on_wires", PASSIVE, scheme, 64, runs=1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
