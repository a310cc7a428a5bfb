"""Refusals."""

from __future__ import annotations


class Refused(ValueError, AssertionError):  # noqa: N818
    """A value that is not allowed.

    It is a `ValueError`, as everywhere in mho, and an `AssertionError`, as MemTorch's programs
    expect.
    """
