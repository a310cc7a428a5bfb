"""Whether the tests would notice: small faults planted at random, and how many of them are seen.

    python tools/mutants.py --minutes 25 --seed 0 --rooms cells crossbar --out build/mutants

Cosmic Ray's operators make the faults (a comparison turned, a number moved by one, a loop that does
not run); this file chooses where, and which tests to run. One pytest session a room collects the
room's test files (named in `mutants.yaml`). A first pass measures with coverage which tests reach
which lines; then every mutant is a fork of that session in which the functions' code is replaced,
and only tests that reach the mutated line run, the quickest first, until one fails. A fork costs
milliseconds where a fresh process would import torch anew.

A mutant counts as killed where the same tests pass in a fork of the same kind without it; where
they don't, the one that failed is used no more and the mutant is tried again. Its processor time is
limited to some times that of its tests; over that, it counts as noticed ("timeout"), if they end in
time without it.

What is mutated and what is left out, and why: `mutations.py`. Lines that none of the room's tests
reach count as survivors; mutants known to change nothing (`mutants.yaml`) count as neither.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import coverage
import pytest

from mutations import (
    ROOT,
    SETTINGS,
    Mutant,
    again,
    change,
    compiles,
    is_equivalent,
    noticed,
    places,
    plant,
)

SOURCE = ROOT / "src" / "mho"

MEASURING = 0.5  # of a room's time, at most, goes into finding out which tests reach what
TEST_SECONDS = 20.0  # of tests a mutant, by their time without it
OVERTIME = 120.0  # seconds after which mutants that still run are given up
MEMORY = 6 * 2**30  # bytes of address space a mutant may take beyond the session's
FAILED = 3  # what a fork exits with that did not come to run its tests


def start(
    work: Callable[[], int], cpu_seconds: float | None = None, says: Path | str = os.devnull
) -> int:
    """Start `work` in a fork that exits with what it returns; gives its id.

    What it prints goes to the file `says`.
    """
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = FAILED
    try:
        printed = os.open(says, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        if cpu_seconds is not None:
            limit = int(time.process_time() + cpu_seconds) + 1
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            space = pages * resource.getpagesize() + MEMORY
            resource.setrlimit(resource.RLIMIT_AS, (space, space))
        code = work()
    finally:
        os._exit(code)


@dataclass(frozen=True)
class Try:
    """A mutant that runs in a fork; or, once it was killed, the tests that did so without it."""

    mutant: Mutant
    source: str
    difference: list[str]
    tests: list[str]
    noted: Path  # the fork writes here which of the tests it has come to
    until: float = 0.0
    killed: str | None = None  # None: the mutant; else, tests without it, and how it ended

    @property
    def come_to(self) -> int:
        """Which of the tests was last begun."""
        return int(self.noted.read_text() or 0)


class Room:
    """A pytest plugin: in place of running a room's tests once, it tries mutants against them."""

    def __init__(self, name: str, seed: int, options: argparse.Namespace) -> None:
        self.name, self.options = name, options
        self.random = random.Random(f"{seed} {name}")
        self.failed = False
        self.results: list[dict] = []
        self.unsound: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note that a test has failed."""
        self.failed = self.failed or report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Try mutants in place of pytest's own loop."""
        if session.testsfailed:
            raise session.Interrupted(f"{session.testsfailed} errors during collection")
        now = time.monotonic()
        self.measure_until = now + MEASURING * (self.options.until - now)
        self.items = {item.nodeid: item for item in session.items}
        self.measure()
        files = sorted((SOURCE / self.name).rglob("*.py"))
        if self.options.only:
            files = [file for file in files if file.name in self.options.only]
        mutants = [mutant for file in files for mutant in places(file)]
        if self.options.again:
            mutants = again(mutants, self.options.out / f"{self.name}.json")
        self.random.shuffle(mutants)
        self.places = len(mutants)
        self.try_all(mutants[: self.options.most])
        return True

    def fails(self, name: str, following: str | None) -> bool:
        """Run one test; `following` is the one after it, for which fixtures may be kept."""
        item, self.failed = self.items[name], False
        after = self.items[following] if following else None
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        return self.failed

    def measure(self) -> None:
        """Find which tests reach which lines, and what time each takes."""
        names = list(self.items)
        half = -(-len(names) // self.options.workers)
        parts = [names[first : first + half] for first in range(0, len(names), half)]
        self.reach: dict[str, list[str]] = defaultdict(list)
        self.cost: dict[str, float] = {}
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / str(number) for number in range(len(parts))]
            for _ in [
                start(lambda p=p, f=f: self.trace(p, f)) for p, f in zip(parts, files, strict=True)
            ]:
                os.wait()
            for file in files:
                reach, cost = json.loads(file.read_text())
                self.cost |= cost
                for place, tests in reach.items():
                    self.reach[place] += tests

    def trace(self, names: list[str], result: Path) -> int:
        """Run tests under coverage and write which lines each reaches; none of those that fail.

        The last ones are left out where time is short.
        """
        measured = coverage.Coverage(data_file=None, source=[str(SOURCE / self.name)])
        measured.start()
        cost = {}
        for name, following in zip(names, [*names[1:], None], strict=True):
            if time.monotonic() > self.measure_until:
                break
            measured.switch_context(name)
            before = time.process_time()
            if not self.fails(name, following):
                cost[name] = time.process_time() - before
        measured.stop()
        data = measured.get_data()
        reach = {
            f"{file}:{line}": [test for test in tests if test in cost]
            for file in data.measured_files()
            for line, tests in data.contexts_by_lineno(file).items()
        }
        result.write_text(json.dumps([reach, cost]))
        return 0

    def files(self) -> dict[str, dict[str, float]]:
        """Of every test file: tests, seconds, and how many of the room's lines it reaches."""
        seconds: Counter = Counter()
        tests, lines = Counter(map(_file, self.cost)), Counter()
        for test, cost in self.cost.items():
            seconds[_file(test)] += cost
        for reached in self.reach.values():
            lines.update(set(map(_file, reached)))
        return {
            file: {"tests": tests[file], "seconds": round(seconds[file], 2), "lines": lines[file]}
            for file in tests
        }

    def chosen(self, mutant: Mutant) -> list[str]:
        """The tests for a mutant: the quickest of those that reach its line, up to some time."""
        tests = sorted(self.reach[f"{mutant[0]}:{mutant[3]}"], key=self.cost.__getitem__)
        taken, total = [], 0.0
        for test in tests:
            total += self.cost[test]
            if taken and total > TEST_SECONDS:
                break
            taken.append(test)
        return taken

    def attempt(self, tried: Try) -> int:
        """Plant a mutant, or nothing, and run tests; 1 if one fails, else 0."""
        if tried.killed is None:
            plant(tried.mutant[0], tried.source)
        following = [*tried.tests[1:], None]
        try:
            for number, (test, after) in enumerate(zip(tried.tests, following, strict=True)):
                tried.noted.write_text(str(number))
                if self.fails(test, after):
                    return 1
        except BaseException:
            return 1  # it broke pytest itself
        return 0

    def begin(self, tried: Try) -> None:
        """Start a try in a fork."""
        limit = 10 + 4 * sum(self.cost[test] for test in tried.tests)
        tried.noted.write_text("")
        child = start(lambda: self.attempt(tried), limit)
        self.running[child] = replace(tried, until=time.monotonic() + 10 * limit)

    def try_all(self, mutants: list[Mutant]) -> None:
        """Try mutants until none is left or time is over."""
        self.running: dict[int, Try] = {}
        with tempfile.TemporaryDirectory() as folder:
            while mutants or self.running:
                while mutants and len(self.running) < self.options.workers:
                    if time.monotonic() > self.options.until:
                        mutants = []
                        break
                    mutant = mutants.pop(0)
                    source, difference = change(mutant)
                    if not compiles(source):  # `**` that unpacks, say, is no power
                        continue
                    tests = self.chosen(mutant)
                    if is_equivalent(mutant, difference):
                        self.report("equivalent", difference)
                    elif not tests:
                        self.report("unreached", difference)
                    else:
                        noted = Path(folder) / str(len(mutants))
                        self.begin(Try(mutant, source, difference, tests, noted))
                self.collect()

    def report(self, outcome: str, difference: list[str]) -> None:
        """Note what became of a mutant."""
        self.results.append({"outcome": outcome, "difference": difference})

    def collect(self) -> None:
        """Take the result of a fork that has ended, and end those that wait for ever."""
        if not self.running:
            return
        now, over = time.monotonic(), self.options.until + OVERTIME
        for child, tried in self.running.items():
            if now > min(tried.until, over):
                os.kill(child, signal.SIGKILL)
        child, status = os.waitpid(-1, os.WNOHANG)
        if child not in self.running:
            time.sleep(0.02)
            return
        tried = self.running.pop(child)
        if now > over:
            return  # the room's time was over, not the mutant's
        if os.WIFSIGNALED(status):
            slow = os.WTERMSIG(status) == signal.SIGXCPU or now > tried.until
            outcome = "timeout" if slow else "killed"
        else:
            outcomes = {0: "survived", 1: "killed", FAILED: "not planted"}
            outcome = outcomes[os.WEXITSTATUS(status)]
        if tried.killed is None and outcome in ("killed", "timeout"):
            done = tried.tests[: tried.come_to + 1]
            self.begin(replace(tried, tests=done, killed=outcome))
        elif tried.killed is None or outcome == "survived":
            self.report(tried.killed or outcome, tried.difference)
        else:
            self.drop(tried)

    def drop(self, tried: Try) -> None:
        """Use the test that fails without a mutant no more, and try the mutant by others."""
        unsound = tried.tests[tried.come_to]
        self.unsound.append(unsound)
        for tests in self.reach.values():
            if unsound in tests:
                tests.remove(unsound)
        if tests := self.chosen(tried.mutant):
            self.begin(replace(tried, tests=tests, killed=None))
        else:
            self.report("unreached", tried.difference)


