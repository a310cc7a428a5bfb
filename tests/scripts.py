"""The examples as modules: each is imported as it is run."""

import importlib.util
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name):
    """Import an example; its folder is where Python looks first, until it is imported."""
    path = EXAMPLES / f"{name}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    sys.path[:0] = [str(path.parent), str(EXAMPLES)]
    try:
        spec.loader.exec_module(module)
    finally:  # what the script has added is not for other tests
        sys.path[:] = before
    return module
