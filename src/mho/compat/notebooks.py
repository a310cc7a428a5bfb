"""What notebooks have that plain Python has not: cells, magics, shell lines, and IPython.

Nothing here runs a shell command: magics that only concern the notebook are skipped, those that
time or capture run what they are given, a few do what Python can do (``%cd``, ``%env``, ``%run``,
``%%writefile``), and everything else is skipped with a remark on stderr.
"""

from __future__ import annotations
import __future__

import ast
import contextlib
import importlib.util
import io
import json
import linecache
import os
import re
import shlex
import sys
import tokenize
from collections.abc import Callable, Iterable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from mho.core.files import aside

_LINE = re.compile(
    r"^(?P<head>\s*(?P<target>[\w.]+(?:\s*,\s*[\w.]+)*\s*=\s*)?)(?P<mark>%%?|!!?)(?P<rest>.*)$"
)
_OPTIONS = re.compile(r"^(-[a-zA-Z]\s*\d*\s+)+")  # of a magic
_QUIET = re.compile("autoreload|config|html|javascript|latex|(re)?load_ext|markdown|reset|xmode")
_RUN = {"capture", "prun", "time", "timeit"}
_EXPORTED = re.compile(r"\bget_ipython\(|^# In ?\[", re.MULTILINE)
_FUTURES = sum(getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
_INLINE = "mho.compat.inline"


class Block(NamedTuple):
    """Code that runs at once: a script, or a cell of a notebook."""

    name: str  # what tracebacks call it: the file, and of a cell its number among those of code
    text: str  # as it stands in the file
    python: str  # as Python reads it, in the same lines
    captured: str | None = None  # what follows ``%%capture`` in a cell's first line
    cell: bool = False  # its last value is shown, and workers have but what it defines


def text_of(path: str | Path) -> str:
    """Return what a program's file holds."""
    if str(path).endswith(".ipynb"):
        return Path(path).read_text(encoding="utf-8")
    with tokenize.open(path) as file:
        return file.read()


def blocks_of(path: str, text: str) -> Iterator[Block]:
    """Yield a script, or a notebook's cells: what is no Python stops a notebook only there.

    Raises:
        ValueError: if a notebook is not in the format of Jupyter.
        SyntaxError: if it is no Python, apart from magics and shell lines.
    """
    if not path.endswith(".ipynb"):
        yield Block(path, text, python_of(path, text))
        return
    try:
        cells = json.loads(text)["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is not a Jupyter notebook of format 4: {error!r}") from error
    for k, source in enumerate(sources, start=1):
        yield _cell(f"{path}, cell {k}", source)


def run(blocks: Iterable[Block], names: dict[str, Any], definitions: bool = False) -> None:
    """Run the blocks of a program, one after the other, with these global variables.

    With ``definitions``, cells only run imports, functions, classes and constants.
    """
    shell = Shell(names)
    names["get_ipython"] = lambda: shell
    names.setdefault("display", _display)
    flags = 0  # a __future__ import holds for the cells below, too
    for block in blocks:
        if not os.path.exists(block.name):
            lines = f"{block.text}\n".splitlines(keepends=True)
            linecache.cache[block.name] = (len(block.text), None, lines, block.name)
        if block.python != block.text or block.cell or _EXPORTED.search(block.text):
            _stand_in_for_ipython(shell)
        tree = compile(block.python, block.name, "exec", flags | ast.PyCF_ONLY_AST, True)
        trees, shown = [tree], list[ast.stmt]()
        if block.cell and definitions:
            trees = [ast.Module([node], []) for node in tree.body if _defines(node)]
        elif block.cell and not block.python.rstrip().endswith(";"):
            shown = [node for node in tree.body[-1:] if isinstance(node, ast.Expr)]
            tree.body = tree.body[: len(tree.body) - len(shown)]
        # A worker may do without what takes more than definitions, as a default of a function.
        passed_over = (Exception,) if block.cell and definitions else ()
        with shell.capture(block.captured):
            for tree in trees:
                code = compile(tree, block.name, "exec", flags, True)
                flags |= code.co_flags & _FUTURES
                with contextlib.suppress(*passed_over):
                    exec(code, names)
            # As at Python's prompt: printed, and called _.
            exec(compile(ast.Interactive(shown), block.name, "single", flags, True), names)
        if block.cell and _INLINE in sys.modules:
            sys.modules[_INLINE].show()


def inline() -> None:
    """Keep matplotlib from opening windows, as in notebooks; if the user has not chosen."""
    backend = f"module://{_INLINE}"
    os.environ.setdefault("MPLBACKEND", backend)
    if os.environ["MPLBACKEND"] == backend and "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].switch_backend(backend)


def python_of(path: str, text: str) -> str:
    """Return a text with its magics and shell lines as Python, in the same lines."""
    # Only lines that Python stumbles over: a line of a string, or one that goes on with "% (a, b)",
    # looks like a magic, too.
    try:
        compile(text, path, "exec", ast.PyCF_ONLY_AST, True)
        return text
    except SyntaxError as error:
        lines, at = text.splitlines(), (error.lineno or 0) - 1
        plain = _plain(_joined(lines, at)) if 0 <= at < len(lines) else None
        if plain is None:
            raise
        lines[at] = plain
    return python_of(path, "\n".join(lines))


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
        return f"{head}{_OPTIONS.sub('', argument)}"
    return f"{head}get_ipython().run_line_magic({name!r}, {argument!r})"


def _cell(name: str, source: str) -> Block:
    start = len(source) - len(source.lstrip())
    first, _, body = source[start:].partition("\n")
    magic, _, line = first.removeprefix("%%").partition(" ")
    above = source[:start] + "\n"  # lines keep their numbers
    captured = None
    if not first.startswith("%%"):
        python = python_of(name, source)
    elif magic in _RUN:
        # Its variables are the notebook's: so the body is simply run.
        python = python_of(name, above + body)
        captured = line if magic == "capture" else None
    else:
        python = f"get_ipython().run_cell_magic({magic!r}, {line!r}, {body!r})"
    return Block(name, source, python, captured, cell=True)


def _defines(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign | ast.AnnAssign):
        with contextlib.suppress(ValueError):
            ast.literal_eval(node.value or ast.Constant(None))
            return True
        return False
    defining = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return isinstance(node, defining)


class Captured(NamedTuple):
    """What a ``%%capture`` cell has printed."""

    stdout: str
    stderr: str

    def show(self) -> None:
        """Print it."""
        print(self.stdout, end="")
        print(self.stderr, end="", file=sys.stderr)


class Shell:
    """What ``get_ipython()`` returns to a notebook, or a script that was exported from one.

    It is false, as there is no event loop that matplotlib could join. ``say`` takes remarks.
    """

    def __init__(self, names: dict[str, Any], say: Callable[[str], None] | None = None) -> None:
        self.user_ns = names
        self._say = say or (lambda text: print(f"mho.compat: {text}", file=sys.stderr))

    def __bool__(self) -> bool:
        return False

    def run_line_magic(self, name: str, line: str = "", _stack_depth: int = 1) -> str | None:
        """Run what a timing magic times, do what Python can do; skip all others."""
        if name in _RUN and line.strip():
            exec(compile(_OPTIONS.sub("", line), f"<%{name}>", "exec"), self.user_ns)
        elif name == "matplotlib":
            inline()
        elif name == "cd" and os.path.isdir(line):
            os.chdir(line)
        elif name == "pwd":
            return os.getcwd()
        elif name == "run":
            self._run(*shlex.split(_OPTIONS.sub("", line)))
        elif name in ("env", "set_env") and (pair := re.fullmatch(r"(\w+)(?:=|\s+)(.*)", line)):
            os.environ[pair[1]] = pair[2]
        elif name in ("pip", "conda"):
            self.system(f"{name} {line}")
        elif not _QUIET.fullmatch(name) and name not in _RUN:
            self._say(f"skipped %{name} {line}".rstrip())
        return None

    def run_cell_magic(self, name: str, line: str, cell: str) -> None:
        """Run what a timing magic times, write files; skip all others."""
        if name in _RUN:
            with self.capture(line if name == "capture" else None):
                exec(compile(python_of(f"<%%{name}>", cell), f"<%%{name}>", "exec"), self.user_ns)
        elif name in ("writefile", "file"):
            *options, path = shlex.split(line)
            if "-a" in options:
                with open(path, "a", encoding="utf-8") as file:
                    file.write(cell)
            else:
                with aside(path) as draft:
                    draft.write_text(cell, encoding="utf-8")
        elif not _QUIET.fullmatch(name):
            self._say(f"skipped a cell: %%{name} {line}".rstrip())

    magic = run_line_magic

    def _run(self, path: str, *args: str) -> None:
        """Run another program; its variables are the notebook's, as with ``%run -i``."""
        path = path if os.path.exists(path) else f"{path}.py"
        before, sys.argv = sys.argv, [path, *args]
        try:
            run(blocks_of(path, text_of(path)), self.user_ns)
        finally:
            sys.argv = before

    @contextlib.contextmanager
    def capture(self, line: str | None) -> Iterator[None]:
        """Keep what is printed, as ``%%capture`` with this line; for None, do nothing."""
        if line is None:
            yield
            return
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield
        name = next((word for word in line.split() if not word.startswith("-")), "")
        if name:
            self.user_ns[name] = Captured(out.getvalue(), err.getvalue())

    def system(self, command: str) -> None:
        """Skip a shell command."""
        if re.search(r"\b(pip3?|conda)\b.*\binstall\b.*(memtorch|xbtorch)", command, re.IGNORECASE):
            return
        self._say(f"skipped the shell command: {command}")

    def getoutput(self, command: str) -> list[str]:
        """Skip a shell command; its output is empty."""
        self.system(command)
        return []


class _Shown:
    """A text, picture or sound for `display`: its data, or where it is."""

    def __init__(self, data: Any = None, url: Any = None, filename: Any = None, **_: Any) -> None:
        self.data = next((given for given in (data, url, filename) if given is not None), "")

    def __repr__(self) -> str:
        return str(self.data)[:1000]  # of a picture it may be millions


def _display(*objects: Any, **options: Any) -> None:
    for shown in objects:
        print(shown)


_KINDS = ("HTML", "IFrame", "Image", "Javascript", "JSON", "Latex", "Markdown", "Math", "SVG")


def _stand_in_for_ipython(shell: Shell) -> None:
    """Offer what notebooks import from IPython, where it is not installed."""
    if "IPython" not in sys.modules and importlib.util.find_spec("IPython") is None:
        ipython, display = ModuleType("IPython"), ModuleType("IPython.display")
        ipython.__spec__ = ModuleSpec("IPython", None)
        vars(display).update(dict.fromkeys(_KINDS, _Shown), display=_display)
        vars(display).update(InteractiveShell=Shell, get_ipython=lambda: shell)
        for name in ("clear_output", "set_matplotlib_formats"):
            setattr(display, name, lambda *args, **options: None)
        vars(ipython).update(get_ipython=lambda: shell, display=display, version_info=(9, 0))
        inner = ("core", "core.display", "core.interactiveshell", "display")
        sys.modules.update({f"IPython.{name}": display for name in inner}, IPython=ipython)
