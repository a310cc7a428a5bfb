"""What is missing is named with the line that installs it, for every command and function."""

import json
import subprocess
import sys

import pytest

from configs.texts import crosssim
from mho.core import extras

# Everything that is no dependency of mho itself, hidden from a fresh process.
BLOCKED = """
import sys

class Blocker:
    hidden = {"matplotlib", "bokeh", "markupsafe", "jinja2", "sklearn", "pandas", "openpyxl",
              "pyarrow", "mnist1d", "transformers", "peft", "torchvision", "onnx", "onnxscript",
              "lm_eval", "safetensors", "optuna", "SALib", "xarray", "sqlalchemy", "dask", "ray",
              "psutil", "psycopg", "distributed", "IPython"}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
"""
TRIED = (
    BLOCKED
    + """
import contextlib, io, json
import torch, mho
from mho_cli.app import main

for room in ("analysis", "chip", "decomposition", "fit", "study", "testing", "train"):
    getattr(mho, room)
open("network.py", "w").write('''
import torch
def task():
    model = torch.nn.Linear(4, 3)
    x = torch.rand(20, 4)
    return model, x, model(x).argmax(1), x
''')
open("iv.csv", "w").write("V,I (A)\\n" + "\\n".join(f"{v},{1e-5 * v}" for v in range(1, 9)))
open("book.xlsx", "wb").write(b"PK\\x03\\x04 of some kind")
open("table.parquet", "wb").write(b"PAR1 of some kind")
open("weights.safetensors", "wb").write(b"of some kind")

def command(line):
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
        status = main(line.split())
    return status, told.getvalue()

def function(call):
    try:
        call()
    except ImportError as error:
        return 1, str(error)
    return 0, ""

adapters = __import__("mho.nn.adapters", fromlist=["x"])
language = __import__("mho.study.language", fromlist=["x"])
data = __import__("mho.demo.data", fromlist=["x"])
memtorch = __import__("mho.compat.memtorch.utils", fromlist=["x"])
hardware = mho.Hardware(adc=mho.ADC(bits=8))
x = torch.linspace(1e-6, 1e-5, 400, dtype=torch.float64).numpy()
found = {line: command(line) for line in COMMANDS}
found |= {name: function(call) for name, call in {
    "mho.plot": lambda: mho.plot,
    "sweep": lambda: mho.study.sweep({"adc.bits": [4]}, len, hardware=hardware, store="a.db"),
    "RayExecutor": lambda: mho.study.RayExecutor(),
    "jump_table": lambda: mho.fit.jump_table(x, 0.01 * x),
    "digits": lambda: data.digits(0),
    "mnist1d": lambda: data.mnist1d(0, 10),
    "adapters": lambda: adapters.know_crossbars(None),
    "language": lambda: language.language_model(torch.nn.Linear(2, 2), None),
    "LoadMNIST": lambda: memtorch.LoadMNIST(),
}.items()}
print("RESULT" + json.dumps(found))
"""
)
WORKING = (
    "doctor --json",
    "fit iv.csv --dry-run",
    "cost ideal --model network:task",
    "card --help",
    "convert-config config.json --from crosssim",
    "--version",
)
MISSING = {
    "demo --quick": "viz",
    "card ideal": "viz",
    "accuracy ideal --model network:task": "viz",
    "cost ideal": "viz",
    "cost ideal --model network:task --figure a.png": "viz",
    "fit iv.csv": "viz",
    "fit-device iv.csv": "viz",
    "fit book.xlsx --dry-run": "tables",
    "fit table.parquet --dry-run": "tables",
    "report network:task ideal": "viz",
    "study which_hardware --quick": "study",
    "mho.plot": "viz",
    "sweep": "study",
    "RayExecutor": "ray",
    "jump_table": "viz",
    "digits": "viz",
    "mnist1d": "examples",
    "adapters": "hf",
    "language": "lm-eval",
    "LoadMNIST": "vision",
}


@pytest.fixture(scope="module")
def core_only(tmp_path_factory):
    folder = tmp_path_factory.mktemp("core")
    (folder / "config.json").write_text(json.dumps(crosssim()))
    lines = [*WORKING, *(line for line in MISSING if " " in line)]
    program = f"COMMANDS = {lines!r}\n{TRIED}"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.partition("RESULT")[2])


@pytest.mark.parametrize("line", WORKING)
def test_what_needs_no_extra_works(core_only, line):
    assert core_only[line][0] == 0, core_only[line][1]


@pytest.mark.parametrize("name", MISSING)
def test_missing_extras_are_named(core_only, name):
    status, said = core_only[name]
    assert status == 1
    assert f'pip install "mho[{MISSING[name]}]"' in said
    assert said.strip().count("\n") == 0
    assert " is missing: " in said


def test_need_returns_the_module():
    assert extras.need("json", "viz") is json
    assert extras.there("json")
    assert not extras.there("no_such_package")
    with pytest.raises(
        ImportError, match=r'^no_such_package is missing: pip install "mho\[viz\]"$'
    ):
        extras.need("no_such_package.part", "viz")


def test_a_package_that_does_not_load_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "half_there.py").write_text("import another_that_is_not\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ImportError, match=r"half_there does not load \(No module named 'another_th"
    ):
        extras.need("half_there", "viz")
    (tmp_path / "broken_inside.py").write_text("from json import nothing_like_it\n")
    with pytest.raises(ImportError, match="broken_inside does not load"):
        extras.need("broken_inside", "viz")
