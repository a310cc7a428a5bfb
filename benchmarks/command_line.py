"""How long the command ``mho`` takes to answer: one JSON line for each command line.

    python benchmarks/command_line.py [--rounds 7]

Each is a process of its own, in turns: what else the machine does falls on all alike. Processor
time tells what the command itself costs where others are busy, too.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time

from timing import options, report

LINES = ("--help", "--version", "cost --help", "cost --nothing", "doctor --json")


def once(line: str) -> tuple[float, float]:
    """Return seconds that pass and seconds of processors."""
    began, used = time.perf_counter(), processors()
    command = [sys.executable, "-m", "mho_cli", *line.split()]
    subprocess.run(command, capture_output=True, check=False)
    return time.perf_counter() - began, processors() - used


def processors() -> float:
    """Return what children have used (s)."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    rounds = options(__doc__, rounds=7).rounds
    times: dict[str, list[tuple[float, float]]] = {line: [] for line in LINES}
    for _ in range(rounds):
        for line in LINES:
            times[line].append(once(line))
    for line, pairs in times.items():
        passed, used = (statistics.median(part) for part in zip(*pairs, strict=True))
        best = min(pair[0] for pair in pairs)
        numbers = {"median_s": passed, "best_s": best, "processor_s": used}
        report(f"mho {line}", **{k: round(v, 3) for k, v in numbers.items()})


if __name__ == "__main__":
    main()
