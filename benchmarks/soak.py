"""Whether long work leaves anything behind: memory, open files, threads, processes, files.

    python benchmarks/soak.py [--rounds 1000000] [--quick] [--case NAME]

Prints a JSON line a case, with a verdict, and ends with exit status 1 if one of them failed:

* ``cycles``: program, age and read one crossbar of 2 × 2 weights, once a round (a quarter of an
  hour of a processor for a million; the cells are few, since what grows by the cycle does so at any
  size);
* ``cycles, no gc``: a tenth as many without Python's collector of reference cycles, which would
  hide tensors that hold each other;
* ``convert``: convert a network, program, read and delete it, a hundredth as often;
* ``study``: a thousandth as many chips, in this process, kept in a journal;
* ``study, workers``: the same chips in two processes, whose memory is looked at, too.

Every case runs in a process of its own. Growth is that of the resident memory from the end of the
warm-up (a tenth of the work) to the end, and ``blocks`` that of Python's allocated blocks; 5 % of
either is a failure, and so is anything left of: file descriptors, threads, child processes, files
in the temporary folder, files beside the store. A case that is interrupted says how far it came.
"""

from __future__ import annotations

import gc
import itertools
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn

import mho
from mho.crossbar import Crossbar
from timing import options, report

LIMIT = 0.05  # growth that is taken for noise
SAMPLES = 100  # of the memory, in one case
FEWEST = 20  # cycles of the shortest case
HARDWARE = mho.Hardware(
    dac=mho.DAC(bits=8),
    adc=mho.ADC(bits=8),
    effects=(
        mho.effects.StuckAt(low=0.01),
        mho.effects.WriteNoise(sigma=0.02),
        mho.effects.PowerLawDrift(nu=0.05),
        mho.effects.ReadNoise(sigma=0.01),
    ),
)


