"""The header of a table, and its rows: metadata, comments, units, repeated headers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mho.fit.reading import numbers
from mho.fit.reading.names import Meaning, given, meaning
from mho.fit.reading.separators import Row
from mho.fit.reading.units import unit

_ENOUGH = 2000  # rows that say which header is the best
_TEXTS = ("cell", "wordline", "bitline", "cycle", "direction", "state", "ignore")


@dataclass(frozen=True)
class Grid:
    """A table of text.

    Attributes:
        path: of the file.
        header: the row of names.
        names: of the columns, with units from a row of their own put behind.
        rows: with numbers, each as long as the names.
        blocks: for every row, how many headers stand above it, less one.
        before: lines above the header: what an instrument says of the measurement.
        notes: what was understood of the form, in words.
        skipped: lines below the table that are none of it.
    """

    path: Path
    header: Row
    names: tuple[str, ...]
    rows: list[Row]
    blocks: list[int]
    before: list[str]
    notes: tuple[str, ...]
    skipped: tuple[int, ...]


@dataclass(frozen=True)
class _Found:
    # A header among rows that were split in one way.
    separator: str
    rows: list[Row]
    at: int
    names: tuple[str, ...]
    known: int
    matching: int


def locate(
    path: Path,
    ways: list[tuple[str, list[Row]]],
    overrides: dict[str, Meaning],
    notes: tuple[str, ...] = (),
) -> Grid:
    """Find the header of a table, the way of splitting that it asks for, and the rows.

    The header is the row whose names say the most, with numbers below.

    Args:
        path: of the file, for what is refused.
        ways: as `candidates` returns them.
        overrides: meanings that the user gives to names (lower case), or to column numbers.
        notes: what is known of the form already.

    Raises:
        ValueError: if there is no header, more than one way to split, or a row does not fit.
    """
    tried = [_header(name, rows, overrides) for name, rows in ways]
    found = [one for one in tried if one is not None]
    if not found:
        tried = [_numbered(name, rows, overrides) for name, rows in ways]
        found = [one for one in tried if one is not None]
    if not found:
        raise ValueError(_no_header(path, ways))
    most = max((one.known, one.matching) for one in found)
    best = [one for one in found if (one.known, one.matching) == most]
    if any(_differ(best[0], other) for other in best[1:]):
        names = " or ".join(one.separator for one in best)
        raise ValueError(
            f"{path}, line {best[0].rows[best[0].at].line}: columns may be separated by {names}: "
            "choose with --separator"
        )
    return _collect(path, best[0], overrides, notes)


def _differ(one: _Found, other: _Found) -> bool:
    rows = ([row.trimmed for row in found.rows[found.at + 1 :]] for found in (one, other))
    return one.names != other.names or next(rows) != next(rows)


def _header(separator: str, rows: list[Row], overrides: dict[str, Meaning]) -> _Found | None:
    best: _Found | None = None
    for at, row in enumerate(rows):
        if len(row.trimmed) < 2:
            continue
        names = _names(row, separator)
        if any(map(numbers.numeric, names)) or set(names) & set("|,;"):
            continue
        known = sum(_known(name, overrides) for name in names)
        below = _below(rows, at)
        if not known or below is None:
            continue
        names = _with_units(names, rows[at + 1 : below])
        matching = _matching(rows[below:], _number_columns(names, overrides), len(names))
        found = _Found(separator, rows, at, names, known, matching)
        if best is None or _rank(found) > _rank(best):
            best = found
    return best


def _rank(found: _Found) -> tuple[int, bool, int]:
    return found.known, not found.rows[found.at].comment, found.matching


def _known(name: str, overrides: dict[str, Meaning]) -> bool:
    return given(name, overrides) is not None or bool(meaning(name).quantity)


def _names(row: Row, separator: str) -> tuple[str, ...]:
    # Where blanks separate, a unit in brackets belongs to the name before it.
    names: list[str] = []
    for cell in row.trimmed:
        if names and separator == "blanks" and re.fullmatch(r"[(\[].*[)\]]", cell):
            names[-1] += f" {cell}"
        else:
            names.append(cell)
    return tuple(names)


def _below(rows: list[Row], at: int) -> int | None:
    # The first row of numbers under a header; between them only comments and one row of units.
    units = 0
    for k in range(at + 1, len(rows)):
        row = rows[k]
        if not row.trimmed or row.comment:
            continue
        if any(map(numbers.numeric, row.cells)):
            return k
        if units or not _is_units(row):
            return k if all(map(numbers.missing, row.cells)) else None
        units += 1
    return None


def _is_units(row: Row) -> bool:
    cells = [cell.strip("()[] ") for cell in row.trimmed]
    return any(map(unit, cells)) and all(
        unit(cell) is not None or cell in ("", "#", "-", "1", "a.u.") for cell in cells
    )


def _with_units(names: tuple[str, ...], between: list[Row]) -> tuple[str, ...]:
    for row in between:
        if not row.comment and row.trimmed and _is_units(row):
            cells = [cell.strip("()[] ") for cell in row.cells]
            cells += [""] * (len(names) - len(cells))
            pairs = zip(names, cells, strict=False)
            return tuple(f"{name} ({cell})" if unit(cell) else name for name, cell in pairs)
    return names


def _number_columns(names: tuple[str, ...], overrides: dict[str, Meaning]) -> list[int]:
    found = [(given(name, overrides) or meaning(name)).quantity for name in names]
    return [k for k, quantity in enumerate(found) if quantity and quantity not in _TEXTS]


def _matching(rows: list[Row], columns: list[int], width: int) -> int:
    # How many rows have numbers (or nothing) in the columns that should.
    count = 0
    for row in rows[:_ENOUGH]:
        if _fits(row, width):
            cells = [row.cells[k] for k in columns] or row.cells
            known = [numbers.numeric(cell) for cell in cells]
            count += any(known) and all(
                ok or numbers.missing(cell) for ok, cell in zip(known, cells, strict=True)
            )
    return count


def _numbered(separator: str, rows: list[Row], overrides: dict[str, Meaning]) -> _Found | None:
    # A table without a header whose columns the user names by their numbers.
    width = max((int(key) for key in overrides if key.isdecimal()), default=0)
    for at, row in enumerate(rows):
        if width and len(row.trimmed) >= max(width, 2) and all(map(numbers.numeric, row.trimmed)):
            names = tuple(str(k) for k in range(1, len(row.trimmed) + 1))
            header = Row(row.line, tuple(f"column {name}" for name in names))
            matching = _matching(rows[at:], [], len(names))
            return _Found(separator, [header, *rows[at:]], 0, names, width, matching)
    return None


def _no_header(path: Path, ways: list[tuple[str, list[Row]]]) -> str:
    for _, rows in ways:
        for k, row in enumerate(rows):
            if len(row.trimmed) < 2 or not any(map(numbers.numeric, row.cells)):
                continue
            text = [r for r in rows[:k] if len(r.trimmed) == len(row.trimmed)]
            if not text:
                shown = ", ".join(row.trimmed[:4])
                return (
                    f"{path}, line {row.line}: no header above the numbers ({shown}); name the "
                    "columns by their numbers, as in --column 1=voltage --column 2='current (A)'"
                )
            header = text[-1]
            return (
                f"{path}, line {header.line}: header {', '.join(header.trimmed)} says nothing "
                f"known; name the columns, as in --column {header.trimmed[0]!r}=voltage"
            )
    return f"{path}: empty, or no table; a header and rows of numbers below it are needed"


def _collect(
    path: Path, found: _Found, overrides: dict[str, Meaning], notes: tuple[str, ...]
) -> Grid:
    width = len(found.names)
    header = found.rows[found.at]
    first = next(
        (k for k, row in enumerate(found.rows) if k <= found.at and row.trimmed == header.trimmed),
        found.at,
    )
    columns = _number_columns(found.names, overrides)
    kept: list[Row] = []
    blocks: list[int] = []
    pending: list[Row] = []  # what may stand between two tables, or be a row that is wrong
    skipped: list[int] = []
    block = 0
    for row in [*found.rows[first + 1 :], header]:
        if not row.trimmed or (row.comment and row.trimmed != header.trimmed):
            continue
        if row.trimmed == header.trimmed:
            if row is header:  # the end
                break
            block += bool(blocks) and blocks[-1] == block
            skipped += [r.line for r in pending]
            pending = []
        elif _fits(row, width) and _of_table(row, columns):
            kept += [_fitting(path, one, width, header) for one in pending]
            kept.append(Row(row.line, row.cells[:width]))
            blocks += [block] * (len(pending) + 1)
            pending = []
        elif not (_is_units(row) and len(row.trimmed) <= width):
            pending.append(row)
    for row in pending:
        if any(map(numbers.numeric, row.cells)) or len(row.trimmed) == width:
            kept.append(_fitting(path, row, width, header))
            blocks.append(block)
        else:
            skipped.append(row.line)
    if not kept:
        raise ValueError(f"{path}: no rows of numbers below the header in line {header.line}")
    before = [" ".join(row.trimmed) for row in found.rows[:first] if row.trimmed]
    before += [" ".join(row.trimmed) for row in found.rows[first:] if row.comment]
    notes = (*notes, found.separator)
    return Grid(path, header, found.names, kept, blocks, before, notes, tuple(skipped))


def _fits(row: Row, width: int) -> bool:
    return len(row.trimmed) <= width <= len(row.cells)


def _of_table(row: Row, columns: list[int]) -> bool:
    # Numbers, or nothing, where numbers should be.
    cells = [row.cells[k] for k in columns] or list(row.cells)
    return all(numbers.numeric(cell) or numbers.missing(cell) for cell in cells)


def _fitting(path: Path, row: Row, width: int, header: Row) -> Row:
    # A row with a wrong cell is kept: what reads its column says what is wrong.
    if not _fits(row, width) or not any(map(numbers.numeric, row.cells)):
        raise _misfit(path, row, width, header)
    return Row(row.line, row.cells[:width])


def _misfit(path: Path, row: Row, width: int, header: Row) -> ValueError:
    if not any(map(numbers.numeric, row.cells)):
        shown = ", ".join(row.trimmed[:4])
        return ValueError(f"{path}, line {row.line}: {shown!r} stands among the rows of numbers")
    why = f"{len(row.trimmed)} cells, the header in line {header.line} has {width}"
    if len(row.trimmed) == 2 * width or any("," in cell for cell in row.cells):
        why += "; do commas stand for decimals and between columns? Quote or change one of them"
    return ValueError(f"{path}, line {row.line}: {why}")
