"""From lines to rows of cells, in every way that separators allow."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

SEPARATORS = {
    "comma": ",", "semicolon": ";", "tab": "\t", "bar": "|", "blanks": r"[ \t]+",
    "wide blanks": r" *\t *| {2,}",
}  # fmt: skip
_INSIDE = {
    **{name: mark for name, mark in SEPARATORS.items() if len(mark) == 1},
    "blanks": " \t",
    "wide blanks": ("  ", "\t"),
}
_COMMENT = re.compile(
    r"\s*(?:#+(?!(?:\s*[,;\t|]|N/A|NA|NV|DIV|REF|VALUE|NUM|NAME|NULL))|%+|!+|//+)\s?"
)
_SEP_LINE = re.compile(r'"?sep=(.)"?[,;\t]*\s*', re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """One line's cells.

    Attributes:
        line: number of it in the file.
        cells: stripped of blanks.
        comment: whether it is marked as a comment.
    """

    line: int
    cells: tuple[str, ...]
    comment: bool = False

    @cached_property
    def trimmed(self) -> tuple[str, ...]:
        """The cells without empty ones at the end."""
        length = len(self.cells)
        while length and not self.cells[length - 1]:
            length -= 1
        return self.cells[:length]


def split(lines: list[tuple[int, str]], separator: str) -> list[Row]:
    """Return the rows of lines.

    Args:
        lines: with their numbers.
        separator: one of `SEPARATORS`.
    """
    rows = []
    for number, line in lines:
        marked = _COMMENT.match(line)
        comment = bool(marked and marked[0])
        text = line[marked.end() :] if marked else line
        rows.append(Row(number, tuple(_cells(text, separator)), comment))
    return rows


def _cells(line: str, separator: str) -> list[str]:
    if separator in ("blanks", "wide blanks"):
        if '"' in line:
            return [cell.strip('"').strip() for cell in re.findall(r'"[^"]*"|[^ \t]+', line)]
        return [cell.strip() for cell in re.split(SEPARATORS[separator], line.strip(" \t"))]
    mark = SEPARATORS[separator]
    try:
        even = line.count('"') % 2 == 0
        cells = next(csv.reader([line], delimiter=mark, skipinitialspace=True)) if even else None
    except (csv.Error, StopIteration):  # quotes that are none
        cells = None
    cells = line.split(mark) if cells is None else cells
    return [" ".join(cell.split("\n")).strip() for cell in cells]


def candidates(lines: list[tuple[int, str]], separator: str | None) -> list[tuple[str, list[Row]]]:
    """Return every way to split lines that leaves more than one column, with its separator's name.

    A first line ``sep=;``, as spreadsheets write it, leaves one.

    Args:
        lines: with their numbers.
        separator: the name of one, or the mark itself; every one is tried if not given.

    Raises:
        ValueError: if there is no such separator.
    """
    marks = {mark: name for name, mark in SEPARATORS.items() if len(mark) == 1}
    if separator is not None:
        name = marks.get(separator, separator)
        if name not in SEPARATORS:
            raise ValueError(f"separator must be one of {', '.join(SEPARATORS)}; got {separator!r}")
        return [(name, split(lines, name))]
    first = _SEP_LINE.fullmatch(lines[0][1]) if lines else None
    if first is not None and first[1] in marks:
        return [(marks[first[1]], split(lines[1:], marks[first[1]]))]
    # A header and a row below it, at least, are separated.
    texts = [line.strip(" \t") for _, line in lines]
    used = [
        name
        for name, marks_of in _INSIDE.items()
        if sum(1 for _ in islice((t for t in texts if any(m in t for m in marks_of)), 2)) == 2
    ]
    return [(name, split(lines, name)) for name in used]


def tagged(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """Return the table, and the rest, of a file whose lines begin with what they are.

    Parameter analysers write ``DataName, V, I`` over rows ``DataValue, 0, 1e-9``.
    """
    tags = [row.cells[0].lower() if row.cells else "" for row in rows]
    if "dataname" not in tags:
        return rows, []
    table = [Row(r.line, r.cells[1:]) for r, t in zip(rows, tags, strict=True) if t in _TAGS]
    return table, [r for r, t in zip(rows, tags, strict=True) if t not in _TAGS]


_TAGS = ("dataname", "datavalue")
