import subprocess
import sys

import pytest

import mho
from mho_cli.app import main


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"mho {mho.__version__}\n"


def test_no_command_shows_help(capsys):
    assert main([]) == 0
    assert "demo" in capsys.readouterr().out


def test_module_is_the_same_command():
    done = subprocess.run(
        [sys.executable, "-m", "mho", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"mho {mho.__version__}\n"


@pytest.mark.parametrize("seed", ["-1", "1.5", "many"])
def test_bad_seed(seed, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["demo", f"--seed={seed}"])
    assert stop.value.code == 2
    assert "must be an integer >= 0" in capsys.readouterr().err


def test_errors_are_one_line_without_a_traceback(tmp_path, capsys):
    pytest.importorskip("sklearn")
    taken = tmp_path / "file"
    taken.write_text("")
    assert main(["demo", "--quick", "--out", str(taken)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("mho demo: ")
    assert len(error.splitlines()) == 1


def test_missing_extra_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "mho.demo.run", None)
    assert main(["demo", "--out", str(tmp_path)]) == 1
    assert "mho demo: " in capsys.readouterr().err
