"""Importing mho is quick: what few programs need is loaded when they ask for it."""

import json
import subprocess
import sys

import pytest

import mho

HEAVY = (
    "scipy.linalg",
    "scipy.sparse",
    "scipy.special",
    "scipy.optimize",
    "scipy.stats",
    "scipy.signal",
    "scipy.interpolate",
    "sklearn",
    "matplotlib",
    "pandas",
    "IPython",
    "torch._dynamo",
    "torch._inductor",
    "sympy",
    "yaml",
    "mho.fit",
    "mho.plot",
    "mho.study",
    "mho.testing",
)
ROOMS = (
    "analysis",
    "chip",
    "circuit",
    "decomposition",
    "devices",
    "effects",
    "encoding",
    "fit",
    "nn",
    "plot",
    "programming",
    "study",
    "testing",
    "train",
)


def fresh(program):
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["mho", "mho.compat.memtorch", "mho.compat.xbtorch"])
def test_importing_loads_nothing_heavy_beyond_torch(name):
    loaded = fresh(
        "import json, sys, torch\n"
        "before = set(sys.modules)\n"
        f"import {name}\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    assert name in loaded
    assert not set(loaded) & set(HEAVY)


def test_mho_alone_loads_no_room_that_stands_on_the_heart():
    loaded = fresh("import json, sys, mho\nprint(json.dumps(sorted(sys.modules)))")
    rooms = {name for name in ROOMS if f"mho.{name}" in loaded}
    assert rooms == {"circuit", "devices", "effects", "encoding", "nn", "programming"}


def test_rooms_are_there_when_asked_for():
    found = fresh(
        "import json, mho\n"
        "from mho import train\n"
        "import mho.chip\n"
        f"names = [getattr(mho, room).__name__ for room in {ROOMS!r}]\n"
        "print(json.dumps([names, train.__name__, mho.fit.pulses.__name__]))"
    )
    assert found == [[f"mho.{room}" for room in ROOMS], "mho.train", "pulses"]
    assert set(ROOMS) <= set(dir(mho))
    with pytest.raises(AttributeError, match="nothing"):
        _ = mho.nothing
