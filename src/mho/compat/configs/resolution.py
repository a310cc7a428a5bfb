"""Resolutions of converters as AIHWKit and AIHWKit-Lightning give them."""

from __future__ import annotations

import math

MOST = 24


def bits_of(resolution: float) -> tuple[int | None, str]:
    """Return the bits of a converter with so many steps over its range.

    ``2^bits - 2`` steps, or one over that, make ``2^bits - 1`` levels, as here.

    Args:
        resolution: steps, or one over them; 0 and less is no rounding, as are steps without end.

    Returns:
        Bits, None for no rounding; and how the number of levels differs, "" where it does not.
    """
    if resolution <= 0 or math.isinf(resolution):
        return None, ""
    steps = resolution if resolution > 1.0 else 1.0 / resolution
    exact = math.log2(steps + 2.0)
    bits = min(max(round(exact), 1), MOST)
    if abs(2.0**exact - 2.0**bits) < 1e-6 * 2.0**bits:
        return bits, ""
    return bits, f"{steps + 1:.6g} levels there, {2**bits - 1} here"
