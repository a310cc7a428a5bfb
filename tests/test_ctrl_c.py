"""Ctrl-C, at any time: what changes a model did all of it, or nothing, and ends at once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ACTIONS = 9


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no such signal")
def test_it_is_all_or_nothing_and_ends_at_once():
    done = subprocess.run(
        [sys.executable, str(HERE / "ctrl_c.py"), "3"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == ACTIONS
    assert {one["action"]: one["left"] for one in told if one["left"]} == {}
    assert sum(one["hits"] for one in told) > ACTIONS  # some came too late, the most in time
    assert max(one["slowest"] for one in told) < 10.0