def _file(test: str) -> str:
    return test.split("::")[0]


def try_room(name: str, options: argparse.Namespace) -> dict:
    """Try one room's mutants; what it found, of the results and what they are taken from."""
    room = Room(name, options.seed, options)
    tests = [
        str(path) for pattern in SETTINGS["rooms"][name] for path in sorted(ROOT.glob(pattern))
    ]
    arguments = ["-q", "-m", "not slow", "-p", "no:cacheprovider", "--disable-warnings", *tests]
    pytest.main([*arguments, f"--rootdir={ROOT}"], plugins=[room])
    return {
        "room": name,
        "places": room.places,
        "tests": room.files(),
        "collected": len(room.items),
        "unsound": room.unsound,
        "results": room.results,
    }


def main() -> None:
    """Try every room's mutants in turn, and print what became of them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=25.0, help="for all rooms together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--rooms", nargs="+", default=[*SETTINGS["rooms"]], choices=SETTINGS["rooms"]
    )
    parser.add_argument("--only", nargs="+", default=[], help="file names, in place of all")
    parser.add_argument("--again", action="store_true", help="only the last run's survivors")
    parser.add_argument("--most", type=int, default=10**6, help="mutants a room")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "mutants")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + 60 * options.minutes
    found = []
    for number, name in enumerate(options.rooms):
        # Each room gets its share of what is left, in a process of its own.
        now = time.monotonic()
        options.until = now + (ends - now) / (len(options.rooms) - number)
        file = options.out / f"{name}.json"
        before = file.stat().st_mtime_ns if file.exists() else None
        says = file.with_suffix(".log")
        os.waitpid(start(lambda n=name, f=file: write(f, try_room(n, options)), says=says), 0)
        if not file.exists() or file.stat().st_mtime_ns == before:
            raise SystemExit(f"{name}: its tests could not be collected or measured; see {says}")
        found.append(json.loads(file.read_text()))
        print_room(found[-1])
    print_table(found)


def write(file: Path, found: dict) -> int:
    """Write what a room's process has found."""
    file.write_text(json.dumps(found, indent=1))
    return 0


