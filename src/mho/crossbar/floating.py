"""Lines that float once their pulse is over, behind wires: exact, by one factorisation a vector.

Without wires a line that is cut off stays at the 0 V of the bit lines' virtual grounds, as one that
is held there; `mho.circuit.pulsed` says what wires make of it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mho.circuit import pulsed
from mho.crossbar.tiling import Tiling
from mho.hardware import Hardware


class Ports(NamedTuple):
    """What the tiles of an array are to their drivers and converters.

    Attributes:
        tiling: how cells lie on tiles.
        bands: as `Tiling.cut` gives tiles, each as conductances between drivers and from drivers to
            bit lines (S, float64).
    """

    tiling: Tiling
    bands: list[list[tuple[Tensor, Tensor]]]


def floats(hardware: Hardware) -> bool:
    """Whether it matters that lines float after their pulses."""
    pulses = hardware.drive.pulses
    return pulses is not None and pulses.idle == "floating" and not hardware.array.wires.ideal


@torch.no_grad()
def ports(g: Tensor, groups: int, hardware: Hardware) -> Ports:
    """Return the ports of all tiles.

    Args:
        g: conductances ``[slices, groups · rows, cols]`` (S).
        groups: how many matrices lie side by side.
        hardware: what the array is made of.
    """
    tiling = Tiling.of(g, groups, hardware.array)
    wires = hardware.array.wires
    cut = tiling.cut(g)
    return Ports(tiling, [[pulsed.ports(tiles, wires) for tiles in band] for band in cut])


def currents(level: Tensor, seen: Ports, hardware: Hardware) -> list[Tensor]:
    """Return the charges of all tiles as mean currents (A); see `mho.crossbar.exact.currents`.

    Args:
        level: of one drive ``[groups, batch, rows]``.
        seen: the array.
        hardware: what it is made of.
    """
    tiling, encoding = seen.tiling, hardware.encoding
    found = []
    for part, band in zip(tiling.cut_inputs(level.double()), seen.bands, strict=True):
        sign = torch.where(part.detach() < 0, -1.0, 1.0).to(part)
        # [1, groups, down, 1, batch, rows]: so a level of 0 has a gradient, too.
        volts, times = (x[None, :, :, None] for x in (sign, part * sign))
        solved = [pulsed.mean_voltages(Y, volts, times) @ T for Y, T in band]
        lines = torch.cat([s.transpose(3, 4).flatten(4) for s in solved], dim=-1)
        if tiling.array.interleaved:  # [1, groups, down, batch, lines] to [slices, …, cols]
            lines = lines[0].unflatten(-1, (-1, tiling.slices)).movedim(-1, 0)
        joined = encoding.converted(lines.flatten(1, 3) * hardware.drive.v_step)
        found.append(joined.unflatten(0, lines.shape[1:4]).to(level))
    return found
