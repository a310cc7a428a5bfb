"""What NumPy and others have removed is offered to programs that ask for it, and said."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mho.compat import gone

ROOT = str(Path(gone.__file__).parents[2])  # the mho under test, wherever the program runs


def run(*arguments, cwd, **env):
    """Run ``python -m mho.compat …``; return what it prints and its remarks."""
    done = subprocess.run(
        [sys.executable, "-m", "mho.compat", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": ROOT, "OMP_NUM_THREADS": "1", **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    remarks = [line for line in done.stderr.splitlines() if line.startswith("mho.compat: ")]
    return done.stdout, [line.removeprefix("mho.compat: ") for line in remarks]


EVERY = """
import contextlib, importlib, io, json, operator
from mho.compat.gone import TABLE
import numpy, torch, pandas, collections, inspect
import scipy.integrate, scipy.signal, matplotlib.cm
found = []
for gone in TABLE:
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        value = operator.attrgetter(gone.name)(importlib.import_module(gone.place))
        if "." in gone.name:  # a method: said when it is called
            with contextlib.suppress(TypeError):
                value()
    found.append([gone.place, gone.name, said.getvalue()])
print(json.dumps(found))
"""


def test_every_name_of_the_table_is_there_and_said_if_it_is_gone(tmp_path):
    pytest.importorskip("pandas")
    pytest.importorskip("matplotlib")
    found = json.loads(run("--as-of", "2022", "-c", EVERY, cwd=tmp_path)[0])
    assert len(found) == len(gone.TABLE)
    lasting = [f"{place}.{name}" for place, name, said in found if not said]
    # What these depend on: the versions of NumPy and Python.
    assert set(lasting) <= {
        *("numpy.bool", "numpy.row_stack", "numpy.trapz", "numpy.in1d", "inspect.getargspec")
    }
    for place, name, said in found:
        if said:
            assert said.startswith(f"mho.compat: {place}.{name} is gone since ")
            assert said.endswith(" is used\n")


VALUES = """
import numpy as np, torch, inspect, collections
from numpy.lib import source
from collections import Mapping
assert np.float is float and np.int is int and issubclass(dict, Mapping)
assert np.NaN is np.nan and np.NINF == -np.inf
assert np.product([2, 3]) == 6 and np.alltrue([True, False]) == False
assert np.in1d([[1, 2], [3, 4]], [2, 3]).tolist() == [False, True, True, False]
assert np.asscalar(np.array([3])) == 3 and np.asfarray([1, 2]).dtype == np.float64
assert np.msort(np.array([[2, 1], [1, 3]])).tolist() == [[1, 1], [2, 3]]
assert inspect.getargspec(lambda a, b=1, *c: 0).args == ["a", "b"]
a = torch.tensor([[2.0, 1.0], [1.0, 3.0]])
values, vectors = torch.symeig(a, eigenvectors=True)
torch.testing.assert_close(vectors @ torch.diag(values) @ vectors.T, a)
assert torch.symeig(a)[1].numel() == 0
b = torch.tensor([[1.0], [2.0]])
torch.testing.assert_close(a @ torch.solve(b, a)[0], b)
torch.testing.assert_close(a @ torch.lstsq(b, a)[0], b)
assert int(torch.matrix_rank(a)) == 2
from scipy.integrate import simps, cumtrapz
assert abs(simps([0.0, 1.0, 4.0]) - 8 / 3) < 1e-12 and list(cumtrapz([0, 2, 2])) == [1, 3]
print(np.float(2), np.float(3))
"""


def test_they_do_what_they_did_and_are_said_once(tmp_path):
    out, remarks = run("--as-of", "2022", "-c", VALUES, cwd=tmp_path)
    assert out == "2.0 3.0\n"
    assert remarks.count("numpy.float is gone since NumPy 1.24: float is used") == 1
    assert "torch.symeig is gone since PyTorch 2.0: torch.linalg.eigh is used" in remarks
    assert len(remarks) == len(set(remarks))


TABLES = """
import pandas as pd
log = pd.DataFrame(columns=["epoch", "loss"])
for epoch in range(2):
    log = log.append({"epoch": epoch, "loss": 0.5 / (epoch + 1)}, ignore_index=True)
log = log.append(pd.DataFrame({"epoch": [2], "loss": [0.1]}), ignore_index=True)
print([(name, list(column)) for name, column in log.iteritems()])
print(pd.Series([1]).append(pd.Series([2])).tolist())
"""


def test_tables_of_pandas_grow_as_they_did(tmp_path):
    pytest.importorskip("pandas")
    out, remarks = run("--as-of", "2022", "-c", TABLES, cwd=tmp_path)
    assert out == "[('epoch', [0.0, 1.0, 2.0]), ('loss', [0.5, 0.25, 0.1])]\n[1, 2]\n"
    assert "pandas.DataFrame.append is gone since pandas 2.0: pandas.concat is used" in remarks


def test_styles_of_seaborn_have_new_names(tmp_path):
    pytest.importorskip("matplotlib")
    code = "import matplotlib.pyplot as plt\nplt.style.use('seaborn-whitegrid')\nplt.style.use('x')"
    done = "import matplotlib.pyplot as plt\nplt.style.use(['seaborn-whitegrid', 'ggplot'])\n"
    _, remarks = run("--as-of", "2022", "-c", done, cwd=tmp_path)
    assert any("seaborn-v0_8-whitegrid is used" in line for line in remarks)
    with pytest.raises(AssertionError, match="'x' is not a valid"):
        run("--as-of", "2022", "-c", code, cwd=tmp_path)


def test_nothing_is_offered_without_asking_or_from_before_the_year(tmp_path):
    code = "import numpy as np\nprint([n for n in ('float', 'product') if hasattr(np, n)])"
    assert run("-c", code, cwd=tmp_path) == ("[]\n", [])
    assert run("--as-of", "2023", "-c", code, cwd=tmp_path)[0] == "['product']\n"
    assert run("-c", code, cwd=tmp_path, MHO_COMPAT_AS_OF="2022")[0] == "['float', 'product']\n"


CHILDREN = """
import multiprocessing, subprocess, sys
import numpy as np
kind = np.float
def half(x): return np.float(x) / 2
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(half, [1]))
    child = "import memtorch, numpy; print(numpy.float(3))"
    print(subprocess.run([sys.executable, "-c", child], capture_output=True, text=True).stdout)
"""


def test_children_have_it_too(tmp_path):
    (tmp_path / "script.py").write_text(CHILDREN)
    out, _ = run("--as-of", "2022", "script.py", cwd=tmp_path)
    assert out.split() == ["[0.5]", "3.0"]


PICKLES = """
import sys, torch
from torch import nn
for path in sys.argv[1:]:
    try:
        print(type(torch.load(path)).__name__)
    except Exception as error:
        print(type(error).__name__)
"""


def test_only_the_named_file_is_unpickled_whole(tmp_path):
    import torch

    for name in ("named:1.pt", "other.pt"):
        torch.save(torch.nn.Linear(2, 2), tmp_path / name)
    (tmp_path / "script.py").write_text(PICKLES)
    out, remarks = run(
        *("--trust-pickle", "named:1.pt", "script.py", str(tmp_path / "named:1.pt"), "other.pt"),
        cwd=tmp_path,
    )
    assert out.split() == ["Linear", "UnpicklingError"]
    assert len(remarks) == 1
    assert "named:1.pt whole" in remarks[0]
    assert run("script.py", "named:1.pt", cwd=tmp_path) == ("UnpicklingError\n", [])
