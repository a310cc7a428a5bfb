"""Interleaved timing, shared by the benchmarks: medians over many rounds, in one run."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping

import torch


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
    """Print one JSON line."""
    print(json.dumps({"benchmark": name, "threads": torch.get_num_threads(), **values}), flush=True)
