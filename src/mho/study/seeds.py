"""Seeds of chips."""

from __future__ import annotations

from collections.abc import Sequence

from mho.core import checks


def listed(seeds: Sequence[int]) -> list[int]:
    """Return seeds of chips; refuse none at all, and what is no seed (TypeError, ValueError)."""
    found = list(seeds)
    if not found:
        raise ValueError("seeds must hold at least one seed, got none")
    return [checks.integer("every seed", seed, least=0) for seed in found]
