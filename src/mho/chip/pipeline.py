"""Working times of a chip's cores: a pipeline of layers, by a schedule that repeats itself.

Inferences follow one another at the interval ``T``. A layer begins when the one before it is done
with the same inference; its cores work at the same time, each for (reads · time of a read) of all
the layer's tiles that lie there. A core does one read at a time. Where it serves several layers it
keeps one order for ever: every layer has its own slot in each interval, and waits for it.

    T = max over cores of Σ over layers of its work in one inference

is the shortest interval there is, since no core can work more than all the time, and it is
reached: slots of one core never overlap. Where cores are not shared nobody waits, and the latency
is the sum of the layers' times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Work = Mapping[int, float]
"""By core, how long it works for one layer in one inference (s)."""

_SAME = 1e-9  # of an interval: what is off by less is rounding


@dataclass(frozen=True)
class Pipeline:
    """How the layers on a chip follow one another.

    Attributes:
        interval: between inferences in the steady state (s).
        latency: of one inference (s), with what it waits for its slots.
        starts: by layer, when each of its cores begins with the first inference (s).
        ends: by layer, when it is done with it (s).
        loads: by core, how long it works for one inference (s).
    """

    interval: float
    latency: float
    starts: tuple[Work, ...]
    ends: tuple[float, ...]
    loads: Work


def pipeline(layers: Sequence[Work]) -> Pipeline:
    """Work out the schedule of layers that are read one after the other.

    Args:
        layers: the work of each, in the order in which they are read.
    """
    loads: dict[int, float] = {}
    for work in layers:
        for core, time in work.items():
            loads[core] = loads.get(core, 0.0) + time
    interval = max(loads.values(), default=0.0)
    slots: dict[int, float] = {}  # where the next slot of each core begins, in its first interval
    ready, starts, ends = 0.0, [], []
    for work in layers:
        begin = {core: _at(slots.setdefault(core, ready), ready, interval) for core in work}
        ready = max((begin[core] + time for core, time in work.items()), default=ready)
        for core, time in work.items():
            slots[core] += time
        starts.append(begin)
        ends.append(ready)
    return Pipeline(interval, ready, tuple(starts), tuple(ends), loads)


def _at(slot: float, ready: float, interval: float) -> float:
    """Return the first time of a slot that is not before something is ready."""
    if slot >= ready or interval == 0.0:
        return max(slot, ready)
    late = (ready - slot) / interval
    return max(slot + math.ceil(late - _SAME) * interval, ready)
