"""Numbers, tables and progress as people read them."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import NoReturn, TypeVar

from tqdm import tqdm

T = TypeVar("T")

_PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"), (1e-15, "f"))


def quantity(value: float, unit: str, *, zero: str = "–") -> str:
    """Say a quantity >= 0 with the SI prefix that suits it; a dash, or ``zero``, for nothing."""
    if value == 0.0:
        return zero
    # What rounds up to a thousand belongs to the next prefix.
    size, prefix = next((p for p in _PREFIXES if 1.0005 * value >= p[0]), _PREFIXES[-1])
    return f"{value / size:.3g} {prefix}{unit}"


def share(value: float) -> str:
    """Say a part of a whole in percent; what is there, but less than one, is "<1%"."""
    return "<1%" if 0.0 < value < 0.005 else f"{value:.0%}"


def percent(value: float) -> str:
    """Write a share, or an error, with two digits, however small."""
    return f"{100 * value:.2g} %"


def size(count: float) -> str:
    """Say a number of bytes, in powers of ten."""
    for unit, each in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= 0.9995 * each:
            return f"{count / each:.3g} {unit}"
    return f"{count:.0f} B"


def duration(seconds: float) -> str:
    """Say a time span in its natural unit."""
    for unit, size in (("y", 31_557_600.0), ("d", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def visible(text: str) -> str:
    """Return a text whose control characters are written out: no name moves a terminal's cursor."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t\xa0" else repr(c)[1:-1] for c in text)


def meant(name: object, known: Iterable[str]) -> str:
    """Say which known name a mistyped one is nearest to, for the end of an error; or nothing."""
    names = {one.lower(): one for one in known}
    near = difflib.get_close_matches(str(name).lower(), list(names), n=1)
    return f"; did you mean {names[near[0]]!r}?" if near else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Lay out a plain text table; the first ``left`` columns are flush left, the others right."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = [
            text.ljust(width) if i < left else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    rule = "  ".join("─" * width for width in widths)
    return "\n".join([line(head), rule, *map(line, rows)])


PATIENCE = 2.0  # s before a bar appears


def progress(items: Collection[T], label: str) -> Iterable[T]:
    """Show on a terminal how far a loop has come and how long it will take, unless that is short.

    Args:
        items: what is gone through.
        label: what is being done.
    """
    shown: Iterable[T] = tqdm(items, label, leave=False, delay=PATIENCE, disable=_quiet())
    return shown


def bar(total: int, label: str) -> tqdm[NoReturn]:
    """Return a bar as that of `progress`, to be updated by hand and closed (a context)."""
    return tqdm(total=total, desc=label, leave=False, delay=PATIENCE, disable=_quiet())


def _quiet() -> bool:
    return not sys.stderr.isatty()
