"""Workbooks and parquet files, as rows of text like any other table (through pandas, an extra)."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

from mho.core import memory
from mho.core.extras import need
from mho.core.text import visible
from mho.fit.reading.separators import Row

_EXCEL, _PARQUET = b"PK\x03\x04", b"PAR1"
_PLACE = re.compile(rb"""\br=["']([A-Za-z]{1,3})([0-9]{1,7})["']""")
_PIECE = 1 << 20  # bytes unpacked at a time
_MOST_UNPACKED = 1 << 30
_A_CELL = 200  # bytes, as an object, and as text


def is_workbook(data: bytes) -> bool:
    """Whether a file is an Excel workbook (or another zip archive)."""
    return data.startswith(_EXCEL)


def is_parquet(data: bytes) -> bool:
    """Whether a file is a parquet file."""
    return data.startswith(_PARQUET)


def sheets(data: bytes, path: Path) -> dict[str, list[Row]]:
    """Return the rows of every sheet of a workbook.

    Args:
        data: the file.
        path: of it.

    Raises:
        ImportError: if pandas or openpyxl is missing.
        ValueError: if it is no workbook.
    """
    pandas = need("pandas", "tables")
    need("openpyxl", "tables")
    try:
        _refuse_bomb(data, path)
        found = pandas.read_excel(
            io.BytesIO(data), sheet_name=None, header=None, dtype=object, engine="openpyxl",
            keep_default_na=False, na_values=[""],
        )  # fmt: skip
    except MemoryError:
        raise
    except Exception as error:  # a zip archive of something else, in as many ways as there are
        raise ValueError(f"{path} is no workbook that can be read: {error}") from error
    return {
        str(name): [
            Row(line, tuple(map(_text, cells)))
            for line, cells in enumerate(frame.itertuples(index=False, name=None), 1)
        ]
        for name, frame in found.items()
    }


def parquet(data: bytes, path: Path) -> list[Row]:
    """Return the rows of a parquet file, the first its header.

    Args:
        data: the file.
        path: of it.

    Raises:
        ImportError: if pandas or pyarrow is missing.
        ValueError: if it is no parquet file.
    """
    pandas = need("pandas", "tables")
    need("pyarrow", "tables")
    try:
        # A few bytes may stand for any number of equal cells.
        head = need("pyarrow.parquet", "tables").ParquetFile(io.BytesIO(data)).metadata
        _refuse_many(path, head.num_rows, head.num_columns)
        frame = pandas.read_parquet(io.BytesIO(data), engine="pyarrow")
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(f"{path} is no parquet file that can be read: {error}") from error
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    header = Row(1, tuple(map(_text, frame.columns)))
    rows = enumerate(frame.itertuples(index=False, name=None), 2)
    return [header, *(Row(line, tuple(map(_text, cells))) for line, cells in rows)]


def _refuse_bomb(data: bytes, path: Path) -> None:
    """Refuse a small archive of much, and a sheet that is empty but for a cell far out."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        unpacked = 0
        for entry in archive.infolist():
            rows = columns = 0
            end = b""
            with archive.open(entry) as file:
                while piece := file.read(_PIECE):  # its own length is what an archive may lie about
                    unpacked += len(piece)
                    if unpacked > _MOST_UNPACKED:
                        raise ValueError(f"more than {_MOST_UNPACKED:,} bytes when unpacked")
                    if "sheet" in entry.filename:
                        for letters, digits in dict.fromkeys(_PLACE.findall(end + piece)):
                            rows = max(rows, int(digits))
                            columns = max(columns, _number(letters))
                        end = piece[-20:]
            _refuse_many(path, rows, columns)


def _number(letters: bytes) -> int:
    """Return which column letters name: A is 1, Z 26, AA 27."""
    found = 0
    for letter in letters.upper():
        found = 26 * found + letter - ord("A") + 1
    return found


def _refuse_many(path: Path, rows: int, columns: int) -> None:
    memory.refuse(
        f"{path}, a table of {rows:,} × {columns:,} cells,",
        rows * columns * _A_CELL,
        "cpu",
        "save the part of it that was measured",
    )


def _text(cell: Any) -> str:
    if cell is None or cell != cell:
        return ""
    if isinstance(cell, float) and cell == int(cell) if _finite(cell) else False:
        return str(int(cell)) if abs(cell) < 1e15 else repr(float(cell))
    return repr(float(cell)) if isinstance(cell, float) else visible(str(cell).strip())


def _finite(cell: Any) -> bool:
    return isinstance(cell, float) and abs(cell) != float("inf")
