"""Warnings that point at the caller's own line, however deep in the package they arise."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import torch

_INSIDE = tuple(f"{Path(found).parent}/" for found in (Path(__file__).parent, torch.__file__))


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the first line up the stack that is neither of this package nor of torch."""
    level, frame = 1, sys._getframe()
    while frame is not None and frame.f_code.co_filename.startswith(_INSIDE):
        level, frame = level + 1, frame.f_back  # type: ignore[assignment]
    warnings.warn(message, category, stacklevel=level)
