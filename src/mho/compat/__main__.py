"""Run a program of MemTorch or XBTorch, unmodified: ``python -m mho.compat script.py [args]``."""

from __future__ import annotations

import argparse
import os
import sys

from mho.compat import running


def main(argv: list[str] | None = None) -> None:
    """Run a program with ``memtorch`` and ``xbtorch`` resolving to mho.

    It runs as Python itself would run it: as ``__main__``, with its own arguments, and its own
    folder (for ``-m``, ``-c`` and ``-`` the present one) first on the path.

    Args:
        argv: command line without the program's name; None: the process's.
    """
    parser = argparse.ArgumentParser(
        prog="python -m mho.compat",
        usage="%(prog)s [options] (script | notebook.ipynb | -m module | -c code | -) [args]",
        description="Run a MemTorch or XBTorch program, unmodified, on mho.",
    )
    parser.add_argument("--force", action="store_true", help="hide really installed packages")
    parser.add_argument(
        "--as-of",
        type=int,
        metavar="YEAR",
        help="offer what NumPy, PyTorch, SciPy, pandas and Python had in that year",
    )
    parser.add_argument(
        "--trust-pickle",
        action="append",
        default=[],
        metavar="FILE",
        help="torch.load may unpickle whole objects, so run code, from this file",
    )
    parser.add_argument("-m", dest="module", nargs=argparse.REMAINDER, help="a module, with args")
    parser.add_argument("-c", dest="code", nargs=argparse.REMAINDER, help="code, with args")
    parser.add_argument("script", nargs=argparse.REMAINDER, help="a file, or - for stdin; args")
    given = parser.parse_args(argv)
    first, *args = given.module or given.code or given.script or parser.error("there is no script")
    is_file = not given.module and not given.code and first != "-"
    if is_file and not os.path.isfile(first):
        parser.error(f"there is no file {first}")
    if is_file:
        # -m has put the present folder there. What lies beside the script is really there for it.
        sys.path[0] = os.path.dirname(os.path.realpath(first))
    running.prepare(given.force, given.as_of, given.trust_pickle)
    if given.module:
        running.run_module(first, args)
    elif is_file:
        running.run(first, args)
    elif given.code:
        running.run_text(first, "-c", args)
    else:
        running.run_text(sys.stdin.read(), "-", args)


if __name__ == "__main__":
    running.without_own_frames(main)
