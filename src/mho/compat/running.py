"""Running a program as ``__main__``: a script, a notebook, a module, code."""

from __future__ import annotations

import builtins
import contextlib
import importlib.util
import os
import runpy
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import tqdm.notebook
import tqdm.std

from mho.compat import gone, notebooks
from mho.compat.installation import NAMES, NotShadowedError, forced, install

MAIN = "MHO_COMPAT_MAIN"
"""Environment variable: the program that workers import again."""


def prepare(force: bool = False, year: int | None = None, trusted: Sequence[str] = ()) -> list[str]:
    """Install both layers, and what `gone` was asked for; return the names that are mho's now.

    What is really installed stays as it is, with a remark on stderr, unless ``force``. What is not
    given here is looked up in the environment, as children do.
    """
    for path in trusted:
        gone.trust_pickle(path)
    gone.from_environment()
    if year is not None:
        gone.as_of(year)
    return [name for name in NAMES if _installs(name, force or forced())]


def _installs(name: str, force: bool) -> bool:
    try:
        install(name, force)
    except NotShadowedError as error:
        print(f"mho.compat: {error} (--force)", file=sys.stderr)
        return False
    return True


def run(path: str, args: Sequence[str]) -> None:
    """Run a script or notebook as ``__main__``."""
    text, place = notebooks.text_of(path), os.path.abspath(path)
    names = _main(path, args)
    names["__file__"] = place
    is_notebook = path.endswith(".ipynb")
    if is_notebook:
        notebooks.inline()
        sys.path.insert(1, "")  # what its cells write lies in the present folder, wherever that is
    asked = is_notebook or os.environ.get(gone.YEAR) or os.environ.get(gone.TRUSTED)
    if asked or notebooks.python_of(place, text) != text:
        # What Python does not read, or what needs more than the path: workers that import the
        # program again do so through `mho.compat.child`.
        os.environ[MAIN] = place
        names["__spec__"] = ModuleSpec("mho.compat.child", None, origin=place)
    notebooks.run(notebooks.blocks_of(path if is_notebook else place, text), names)


def run_again(names: dict[str, Any]) -> None:
    """Run the program of the parent process in a worker, not as ``__main__``.

    A notebook has no guard: of it workers have the imports, functions, classes and constants.
    """
    prepare()
    path = os.environ[MAIN]
    names["__file__"] = path
    with contextlib.suppress(SyntaxError):  # of a cell that the parent may not have come to
        notebooks.run(notebooks.blocks_of(path, notebooks.text_of(path)), names, definitions=True)


def run_text(text: str, name: str, args: Sequence[str]) -> None:
    """Run code from the command line (``name`` is ``-c``) or stdin (``-``) as ``__main__``."""
    place = "<string>" if name == "-c" else "<stdin>"
    notebooks.run(notebooks.blocks_of(place, text), _main(name, args))


def run_module(name: str, args: Sequence[str]) -> None:
    """Run a module, or a package's ``__main__``, as ``python -m`` does."""
    sys.argv[:] = [name, *args]
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def without_own_frames(function: Callable[[], None]) -> None:
    """Call a function; an error's traceback begins where the user's program does."""
    try:
        function()
    except BaseException as error:
        users = error.__traceback__
        own = (os.path.dirname(__file__), os.path.abspath(runpy.__file__), "<frozen runpy>")
        while users is not None and users.tb_frame.f_code.co_filename.startswith(own):
            users = users.tb_next
        if users is None and not isinstance(error, SyntaxError):
            users = error.__traceback__
        show = sys.excepthook
        if show is sys.__excepthook__:
            show = traceback.print_exception  # which knows the lines of cells
        # Python says the rest: what is not for excepthook, and the exit code.
        sys.excepthook = lambda kind, error, _: show(kind, error.with_traceback(users), users)
        raise


def _main(argument: str, args: Sequence[str]) -> dict[str, Any]:
    """Make the module ``__main__`` and return its global variables."""
    module = ModuleType("__main__")
    vars(module)["__builtins__"] = builtins
    sys.argv[:] = [argument, *args]
    sys.modules["__main__"] = module
    # What there is no screen or notebook for is no news to who runs a program this way.
    warnings.filterwarnings("ignore", message=r"\w*Agg is non-interactive")
    if importlib.util.find_spec("ipywidgets") is None:
        plain = {"tqdm": tqdm.std.tqdm, "trange": tqdm.std.trange}
        vars(tqdm.notebook).update(plain, tqdm_notebook=tqdm.std.tqdm, tnrange=tqdm.std.trange)
    return vars(module)
