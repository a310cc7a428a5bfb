"""What the benchmarks share: their options, interleaved timing, and the form of a line."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch


def options(
    doc: str | None, rounds: int, threads: int | Sequence[int] = 1, quick: int = 3, **more: Any
) -> argparse.Namespace:
    """Return what the command line asks for: ``--rounds``, ``--threads``, ``--quick`` and more.

    ``--quick`` means few rounds where none are given, and whatever else a script makes smaller.

    Args:
        doc: What the script measures.
        rounds: How often it does so.
        threads: Threads of torch, which are set here; a sequence: for a script that tries several.
        quick: Rounds with ``--quick``.
        more: Further options: the arguments of ``add_argument`` by name.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, help=f"{rounds}; with --quick {quick}")
    several = {} if isinstance(threads, int) else {"nargs": "+"}
    parser.add_argument("--threads", type=int, default=threads, **several)
    parser.add_argument("--quick", action="store_true", help="few rounds, small cases")
    for name, how in more.items():
        parser.add_argument(f"--{name}", **how)
    found = parser.parse_args()
    if found.rounds is None:
        found.rounds = min(rounds, quick) if found.quick else rounds
    for name in ("rounds", "threads"):
        given = getattr(found, name)
        if min(given if isinstance(given, Sequence) else [given]) < 1:
            parser.error(f"--{name} must be >= 1, got {given}")
    if isinstance(found.threads, int):
        torch.set_num_threads(found.threads)
    return found


def medians(
    work: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 5
) -> dict[str, float]:
    """Time every piece of work once a round, round after round; return median seconds.

    A timed call follows an untimed one of the same work: none pays for caches that another left
    cold.
    """
    for function in work.values():
        for _ in range(warm_up):
            function()
    seen: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, function in work.items():
            function()
            start = time.perf_counter()
            function()
            seen[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seen.items()}


def report(name: str, **values: object) -> None:
    """Print one JSON line.

    Its name, its texts, switches and whole numbers say what was measured, and must be the same in
    the next run; numbers with a fraction are what was found (``float(3)`` for a count).
    """
    print(json.dumps({"benchmark": name, "threads": torch.get_num_threads(), **values}), flush=True)
