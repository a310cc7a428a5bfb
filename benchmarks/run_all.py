"""Run all benchmarks, each in a process of its own, several times; one JSON file.

    python benchmarks/run_all.py [--quick] [--repeats 3] [--limit 900] [--only NAME …] [--out FILE]

All scripts run once, then all again: what the machine does meanwhile shows as spread. A script
that fails or takes too long is told and not repeated, the rest run, and the exit status is 1. The
file says on what machine, with which versions and from which commit; `compare.py` compares two.

Why not asv, pytest-benchmark or pyperf: they time one function each, where these scripts time in
turns what they compare and report ratios, bytes and errors too, which pyperf's files (seconds,
bytes, whole numbers) cannot hold; asv builds an environment for every commit besides.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mho import __version__
from mho.core.files import aside

HERE = Path(__file__).parent
ALONE = {"soak", "advice"}
"""Run by themselves: long work, whose verdict is what counts, and accuracies."""
OTHERS = {"timing", "naive_cells", "run_all", "compare", *ALONE}
"""What benchmarks share and what runs them."""


def scripts(folder: Path) -> list[str]:
    """Return the names of all benchmarks of a folder."""
    return sorted({path.stem for path in folder.glob("*.py")} - OTHERS)


def machine() -> dict[str, Any]:
    """Return processor, cores, memory (GB) and system."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = None
    if hasattr(os, "sysconf"):
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9)
    return {
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": memory,
        "os": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Return those that times depend on."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "numpy", "scipy")},
        "mho": __version__,
    }


def commit(folder: Path) -> dict[str, Any]:
    """Return the commit, and whether files differ from it; None where there is no repository."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *words], cwd=folder, capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            return None
        return done.stdout.strip()

    head, changed = git("rev-parse", "HEAD"), git("status", "--porcelain")
    return {"commit": head, "dirty": None if changed is None else bool(changed)}


def run(script: Path, quick: bool, limit: float) -> dict[str, Any]:
    """Run one script; return its lines, its seconds and, where it failed, why.

    Seconds of the processor say how much of the time on the clock it had to wait for others.
    """
    start, used = time.perf_counter(), processor()
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", str(script), *(["--quick"] if quick else [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={"OMP_NUM_THREADS": "1", **os.environ},
        start_new_session=True,  # to end with it whatever it started
    )
    failed = None
    try:
        printed, errors = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        printed, errors = process.communicate()
        failed = f"took more than {limit:g} s"
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    if failed is None and process.returncode:
        last = errors.strip().splitlines()[-1:] or [""]
        failed = f"exit status {process.returncode}: {last[0][:300]}"
    lines = list(measured(printed))
    if failed is None and not lines:
        failed = "printed no line of JSON"
    return {
        "lines": lines,
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(processor() - used, 1),
        "failed": failed,
    }


def processor() -> float:
    """Return the processor time that ended children have used (s)."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured(printed: str) -> Iterator[dict[str, Any]]:
    """Yield the lines of JSON among what a script printed."""
    for line in printed.splitlines():
        if line.startswith("{"):
            try:
                yield json.loads(line)
            except json.JSONDecodeError:  # cut short at the limit
                continue


def run_all(folder: Path, names: list[str], given: argparse.Namespace) -> dict[str, Any]:
    """Run scripts in turns; return what goes into the file."""
    found: dict[str, Any] = {
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        **commit(folder),
        "quick": given.quick,
        "repeats": given.repeats,
        "scripts": {name: [] for name in names},
    }
    try:
        for turn in range(given.repeats):
            for name in names:
                runs = found["scripts"][name]
                if any(one["failed"] for one in runs):
                    continue
                runs.append(run(folder / f"{name}.py", given.quick, given.limit))
                last = runs[-1]
                told = last["failed"] or f"{len(last['lines'])} lines"
                took = f"{last['seconds']} s, {last['cpu_seconds']} s of processors"
                print(f"{turn + 1} {name}: {told}, {took}", file=sys.stderr)
    except KeyboardInterrupt:
        found["interrupted"] = True
    return found


def main(folder: Path = HERE) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few rounds, small cases")
    parser.add_argument("--repeats", type=int, default=3, help="of every script (%(default)s)")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds a script may take")
    parser.add_argument("--only", nargs="+", choices=scripts(folder), metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path("benchmarks.json"))
    given = parser.parse_args()
    if given.repeats < 1 or not given.limit > 0:
        parser.error("--repeats must be >= 1 and --limit > 0")
    if not given.out.parent.is_dir():
        parser.error(f"--out: there is no folder {given.out.parent}")
    for ends in (signal.SIGINT, signal.SIGTERM):  # also behind `&`, where SIGINT is ignored
        signal.signal(ends, signal.default_int_handler)
    found = run_all(folder, given.only or scripts(folder), given)
    with aside(given.out) as draft:
        draft.write_text(json.dumps(found, indent=1, ensure_ascii=False), encoding="utf-8")
    failed = {n: r[-1]["failed"] for n, r in found["scripts"].items() if r and r[-1]["failed"]}
    for name, why in failed.items():
        print(f"FAILED {name}: {why}")
    print(given.out)
    return 1 if failed or found.get("interrupted") else 0


if __name__ == "__main__":
    raise SystemExit(main())
