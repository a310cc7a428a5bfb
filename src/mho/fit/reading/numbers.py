"""Numbers as instruments and spreadsheets write them, and the marks of missing ones."""

from __future__ import annotations

import re
from collections.abc import Iterable

_EXPONENT = r"(?:[eEdD][+-]?[0-9]+)?"
_PATTERNS = {
    mark: re.compile(
        rf"(?P<sign>[+-]?)(?P<whole>[0-9]+|[0-9]{{1,3}}(?:{between}[0-9]{{3}})+)?"
        rf"(?:{re.escape(mark)}(?P<part>[0-9]*))?(?P<power>{_EXPONENT})"
    )
    for mark, between in ((".", r"[,'’\u00a0 ]"), (",", r"[.'’\u00a0 ]"))
}
# What most cells are: no groups of three, so that either mark reads it alike.
_PLAIN = re.compile(r"[+-]?(?:[0-9]+[.,]?[0-9]*|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?")
_MAYBE_GROUPED = re.compile(r"[+-]?[0-9]{1,3}[.,][0-9]{3}(?![0-9])")
_MARKS = (
    "nan n/a na n.a. n.a null none missing inf -inf +inf infinity -infinity ovld overload ovl "
    "ol o.l. ovf ovrflw ovflow overflow overflw over overrange compl compliance - -- --- ---- "
    "----- – — * ? . #div/0! #n/a #na #nv #value! #wert! #num! #zahl! #ref! #bezug! #name? "
    "#null! #valeur! 1.#inf -1.#inf 1.#qnan 1.#ind -1.#ind nan(ind) -nan invalid error err"
)
_MISSING = frozenset(_MARKS.split())
_OVERFLOW = 9.8e37  # SCPI: 9.9e37 is an overflow, 9.91e37 is not a number
_OVERFLOWN = re.compile(r"[+-]?9[.,]9[0-9]*e\+?37", re.IGNORECASE)  # whatever the decimal mark


def number(cell: str, mark: str) -> float | None:
    """Return a number, NaN where there is none, None where the cell is no number.

    Args:
        cell: of a table.
        mark: the decimal mark, ``"."`` or ``","``.
    """
    if _PLAIN.fullmatch(cell) and not _MAYBE_GROUPED.match(cell):
        if ("," if mark == "." else ".") in cell:
            return float("nan") if missing(cell) else None
        value = float(cell.replace(",", "."))
        return value if abs(value) < _OVERFLOW else float("nan")
    cell = cell.strip().lstrip("=")
    if missing(cell):
        return float("nan")
    if cell[:1] in "–—":
        cell = "-" + cell[1:]
    found = _PATTERNS[mark].fullmatch(cell)
    if found is None or not (found["whole"] or found["part"]):
        return None
    whole = re.sub(r"[^0-9]", "", found["whole"] or "0")
    if whole != (found["whole"] or "0") and whole.startswith("0"):
        return None  # 0,123 has no thousands
    power = found["power"].replace("d", "e").replace("D", "e")
    value = float(f"{found['sign']}{whole}.{found['part'] or '0'}{power}")
    return value if abs(value) < _OVERFLOW else float("nan")


def missing(cell: str) -> bool:
    """Whether a cell says that nothing (or too much) was measured."""
    return not cell or cell.lower() in _MISSING or _OVERFLOWN.fullmatch(cell) is not None


def numeric(cell: str) -> bool:
    """Whether a cell is a number with either decimal mark, and not missing."""
    cell = cell.strip()
    if _PLAIN.fullmatch(cell):
        return "37" not in cell or not missing(cell)
    return not missing(cell) and any(number(cell, mark) is not None for mark in ".,")


def decimal_marks(cells: Iterable[str]) -> tuple[str, ...]:
    """Return the decimal marks that a table can have been written with.

    Args:
        cells: all of the table.

    Returns:
        One mark; both where all numbers with a comma could be thousands as well as decimals.
    """
    known = [cell for cell in map(str.strip, cells) if "," in cell or "." in cell]
    if not any("," in cell or cell.count(".") > 1 for cell in known):
        return (".",)
    wrong = {".": 0, ",": 0}
    differ = commas = False
    for cell in known:
        values = {mark: number(cell, mark) for mark in ".,"}
        for mark, value in values.items():
            wrong[mark] += value is None
        if None not in values.values():
            differ |= values["."] != values[","]
            commas |= "," in cell
    if wrong["."] != wrong[","]:
        return (min(wrong, key=lambda mark: wrong[mark]),)
    # A dot alone is the decimal mark of most instruments; a comma alone is not so clear.
    return (".", ",") if differ and commas else (".",)
