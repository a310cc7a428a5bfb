"""Mapping a network on a defective chip, per method, beside a cell-by-cell loop. JSON lines.

    python benchmarks/chip.py [--rounds 10] [--threads 1]

784-512-10, three copies, a chip of 2500 × 2500 cells of which 10 % are stuck, placed greedily: from
the converted model to the programmed chip. The loops are what one would write first, on a size
that they can bear; their time is also given scaled to the full size. Processor time, medians of
interleaved rounds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

import mho
from mho.chip import Chip, Committee
from mho.chip.placement import integral, place
from mho.encoding import LEA, InnerFaultTolerance, Redundant, Ternary
from mho.encoding.redundant import make_up
from timing import options, report

EFFECTS = (mho.effects.StuckAt(low=0.05, high=0.05),)
BASE = Ternary()
METHODS = {
    "one copy": BASE,
    "average": Redundant(BASE, copies=3),
    "LEA": LEA(BASE, copies=3),
    "LEA-2": LEA(BASE, copies=3, tuned=True),
    "inner fault tolerance": InnerFaultTolerance(BASE, copies=3),
}


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10)).eval()


def medians(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    seen: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(rounds + 1):  # the first is not counted
        for name, function in work.items():
            start = time.process_time()
            function()
            if turn:
                seen[name].append(time.process_time() - start)
    return {name: statistics.median(times) for name, times in seen.items()}


def mapping(rounds: int) -> None:
    hardware = mho.Hardware(effects=EFFECTS)
    chip = Chip(hardware=hardware)
    models = {
        name: (mho.convert(mlp(), hardware.replace(encoding=encoding)), None)
        for name, encoding in METHODS.items()
    }
    committee = Committee([mlp() for _ in range(3)])
    models["committee"] = (mho.convert(committee, hardware.replace(encoding=BASE)), None)
    for permute in ("rows", "both"):
        one = mho.convert(mlp(), hardware.replace(encoding=BASE))
        models[f"one copy, permuted {permute}"] = (one, permute)
    spent: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(rounds + 1):
        for name, (model, permute) in models.items():
            start = time.process_time()
            chip.place(model, permute=permute)
            if turn:
                spent[name].append(time.process_time() - start)
            chip.remove(model)
    for name, times in spent.items():
        report("map 784-512-10", method=name, milliseconds=round(1e3 * statistics.median(times), 1))
    made = medians({"chip": lambda: Chip(hardware=hardware)}, rounds)
    report("make a chip of 2500 × 2500", milliseconds=round(1e3 * made["chip"], 1))


def loop_make_up(
    target: list[list[float]], stuck: list[list[bool]], held: list[list[float]], c: list[float]
) -> None:
    """Inner fault tolerance, one cell after the other."""
    for weight, broken, values in zip(target, stuck, held, strict=True):
        wanted = sum(k * g for k, g in zip(c, weight, strict=True))
        now = [v if b else g for g, b, v in zip(weight, broken, values, strict=True)]
        for s in range(len(c)):
            if not broken[s]:
                gap = wanted - sum(k * g for k, g in zip(c, now, strict=True))
                now[s] = min(max(now[s] + gap / c[s], 0.0), 1.0)


def loop_greedy(defects: list[list[bool]], height: int, width: int) -> tuple[int, int]:
    """The least defective window, counting every window anew."""
    best, found = height * width + 1, (0, 0)
    for row in range(len(defects) - height + 1):
        for col in range(len(defects[0]) - width + 1):
            count = sum(sum(line[col : col + width]) for line in defects[row : row + height])
            if count < best:
                best, found = count, (row, col)
    return found


def loops(rounds: int) -> None:
    c, count = [1.0, -1.0] * 3, 20_000
    target = torch.rand(6, count)
    stuck, held = torch.rand(6, count) < 0.1, torch.rand(6, count).round()
    lists = [x.T.tolist() for x in (target, stuck, held)]
    times = medians(
        {
            "loop": lambda: loop_make_up(*lists, c),
            "whole tensor": lambda: make_up(target, stuck, held, c, (0.0, 1.0)),
        },
        rounds,
    )
    scaled = times["loop"] * (784 * 512 + 512 * 10) / count
    show("inner fault tolerance, 20 000 weights × 3 copies", times, scaled)

    defects = torch.rand(120, 120) < 0.1
    rows = defects.tolist()

    def whole() -> None:
        place([(40, 40)], (120, 120), [], sums=integral(defects))

    times = medians({"loop": lambda: loop_greedy(rows, 40, 40), "whole tensor": whole}, rounds)
    windows, full = 81 * 81 * 40 * 40, (1717 * 1989) * (784 * 512)
    show("least defective 40 × 40 of 120 × 120", times, times["loop"] * full / windows)


def show(name: str, times: dict[str, float], scaled: float) -> None:
    report(
        name,
        loop_ms=round(1e3 * times["loop"], 2),
        milliseconds=round(1e3 * times["whole tensor"], 3),
        ratio=round(times["loop"] / times["whole tensor"], 1),
        loop_at_full_size_seconds=round(scaled, 1),
    )


def main() -> None:
    given = options(__doc__, rounds=10, threads=[1])
    torch.manual_seed(0)
    for threads in given.threads:
        torch.set_num_threads(threads)
        mapping(given.rounds)
        loops(given.rounds)


if __name__ == "__main__":
    main()