def print_room(found: dict) -> None:
    """Print the mutants of a room that no test noticed."""
    used = sum(file["tests"] for file in found["tests"].values())
    print(f"\n{found['room']}: {used} of {found['collected']} tests pass, in time, and were used")
    for test in found["unsound"]:
        print(f"{test} fails without a mutant")
    for result in found["results"]:
        if not noticed(result):
            print("", result["outcome"].upper(), *result["difference"], sep="\n", flush=True)


def print_table(found: list[dict]) -> None:
    """Print what became of the mutants of each room; timeouts count as killed."""
    print(
        f"\n{'room':<12}{'places':>8}{'tried':>7}{'killed':>8}{'timeout':>9}{'survived':>10}"
        f"{'unreached':>11}{'equivalent':>12}{'share':>8}"
    )
    whole = {
        "room": "all",
        "places": sum(room["places"] for room in found),
        "results": [result for room in found for result in room["results"]],
    }
    for room in [*found, whole]:
        count = Counter(result["outcome"] for result in room["results"])
        killed = count["killed"] + count["timeout"]
        tried = killed + count["survived"] + count["unreached"]
        share = f"{killed / tried:.1%}" if tried else "-"
        print(
            f"{room['room']:<12}{room['places']:>8}{tried:>7}{count['killed']:>8}"
            f"{count['timeout']:>9}{count['survived']:>10}{count['unreached']:>11}"
            f"{count['equivalent']:>12}{share:>8}"
        )


if __name__ == "__main__":
    main()
