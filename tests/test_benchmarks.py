"""The benchmarks' options, their runner, and what the comparison of two runs notices."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scripts import BENCHMARKS, benchmark

compare, run_all = benchmark("compare"), benchmark("run_all")


@pytest.mark.parametrize("name", [*run_all.scripts(BENCHMARKS), *sorted(run_all.ALONE)])
def test_a_benchmark_takes_the_same_options_and_prints_lines_in_one_form(name):
    text = (BENCHMARKS / f"{name}.py").read_text(encoding="utf-8")
    calls = {
        getattr(node.func, "id", "")
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
    }
    assert {"options", "report"} <= calls
    assert "argparse" not in text
    assert "json.dumps" not in text
    assert "sys.argv[1:]" not in text


# ── the runner ───────────────────────────────────────────────────────────────────────────────────

GOOD = """
import json, sys
print("not a line of it")
print(json.dumps({"benchmark": "good", "quick": "--quick" in sys.argv, "ms": 1.5}))
"""
FAILING = GOOD + "raise ValueError('what went wrong')\n"
SLEEPING = """
import subprocess, sys, time
print('{"benchmark": "slow", "ms": 1.0}', flush=True)
print('{"benchmark": "cut sh', end="", flush=True)
subprocess.run([sys.executable, "-c", "import time; time.sleep(60)"])
"""


def ran(folder, *arguments):
    code = (
        f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r}); import run_all, pathlib; "
        f"sys.exit(run_all.main(pathlib.Path({str(folder)!r})))"
    )
    out = folder / "found.json"
    done = subprocess.run(
        [sys.executable, "-c", code, "--out", str(out), *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done, json.loads(out.read_text(encoding="utf-8"))


def test_the_runner_runs_the_rest_and_says_what_failed(tmp_path):
    for name, text in {"a_slow": SLEEPING, "b_fails": FAILING, "c_good": GOOD}.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    done, found = ran(tmp_path, "--quick", "--repeats", "2", "--limit", "3")
    assert done.returncode == 1
    assert "FAILED b_fails: exit status 1: ValueError: what went wrong" in done.stdout
    assert "FAILED a_slow: took more than 3 s" in done.stdout
    assert "c_good" not in done.stdout
    runs = found["scripts"]
    assert [len(runs[name]) for name in ("a_slow", "b_fails", "c_good")] == [1, 1, 2]
    assert [line["ms"] for line in runs["a_slow"][0]["lines"]] == [1.0]
    assert all(
        run["lines"] == [{"benchmark": "good", "quick": True, "ms": 1.5}] for run in runs["c_good"]
    )
    assert found["machine"]["cores"] >= 1
    assert found["machine"]["cpu"]
    assert {"python", "torch", "numpy", "scipy", "mho"} <= set(found["versions"])
    assert found["commit"] is None  # no repository there


def test_the_runner_is_content_where_all_run(tmp_path):
    (tmp_path / "good.py").write_text(GOOD, encoding="utf-8")
    (tmp_path / "timing.py").write_text("raise SystemExit(1)", encoding="utf-8")
    done, found = ran(tmp_path, "--repeats", "1")
    assert done.returncode == 0, done.stderr
    assert set(found["scripts"]) == {"good"}
    assert found["scripts"]["good"][0]["lines"][0]["quick"] is False
    assert set(found) >= {"made", "commit", "dirty", "repeats"}


# ── the comparison ───────────────────────────────────────────────────────────────────────────────


def made(path, factors=(), noise=0.03, seed=0, repeats=3, lines=40, **changes):
    """Write a file of one script whose lines scatter, some of them times a factor."""
    rng, runs = np.random.default_rng(seed), []
    for _ in range(repeats):
        printed = []
        for i in range(lines):
            ms = (1.0 + i) * dict(factors).get(i, 1.0) * (1.0 + noise * rng.standard_normal())
            extra = {"share": noise * rng.standard_normal()}
            printed.append({"benchmark": "read", "size": i, "ms": float(ms), "extra": extra})
        runs.append({"lines": printed, "seconds": 1.0, "failed": None})
    file = {
        "made": "2026-01-01", "machine": {"cpu": "one", "cores": 2}, "quick": False,
        "versions": {"torch": "2"}, "commit": "0" * 40, "dirty": False, "repeats": repeats,
        "scripts": {"heart": runs},
    } | changes  # fmt: skip
    Path(path).write_text(json.dumps(file), encoding="utf-8")
    return path


def compared(*arguments):
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "compare.py"), *map(str, arguments)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_a_slowdown_above_noise_is_found_and_one_below_is_not(tmp_path):
    a = made(tmp_path / "a.json")
    b = made(tmp_path / "b.json", {7: 1.4, 9: 1.04, 20: 0.5}, seed=1)
    status, text = compared(a, b)
    assert status == 0
    rows = [line for line in text.splitlines() if "±" in line]
    assert len(rows) == 2, text
    assert "size=20" in rows[0]  # the most first
    assert "size=7" in rows[1]
    assert float(rows[1].split()[1]) == pytest.approx(1.4, rel=0.1)


def test_noise_alone_moves_next_to_nothing(tmp_path):
    shares = []
    for seed in range(30):
        files = [made(tmp_path / f"{side}.json", seed=2 * seed + side) for side in (0, 1)]
        before, after = (compare.measures(json.loads(file.read_text())) for file in files)
        both = compare.compare(before, after)
        assert len(both) == 80
        shares.append(len(compare.moved(both, 0.05, 4.0)) / len(both))
    assert np.mean(shares) < 0.01


def test_repeats_that_agree_by_chance_are_no_proof(tmp_path):
    a, b = made(tmp_path / "a.json"), made(tmp_path / "b.json", seed=1)
    for path, value in ((a, 10.0), (b, 10.6)):
        file = json.loads(path.read_text())
        for run in file["scripts"]["heart"]:
            run["lines"][9]["ms"] = value
        path.write_text(json.dumps(file))
    assert "Nothing of 80 moved by more than noise." in compared(a, b)[1]


def test_counts_and_bytes_without_scatter_move_by_little(tmp_path):
    for name, value in (("a", 12.0), ("b", 13.0)):
        line = {"benchmark": "memory", "bytes": value, "hardware": "ideal"}
        runs = [{"lines": [line], "seconds": 1.0, "failed": None}] * 3
        made(tmp_path / f"{name}.json", scripts={"lean": runs})
    text = compared(tmp_path / "a.json", tmp_path / "b.json")[1]
    assert "1 of 1 moved" in text
    assert "lean: memory, hardware=ideal: bytes" in text


def test_missing_and_new_lines_are_listed_and_lines_alike_kept_apart(tmp_path):
    a = made(tmp_path / "a.json", lines=3)
    b = made(tmp_path / "b.json", lines=2)
    assert "missing in B: heart: read, size=2" in compared(a, b)[1]
    assert "new in B: heart: read, size=2" in compared(b, a)[1]
    twice = {
        "scripts": {
            "x": [{"lines": [{"benchmark": "y", "ms": 1.0}, {"benchmark": "y", "ms": 2.0}]}]
        }
    }
    assert compare.measures(twice) == {("x", "y", "ms"): [1.0], ("x", "y #2", "ms"): [2.0]}


def test_a_number_that_is_none_any_more_is_missing(tmp_path):
    for name, value in (("a", 12.0), ("b", float("nan"))):
        line = {"benchmark": "memory", "bytes": value, "ms": 1.0}
        made(tmp_path / f"{name}.json", scripts={"lean": [{"lines": [line], "failed": None}] * 3})
    text = compared(tmp_path / "a.json", tmp_path / "b.json")[1]
    assert "missing in B: lean: memory: bytes" in text


def test_runs_of_other_machines_or_sizes_are_not_compared(tmp_path):
    a = made(tmp_path / "a.json")
    b = made(tmp_path / "b.json", {7: 2.0}, machine={"cpu": "another", "cores": 2})
    status, text = compared(a, b)
    assert status == 2
    assert "cpu of the machine: one and another" in text
    assert "size=7" not in text
    status, text = compared(a, b, "--anyway")
    assert status == 0
    assert "cpu of the machine: one and another" in text
    assert "size=7" in text
    assert compared(a, made(tmp_path / "b.json", quick=True))[0] == 2


def test_a_busier_machine_is_told(tmp_path):
    a = made(tmp_path / "a.json")
    b = made(tmp_path / "b.json", dict.fromkeys(range(40), 1.3), seed=1)
    assert "All times together: × 1.3" in compared(a, b)[1]


def test_other_files_are_refused_by_name(tmp_path):
    a = made(tmp_path / "a.json")
    for text in ("{", "[]", '{"scripts": {}}'):
        (tmp_path / "b.json").write_text(text, encoding="utf-8")
        status, told = compared(a, tmp_path / "b.json")
        assert status == 2
        assert "b.json is no" in told
        assert "Traceback" not in told
    assert compared(a, tmp_path / "none.json")[0] == 2
