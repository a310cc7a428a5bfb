"""From the bytes of an instrument's file to its lines."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from mho.core import memory

_MARKS = (
    (codecs.BOM_UTF8, "utf-8", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)
_OTHERS = (
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls): save it as .xlsx or CSV"),
    (b"\x1f\x8b", "a gzip archive: unpack it"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a picture"),
    (b"\x89HDF", "an HDF5 file: export its table as CSV"),
    (b"MATLAB 5.0", "a MATLAB file: export its table as CSV"),
)
ALIKE = str.maketrans(
    {
        "\u2212": "-",  # minus sign
        "\u2126": "Ω",  # the ohm sign is the Greek capital
        "\u03bc": "µ",  # the Greek letter is the micro sign
        "\u2206": "Δ",
        **dict.fromkeys("\u2007\u2009\u202f", "\u00a0"),  # spaces inside of numbers
        **dict.fromkeys("\u200b\u200e\u200f\u00ad\ufeff", None),
    }
)
_OPEN_QUOTE = re.compile(r'(?:^|[,;\t|])\s*"(?:[^"]|"")*$')
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_A_BYTE = 100  # bytes of memory: short cells, each a text, and a number in a list
_MOST_JOINED = 3  # lines that one quoted cell may run over


def lines(data: bytes, path: Path) -> tuple[list[tuple[int, str]], str]:
    """Return the lines of a text file with their numbers, and its encoding.

    Characters that look alike (µ and μ, Ω and Ω, − and -) are made one. A line that ends inside of
    a quoted cell is joined with the next.

    Args:
        data: the file.
        path: of it, for what is refused.

    Raises:
        ValueError: if it is no text.
    """
    advice = "save the part of it that was measured"
    memory.refuse(f"{path}, read as a table,", len(data) * _A_BYTE, "cpu", advice)
    text, encoding = _decoded(data, path)
    text = text.rstrip("\x1a").translate(ALIKE)
    physical = re.split(r"\r\n|\n|\r", text)
    for number, line in enumerate(physical, 1):
        if _CONTROL.search(line):
            raise ValueError(f"{path}, line {number}: bytes that are no text; is it a text file?")
    joined: list[tuple[int, str]] = []
    k = 0
    while k < len(physical):
        length = _quoted_lines(physical, k)
        joined.append((k + 1, "\n".join(physical[k : k + length])))
        k += length
    return joined, encoding


def _decoded(data: bytes, path: Path) -> tuple[str, str]:
    for mark, codec, name in _MARKS:
        if data.startswith(mark):
            return _strict(data[len(mark) :], codec, path), name
    for signature, what in _OTHERS:
        if data.startswith(signature):
            raise ValueError(f"{path} is {what}")
    head = data[:4096]
    for codec, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
        if len(zeros) > 1 and zeros.count(0) > 0.7 * len(zeros):
            return _strict(data, codec, path), "UTF-16"
    try:
        return data.decode("utf-8"), "UTF-8"
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("cp1252"), "Latin-1"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "Latin-1"


def _strict(data: bytes, codec: str, path: Path) -> str:
    try:
        return data.decode(codec)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is cut off or broken: {error}") from error


def _quoted_lines(physical: list[str], k: int) -> int:
    # How many lines, from the k-th, a quoted cell joins; 1 where its quote is never closed.
    if not _OPEN_QUOTE.search(physical[k]):
        return 1
    for length in range(2, _MOST_JOINED + 2):
        if k + length <= len(physical) and physical[k + length - 1].count('"') % 2:
            return length
    return 1
