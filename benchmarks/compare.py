"""Print what moved by more than noise between two files of `run_all.py`, the most first.

    python benchmarks/compare.py A.json B.json [--least 0.05] [--errors 4] [--anyway]

A line is known by its script, its name and what it says of the case (texts, switches and whole
numbers); numbers with a fraction are what was measured. The noise of one is the scatter of its
repeats, and at least what is usual in its script: a few repeats that agree by chance prove little.
It has moved where the medians differ by more than ``--errors`` standard errors and by the share
``--least``. Files of different machines, or one quick and one not, are not compared; ``--anyway``
does it and says so.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Measures = dict[tuple[str, str, str], list[float]]
"""Values of all repeats by script, line and what was measured."""

TIMES = ("us", "ms", "s", "seconds", "milliseconds", "microseconds")


class Moved(NamedTuple):
    """One measure in both files: medians, their ratio (NaN where a sign changed), the noise."""

    script: str
    line: str
    measure: str
    before: float
    after: float
    ratio: float
    noise: float
    errors: float


def read(path: Path) -> dict[str, Any]:
    """Read a file of `run_all.py` (ValueError if it is another)."""
    try:
        file = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON file: {error}") from error
    if not isinstance(file, dict) or not {"machine", "versions", "scripts"} <= file.keys():
        raise ValueError(f"{path} is no file of run_all.py: it has no machine, versions or scripts")
    return file


def flat(line: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Return a line with nested parts beside the others, as ``above.name``."""
    found: dict[str, Any] = {}
    for name, value in line.items():
        if isinstance(value, dict):
            found |= flat(value, f"{above}{name}.")
        else:
            found[f"{above}{name}"] = value
    return found


def measures(file: dict[str, Any]) -> Measures:
    """Return what every repeat of every line measured."""
    found: Measures = {}
    for script, runs in file["scripts"].items():
        for run in runs:
            alike: Counter[str] = Counter()
            for raw in run["lines"]:
                line = flat(raw)
                name = str(line.pop("benchmark", ""))
                values = {k: v for k, v in line.items() if isinstance(v, float)}
                case = [f"{k}={v}" for k, v in line.items() if k not in values and v is not None]
                key = ", ".join([name, *case])
                alike[key] += 1
                key += f" #{alike[key]}" if alike[key] > 1 else ""
                for measure, value in values.items():
                    if np.isfinite(value):
                        found.setdefault((script, key, measure), []).append(value)
    return found


def scatter(values: list[float]) -> float:
    """Return the standard deviation, no less than that of rounding to the digits printed."""
    digits = min(Decimal(repr(value)).as_tuple().exponent for value in values)
    rounding = 10.0 ** int(digits) / np.sqrt(12.0)
    return float(max(np.std(values, ddof=1) if len(values) > 1 else 0.0, rounding))


def usual(found: Measures) -> dict[tuple[str, str, str], float]:
    """Return the scatter that is usual in a script: the median of its lines, relative to each.

    Of what may be 0 or less (what something costs beyond something else): that of the same measure,
    not relative.
    """
    signed = {(key[0], key[2]) for key, values in found.items() if min(values) <= 0.0}
    alike: dict[tuple[str, ...], list[float]] = {}
    for key, values in found.items():
        kind, size = _kind(key, signed), abs(float(np.median(values)))
        if len(values) > 1:
            alike.setdefault(kind, []).append(scatter(values) / (size if len(kind) == 1 else 1.0))
    middle = {kind: float(np.median(each)) for kind, each in alike.items()}
    return {
        key: middle.get(kind, 0.0) * (abs(float(np.median(values))) if len(kind) == 1 else 1.0)
        for key, values in found.items()
        for kind in [_kind(key, signed)]
    }


def _kind(key: tuple[str, str, str], signed: set[tuple[str, str]]) -> tuple[str, ...]:
    """Return what scatters alike: a script, or one measure of it that may be 0 or less."""
    here = (key[0], key[2])
    return here if here in signed else key[:1]


