"""How much of what a crossbar is given can be looked at together, while it is watched."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mho.crossbar.crossbar import Crossbar

_COPIES = 6
"""Of currents: as they flow, as they are converted, and as samples of which ranges are found."""

_OUTPUTS = 20
"""Numbers for every output: both readings, the target, and all three in double precision."""


def vectors_at_once(crossbar: Crossbar) -> int:
    """Return how many vectors may be looked at together within the memory of a read, >= 1."""
    hardware, encoding = crossbar.hardware, crossbar.hardware.encoding
    planes = hardware.drive.planes_sent
    tiles = math.ceil(crossbar.rows / hardware.array.rows) if hardware.by_tile else 1
    currents = tiles * planes * encoding.converters * encoding.physical_cols(crossbar.cols)
    inputs = (planes + 3) * crossbar.rows
    each = crossbar.groups * (_COPIES * currents + inputs + _OUTPUTS * crossbar.cols)
    return max(crossbar.memory // (each * crossbar.scale.element_size()), 1)


def by_call(crossbar: Crossbar) -> bool:
    """Whether a range follows all that a call is given, which is then looked at together."""
    adc = crossbar.hardware.adc
    driven = crossbar.hardware.drive.range == "per_call"
    return driven or (adc is not None and adc.range == "per_call")