class Watch:
    """What a process holds, at one moment and since the warm-up."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.process = folder, psutil.Process()
        self.times = 0  # what was done, so far
        self.memory: list[int] = []  # bytes
        self.blocks: list[int] = []
        self.before = self.held()

    def held(self) -> dict[str, int]:
        """Count what may be left."""
        return {
            "descriptors": self.process.num_fds() if hasattr(self.process, "num_fds") else 0,
            "threads": self.process.num_threads(),
            "children": len(self.process.children(recursive=True)),
            "files": sum(1 for _ in self.folder.rglob("*")),
        }

    def sample(self) -> None:
        """Look at the memory."""
        self.memory.append(self.process.memory_info().rss)
        self.blocks.append(sys.getallocatedblocks())

    def warm(self) -> None:
        """Say that what comes from here on is no warm-up."""
        self.before = self.held()

    def told(self) -> dict[str, Any]:
        """Return growth, what is left and the verdict."""
        now = self.held()
        left = {name: now[name] - self.before[name] for name in now}
        found = {"memory": growth(self.memory), "blocks": growth(self.blocks)}
        flat = all(value <= LIMIT for value in found.values())
        return {
            "megabytes": round(self.memory[-1] / 1e6),
            **{f"{name}_growth": round(value, 4) for name, value in found.items()},
            "left": left,
            "passed": flat and not any(count > 0 for count in left.values()),
        }


def growth(seen: list[int]) -> float:
    """Return by how much a series grew from its second tenth to its last, as a share."""
    tenth = max(len(seen) // 10, 1)
    begin, end = seen[tenth : 2 * tenth] if len(seen) >= 10 else seen[:1], seen[-tenth:]
    return statistics.median(end) / statistics.median(begin) - 1.0


def repeated(step: Callable[[], object], times: int, watch: Watch) -> None:
    """Do something again and again, and look at the memory now and then."""
    every, warm = max(times // SAMPLES, 1), max(times // 10, 1)
    for index in range(times):
        step()
        watch.times = index + 1
        if index % every == 0:
            watch.sample()
        if index == warm:
            watch.warm()


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))


def cycles(times: int, watch: Watch) -> None:
    """Program, age and read one crossbar."""
    crossbar = Crossbar(2, 2, HARDWARE, seed=0).eval()
    x, weights = torch.rand(1, 2), itertools.cycle(torch.randn(2, 2, 2).unbind())

    def cycle() -> Tensor:
        crossbar.program(next(weights))
        crossbar.age(1.0)
        return crossbar(x)

    repeated(cycle, times, watch)


def cycles_without_collector(times: int, watch: Watch) -> None:
    """As `cycles`; what refers to itself stays."""
    gc.collect()
    gc.disable()
    cycles(times, watch)


def convert(times: int, watch: Watch) -> None:
    """Convert a network, program, read and delete it."""
    digital, x = network(), torch.rand(4, 8)

    def one() -> None:
        analog = mho.convert(digital, HARDWARE, seed=0).eval()
        mho.program(analog)
        mho.age(analog, 1.0)
        analog(x)

    repeated(one, times, watch)


def chip(hardware: mho.Hardware, seed: int, settings: Any) -> dict[str, float]:
    """Return the error of one chip, and what its process holds then."""
    torch.manual_seed(0)
    digital, x = network(), torch.rand(16, 8)
    analog = mho.convert(digital, hardware, seed=seed).eval()
    with torch.no_grad():
        error = float((analog(x) - digital(x)).square().mean())
    return {"error": error, "rss": psutil.Process().memory_info().rss, "process": os.getpid()}


def study(times: int, watch: Watch, workers: int = 0) -> None:
    """Evaluate chips of two configurations."""

    def evaluate(hardware: mho.Hardware, seed: int, settings: Any) -> dict[str, float]:
        found = chip(hardware, seed, settings)
        watch.times += 1
        watch.sample()
        return found

    def chips(many: int, name: str) -> Any:
        return mho.study.sweep(
            {"adc.bits": [4, 8]},
            evaluate if workers == 0 else chip,
            hardware=HARDWARE,
            chips=many,
            store=watch.folder / "soak.journal",
            workers=workers,
            objectives={"error": "minimize"},
            name=name,
        )

    chips(FEWEST // 2, "warm-up")  # what is loaded at first use, and the journal and its lock
    watch.warm()
    watch.memory.clear()
    watch.blocks.clear()
    watch.times = 0
    watch.sample()
    found = chips(max(times // 2, FEWEST // 2), "soak")
    if workers:
        watch.times = len(found.records)
        watch.sample()
        seen: dict[float, list[int]] = {}
        for record in found.records:
            seen.setdefault(record.results["process"], []).append(record.results["rss"])
        most = max(growth(of_one) for of_one in seen.values())
        assert most <= LIMIT, f"a worker's memory grew by {100 * most:.1f} %"


def study_with_workers(times: int, watch: Watch) -> None:
    """As `study`, in two processes."""
    study(times, watch, workers=2)


CASES: dict[str, tuple[Callable[[int, Watch], None], int]] = {
    "cycles": (cycles, 1),
    "cycles, no gc": (cycles_without_collector, 10),
    "convert": (convert, 100),
    "study": (study, 1000),
    "study, workers": (study_with_workers, 1000),
}
"""What is done, and of how many cycles once."""


def run(name: str, rounds: int) -> bool:
    """Run one case in this process and print what was found."""
    work, per = CASES[name]
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = os.environ["TMPDIR"] = folder  # of child processes, too
        watch = Watch(Path(folder))
        began = time.perf_counter(), time.process_time()
        error = None
        try:
            work(max(rounds // per, FEWEST), watch)
        except AssertionError as found:
            error = str(found)
        except KeyboardInterrupt:
            error = f"interrupted: {max(rounds // per, FEWEST)} were asked for"
        now = time.perf_counter(), time.process_time()
        told = watch.told()
        tempfile.tempdir = None
    if error is not None:
        told |= {"passed": False, "error": error}
    seconds, of_processor = (round(end - start, 1) for start, end in zip(began, now, strict=True))
    report(f"soak: {name}", times=watch.times, seconds=seconds, processor_s=of_processor, **told)
    return bool(told["passed"])


def main() -> None:
    given = options(__doc__, rounds=1_000_000, quick=20_000, case={"choices": [*CASES]})
    for ends in (signal.SIGINT, signal.SIGTERM):  # also behind `&`, where SIGINT is ignored
        signal.signal(ends, signal.default_int_handler)
    if given.case:
        sys.exit(not run(given.case, given.rounds))
    failed = []
    for name in CASES:
        again = [sys.executable, __file__, "--case", name, "--rounds", str(given.rounds)]
        if subprocess.run(again, check=False).returncode:
            failed.append(name)
    report("soak", passed=not failed, failed=failed)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