def compare(before: Measures, after: Measures) -> list[Moved]:
    """Return all measures that both files have, with their distance in standard errors."""
    floors, result = [usual(before), usual(after)], []
    for key in before.keys() & after.keys():
        both = before[key], after[key]
        first, second = (float(np.median(values)) for values in both)
        variance = 0.0
        for values, floor in zip(both, floors, strict=True):
            variance += max(scatter(values), floor[key]) ** 2 / len(values)
        error = float(np.sqrt(variance))
        size = max(abs(first), abs(second))
        ratio = second / first if first * second > 0.0 else 1.0 if first == second else np.nan
        noise = error / size if size else 0.0
        result.append(Moved(*key, first, second, ratio, noise, abs(second - first) / error))
    return result


def moved(found: list[Moved], least: float, errors: float) -> list[Moved]:
    """Return what moved by more than noise, the most first."""

    def size(one: Moved) -> float:
        return abs(np.log(one.ratio)) if one.ratio > 0.0 else np.inf

    kept = [o for o in found if o.errors > errors and not size(o) <= np.log1p(least)]
    return sorted(kept, key=lambda o: (-size(o), -o.errors, o[:3]))


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Return why two files should not be compared."""
    why = [
        f"{name} of the machine: {a['machine'].get(name)} and {b['machine'].get(name)}"
        for name in sorted({*a["machine"], *b["machine"]})
        if a["machine"].get(name) != b["machine"].get(name)
    ]
    return why if a["quick"] == b["quick"] else [*why, "one is quick, the other is not"]


def heading(path: Path, file: dict[str, Any]) -> str:
    changed = " with changes" if file["dirty"] else ""
    with_ = ", ".join(f"{name} {number}" for name, number in file["versions"].items())
    failed = [f"{name} failed" for name, runs in file["scripts"].items() if failure(runs)]
    return "; ".join(
        [f"{path}: commit {str(file['commit'])[:10]}{changed}", with_, file["made"], *failed]
    )


def failure(runs: list[dict[str, Any]]) -> bool:
    return not runs or bool(runs[-1]["failed"])


def show(before: Measures, after: Measures, least: float, errors: float) -> None:
    """Print the table, what is in one file alone, and how all times together moved."""
    found = compare(before, after)
    rows = moved(found, least, errors)
    print(f"\n{len(rows)} of {len(found)} moved (ratio B / A, noise, A, B):" if rows else "")
    for one in rows:
        ratio = "sign" if np.isnan(one.ratio) else f"× {one.ratio:.3g}"
        print(
            f"{ratio:>8}  ± {100 * one.noise:4.1f} %  {one.before:.4g} → {one.after:.4g}  "
            f"{one.script}: {one.line}: {one.measure}"
        )
    if not rows:
        print(f"Nothing of {len(found)} moved by more than noise.")
    for title, here, there in (("missing in B", before, after), ("new in B", after, before)):
        lines = {key[:2] for key in there}
        for key in sorted({key if key[:2] in lines else key[:2] for key in here} - there.keys()):
            print(f"{title}: {': '.join(key)}")
    times = [o.ratio for o in found if o.measure.split("_")[-1] in TIMES and o.ratio > 0.0]
    if times:
        print(
            f"\nAll times together: × {np.median(times):.3g} (median of {len(times)}). Far from 1 "
            "it is the machine that was busier, rather than the code."
        )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs=2, type=Path, metavar="FILE")
    parser.add_argument("--least", type=float, default=0.05, help="smallest share (%(default)s)")
    parser.add_argument("--errors", type=float, default=4.0, help="standard errors (%(default)s)")
    parser.add_argument("--anyway", action="store_true", help="also across machines")
    given = parser.parse_args()
    try:
        a, b = (read(path) for path in given.files)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    for name, path, file in zip("AB", given.files, (a, b), strict=True):
        print(f"{name}  {heading(path, file)}")
    different = differences(a, b)
    for why in different:
        print(f"Not the same: {why}")
    if different and not given.anyway:
        print("Not compared: times of one say nothing about the other (--anyway compares them).")
        return 2
    show(measures(a), measures(b), given.least, given.errors)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
