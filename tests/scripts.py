"""The examples and benchmarks as modules: each is imported as it is run."""

import importlib.util
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def example(name):
    """Import an example; its folder is where Python looks first, until it is imported."""
    return _imported(EXAMPLES / f"{name}.py", EXAMPLES)


def benchmark(name):
    """Import a benchmark."""
    return _imported(BENCHMARKS / f"{name}.py", BENCHMARKS)


def _imported(path, folder):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    sys.path[:0] = [str(path.parent), str(folder)]
    try:
        spec.loader.exec_module(module)
    finally:  # what the script has added is not for other tests
        sys.path[:] = before
    return module
