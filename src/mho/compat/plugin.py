"""Run a test suite of MemTorch or XBTorch, unmodified: ``pytest -p mho.compat.plugin``."""

from __future__ import annotations

from typing import Any

from mho.compat.installation import uninstall
from mho.compat.running import prepare

# Before any conftest is imported: they import the old systems, too. pytest imports plugins given
# by -p first of all, before options are parsed, hence the environment variables: MHO_COMPAT_FORCE,
# MHO_COMPAT_AS_OF.
_INSTALLED = prepare()


def pytest_report_header() -> str:
    """Say which packages are mho's."""
    return f"mho.compat: {', '.join(_INSTALLED) or 'nothing'} on mho"


def pytest_unconfigure(config: Any) -> None:
    """Give the names back."""
    for name in _INSTALLED:
        uninstall(name)
