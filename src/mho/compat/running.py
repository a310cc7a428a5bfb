"""Running a program as ``__main__``: a script, a notebook, a module, code."""

from __future__ import annotations

import importlib.util
import os
import runpy
import sys
import tokenize
import traceback
import warnings
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import tqdm.notebook
import tqdm.std

from mho.compat import gone, notebooks
from mho.compat.installation import NAMES, NotShadowedError, forced, install

MAIN = "MHO_COMPAT_MAIN"
"""Environment variable: the program that workers import again."""


def prepare(force: bool = False, year: int | None = None, trusted: Sequence[str] = ()) -> list[str]:
    """Install all compatibility layers there are, and what else was asked for.

    What is really installed stays as it is, with a remark on stderr, unless ``force``. What is not
    given here is looked up in the environment, as children do.

    Args:
        force: hide really installed packages.
        year: see `gone.as_of`.
        trusted: see `gone.trust_pickle`.

    Returns:
        The names that resolve to mho now.
    """
    for path in trusted:
        gone.trust_pickle(path)
    gone.from_environment()
    if year is not None:
        gone.as_of(year)
    return [name for name in NAMES if _installs(name, force or forced())]


def _installs(name: str, force: bool) -> bool:
    try:
        install(name, force=force)
    except NotShadowedError as error:
        print(f"mho.compat: {error} (--force)", file=sys.stderr)
        return False
    except ImportError:  # not part of this installation
        return False
    return True


def run(path: Path, args: Sequence[str]) -> None:
    """Run a script or notebook as ``__main__``.

    Args:
        path: of the file.
        args: its command line.
    """
    text, place = _text(path), os.path.abspath(path)
    blocks = notebooks.blocks_of(str(path) if path.suffix == ".ipynb" else place, text)
    names = _main(str(path), args)
    names["__file__"] = place
    if path.suffix == ".ipynb":
        notebooks.inline()
    if [block.python for block in blocks] != [text] or gone.active():
        # What Python does not read, or what needs more than the path: workers that import the
        # program again do so through `mho.compat.child`.
        os.environ[MAIN] = place
        names["__spec__"] = ModuleSpec("mho.compat.child", None, origin=place)
    notebooks.run(blocks, names)


def run_again(names: dict[str, Any]) -> None:
    """Run the program of the parent process in a worker, not as ``__main__``.

    A notebook has no guard: of it workers have the imports, functions, classes and constants.

    Args:
        names: global variables of the worker's main module.
    """
    prepare()
    path = os.environ[MAIN]
    names["__file__"] = path
    blocks = notebooks.blocks_of(path, _text(Path(path)))
    notebooks.run(blocks, names, definitions=True)


def run_text(text: str, given: bool, args: Sequence[str]) -> None:
    """Run code as ``__main__``.

    Args:
        text: the code.
        given: on the command line (``-c``), else from stdin.
        args: its command line.
    """
    names = _main("-c" if given else "-", args)
    notebooks.run(notebooks.blocks_of("<string>" if given else "<stdin>", text), names)


def run_module(name: str, args: Sequence[str]) -> None:
    """Run a module, or a package's ``__main__``, as ``python -m`` does."""
    sys.argv[:] = [name, *args]
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def without_own_frames(function: Callable[[], None]) -> None:
    """Call a function; an error's traceback begins where the user's program does."""
    try:
        function()
    except Exception as error:
        users = error.__traceback__
        own = (os.path.dirname(__file__), os.path.abspath(runpy.__file__), "<frozen runpy>")
        while users is not None and users.tb_frame.f_code.co_filename.startswith(own):
            users = users.tb_next
        if users is not None or isinstance(error, SyntaxError):
            error.__traceback__ = users
        if sys.excepthook is sys.__excepthook__:
            traceback.print_exception(error)  # which knows the lines of cells
        else:
            sys.excepthook(type(error), error, error.__traceback__)
        sys.exit(1)


def _main(argument: str, args: Sequence[str]) -> dict[str, Any]:
    """Make the module ``__main__`` and return its global variables."""
    module = ModuleType("__main__")
    sys.argv[:] = [argument, *args]
    sys.modules["__main__"] = module
    # What there is no screen or notebook for is no news to who runs a program this way.
    warnings.filterwarnings("ignore", message=r"\w*Agg is non-interactive")
    if importlib.util.find_spec("ipywidgets") is None:
        for name in ("tqdm", "tqdm_notebook"):
            setattr(tqdm.notebook, name, tqdm.std.tqdm)
        for name in ("trange", "tnrange"):
            setattr(tqdm.notebook, name, tqdm.std.trange)
    return vars(module)


def _text(path: Path) -> str:
    if path.suffix == ".ipynb":
        return path.read_text(encoding="utf-8")
    with tokenize.open(path) as file:
        return file.read()
