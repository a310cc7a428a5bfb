"""The examples as modules: each is imported as it is run."""

import importlib.util
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name):
    """Import an example; its folder is where Python looks first, until it is imported."""
    spec = importlib.util.spec_from_file_location(Path(name).name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    sys.path.insert(0, str(EXAMPLES))
    try:
        spec.loader.exec_module(module)
    finally:  # what the script has added is not for other tests
        sys.path[:] = before
    return module
