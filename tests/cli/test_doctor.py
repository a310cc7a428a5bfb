"""`mho doctor`: what it finds is what there is."""

import json
import os
import platform
import re
import subprocess
import sys

import numpy as np
import scipy
import torch

import mho
from mho_cli import machine
from mho_cli.app import main


def test_json_is_what_there_is(capsys):
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["versions"] == {
        "python": platform.python_version(),
        "mho": mho.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }
    assert found["threads"] == torch.get_num_threads()
    assert found["cores"] == len(os.sched_getaffinity(0))
    assert 0 < found["memory"]["available"] <= found["memory"]["total"]
    assert found["disk"]["free"] > 0
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    assert sum(one["device"].startswith("cuda") for one in found["accelerators"]) == count


def test_it_reads_well(capsys):
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    for line in (rf"torch +{re.escape(torch.__version__)}", r"cores +\d+", r"memory +.* of .* GB"):
        assert re.search(f"^{line}", said, re.MULTILINE), said


def test_missing_extras_come_from_what_the_package_says(monkeypatch):
    says = [
        "torch>=2.4",
        'matplotlib>=3.8; extra == "viz"',
        "no-such-thing>=1; extra == 'viz'",
        'pandas[excel]>=2 ; python_version > "3" and extra == "tables"',
    ]
    monkeypatch.setattr(machine.importlib.metadata, "requires", lambda _: says)
    monkeypatch.setattr(machine, "_installed", lambda name: name != "no-such-thing")
    found = machine.facts()
    assert found["extras"] == {
        "tables": {"missing": [], "pip": 'pip install "mho[tables]"'},
        "viz": {"missing": ["no-such-thing"], "pip": 'pip install "mho[viz]"'},
    }
    said = machine.printed(found)
    assert 'viz         missing no-such-thing: pip install "mho[viz]"' in said
    assert re.search(r"tables +there", said)


def test_an_accelerator_and_one_whose_driver_does_not_fit():
    class Device:
        name, total_memory = "Card", 8_000_000_000

    class Backend:
        def is_available(self):
            return True

        def device_count(self):
            return 2

        def get_device_properties(self, index):
            if index:
                raise RuntimeError("driver too old")
            return Device()

    class Torch:
        cuda = Backend()

    found = machine._accelerators(Torch())
    assert machine._devices(found) == [
        "cuda:0 Card 8 GB",
        "cuda:1 (RuntimeError: driver too old)",
    ]


def test_it_speaks_where_torch_does_not_load(tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise OSError('libtorch.so: no such file')\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "mho_cli", "doctor"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=60,
    )
    assert re.search(r"torch +does not load: OSError: libtorch.so: no such file", done.stdout)
    assert re.search(r"numpy +\d", done.stdout)
    assert "not known, as torch does not load" in done.stdout
