"""Processes that a program starts find the old names as it does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mho
import mho.compat
from mho.compat import installation

ROOT = str(Path(mho.__file__).parents[1])


def python(*arguments, cwd, **env):
    """Run an interpreter; return what it prints."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": ROOT, "OMP_NUM_THREADS": "1", **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def script(folder, text, name="script.py"):
    (folder / name).write_text(text)
    return name


CONTEXTS = """
import multiprocessing, pickle, sys
from concurrent.futures import ProcessPoolExecutor

import memtorch
import torch
from memtorch.bh.nonideality.NonIdeality import NonIdeality

class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 4
    def __getitem__(self, k):
        import memtorch.bh.Quantize as inner
        return k + len(inner.__name__) - len("mho.compat.memtorch.bh.Quantize")

def trial(x):
    return x, memtorch.__name__, pickle.dumps(NonIdeality.DeviceFaults)

if __name__ == "__main__":
    how = sys.argv[1]
    context = multiprocessing.get_context(how)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        *named, pickled = list(pool.map(trial, [5]))[0]
        assert pickle.loads(pickled) is NonIdeality.DeviceFaults
    loader = torch.utils.data.DataLoader(Data(), num_workers=2, multiprocessing_context=how)
    print(named, [int(x) for x in loader])
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["fork", "spawn", "forkserver"])
def test_workers_of_every_start_method(tmp_path, how):
    out = python("-m", "mho.compat", script(tmp_path, CONTEXTS), how, cwd=tmp_path)
    assert out == "[5, 'mho.compat.memtorch'] [0, 1, 2, 3]\n"


SPAWNED = """
import memtorch
import torch.multiprocessing as mp

def child(rank, queue):
    queue.put((rank, memtorch.__name__))

if __name__ == "__main__":
    queue = mp.get_context("spawn").SimpleQueue()
    mp.spawn(child, args=(queue,), nprocs=1)
    print(queue.get())
"""


@pytest.mark.slow
def test_processes_of_torch(tmp_path):
    out = python("-m", "mho.compat", script(tmp_path, SPAWNED), cwd=tmp_path)
    assert out == "(0, 'mho.compat.memtorch')\n"


JOBS = """
import memtorch
from joblib import Parallel, delayed

def trial(x):
    import memtorch.bh.Quantize as inner
    return x, inner.__name__

if __name__ == "__main__":
    print(Parallel(n_jobs=2)(delayed(trial)(x) for x in range(2)))
"""


@pytest.mark.slow
def test_jobs_of_joblib(tmp_path):
    pytest.importorskip("joblib", reason="joblib is not installed")
    out = python("-m", "mho.compat", script(tmp_path, JOBS), cwd=tmp_path)
    assert out == f"{[(x, 'mho.compat.memtorch.bh.Quantize') for x in range(2)]}\n"


NESTED = """
import os, subprocess, sys
import memtorch.bh.Quantize as inner

depth = int(sys.argv[1])
print(depth, inner.__name__, flush=True)
if depth:
    subprocess.run([sys.executable, __file__, str(depth - 1)], check=True)
"""


@pytest.mark.slow
def test_children_and_their_children(tmp_path):
    out = python("-m", "mho.compat", script(tmp_path, NESTED), "2", cwd=tmp_path)
    assert out.splitlines() == [f"{k} mho.compat.memtorch.bh.Quantize" for k in (2, 1, 0)]


PROGRAM = """
import multiprocessing
import mho.compat

mho.compat.install("xbtorch")
import xbtorch

