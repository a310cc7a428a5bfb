"""Units of a hardware's fields, from where they are said: the classes' own documentation."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any

from mho.core.spec import Spec
from mho.hardware import Hardware
from mho.study.paths import reaches, stands_at

_SYMBOLS = {"S", "V", "A", "Ω", "s", "K", "J", "W", "F", "C", "m", "m²", "m³", "Hz", "°C", "1", ""}


def units_of(hardware: Hardware, paths: Iterable[str]) -> dict[str, str]:
    """Return the unit of each path, ``""`` where there is none or none is said.

    Args:
        hardware: whose fields they are. Of a path that leads to none of its own (of a device that
            is varied, too) the unit is the one on which all specs with such a field agree.
        paths: as in ``"array.wires.word"``.
    """
    return {path: _unit(hardware, path) for path in paths}


def _unit(hardware: Hardware, path: str) -> str:
    above, _, name = path.rpartition(".")
    if reaches(hardware, path):
        part: Any = stands_at(hardware, above) if above else hardware
        return unit_said(type(part), name) or "" if isinstance(part, Spec) else ""
    found = {unit for kind in _kinds(Spec) if (unit := unit_said(kind, name)) is not None}
    return found.pop() if above and len(found) == 1 else ""


def unit_said(kind: type, name: str) -> str | None:
    """Return the unit that a spec's documentation says for a field; None if it has no such."""
    text = inspect.getdoc(kind) or ""
    entry = re.search(rf"^    {re.escape(name)}: (.*?)(?=^    \w+: |^\S|\Z)", text, re.M | re.S)
    if entry is None:
        return None
    inside = re.findall(r"[(\[]([^()\[\]]*)[)\]]", entry[1])
    units = (part.split(",")[0].strip().replace("ohm", "Ω") for part in inside)
    return next((unit for unit in units if unit and _is_unit(unit)), "")


def _is_unit(text: str) -> bool:
    return text != "1" and all(part in _SYMBOLS for part in re.split(r"[/·√ ]", text))


def _kinds(kind: type) -> Iterator[type]:
    children: list[type] = kind.__subclasses__()
    for child in children:
        yield child
        yield from _kinds(child)
