"""A user's unmodified MemTorch program, from training to retention, by ``python -m mho.compat``."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mho

ROOT = str(Path(mho.__file__).parents[1])  # the mho under test, wherever the program runs
SCRIPT = Path(__file__).parent / "scripts" / "memtorch_mlp.py"


def rows(text, head):
    """Read a table of the program: ``{first cell: [other cells]}``."""
    lines = text.splitlines()
    start = next(k for k, line in enumerate(lines) if line.strip().startswith(head))
    table = {}
    for line in lines[start + 1 :]:
        if "|" not in line or not re.match(r"\s*[\d.]+ \|", line):
            break
        first, *others = (float(cell) for cell in line.split("|"))
        table[first] = others
    return table


@pytest.mark.slow
def test_a_program_of_memtorch_runs_unmodified(tmp_path):
    assert "import mho" not in SCRIPT.read_text()
    done = subprocess.run(
        [sys.executable, "-m", "mho.compat", str(SCRIPT), "10"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ROOT, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = dict(re.findall(r"^(\w+) ([\d.]+|True)$", done.stdout, re.MULTILINE))
    baseline = float(said["baseline"])
    assert baseline > 94
    # 450 test digits: two points are nine of them.
    for name in ("patched", "nonlinear", "finished"):
        assert float(said[name]) > baseline - 2, name
    assert said["programmed"] == "True"

    bits = rows(done.stdout, "sigma")
    assert set(bits) == {0.0, 0.1, 0.4}
    assert bits[0.0][3] > baseline - 2
    assert bits[0.0][0] < bits[0.0][3]

    faults = rows(done.stdout, "states")
    assert faults[16.0][0] > baseline - 2
    assert faults[2.0][0] < faults[16.0][0]
    assert faults[16.0][2] < faults[16.0][0]

    retention = rows(done.stdout, "hours")
    assert retention[8760.0][0] <= retention[1.0][0] + 1
    assert min(tuned for _, tuned in retention.values()) > baseline - 2
