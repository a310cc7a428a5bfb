"""Who holds a part of a study's work, and whether that one still lives."""

from __future__ import annotations

import os
import platform
import time
import uuid
from collections.abc import Mapping
from typing import Any

from mho.core.extras import need

LEASE = 300.0
"""Seconds without a sign of life, after which one on another machine counts as dead."""

BEAT = 30.0
"""Seconds between two signs of life."""

_living: set[str] = set()
"""Owners of this process that are at work."""


def me() -> dict[str, Any]:
    """Return a new owner: plain values."""
    psutil = need("psutil", "study")
    owner = {
        "id": uuid.uuid4().hex,
        "host": platform.node(),
        "pid": os.getpid(),
        "began": psutil.Process().create_time(),
    }
    _living.add(str(owner["id"]))
    return owner


def leave(owner: Mapping[str, Any]) -> None:
    """Count an owner of this process as gone."""
    _living.discard(owner["id"])


def lives(owner: Mapping[str, Any] | None, signs: Mapping[str, float]) -> bool:
    """Whether an owner is at work.

    Args:
        owner: plain values; None is nobody.
        signs: of life: the time of the last one, by owner.
    """
    if not owner:
        return False
    if owner["host"] != platform.node():
        return time.time() - signs.get(owner["id"], 0.0) < LEASE
    if owner["pid"] == os.getpid():
        return owner["id"] in _living
    psutil = need("psutil", "study")
    try:
        process = psutil.Process(owner["pid"])
        # Clocks are set while a process runs: its beginning may move by a little.
        same = abs(process.create_time() - owner["began"]) < 2.0
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
