"""The command line: what it says, its exit status, and what it needs."""

import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

import mho
from mho_cli.app import app, main

PYTHON = sys.executable
COMMANDS = (
    "demo",
    "study",
    "fit",
    "card",
    "accuracy",
    "cost",
    "report",
    "convert-config",
    "doctor",
)


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"mho {mho.__version__}\n"


def test_no_command_shows_help(capsys):
    assert main([]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in COMMANDS)
    assert [one.name for one in app.registered_commands if not one.hidden] == list(COMMANDS)


@pytest.mark.parametrize("module", ["mho", "mho_cli"])
def test_modules_are_the_same_command(module):
    done = subprocess.run(
        [PYTHON, "-m", module, "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"mho {mho.__version__}\n"


def test_help_and_mistakes_import_neither_mho_nor_torch():
    program = (
        "import sys\n"
        "from mho_cli.app import main\n"
        f"for line in {[[], *([name] for name in COMMANDS)]!r}:\n"
        "    status = main([*line, '--help']), main([*line, '--nothing'])\n"
        "    heavy = {'mho', 'torch', 'numpy', 'matplotlib'} & set(sys.modules)\n"
        "    print('RESULT', status, sorted(heavy))\n"
    )
    done = subprocess.run(
        [PYTHON, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert found == ["RESULT (0, 2) []"] * (1 + len(COMMANDS))
    complaints = done.stderr.splitlines()
    assert len(complaints) == 1 + len(COMMANDS)
    for complaint in complaints:
        assert re.fullmatch(r"mho.*: No such option: --nothing.*--help\)", complaint)


@pytest.mark.parametrize("seed", ["-1", "1.5", "many"])
def test_bad_seed(seed, capsys):
    assert main(["demo", f"--seed={seed}"]) == 2
    error = capsys.readouterr().err
    assert error == (
        f"mho demo: --seed must be an integer >= 0, got {seed!r} (see mho demo --help)\n"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], "mho: No such command 'nothing'"),
        (["card"], "mho card: Missing argument 'device.yaml'"),
        (["cost", "ideal", "--samples", "0"], "mho cost: --samples must be an integer >= 1"),
        (
            ["cost", "ideal", "--policy", "none"],
            "mho cost: --policy: 'none' is not one of",
        ),
        (["fit", "x", "--unit", "G"], "mho fit: --unit must be NAME=VALUE, got 'G'"),
        (["report", "x", "ideal", "--shape", "3,a"], "mho report: --shape must be integers >= 1"),
        (["demo", "--out"], "mho demo: Option '--out' requires an argument"),
    ],
)
def test_a_wrong_line_is_refused_in_one_line(arguments, words, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(words)
    assert error.endswith("--help)\n")
    assert error.count("\n") == 1


def test_errors_are_one_line_without_a_traceback(tmp_path, capsys):
    pytest.importorskip("sklearn")
    taken = tmp_path / "file"
    taken.write_text("")
    assert main(["demo", "--quick", "--out", str(taken)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("mho demo: ")
    assert str(taken) in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("place", ["before", "behind"])
def test_debug_shows_where(place, capsys):
    line = ["card", "nothing.yaml"]
    assert main(["--debug", *line] if place == "before" else [*line, "--debug"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("Traceback")
    assert "nothing.yaml" in error


def test_what_nobody_foresaw_is_named_with_a_way_to_see_it(monkeypatch, capsys):
    def fails(*_, **__):
        raise KeyError("bits")

    monkeypatch.setattr("mho.cli.card.run", fails)
    assert main(["card", "ideal", "--seed", "3"]) == 1
    assert capsys.readouterr().err == (
        "mho card: KeyError: 'bits' (where: mho --debug card ideal --seed 3)\n"
    )


def test_lines_of_an_error_are_joined(monkeypatch, capsys):
    def fails(*_, **__):
        raise ValueError("one\n  two")

    monkeypatch.setattr("mho.cli.card.run", fails)
    assert main(["card", "ideal"]) == 1
    assert capsys.readouterr().err == "mho card: one two\n"


def test_warnings_are_lines(monkeypatch, capsys):
    import warnings

    def warns(*_, **__):
        warnings.warn("left digital: one", UserWarning, stacklevel=1)
        warnings.warn("of programmers", FutureWarning, stacklevel=1)

    monkeypatch.setattr("mho.cli.card.run", warns)
    before = warnings.showwarning
    assert main(["card", "ideal"]) == 0
    assert capsys.readouterr().err == "mho card: left digital: one\n"
    assert warnings.showwarning is before


def test_interrupted(monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("mho.cli.card.run", interrupted)
    assert main(["card", "ideal"]) == 130
    assert capsys.readouterr().err == "mho card: interrupted\n"


def test_an_interrupt_from_outside(tmp_path):
    (tmp_path / "slow.py").write_text(
        "import time\ndef task():\n    print('begun', flush=True)\n    time.sleep(60)\n"
    )
    line = [PYTHON, "-m", "mho_cli", "cost", "ideal", "--model", "slow:task"]
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = subprocess.Popen(line, cwd=tmp_path, **settings)
    assert running.stdout.readline() == "begun\n"
    running.send_signal(signal.SIGINT)
    _, error = running.communicate(timeout=30)
    assert running.returncode == 130
    assert error == "mho cost: interrupted\n"


@pytest.fixture
def shell(tmp_path):
    """A folder with the command, as an installation has it, and bash with its completion."""
    script = tmp_path / "mho"
    script.write_text(f'#!/bin/sh\nexec "{PYTHON}" -m mho_cli "$@"\n')
    script.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def run(line):
        done = subprocess.run(
            ["bash", "--norc", "-c", line],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            cwd=tmp_path,
            env=environment,
        )
        return done.stdout.split()

    return run


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not here")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("mho ca", ["card"]),
        ("mho con", ["convert-config"]),
        ("mho cost --po", ["--policy"]),
        ("mho cost --policy ", ["packed", "layer", "tile"]),
        ("mho fit --each-file c", ["cell", "cycle"]),
    ],
)
def test_completion_in_bash(shell, typed, offered):
    words = typed.split(" ")
    array = " ".join(f"'{word}'" for word in words)
    line = (
        'eval "$(_MHO_COMPLETE=source_bash mho)"\n'
        f"COMP_WORDS=({array}); COMP_CWORD={len(words) - 1}; COMP_LINE={typed!r}\n"
        "function=$(complete -p mho | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n"
        '$function mho; echo "${COMPREPLY[@]}"\n'
    )
    assert shell(line) == offered


def test_a_pipe_that_closes(tmp_path):
    card = f"{PYTHON} -m mho_cli card ideal | (exec <&-); echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", card], capture_output=True, text=True, check=True, cwd=tmp_path, timeout=60
    )
    assert done.stderr == ""
    assert done.stdout == "1\n"
    assert (tmp_path / "ideal.png").read_bytes().startswith(b"\x89PNG")


def test_a_terminal_that_knows_few_letters_and_none_at_all(tmp_path):
    program = (
        "import sys; from mho_cli import app; app.version = lambda: '1 ± ─'; sys.exit(app.main())"
    )
    settings = {"env": {**os.environ, "PYTHONIOENCODING": "ascii"}, "capture_output": True}
    done = subprocess.run([PYTHON, "-c", program, "--version"], check=True, **settings)
    assert done.stdout == b"mho 1 ? ?\n"
    done = subprocess.run(
        f'"{PYTHON}" -m mho_cli --version >&-', shell=True, check=True, capture_output=True
    )
    assert done.stderr == b""
