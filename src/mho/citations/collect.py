"""`cite`: what a hardware, a model or an optimizer is made of, and the papers these are from."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
from collections.abc import Iterator, Mapping
from types import FunctionType
from typing import Any

from torch import nn

from mho.cells.device import Device
from mho.citations.table import OWN, Citations, find, numbers_in, papers
from mho.core.spec import Spec
from mho.crossbar import Crossbar
from mho.crossbar.training import NoiseInjection
from mho.devices import presets

# What simulates a configuration, as against what the configuration is of: not walked into.
_MACHINERY = ("mho.core", "mho.cells", "mho.circuit.plan", "mho.study", "mho.plot")


def cite(*used: Any) -> Citations:
    """Return the papers behind exactly what is given, as BibTeX.

        >>> print(mho.cite(hardware))
        >>> Path("papers.bib").write_text(str(mho.cite(analog, optimizer, recipe)))

    Walks through all parts: a hardware's device, encoding, converters, programming and effects; the
    crossbars and layers of a model; the rule, the cells and the decomposition of an optimizer; the
    components of an architecture. A device whose parameters are those of a preset is cited as the
    preset, too. mho itself is always cited. What only computes (solvers, generators of random
    numbers) is not; the pages on physics and numerics name it.

    Args:
        used: any of a `Hardware` or a part of one, a converted model, a `Crossbar`, an optimizer of
            `mho.train`, a recipe, a chip, an architecture or a component; a class or a function
            of mho; lists and mappings of these.

    Raises:
        TypeError: if something is none of these, or nothing is given.
        RuntimeError: if Python has thrown docstrings away (``python -OO``).
    """
    if not used:
        raise TypeError("cite expects a hardware, a model or a part of one, got nothing")
    if sys.flags.optimize >= 2:
        raise RuntimeError("cite reads docstrings, which python -OO throws away: run without -OO")
    found: dict[str, dict[str, None]] = {}
    seen: dict[int, Any] = {}
    for thing in used:
        _refuse_foreign(thing)
        for name, text in _sources(thing, seen):
            for number in numbers_in(text):
                found.setdefault(number, {})[name] = None
    return _gathered(found)


def _gathered(found: Mapping[str, Mapping[str, None]]) -> Citations:
    entries = {OWN: papers()[OWN]}
    used_by: dict[str, tuple[str, ...]] = {OWN: ("everything",)}
    for entry, names in sorted(
        ((find(number), tuple(names)) for number, names in found.items()),
        key=lambda pair: pair[0].key,
    ):
        entries[entry.key] = entry
        # An entry may be named by its doi and by its arXiv number.
        used_by[entry.key] = tuple(dict.fromkeys((*used_by.get(entry.key, ()), *names)))
    return Citations(entries, used_by)


def _refuse_foreign(thing: Any) -> None:
    if isinstance(thing, (list, tuple, set, frozenset)):
        for one in thing:
            _refuse_foreign(one)
    elif isinstance(thing, Mapping):
        _refuse_foreign(list(thing.values()))
    elif not (_ours(thing) or isinstance(thing, (nn.Module, Spec))):
        raise TypeError(
            "cite expects a hardware, a model or a part of one, or a class or function of mho, "
            f"got {type(thing).__name__}"
        )


def _module(thing: Any) -> str:
    owner = thing if inspect.isclass(thing) or inspect.isfunction(thing) else type(thing)
    return getattr(owner, "__module__", "") or ""


def _ours(thing: Any) -> bool:
    return _module(thing).split(".")[0] == "mho"


def _sources(thing: Any, seen: dict[int, Any]) -> Iterator[tuple[str, str]]:
    """Yield the names and the texts of all that a thing is made of, itself first."""
    if id(thing) in seen:
        return
    seen[id(thing)] = thing  # kept: a number of an object that is gone may be another's
    if isinstance(thing, (list, tuple, set, frozenset)):
        for one in thing:
            yield from _sources(one, seen)
    elif isinstance(thing, Mapping):
        yield from _sources(list(thing.values()), seen)
    elif inspect.isclass(thing) or inspect.isfunction(thing):
        yield thing.__name__, _said(thing)
    elif isinstance(thing, Spec) or dataclasses.is_dataclass(thing):
        yield from _of_spec(thing, seen)
    elif isinstance(thing, nn.Module) or _ours(thing):
        yield from _of_object(thing, seen)


def _of_spec(spec: Any, seen: dict[int, Any]) -> Iterator[tuple[str, str]]:
    name = type(spec).__name__
    if _ours(spec) or isinstance(spec, Spec):
        yield name, _said(type(spec))
        source = getattr(spec, "source", "")
        if isinstance(source, str):
            yield getattr(spec, "name", None) or name, source
    if isinstance(spec, Device):
        yield from _presets(spec)
    for field in dataclasses.fields(spec):
        yield from _sources(getattr(spec, field.name, None), seen)


def _presets(device: Device) -> Iterator[tuple[str, str]]:
    for name, citation, known in _known_devices():
        if known == device:
            yield f"preset {name}", citation


@functools.cache
def _known_devices() -> tuple[tuple[str, str, Device], ...]:
    return tuple((p.name, p.citation, presets.get(p.name)) for p in presets.list())


def _of_object(thing: Any, seen: dict[int, Any]) -> Iterator[tuple[str, str]]:
    if _module(thing).startswith(_MACHINERY):
        return
    if _ours(thing):
        yield type(thing).__name__, _said(type(thing))
    if isinstance(thing, Crossbar):
        held = [value for value in vars(thing).values() if isinstance(value, Spec)]
        # What trains a model unless a recipe says otherwise is no part of what was configured.
        held = [value for value in held if value != NoiseInjection()]
        yield from _sources([*held, thing.range_rule], seen)
        return
    if isinstance(thing, nn.Module):
        yield from _sources(list(thing.children()), seen)
    if _ours(thing):
        yield from _sources(list(vars(thing).values()), seen)


def _said(thing: type | FunctionType) -> str:
    """What a class or function says of its sources; if nothing, what its bases or its file say."""
    for owner in inspect.getmro(thing) if isinstance(thing, type) else (thing,):
        text = owner.__dict__.get("__doc__") if isinstance(owner, type) else owner.__doc__
        if numbers_in(text or ""):
            return text or ""
    module = inspect.getmodule(thing)
    return (module.__doc__ or "") if module is not None and _ours(thing) else ""
