"""The old names resolve to mho, and give way to what is really there."""

import importlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mho.compat
from mho.compat import __main__ as runner

# The mho under test, wherever the program runs.
HERE = {"PYTHONPATH": str(Path(mho.__file__).parents[1]), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def clean():
    """Run with the names free, and free them again."""
    for name in mho.compat.NAMES:
        mho.compat.uninstall(name)
    before = dict(sys.modules)
    yield
    for name in mho.compat.NAMES:
        mho.compat.uninstall(name)
    for name in set(sys.modules) - set(before):
        if name.partition(".")[0] in mho.compat.NAMES:
            del sys.modules[name]


@pytest.fixture
def real(tmp_path, monkeypatch):
    """A package memtorch that is really installed."""
    package = tmp_path / "memtorch"
    package.mkdir()
    (package / "__init__.py").write_text("from memtorch.inner import answer\n")
    (package / "inner.py").write_text("answer = 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    return package


@pytest.mark.usefixtures("clean")
def test_the_name_is_mhos_after_installing_and_free_after_uninstalling():
    assert not mho.compat.installed("memtorch")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("memtorch")
    mho.compat.install("memtorch")
    assert mho.compat.installed("memtorch")
    import memtorch

    assert memtorch is importlib.import_module("mho.compat.memtorch")
    assert memtorch.__spec__.name == "mho.compat.memtorch"
    mho.compat.uninstall("memtorch")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("memtorch")


@pytest.mark.usefixtures("clean")
def test_installing_imports_nothing_and_twice_is_once():
    length = len(sys.meta_path)
    mho.compat.install("memtorch")
    mho.compat.install("memtorch")
    assert "memtorch" not in sys.modules
    assert len(sys.meta_path) == length + 1
    mho.compat.uninstall("memtorch")
    mho.compat.uninstall("memtorch")
    assert len(sys.meta_path) == length


@pytest.mark.usefixtures("clean")
def test_every_submodule_path_is_the_same_module():
    mho.compat.install("memtorch")
    for path in (
        "bh",
        "bh.Quantize",
        "bh.StochasticParameter",
        "bh.crossbar.Tile",
        "bh.crossbar.Passive",
        "bh.crossbar.Crossbar",
        "bh.nonideality.NonIdeality",
        "bh.nonideality.endurance_retention_models.conductance_drift",
        "utils",
    ):
        real = importlib.import_module(f"mho.compat.memtorch.{path}")
        assert importlib.import_module(f"memtorch.{path}") is real
    assert importlib.util.find_spec("memtorch.nothing") is None
    with pytest.raises(ModuleNotFoundError, match=r"memtorch\.nothing"):
        importlib.import_module("memtorch.nothing")


@pytest.mark.usefixtures("clean")
def test_classes_stay_in_front_of_modules_of_their_name():
    mho.compat.install("memtorch")
    import memtorch
    import memtorch.bh.crossbar.Tile
    import memtorch.bh.StochasticParameter
    from memtorch.bh.crossbar.Tile import Tile
    from memtorch.bh.StochasticParameter import StochasticParameter

    assert memtorch.bh.crossbar.Tile is Tile
    assert memtorch.bh.StochasticParameter is StochasticParameter
    assert memtorch.bh.nonideality.NonIdeality.DeviceFaults.name == "DeviceFaults"


@pytest.mark.usefixtures("clean")
def test_what_is_really_installed_is_not_hidden(real):
    with pytest.raises(mho.compat.NotShadowedError, match="force=True") as caught:
        mho.compat.install("memtorch")
    assert str(real) in str(caught.value)
    assert isinstance(caught.value, ImportError)
    import memtorch

    assert memtorch.answer == 42


@pytest.mark.usefixtures("clean", "real")
def test_force_hides_it_and_uninstalling_brings_it_back():
    import memtorch
    import memtorch.inner

    kept = memtorch
    with pytest.raises(mho.compat.NotShadowedError):
        mho.compat.install("memtorch")
    mho.compat.install("memtorch", force=True)
    import memtorch

    assert memtorch is importlib.import_module("mho.compat.memtorch")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("memtorch.inner")
    mho.compat.uninstall("memtorch")
    import memtorch

    assert memtorch is kept
    assert importlib.import_module("memtorch.inner").answer == 42


@pytest.mark.usefixtures("clean")
def test_a_folder_of_that_name_is_no_package(tmp_path, monkeypatch):
    (tmp_path / "memtorch").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    mho.compat.install("memtorch")
    import memtorch

    assert memtorch is importlib.import_module("mho.compat.memtorch")


@pytest.mark.usefixtures("clean")
def test_its_version_is_the_one_it_stands_in_for():
    mho.compat.install("memtorch")
    import memtorch

    version = importlib.metadata.version("memtorch")
    assert memtorch.__version__.partition("-")[0] == version
    mho.compat.uninstall("memtorch")
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("memtorch")


@pytest.mark.usefixtures("clean")
def test_what_python_passes_over_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [tmp_path, *sys.path])
    monkeypatch.setattr(sys, "meta_path", [object(), *sys.meta_path])
    mho.compat.install("memtorch")
    assert importlib.import_module("memtorch") is importlib.import_module("mho.compat.memtorch")
    mho.compat.uninstall("memtorch")


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("name", mho.compat.NAMES)
def test_every_layer_there_is_comes_with_all_its_modules(name):
    if importlib.util.find_spec(f"mho.compat.{name}") is None:
        pytest.skip(f"mho.compat.{name} is not part of this installation")
    mho.compat.install(name)
    old, new = importlib.import_module(name), importlib.import_module(f"mho.compat.{name}")
    assert old is new
    for key, module in list(sys.modules.items()):
        if key.startswith(f"{name}."):
            assert module is sys.modules[f"mho.compat.{key}"]


def test_only_known_names():
    with pytest.raises(ValueError, match="'memtorch', 'xbtorch'"):
        mho.compat.install("numpy")


def test_a_script_that_is_not_there(capsys):
    with pytest.raises(SystemExit):
        runner.main(["nothing.py"])
    assert "nothing.py" in capsys.readouterr().err


def python(*arguments, cwd, **env):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **HERE, **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_script_runs_unmodified(tmp_path):
    (tmp_path / "beside.py").write_text("value = 7\n")
    (tmp_path / "script.py").write_text(
        "import sys, pickle\n"
        "import beside\n"
        "%matplotlib inline\n"
        "from memtorch.bh.Quantize import quantize\n"
        "import memtorch.bh.nonideality\n"
        "class Own: pass\n"
        "if __name__ == '__main__':\n"
        "    assert type(pickle.loads(pickle.dumps(Own()))) is Own\n"
        "    print(beside.value, sys.argv[1:], quantize.__module__)\n"
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = python("-m", "mho.compat", "../script.py", "--epochs", "3", cwd=elsewhere)
    assert done.stdout.split("\n")[0] == "7 ['--epochs', '3'] mho.compat.memtorch.bh.Quantize"
    assert done.returncode == 0, done.stderr


def test_a_test_suite_runs_unmodified(tmp_path):
    (tmp_path / "conftest.py").write_text(
        "import memtorch\nimport pytest\n@pytest.fixture\ndef old():\n    return memtorch\n"
    )
    (tmp_path / "test_old.py").write_text(
        "from memtorch.bh.crossbar.Tile import gen_tiles\n"
        "def test_old(old):\n"
        "    assert old.__name__ == 'mho.compat.memtorch'\n"
    )
    done = python("-m", "pytest", "-p", "mho.compat.plugin", "-q", "test_old.py", cwd=tmp_path)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_a_package_beside_the_script_is_really_there(tmp_path, monkeypatch, capsys):
    package = tmp_path / "memtorch"
    package.mkdir()
    (package / "__init__.py").write_text("answer = 42\n")
    (tmp_path / "script.py").write_text("import memtorch\nprint(memtorch.answer)\n")
    monkeypatch.setattr(sys, "path", ["", *sys.path[1:]])
    monkeypatch.setattr(sys, "argv", ["pytest"])
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    for name in mho.compat.NAMES:
        mho.compat.uninstall(name)
    try:
        runner.main([str(tmp_path / "script.py")])
    finally:
        sys.modules.pop("memtorch", None)
        for name in mho.compat.NAMES:
            mho.compat.uninstall(name)
    told = capsys.readouterr()
    assert told.out == "42\n"
    assert str(package) in told.err
