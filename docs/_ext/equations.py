"""Indented lines in a docstring's text are equations or tables: they keep their lines.

In reStructuredText they would be quotations, whose lines flow together. What is indented below a
section (``Args:``, ``Attributes:`` …) is napoleon's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sphinx.application import Sphinx

_SECTION = re.compile(r"^[A-Z][a-z]+( [a-z]+)?:$")
_LIST = re.compile(r"^\s*([-*+]|\d+\.|\w\))\s")


def keep_lines(lines: list[str]) -> list[str]:
    """Return the lines with ``::`` before every indented block of the running text."""
    kept: list[str] = []
    inside = after_blank = False
    for number, line in enumerate(lines):
        if _SECTION.match(line):
            return kept + lines[number:]
        indented = line.startswith("    ")
        starts = indented and after_blank and not inside and not _introduced(kept)
        if starts:
            kept += ["::", ""]
        inside = (inside or starts) and (indented or not line)
        kept.append(line)
        after_blank = not line
    return kept


def _introduced(kept: list[str]) -> bool:
    """Whether what is indented belongs to a list, or to a block that says what it is."""
    before = next((line for line in reversed(kept) if line), "")
    return before.endswith("::") or bool(_LIST.match(before)) or before.startswith((" ", ".. "))


def process(
    app: Sphinx, what: str, name: str, item: object, options: object, lines: list[str]
) -> None:
    """Change a docstring's lines in place."""
    if what == "data" and isinstance(item, Mapping):  # whose own docstring is that of `dict`
        lines[:] = ["By name: " + ", ".join(f"``{key}``" for key in item) + "."]
    lines[:] = keep_lines(lines)


def setup(app: Sphinx) -> dict[str, object]:
    """Tell Sphinx; before napoleon, which comes at 500."""
    app.connect("autodoc-process-docstring", process, priority=400)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
