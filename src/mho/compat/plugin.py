"""Run a test suite of MemTorch or XBTorch, unmodified: ``pytest -p mho.compat.plugin``."""

from __future__ import annotations

import os
from typing import Any

from mho.compat.__main__ import prepare
from mho.compat.installation import uninstall

# Before any conftest is imported: they import the old systems, too. pytest imports plugins given
# by -p first of all, before options are parsed, hence the environment variable.
_INSTALLED = prepare(force=os.environ.get("MHO_COMPAT_FORCE", "0") not in ("", "0"))


def pytest_report_header() -> str:
    """Say which packages are mho's."""
    return f"mho.compat: {', '.join(_INSTALLED) or 'nothing'} on mho"


def pytest_unconfigure(config: Any) -> None:
    """Give the names back."""
    for name in _INSTALLED:
        uninstall(name)
