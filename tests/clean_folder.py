"""The folder that tests are run from is the developer's: no test makes a file there."""

import os
import sys

FOLDER = os.getcwd()
MAY = (".coverage",)  # of who measures what tests run


def watch():
    """Refuse to make a file in that folder, from now on, while a test runs."""
    sys.addaudithook(_refuse)


def _refuse(event, args):
    if event == "open" and isinstance(args[0], (str, bytes)) and (args[2] or 0) & os.O_CREAT:
        folder, name = os.path.split(os.path.abspath(os.fsdecode(args[0])))
        if folder == FOLDER and "PYTEST_CURRENT_TEST" in os.environ and not name.startswith(MAY):
            raise PermissionError(f"a test made {name!r} in the folder that tests are run from")
