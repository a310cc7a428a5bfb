"""The benchmark for GPUs runs where there is none, so that it does where there is one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "gpu.py"


@pytest.mark.slow
def test_it_runs_small_on_a_cpu():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", SCRIPT, "--device", "cpu", "--quick"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    found = {line["benchmark"].removeprefix("gpu: "): line for line in lines}
    assert len(found) == 16
    assert not [line for line in lines if "error" in line]
    for name, line in found.items():
        if name.startswith(("MLP, step", "MLP, read,", "ResNet")) and "graph" not in name:
            assert line["mho_ms"] > 0, line
            assert line["plain_ms"] > 0, line
