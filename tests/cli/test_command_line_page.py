"""docs/command_line.md: its Python and its command lines run, in the order of the page."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from mho_cli.app import app, main

pytest.importorskip("matplotlib")
pytest.importorskip("bokeh")

PAGE = Path(__file__).parents[2] / "docs" / "command_line.md"


def test_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_network", raising=False)
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(python|shell)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    names, lines = {}, []
    for kind, block in blocks:
        if kind == "python":
            exec(compile(block, str(PAGE), "exec"), names)
            continue
        for line in block.splitlines():
            command, *arguments = shlex.split(line)
            assert command == "mho"
            lines.append(arguments[0])
            assert main(arguments) == 0, capsys.readouterr().err
    sys.modules.pop("my_network", None)
    assert {"doctor", "card", "accuracy", "cost", "report"} <= set(lines)
    written = {path.name for path in tmp_path.iterdir()}
    assert {"card.png", "accuracy", "mho-report.html", "shape.html", "program.html"} <= written


def test_the_page_names_every_command():
    rows = re.findall(r"^\| `mho ([\w-]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(one.name for one in app.registered_commands if not one.hidden)
