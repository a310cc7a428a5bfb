"""One line for a refusal."""

from __future__ import annotations

from mho.compat.memtorch._errors import Refused


def require(condition: bool, message: str) -> None:
    """Raise `Refused` with the message unless the condition holds."""
    if not condition:
        raise Refused(message)
