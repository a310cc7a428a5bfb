"""What notebooks have that plain Python has not: cells, magics and shell lines.

Nothing here runs a shell command or IPython: magics that only concern the notebook are skipped,
those that time or capture run what they are given, a few do what Python can do (``%cd``, ``%env``,
``%%writefile``), and everything else is skipped with a remark on stderr.
"""

from __future__ import annotations
import __future__

import ast
import contextlib
import io
import json
import linecache
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_LINE = re.compile(
    r"^(?P<head>\s*(?P<target>[\w.]+(?:\s*,\s*[\w.]+)*\s*=\s*)?)(?P<mark>%%?|!!?)(?P<rest>.*)$"
)
_OPTIONS = re.compile(r"(-[a-zA-Z]\s*\d*\s+)+")  # of a timing magic
_QUIET = {
    "autoreload",
    "config",
    "html",
    "javascript",
    "latex",
    "load_ext",
    "markdown",
    "reload_ext",
    "reset",
    "xmode",
}
_RUN = {"capture", "prun", "time", "timeit"}
_FUTURES = sum(getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
_INLINE = "module://mho.compat.inline"


@dataclass(frozen=True)
class Block:
    """Code that runs at once: a script, or a cell of a notebook.

    Attributes:
        name: what tracebacks call it: the file, and of a cell its number among those of code.
        text: as it stands in the file.
        python: as Python reads it, in the same lines.
        captured: name of a ``%%capture`` cell's output (``""`` if it has none); else None.
        guarded: whether it may run again in a worker; of others, only what they define.
    """

    name: str
    text: str
    python: str
    captured: str | None = None
    guarded: bool = True


def blocks_of(path: str, text: str) -> list[Block]:
    """Return the Python of a script, a script exported from a notebook, or a notebook.

    Args:
        path: of the file; ``.ipynb`` is a notebook.
        text: what it holds.

    Raises:
        ValueError: if a notebook is not in the format of Jupyter.
        SyntaxError: if it is no Python, apart from magics and shell lines.
    """
    if not path.endswith(".ipynb"):
        return [Block(path, text, _python(path, text))]
    try:
        cells = json.loads(text)["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a Jupyter notebook of format 4: {error!r}") from error
    return [_cell(f"{path}, cell {k}", source) for k, source in enumerate(sources, start=1)]


def run(blocks: Sequence[Block], names: dict[str, Any], definitions: bool = False) -> None:
    """Run blocks, one after the other.

    Args:
        blocks: of one program.
        names: its global variables.
        definitions: of cells, run imports, functions, classes and constants alone.
    """
    shell = Shell(names)
    names["get_ipython"] = lambda: shell
    names.setdefault("display", _display)
    flags = 0  # a __future__ import holds for the cells below, too
    for block in blocks:
        if not os.path.exists(block.name):
            lines = f"{block.text}\n".splitlines(keepends=True)
            linecache.cache[block.name] = (len(block.text), None, lines, block.name)
        tree = compile(block.python, block.name, "exec", flags | ast.PyCF_ONLY_AST, True)
        if definitions and not block.guarded:
            tree.body = [node for node in tree.body if _defines(node)]
        code = compile(tree, block.name, "exec", flags, True)
        flags |= code.co_flags & _FUTURES
        if block.captured is None:
            exec(code, names)
        else:
            shell.capture(code, block.captured)


def inline() -> None:
    """Keep matplotlib from opening windows, as in notebooks; if the user has not chosen."""
    os.environ.setdefault("MPLBACKEND", _INLINE)
    if os.environ["MPLBACKEND"] == _INLINE and "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].switch_backend(_INLINE)


def _display(*objects: Any, **options: Any) -> None:
    """Print objects: what a notebook shows, without IPython."""
    for shown in objects:
        print(shown)


def _defines(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign | ast.AnnAssign):
        with contextlib.suppress(ValueError):
            ast.literal_eval(node.value or ast.Constant(None))
            return True
        return False
    defining = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return isinstance(node, defining)


def _cell(name: str, source: str) -> Block:
    start = len(source) - len(source.lstrip())
    first, _, body = source[start:].partition("\n")
    magic, _, line = first.removeprefix("%%").partition(" ")
    above = source[:start] + "\n"  # lines keep their numbers
    captured = None
    if not first.startswith("%%"):
        python = _python(name, source)
    elif magic in _RUN:
        # Its variables are the notebook's: so the body is simply run.
        python = _python(name, above + body)
        captured = _first_name(line) if magic == "capture" else None
    else:
        python = f"get_ipython().run_cell_magic({magic!r}, {line!r}, {body!r})"
    return Block(name, source, python, captured, guarded=False)


def _first_name(line: str) -> str:
    return next((word for word in line.split() if not word.startswith("-")), "")


def _python(path: str, text: str) -> str:
    # Only lines that Python stumbles over: a line of a string, or one that goes on with "% (a, b)",
    # looks like a magic, too.
    lines = text.splitlines()
    while (error := _error(path, text)) is not None:
        at = (error.lineno or 0) - 1
        plain = _plain(_joined(lines, at)) if 0 <= at < len(lines) else None
        if plain is None:
            raise error
        lines[at] = plain
        text = "\n".join(lines)
    return text


def _error(path: str, text: str) -> SyntaxError | None:
    try:
        compile(text, path, "exec", ast.PyCF_ONLY_AST, True)
    except SyntaxError as error:
        return error
    return None


def _joined(lines: list[str], at: int) -> str:
    """Return a line with those it goes on in after a backslash; these become empty."""
    line, last = lines[at], at
    while _LINE.match(line) and line.endswith("\\") and last + 1 < len(lines):
        last += 1
        line = line[:-1] + lines[last].strip()
        lines[last] = ""
    return line


def _plain(line: str) -> str | None:
    """Return a magic, a shell line or a question as Python; None for anything else."""
    found = _LINE.match(line)
    if found is None:
        # Help on an object, as in "model.tune_?".
        asked = re.fullmatch(r"\s*\??[\w.]+\?{1,2}\s*", line)
        return "pass" if asked and "?" in line else None
    head, rest = found["head"], found["rest"].strip()
    if found["mark"].startswith("!"):
        return f"{head}get_ipython().{'getoutput' if found['target'] else 'system'}({rest!r})"
    name, _, argument = rest.partition(" ")
    argument = argument.strip()
    if name in _RUN and argument:
        return f"{head}{_OPTIONS.sub('', argument, count=1)}"
    return f"{head}get_ipython().run_line_magic({name!r}, {argument!r})"


class Shell:
    """What ``get_ipython()`` returns to a notebook, or a script that was exported from one.

    Args:
        names: the program's global variables.
        say: takes remarks.
    """

    def __init__(self, names: dict[str, Any], say: Callable[[str], None] | None = None) -> None:
        self.user_ns = names
        self._say = say or (lambda text: print(f"mho.compat: {text}", file=sys.stderr))

    def run_line_magic(self, name: str, line: str = "", _stack_depth: int = 1) -> None:
        """Run what a timing magic times, do what Python can do; skip all others."""
        if name in _RUN and line.strip():
            exec(compile(_OPTIONS.sub("", line, count=1), f"<%{name}>", "exec"), self.user_ns)
        elif name == "matplotlib":
            inline()
        elif name == "cd" and os.path.isdir(line):
            os.chdir(line)
        elif name in ("env", "set_env") and (pair := re.fullmatch(r"(\w+)(?:=|\s+)(.*)", line)):
            os.environ[pair[1]] = pair[2]
        elif name in ("pip", "conda"):
            self.system(f"{name} {line}")
        elif name not in _QUIET | _RUN:
            self._say(f"skipped %{name} {line}".rstrip())

    def run_cell_magic(self, name: str, line: str, cell: str) -> None:
        """Run what a timing magic times, write files; skip all others."""
        if name in _RUN:
            code = compile(_python(f"<%%{name}>", cell), f"<%%{name}>", "exec")
            if name == "capture":
                self.capture(code, _first_name(line))
            else:
                exec(code, self.user_ns)
        elif name in ("writefile", "file"):
            Path(line.strip()).write_text(cell, encoding="utf-8")
        elif name not in _QUIET:
            self._say(f"skipped a cell: %%{name} {line}".rstrip())

    magic = run_line_magic

    def capture(self, code: Any, name: str) -> None:
        """Run code and keep what it prints, as ``%%capture name``."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            exec(code, self.user_ns)
        if name:
            kept = SimpleNamespace(stdout=out.getvalue(), stderr=err.getvalue())
            kept.show = lambda: print(kept.stdout, end="")
            self.user_ns[name] = kept

    def system(self, command: str) -> None:
        """Skip a shell command."""
        if re.search(r"\b(pip3?|conda)\b.*\binstall\b.*(memtorch|xbtorch)", command, re.IGNORECASE):
            return
        self._say(f"skipped the shell command: {command}")

    def getoutput(self, command: str) -> list[str]:
        """Skip a shell command; its output is empty."""
        self.system(command)
        return []
