"""Run a program of MemTorch or XBTorch, unmodified: ``python -m mho.compat script.py [args]``."""

from __future__ import annotations

import argparse
import os
import sys
import tokenize
from pathlib import Path
from types import ModuleType

from mho.compat.installation import NAMES, NotShadowedError, install
from mho.compat.notebooks import Shell, source_of


def main(argv: list[str] | None = None) -> None:
    """Run a script (or notebook) with ``memtorch`` and ``xbtorch`` resolving to mho.

    The script runs as ``__main__``, with its own folder first on the path and its own arguments.

    Args:
        argv: command line without the program's name; None: the process's.
    """
    parser = argparse.ArgumentParser(
        prog="python -m mho.compat",
        description="Run a MemTorch or XBTorch program, unmodified, on mho.",
    )
    parser.add_argument("--force", action="store_true", help="hide really installed packages")
    parser.add_argument("script", help="a Python script or a Jupyter notebook (.ipynb)")
    parser.add_argument("args", nargs=argparse.REMAINDER, help="its arguments")
    given = parser.parse_args(argv)
    path = Path(given.script)
    if not path.is_file():
        parser.error(f"there is no file {given.script}")
    # As Python itself does; -m has put the present folder there. What lies beside the script is
    # really there for it, too.
    sys.path[0] = os.fspath(path.resolve().parent)
    prepare(given.force)
    run(path, given.args)


def prepare(force: bool) -> list[str]:
    """Install all compatibility layers there are.

    What is really installed stays as it is, with a remark on stderr, unless ``force``.

    Returns:
        The names that resolve to mho now.
    """
    return [name for name in NAMES if _installs(name, force)]


def _installs(name: str, force: bool) -> bool:
    try:
        install(name, force=force)
    except NotShadowedError as error:
        print(f"mho.compat: {error} (--force)", file=sys.stderr)
        return False
    except ImportError:  # not part of this installation
        return False
    return True


def run(path: Path, args: list[str]) -> None:
    """Run a script or notebook as ``__main__``.

    Args:
        path: of the file.
        args: its command line.
    """
    if path.suffix == ".ipynb":
        text = path.read_text(encoding="utf-8")
    else:
        with tokenize.open(path) as file:
            text = file.read()
    code = compile(source_of(str(path), text), str(path), "exec")
    module = ModuleType("__main__")
    module.__file__ = str(path)
    names = vars(module)
    shell = Shell(names)
    names["get_ipython"] = lambda: shell
    sys.argv[:] = [str(path), *args]
    sys.modules["__main__"] = module
    exec(code, names)


if __name__ == "__main__":
    main()
