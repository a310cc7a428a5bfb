"""Optional packages: imported at use, and named with the line that installs them if missing."""

from __future__ import annotations

import importlib
from typing import Any

# What a package is called where it is installed from, if not as it is imported.
_NAMES = {"sklearn": "scikit-learn", "lm_eval": "lm-eval"}


def need(module: str, extra: str) -> Any:
    """Import a module of an optional package.

    Args:
        module: as it is imported, as in ``"matplotlib.figure"``.
        extra: of mho that has it, as in ``"viz"``.

    Returns:
        The module.

    Raises:
        ImportError: if it is not installed, or does not load; the message says the line that
            installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(_remedy(module, extra, error), name=module) from error


def there(module: str) -> bool:
    """Whether a module of an optional package can be imported (it is, if so)."""
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def pip(extra: str) -> str:
    """Return the line that installs an extra."""
    return f'pip install "mho[{extra}]"'


def _remedy(module: str, extra: str, error: ImportError) -> str:
    package = module.partition(".")[0]
    name = _NAMES.get(package, package)
    line = pip(extra)
    missing = isinstance(error, ModuleNotFoundError) and error.name
    if missing and missing.partition(".")[0] == package:
        return f"{name} is missing: {line}"
    # It is there, and something that it needs is not, or does not fit it.
    return f"{name} does not load ({error}): {line}"
