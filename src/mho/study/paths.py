"""Fields of a hardware by path: ``"adc.bits"``, ``"effects.StuckAt.low"``."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from mho.core import checks
from mho.core.spec import Spec
from mho.hardware import Hardware


def with_settings(hardware: Hardware, settings: Mapping[str, Any]) -> Hardware:
    """Return a hardware with some fields set, by path; all of them at once.

    Args:
        hardware: what to start from; it is not changed.
        settings: values by path: ``"adc.bits"``, ``"array.wires.word"``, ``"device"``,
            ``"effects.StuckAt.low"`` (of the effect of that class), ``"effects.0"`` (of the first).
            Where a part and a field of it are set (``"device"`` and ``"device.g_max"``) the field
            is that of the new part.

    Raises:
        ValueError: if a path leads to no field, or a value is refused; the message names both.
        TypeError: if a value is of another kind than its field asks for.
    """
    checks.instance("hardware", hardware, Hardware)
    checks.instance("settings", settings, Mapping)
    changes = {tuple(str(path).split(".")): revived(value) for path, value in settings.items()}
    changed = _set(hardware, changes, (), hardware)
    checks.instance("hardware", changed, Hardware)
    return changed


def revived(value: Any) -> Any:
    """Return a value as specs take it: from plain values, lists, NumPy's or torch's numbers."""
    if isinstance(value, Mapping) and "type" in value:
        return Spec.from_dict(value)
    if isinstance(value, (list, tuple)):
        return tuple(revived(item) for item in value)
    return checks.plain(value)


def reaches(hardware: Hardware, path: str) -> bool:
    """Whether a path leads to a field of this hardware."""
    part: Any = hardware
    for name in path.split("."):
        found = dict(_children(part))
        if name not in found:
            return False
        part = found[name]
    return True


def stands_at(hardware: Hardware, path: str) -> Any:
    """Return what stands at a path that `reaches` a field."""
    part: Any = hardware
    for name in path.split("."):
        part = dict(_children(part))[name]
    return part


def nearest(hardware: Hardware, path: str) -> str:
    """Say that a path leads nowhere, and why, or which one is meant."""
    known = list(fields(hardware))
    head = path.rpartition(".")[0]
    while head and not reaches(hardware, head):
        head = head.rpartition(".")[0]
    told = f"{path!r} is no field of the hardware, nor declared free"
    if head:
        if stands_at(hardware, head) is None:
            return f"{told}: its {head} is None; give hardware with one"
        if head == "effects":
            have = ", ".join(type(effect).__name__ for effect in hardware.effects) or "none"
            again = path.split(".")[1]
            if [type(effect).__name__ for effect in hardware.effects].count(again) > 1:
                return f"{told}: there are several {again}; say which, as in 'effects.0'"
            return f"{told}: the hardware's effects are {have}"
    last = path.rpartition(".")[2]
    near = difflib.get_close_matches(path, known, n=1) if "." in path else []
    near = near or [name for name in known if name.rpartition(".")[2] == last][:1]
    near = near or difflib.get_close_matches(path, known, n=1, cutoff=0.5)
    return f"{told}; did you mean {near[0]!r}?" if near else told


def fields(part: Any, above: str = "") -> Iterator[str]:
    """Give all paths of a hardware, or of a part of it."""
    for name, child in _children(part):
        path = f"{above}{name}"
        yield path
        yield from fields(child, f"{path}.")


def _children(part: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(part, Spec):
        for field in dataclasses.fields(part):  # type: ignore[arg-type]
            if field.init:
                yield field.name, getattr(part, field.name)
    elif isinstance(part, tuple) and any(isinstance(item, Spec) for item in part):
        names = [type(item).__name__ for item in part]
        for i, item in enumerate(part):
            yield str(i), item
            if names.count(names[i]) == 1:
                yield names[i], item


Changes = Mapping[tuple[str, ...], Any]


def _set(part: Any, changes: Changes, above: tuple[str, ...], hardware: Hardware) -> Any:
    """Return a part with what is changed below it, each of its fields once, all together."""
    known = dict(_children(part))
    values: dict[str, Any] = {}
    deeper: dict[str, dict[tuple[str, ...], Any]] = {}
    shown: dict[str, str] = {}
    for (name, *rest), value in changes.items():
        path = ".".join((*above, name, *rest))
        if name not in known:
            raise ValueError(nearest(hardware, path))
        place = _place(part, name)
        first = shown.setdefault(place, name)
        into: dict[Any, Any] = deeper.setdefault(place, {}) if rest else values
        if (key := tuple(rest) if rest else place) in into:
            other = ".".join((*above, first, *rest))
            raise ValueError(f"{path!r} is the same field as {other!r}: set one of them")
        into[key] = value
        if not name.isdigit():
            shown[place] = name
    for place, below in deeper.items():
        new, name = values.get(place, known[place]), shown[place]
        if isinstance(part, tuple) and not name.isdigit() and type(new).__name__ != name:
            path = ".".join((*above, name, *next(iter(below))))
            raise ValueError(f"{path} is refused: {type(new).__name__} is chosen in its place")
        values[place] = _set(new, below, (*above, name), hardware)
    if isinstance(part, tuple):
        return _items(part, values, above)
    try:
        return part.replace(**values)
    except (ValueError, TypeError) as error:
        given = {".".join((*above, *path)): value for path, value in changes.items()}
        told = ", ".join(f"{path}={_brief(value)}" for path, value in given.items())
        raise type(error)(f"{told} is refused: {error}") from error


def _items(part: tuple[Any, ...], values: Mapping[str, Any], above: tuple[str, ...]) -> Any:
    items = list(part)
    for place, value in values.items():
        if not isinstance(value, Spec):
            path = ".".join((*above, place))
            raise TypeError(f"{path} must be a spec, got {value!r} ({type(value).__name__})")
        items[int(place)] = value
    return tuple(items)


def _place(part: Any, name: str) -> str:
    """Return the one name of a child: of an effect that is named by its class, its place."""
    if not isinstance(part, tuple) or name.isdigit():
        return name
    return str([type(item).__name__ for item in part].index(name))


def field_of(hardware: Hardware, path: str) -> str:
    """Return the one path of a field of this hardware that may be named in several ways."""
    if not reaches(hardware, path):
        return path
    part: Any = hardware
    names = []
    for name in path.split("."):
        names.append(_place(part, name))
        part = dict(_children(part))[name]
    return ".".join(names)


def _brief(value: Any) -> str:
    return str(value) if isinstance(value, Spec) else repr(value)