def trial(_):
    try:
        import memtorch
    except ModuleNotFoundError:
        return xbtorch.__name__

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(trial, [0]))
"""


def test_a_program_that_installs_one_layer_shares_that_one(tmp_path):
    assert python(script(tmp_path, PROGRAM), cwd=tmp_path) == "['mho.compat.xbtorch']\n"


def real(folder):
    """A package memtorch that is really installed."""
    package = folder / "site" / "memtorch"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("__version__ = 'real'\n")
    return str(package.parent)


CHILD = """
import subprocess, sys
child = [sys.executable, "-c", "import memtorch; print(memtorch.__version__)"]
subprocess.run(child, check=True)
"""


@pytest.mark.slow
def test_children_keep_what_is_really_installed(tmp_path):
    path = os.pathsep.join([ROOT, real(tmp_path)])
    name = script(tmp_path, CHILD)
    assert python("-m", "mho.compat", name, cwd=tmp_path, PYTHONPATH=path) == "real\n"
    forced = python("-m", "mho.compat", "--force", name, cwd=tmp_path, PYTHONPATH=path)
    assert forced.startswith("1.1.6")


def test_a_stand_in_gives_way_where_there_is_no_mho_or_the_real_package(tmp_path):
    stand_in = os.path.join(os.path.dirname(installation.__file__), "stand_ins", "memtorch")
    code = "import memtorch; print(memtorch.__version__)"
    without = os.pathsep.join([stand_in, real(tmp_path)])  # and without site-packages
    assert python("-S", "-c", code, cwd=tmp_path, PYTHONPATH=without) == "real\n"
    behind = os.pathsep.join([stand_in, ROOT, real(tmp_path / "b")])
    assert python("-c", code, cwd=tmp_path, PYTHONPATH=behind) == "real\n"
    alone = "try:\n  import memtorch\nexcept ModuleNotFoundError as error:\n  print(error)"
    out = python("-S", "-c", alone, cwd=tmp_path, PYTHONPATH=stand_in)
    assert out == "No module named 'memtorch'\n"


@pytest.mark.parametrize("before", [None, "", "/here", ":/here"])
def test_uninstalling_takes_it_back(monkeypatch, before):
    for name in mho.compat.NAMES:
        mho.compat.uninstall(name)
    if before is None:
        monkeypatch.delenv("PYTHONPATH", raising=False)
    else:
        monkeypatch.setenv("PYTHONPATH", before)
    path = list(sys.path)
    for name in mho.compat.NAMES:
        mho.compat.install(name)
    mho.compat.install("memtorch")
    found = os.environ["PYTHONPATH"].split(os.pathsep)
    assert [os.path.basename(entry) for entry in found[-2:]] == list(mho.compat.NAMES)
    assert sys.path == path + found[-2:]
    if before:
        assert os.environ["PYTHONPATH"].startswith(before + os.pathsep)
    for name in mho.compat.NAMES:
        mho.compat.uninstall(name)
    assert os.environ.get("PYTHONPATH", "") == (before or "")
    assert sys.path == path


def test_a_test_suites_children_find_it(tmp_path):
    (tmp_path / "test_old.py").write_text(
        "import subprocess, sys\n"
        "def test_old():\n"
        "    subprocess.run([sys.executable, '-c', 'import memtorch'], check=True)\n"
    )
    out = python("-m", "pytest", "-p", "mho.compat.plugin", "-q", "test_old.py", cwd=tmp_path)
    assert "1 passed" in out


LIKE_PYTHON = """
import json, sys, inspect
def f(): return 1
print(json.dumps([sys.argv, sys.path[0], __name__, globals().get("__file__"), f.__module__]))
if "fail" in sys.argv: raise SystemExit(3)
"""


def test_programs_run_as_python_runs_them(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    script(package, LIKE_PYTHON, "module.py")
    here = ["-m", "mho.compat"]
    for arguments in (
        ["package/module.py", "--epochs", "3", "-m"],
        ["-m", "package.module", "--as-of", "1"],
        ["-c", LIKE_PYTHON, "-c", "x"],
    ):
        plain = json.loads(python(*arguments, cwd=tmp_path))
        ours = json.loads(python(*here, *arguments, cwd=tmp_path))
        assert [ours[0], *ours[2:]] == [plain[0], *plain[2:]]
        assert os.path.realpath(ours[1]) == os.path.realpath(os.path.join(tmp_path, plain[1]))
    failing = [sys.executable, *here, "package/module.py", "fail"]
    env = {**os.environ, "PYTHONPATH": ROOT}
    assert subprocess.run(failing, cwd=tmp_path, env=env, capture_output=True).returncode == 3


ENDS = """
import os, signal, sys, warnings
def f():
    warnings.warn("odd")
f()
assert hasattr(__builtins__, "print")
class Own(BaseException): pass
if sys.argv[1] == "hook":
    sys.excepthook = lambda kind, error, users: print(kind.__name__, users.tb_lineno)
if sys.argv[1] == "interrupt":
    os.kill(os.getpid(), signal.SIGINT)
ends = {"code": SystemExit(7), "words": SystemExit("ended"), "none": SystemExit}
raise ends.get(sys.argv[1], Own())
"""


@pytest.mark.parametrize("how", ["code", "words", "none", "interrupt", "own", "hook"])
def test_programs_end_as_python_ends_them(tmp_path, how):
    name = script(tmp_path, ENDS)
    ends = [
        subprocess.run(
            [sys.executable, *before, str(tmp_path / name), how],
            env={**os.environ, "PYTHONPATH": ROOT},
            capture_output=True,
            text=True,
            check=False,
        )
        for before in ([], ["-m", "mho.compat"])
    ]
    assert ends[1].returncode == ends[0].returncode
    assert ends[1].stdout == ends[0].stdout
    assert ends[1].stderr == ends[0].stderr


def test_a_program_from_standard_input(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mho.compat", "-", "x"],
        input="import sys, memtorch\nprint(sys.argv, memtorch.__name__)\n1 / 0\n",
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "['-', 'x'] mho.compat.memtorch\n"
    assert done.returncode == 1
    assert 'File "<stdin>", line 3, in <module>' in done.stderr
    assert "mho/compat" not in done.stderr


def test_the_stand_ins_are_alike():
    folder = Path(installation.__file__).parent / "stand_ins"
    texts = [(folder / name / name / "__init__.py").read_text() for name in mho.compat.NAMES]
    assert texts[0] == texts[1]  # each goes by its own name
