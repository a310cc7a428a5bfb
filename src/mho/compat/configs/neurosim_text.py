"""Values in NeuroSim's ``Param.cpp``, and in the flags of its Python wrapper, as text."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from typing import Any

_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)|//[^\n]*|\"[^\"\n]*\"", re.DOTALL)  # and texts
_STATEMENT = re.compile(
    r"\b(?P<what>switch|if|else|for|while)\b|\b(?P<name>[A-Za-z_]\w*)\s*=(?!=)\s*(?P<value>[^;]*);"
)
_OPENED = re.compile(r"\s*\(")
_BLOCK = re.compile(r"\s*\{")
_CHAINED = re.compile(r"\s*(if|for|while|switch)\b")
_CASE = re.compile(r"\bcase\s+(-?\w+)\s*:|\bdefault\s*:")
_CAST = re.compile(r"\(\s*(?:double|float|int)\s*\)")
_LARGEST = 2**64  # of a sum: beyond C's integers, and squares of squares take all memory
_FLAG = re.compile(
    r"^\s*(?:--|args\.)?(?P<name>[A-Za-z_]\w*)\s*[:=\s]\s*(?P<value>[-+\w.]+)\s*(?:#.*)?$",
    re.MULTILINE,
)
_SUMS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
}


def assignments(text: str) -> dict[str, Any]:
    """Return what a ``Param.cpp`` assigns, its sums worked out.

    Of a ``switch`` over a known name the case at hand counts. What is assigned under a condition
    is worked out by NeuroSim from the rest: such names have the text itself as their value, unless
    they are assigned outside, too.

    Args:
        text: of the file, or of some of its lines.

    Raises:
        ValueError: if conditions are nested too deeply.
    """
    body = _COMMENT.sub(" ", text)
    start = re.search(r"Param::Param\s*\(\s*\)\s*\{", body)
    if start is not None:
        body = _block(body, start.end() - 1)[0]
    found: dict[str, Any] = {}
    conditional: dict[str, str] = {}
    try:
        # Behind the last semicolon there is no statement: none is looked for in vain.
        _read(body[: body.rfind(";") + 1], found, conditional)
    except RecursionError as error:
        raise ValueError("the text has more conditions in one another than can be read") from error
    return {**{n: f"({v})" for n, v in conditional.items()}, **found}


def flags(text: str) -> dict[str, Any]:
    """Return flags: ``--name value``, ``name: value`` (of a log), or ``args.name = value``.

    Args:
        text: of the command line, the log or the script.
    """
    lines = text if "\n" in text.strip() else re.sub(r"\s--", "\n--", text)
    return {match["name"]: number(match["value"]) for match in _FLAG.finditer(lines)}


def number(text: str) -> Any:
    """Return the number or truth value that a text is, else the text."""
    text = text.strip()
    if text in ("true", "True"):
        return True
    if text in ("false", "False"):
        return False
    if re.fullmatch(r"[-+]?\d{1,300}", text):  # what has more digits is no number that counts
        return int(text)
    try:
        return float(text)
    except ValueError:
        return text


def _read(body: str, found: dict[str, Any], conditional: dict[str, str]) -> None:
    place = 0
    while (match := _STATEMENT.search(body, place)) is not None:
        if match["what"] is None:
            found[match["name"]] = _worked_out(match["value"], found)
            place = match.end()
            continue
        opened, place = _guarded(body, match.end())
        if match["what"] == "switch":
            name = re.search(r"\(\s*(\w+)\s*\)", body[match.start() : place])
            chosen = found.get(name[1]) if name is not None else None
            for case, statements in _cases(opened):
                if case is not None and number(case) == chosen:
                    _read(statements, found, conditional)
                else:
                    _note(statements, conditional)
        else:
            _note(opened, conditional)


def _note(body: str, conditional: dict[str, str]) -> None:
    for match in _STATEMENT.finditer(body):
        if match["name"] is not None:
            conditional.setdefault(match["name"], match["value"].strip())


def _cases(body: str) -> Iterator[tuple[str | None, str]]:
    marks = list(_CASE.finditer(body))
    ends = [*(mark.start() for mark in marks[1:]), len(body)]
    for mark, end in zip(marks, ends, strict=False):  # there may be no case
        yield mark[1], body[mark.end() : end]


def _guarded(body: str, place: int) -> tuple[str, int]:
    """Return what a condition at ``place`` governs, a block or a statement, and where that ends."""
    while True:
        opened = _OPENED.match(body, place)
        if opened is not None:
            _, place = _block(body, opened.end() - 1, "()")
        chained = _CHAINED.match(body, place)
        if chained is None:
            break
        place = chained.end()
    follows = _BLOCK.match(body, place)
    if follows is not None:
        return _block(body, follows.end() - 1)
    end = body.find(";", place)
    end = len(body) if end < 0 else end + 1
    return body[place:end], end


def _block(body: str, place: int, brackets: str = "{}") -> tuple[str, int]:
    depth = 0
    for k in range(place, len(body)):
        depth += (body[k] == brackets[0]) - (body[k] == brackets[1])
        if depth == 0:
            return body[place + 1 : k], k + 1
    return body[place + 1 :], len(body)


def _worked_out(text: str, known: dict[str, Any]) -> Any:
    value = number(_CAST.sub("", text))
    if not isinstance(value, str):
        return value
    try:
        return _sum(ast.parse(_CAST.sub("", text).strip(), mode="eval").body, known)
    except (SyntaxError, ValueError, TypeError, ArithmeticError, MemoryError, RecursionError):
        return text.strip()


def _sum(tree: ast.expr, known: dict[str, Any]) -> Any:
    match tree:
        case ast.Constant(value=int() | float()):
            return tree.value
        case ast.Name(id=name) if isinstance(known.get(name), (int, float)):
            return known[name]
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -_sum(inner, known)
        case ast.BinOp(op=op, left=left, right=right) if type(op) in _SUMS:
            found = _SUMS[type(op)](_sum(left, known), _sum(right, known))
            if isinstance(found, int) and abs(found) > _LARGEST:
                raise OverflowError
            return found
    raise ValueError(ast.unparse(tree))
