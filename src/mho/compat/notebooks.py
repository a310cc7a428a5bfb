"""What notebooks have that plain Python has not: cells, magics and shell lines.

Nothing here runs a shell command or IPython: magics that only concern the notebook are skipped,
timing ones run what they time, and everything else is skipped with a remark on stderr.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Callable
from typing import Any

_LINE = re.compile(r"^(?P<indent>\s*)(?P<mark>%%?|!!?)(?P<rest>.*)$")
_QUIET = {
    "autoreload",
    "capture",
    "config",
    "load_ext",
    "matplotlib",
    "reload_ext",
    "reset",
    "xmode",
}
_RUN = {"capture", "prun", "time", "timeit"}


def source_of(path: str, text: str) -> str:
    """Return the Python of a script, a script exported from a notebook, or a notebook.

    Line numbers of scripts are kept.

    Args:
        path: of the file; ``.ipynb`` is a notebook.
        text: what it holds.

    Raises:
        ValueError: if a notebook is not in the format of Jupyter.
        SyntaxError: if it is no Python, apart from magics and shell lines.
    """
    if not path.endswith(".ipynb"):
        return _python(path, text)
    try:
        cells = json.loads(text)["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a Jupyter notebook of format 4: {error!r}") from error
    return "\n\n".join(_cell(path, source) for source in sources)


def _cell(path: str, source: str) -> str:
    first, _, body = source.lstrip().partition("\n")
    if first.startswith("%%"):
        name, _, line = first[2:].partition(" ")
        if name in _RUN:
            # Its variables are the notebook's: so the body is simply run.
            return _python(path, body)
        return f"get_ipython().run_cell_magic({name!r}, {line!r}, {body!r})"
    return _python(path, source)


def _python(path: str, text: str) -> str:
    # Only lines that Python stumbles over: a line of a string, or one that goes on with "% (a, b)",
    # looks like a magic, too.
    lines = text.splitlines()
    while (error := _error(path, text)) is not None:
        at = (error.lineno or 0) - 1
        plain = _plain(lines[at]) if 0 <= at < len(lines) else None
        if plain is None:
            raise error
        lines[at] = plain
        text = "\n".join(lines)
    return text


def _error(path: str, text: str) -> SyntaxError | None:
    try:
        ast.parse(text, filename=path)
    except SyntaxError as error:
        return error
    return None


def _plain(line: str) -> str | None:
    """Return a magic, a shell line or a question as Python; None for anything else."""
    found = _LINE.match(line)
    if found is None:
        # Help on an object, as in "model.tune_?".
        asked = re.fullmatch(r"\s*\??[\w.]+\?{1,2}\s*", line)
        return "pass" if asked and "?" in line else None
    rest = found["rest"].strip()
    if found["mark"].startswith("!"):
        return f"{found['indent']}get_ipython().system({rest!r})"
    name, _, argument = rest.partition(" ")
    if name in _RUN and argument.strip():
        return f"{found['indent']}{argument.strip()}"
    return f"{found['indent']}get_ipython().run_line_magic({name!r}, {argument.strip()!r})"


class Shell:
    """What ``get_ipython()`` returns to a script that was exported from a notebook.

    Args:
        names: the script's global variables.
        say: takes remarks.
    """

    def __init__(self, names: dict[str, Any], say: Callable[[str], None] | None = None) -> None:
        self.user_ns = names
        self._say = say or (lambda text: print(f"mho.compat: {text}", file=sys.stderr))

    def run_line_magic(self, name: str, line: str = "", _stack_depth: int = 1) -> None:
        """Run what a timing magic times; skip all others."""
        if name in _RUN and line.strip():
            exec(compile(line, f"<%{name}>", "exec"), self.user_ns)
        elif name not in _QUIET:
            self._say(f"skipped %{name} {line}".rstrip())

    def run_cell_magic(self, name: str, line: str, cell: str) -> None:
        """Run what a timing magic times; skip all others."""
        if name in _RUN:
            exec(compile(_python(f"<%%{name}>", cell), f"<%%{name}>", "exec"), self.user_ns)
        else:
            self._say(f"skipped a cell: %%{name} {line}".rstrip())

    magic = run_line_magic

    def system(self, command: str) -> None:
        """Skip a shell command."""
        if re.search(r"\bpip3?\b.*\binstall\b.*(memtorch|xbtorch)", command, re.IGNORECASE):
            return
        self._say(f"skipped the shell command: {command}")

    def getoutput(self, command: str) -> list[str]:
        """Skip a shell command; its output is empty."""
        self.system(command)
        return []
