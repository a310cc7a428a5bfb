"""What a study's loop and store add to every chip, against a plain loop: JSON lines.

``python benchmarks/study.py [--configurations 100] [--rounds 3]``
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import mho
from mho.study import sweep, with_settings
from timing import options, report

CHIPS = 4
HARDWARE = mho.Hardware(adc=mho.ADC(bits=8), effects=(mho.effects.StuckAt(low=0.01),))


def evaluate(hardware, seed, settings):
    return float(hardware.adc.bits + seed)


def space(configurations: int) -> dict[str, list[float]]:
    words = [0.1 * (i + 1) for i in range(max(configurations // 4, 1))]
    return {"adc.bits": [4, 5, 6, 7], "array.wires.word": words}


def plain(varied: dict[str, list[float]]) -> None:
    for values in product(*varied.values()):
        settings = dict(zip(varied, values, strict=True))
        for seed in range(CHIPS):
            evaluate(with_settings(HARDWARE, settings), seed, settings)


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main() -> None:
    given = options(__doc__, rounds=3, configurations={"type": int})
    configurations = given.configurations or (20 if given.quick else 100)
    varied = space(configurations)
    chips = CHIPS * len(varied["adc.bits"]) * len(varied["array.wires.word"])
    with tempfile.TemporaryDirectory() as folder:

        def study(store: str | None, workers: int, round_: int) -> None:
            path = None if store is None else Path(folder) / f"{round_}{workers}{store}"
            here = {"workers": 0} if workers == 0 else {"executor": ThreadPoolExecutor(workers)}
            found = sweep(varied, evaluate, hardware=HARDWARE, chips=CHIPS, store=path, **here)
            assert len(found.records) == chips

        ways = {
            "plain loop": lambda i: plain(varied),
            "memory": lambda i: study(None, 0, i),
            "journal": lambda i: study(".journal", 0, i),
            "SQLite": lambda i: study(".db", 0, i),
            "journal, 2 threads": lambda i: study(".journal", 2, i),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for i in range(given.rounds):  # interleaved: others on the machine slow all alike
            for name, way in ways.items():
                times[name].append(seconds(lambda way=way, i=i: way(i)))
    base = statistics.median(times["plain loop"]) / chips
    for name, found in times.items():
        each = statistics.median(found) / chips
        report(
            f"study, {name}",
            chips=chips,
            ms_a_chip=round(1e3 * each, 3),
            added_ms=round(1e3 * (each - base), 3),
        )


if __name__ == "__main__":
    main()
