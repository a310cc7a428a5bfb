"""Memory: what a device has left, and the refusal of what it cannot hold, before work begins."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import torch

from mho.core.text import size

CHECKED_FROM = 1 << 28
"""Bytes; less is not worth the question how much there is."""

_CHECKED = ContextVar("mho memory is checked", default=True)


@contextmanager
def unchecked() -> Iterator[None]:
    """Let what is made inside a ``with`` block need more memory than seems to be there.

    For a machine that swaps, or gives memory as it is touched; whoever is wrong is killed.
    """
    token = _CHECKED.set(False)
    try:
        yield
    finally:
        _CHECKED.reset(token)


def refuse(what: str, count: int, device: torch.device | str | None, advice: str) -> None:
    """Refuse what needs more memory than a device has left.

    Args:
        what: it is, for the error: the subject of the sentence.
        count: bytes that it needs at least.
        device: that it would be on; torch's default if not given.
        advice: what to do instead, for the error.

    Raises:
        MemoryError: if it needs more.
    """
    if count <= CHECKED_FROM:
        return
    device = torch.get_default_device() if device is None else device
    there = left(device)
    if count > there:
        raise MemoryError(
            f"{what} needs {size(count)} on {device}, and {size(there)} are available; {advice}"
        )


def left(device: torch.device | str) -> float:
    """Return the bytes that may be taken on a device; infinity where nobody knows or asks."""
    there = available(device) if _CHECKED.get() else None
    return math.inf if there is None else there


def available(device: torch.device | str) -> int | None:
    """Return the bytes that are free on a device; None where nobody knows."""
    device = torch.device(device)
    if device.type == "meta":
        return None
    if device.type == "cpu":
        known = [n for n in (_of_system(), _of_group()) if n is not None]
        return min(known, default=None)
    info = getattr(torch.get_device_module(device), "mem_get_info", None)
    return None if info is None else int(info(device)[0])


@functools.cache
def of_device(device: torch.device) -> int | None:
    """Return the bytes that an accelerator has in all; None if it does not say, or is none."""
    if device.type in ("cpu", "meta"):
        return None
    properties = getattr(torch.get_device_module(device), "get_device_properties", None)
    return None if properties is None else getattr(properties(device), "total_memory", None)


def _of_system() -> int | None:
    try:  # Linux counts here what it would give up, too
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


_GROUP = Path("/sys/fs/cgroup")
_GIVEN_UP = ("active_file", "inactive_file")
"""What a container counts as taken, and gives up for whoever needs memory: files that were read."""


def _of_group() -> int | None:
    """What a container leaves, where there is one."""
    try:
        most, now, parts = (
            (_GROUP / f"memory.{what}").read_text(encoding="ascii").strip()
            for what in ("max", "current", "stat")
        )
        if most == "max":
            return None
        counted = dict(line.split() for line in parts.splitlines())
        files = sum(int(counted.get(name, 0)) for name in _GIVEN_UP)
        return max(int(most) - int(now) + files, 0)
    except (OSError, ValueError):
        return None
