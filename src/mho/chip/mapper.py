"""The mapper: places all tiles of a network on the cores of a chip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from mho.chip import balance
from mho.chip.cores import Cores, Rewriting
from mho.chip.laying import POLICIES, put
from mho.chip.mapping import CoreMapping
from mho.chip.tiles import LayerShape, checked, shapes_of
from mho.core import checks
from mho.hardware import Hardware


def place(
    model: nn.Module | Sequence[LayerShape],
    cores: Cores,
    policy: str = "packed",
    *,
    inputs: Any = None,
    samples: int | None = None,
    hardware: Hardware | None = None,
    copies: str | Mapping[str, int] | None = None,
    turns: Rewriting | None = None,
    read_time: float | Mapping[str, float] | None = None,
) -> CoreMapping:
    """Place a network on the cores of a chip.

    Matrices are cut as they are read, into tiles of the hardware's `Array`; each lies in one piece,
    never turned, on as many arrays of a core as have their currents joined. Nothing is programmed;
    `Chip.place` takes what this returns.

    Args:
        model: a converted model, a torch model together with ``hardware`` (it may live on the meta
            device), or the layers themselves, in the order in which they are read.
        cores: the chip.
        policy: ``"packed"``: as few cores as possible, tiles of several layers share them.
            ``"layer"``: a layer begins on a fresh core, its own tiles share cores. ``"tile"``:
            every tile has a core of its own.
        inputs: of one call, as `mho.estimate` takes them: how often each layer is read and in which
            order follow from it. Without, each is read once, in the order of modules.
        samples: inferences that these are; None: the length of the first tensor, or its second
            dimension where layers with time first take it.
        hardware: what a model that is not converted is to be put on, as `mho.convert` takes it.
        copies: ``"balanced"``: layers that hold up the others are copied onto free cores while that
            helps. Or how many times each is there, by name; others once.
        turns: allow layers to lie there in turns where the chip is too small, and say what writing
            takes.
        read_time: of a core, instead of ``cores.read_time`` and its conversions (s); or by layer.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a value is refused, or the chip is too small: by how much, and what would do.
    """
    checks.instance("cores", cores, Cores)
    checks.one_of("policy", policy, POLICIES)
    if turns is not None:
        checks.instance("turns", turns, Rewriting)
    checks.instance("model", model, (nn.Module, list, tuple))
    if isinstance(model, nn.Module):
        shapes = shapes_of(model, hardware, inputs, samples)
    else:
        others = {"inputs": inputs, "samples": samples, "hardware": hardware}
        given = [name for name, value in others.items() if value is not None]
        if given:
            raise ValueError(f"{given[0]} is of a model; layers say all there is to know")
        shapes = checked(model)
    if not any(shape.reads for shape in shapes):
        raise ValueError("layers must be read in an inference; all have 0 reads")
    names = [shape.name for shape in shapes]
    times = _times(read_time, names)
    wanted = _copies(copies, names)
    tiles = tuple(put(shapes, cores, policy, turns is not None))
    once = (1,) * len(shapes)
    mapping = CoreMapping(cores, policy, tuple(shapes), once, tiles, times, turns)
    if copies is None:
        return mapping
    return balance.balanced(mapping) if wanted is None else balance.copied(mapping, wanted)


def _times(
    given: float | Mapping[str, float] | None, names: Sequence[str]
) -> tuple[float | None, ...]:
    if not isinstance(given, Mapping):
        time = None if given is None else checks.number("read_time", given, above=0.0)
        return (time,) * len(names)
    _known("read_time", given, names)
    found = {n: checks.number(f"read_time of {n!r}", t, above=0.0) for n, t in given.items()}
    return tuple(found.get(name) for name in names)


def _copies(given: Any, names: Sequence[str]) -> tuple[int, ...] | None:
    """Return how many copies of each layer there are to be; None for what balances them."""
    if given is None or given == "balanced":
        return None
    if not isinstance(given, Mapping):
        raise TypeError(f"copies must be 'balanced', or numbers by name, got {given!r}")
    _known("copies", given, names)
    found = {name: checks.integer(f"copies of {name!r}", n) for name, n in given.items()}
    return tuple(found.get(name, 1) for name in names)


def _known(what: str, given: Mapping[str, Any], names: Sequence[str]) -> None:
    for name in given:
        checks.one_of(f"every layer in {what}", name, names)
