"""Pages of the API: one for every module that says what it offers, made from its ``__all__``.

A name that several modules offer has one page, under its shortest path; the other modules link to it.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

_KINDS = (
    ("Classes", inspect.isclass),
    ("Functions", inspect.isroutine),
    ("Modules", inspect.ismodule),
    ("Values", lambda item: True),
)


def modules(index: Path) -> list[str]:
    """Return the modules that the API's index lists."""
    return re.findall(r"^   (mho[\w.]*)$", index.read_text(encoding="utf-8"), re.MULTILINE)


def write(index: Path, folder: Path) -> list[str]:
    """Write the page of every module.

    Args:
        index: the page that lists the modules.
        folder: where the pages go.

    Returns:
        The paths of the pages, for autosummary to make those of the names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = modules(index)
    homes = _homes(names)
    pages = []
    for name in names:
        path = folder / f"{name}.rst"
        text = _page(name, homes, names)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
        pages.append(str(path))
    return pages


def _homes(names: list[str]) -> dict[int, str]:
    """Return under which path each object has its page, by identity."""
    homes: dict[int, str] = {}
    paths = [(name, item, f"{module.__name__}.{name}") for module, name, item in _offered(names)]
    for _, item, path in sorted(paths, key=lambda entry: (entry[2].count("."), entry[2])):
        homes.setdefault(id(item), path)
    return homes


def _offered(names: list[str]) -> Iterator[tuple[ModuleType, str, object]]:
    for module in map(importlib.import_module, names):
        for name in module.__all__:
            yield module, name, getattr(module, name)


def _page(module: str, homes: dict[int, str], rooms: list[str]) -> str:
    lines = [module, "=" * len(module), "", f".. automodule:: {module}", "   :no-members:", ""]
    left = [(name, item) for _, name, item in _offered([module])]
    elsewhere = []
    for title, is_kind in _KINDS:
        kind = [(name, item) for name, item in left if is_kind(item)]
        left = [entry for entry in left if entry not in kind]
        if title == "Modules":
            elsewhere += [item.__name__ for _, item in kind if inspect.ismodule(item)]
            continue
        own = [name for name, item in kind if homes[id(item)] == f"{module}.{name}"]
        elsewhere += [homes[id(item)] for name, item in kind if name not in own]
        if own:
            lines += [f".. rubric:: {title}", "", f".. currentmodule:: {module}", ""]
            lines += [".. autosummary::", "   :toctree: .", ""]
            lines += [*(f"   {name}" for name in sorted(own)), ""]
    if elsewhere:
        lines += [".. rubric:: Also offered here", ""]
        lines += [_link(path, rooms) for path in sorted(elsewhere)] + [""]
    return "\n".join(lines)


def _link(path: str, rooms: list[str]) -> str:
    if path in rooms:
        return f"* :doc:`{path}`"
    return f"* :py:obj:`{path}`"
