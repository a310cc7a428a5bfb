"""Units of a hardware's fields, from where they are said: the classes' own documentation."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator

from mho.core.spec import Spec

UNITS = ("S", "V", "A", "Ω", "s", "K", "J", "W", "F", "C", "m", "m²", "Hz", "°C", "S/V", "reads/s")


def units_of(paths: Iterable[str]) -> dict[str, str]:
    """Return the unit of each path, ``""`` where there is none or none is said.

    Args:
        paths: ``"array.wires.word"``. The last name says the field; where specs disagree about
            its unit, none is said.
    """
    return {path: _unit(path) for path in paths}


def _unit(path: str) -> str:
    *above, name = path.split(".")
    holder = above[-1].lower() if above else ""
    kinds = list(_kinds(Spec))
    near = [kind for kind in kinds if kind.__name__.lower() == holder]
    found = {unit for kind in near or kinds if (unit := said(kind, name)) is not None}
    return found.pop() if len(found) == 1 else ""


def said(kind: type, name: str) -> str | None:
    """Return the unit that a spec's documentation says for a field; None if it has no such."""
    text = inspect.getdoc(kind) or ""
    entry = re.search(rf"^    {re.escape(name)}: (.*?)(?=^    \w+: |\Z)", text, re.M | re.S)
    if entry is None:
        return None
    inside = re.findall(r"\(([^()]*)\)", entry[1])
    units = (part.split(",")[0].strip() for part in inside)
    return next((unit for unit in units if unit in UNITS), "")


def _kinds(kind: type) -> Iterator[type]:
    for child in kind.__subclasses__():
        yield child
        yield from _kinds(child)
