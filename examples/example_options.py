"""The options that examples share: ``--quick`` shows the same in little time, ``--out`` says where.

No example itself: the others import it.
"""

import argparse
from pathlib import Path


def parsed(description, out, arguments=None, quick="less of everything, the same conclusion"):
    """Return the options of an example; its folder is made.

    Args:
        description: what the example is about, of which the first line counts.
        out: folder for its figures, if none is given.
        arguments: of the command line; None takes them from there.
        quick: what ``--quick`` does.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--out", type=Path, default=Path(out), help="folder for figures")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    return options
