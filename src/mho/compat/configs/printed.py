"""Configurations as trees of plain values: from the objects themselves, or from what they print."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

_PLAIN = (bool, int, float, str, type(None))
# <WeightClipType.NONE: 'None'> and <class 'torch.Tensor'>, <object at 0x…>: names, not Python.
_ENUM = re.compile(r"<([A-Za-z_][\w.]*):\s*[^<>]*>")
_OTHER = re.compile(r"<[^<>]*>")
_SHOWN = 60  # characters of what is not understood
_NAMES = {"inf": math.inf, "nan": math.nan}
_NO_KEY = object()  # of {**others}


@dataclasses.dataclass(frozen=True)
class Node:
    """An object of the source: the name of its class, and its values by name."""

    kind: str
    values: dict[str, Any]


def node_of(config: Any, what: str) -> Node:
    """Return a configuration as a tree.

    Args:
        config: the object itself, or the text that ``print`` gives of it.
        what: it should be, for errors.

    Raises:
        TypeError: if it is neither.
        ValueError: if it is a text that no configuration prints.
    """
    if isinstance(config, Node):
        return config
    if isinstance(config, str):
        return parse(config, what)
    found = _plain(config)
    if not isinstance(found, Node):
        raise TypeError(
            f"{what} must be given as the object or as its printed text, got {config!r}"
        )
    return found


def parse(text: str, what: str) -> Node:
    """Read a printed configuration, ``Name(field=value, …)``; nothing is evaluated.

    Args:
        text: as ``print(config)`` writes it; lines before and after it may be there.
        what: it should be, for errors.

    Raises:
        ValueError: if there is none in the text.
    """
    start = re.search(r"^\s*[A-Za-z_]\w*\(", text, re.MULTILINE)
    if start is None:
        raise ValueError(f"{what}: no printed configuration, Name(field=value, …), in the text")
    whole = text[start.start() :]
    end = _closing(whole)
    source = _OTHER.sub("None", _ENUM.sub(r"\1", whole[:end])).strip()
    try:
        tree = ast.parse(source, mode="eval").body
    except SyntaxError as error:
        raise ValueError(
            f"{what}: the text is not as print(config) writes it, near line {error.lineno}: "
            f"{(error.text or '').strip()[:_SHOWN]!r}"
        ) from error
    except (MemoryError, RecursionError) as error:  # of Python's parser, by too many signs
        raise ValueError(f"{what}: the text is not as print(config) writes it") from error
    found = _value(tree, what)
    if not isinstance(found, Node):
        raise ValueError(f"{what}: expected Name(field=value, …), got {source[:40]!r}")
    return found


def flatten(node: Node, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a tree by their names with dots, inner objects' after their classes'."""
    for name, value in node.values.items():
        if isinstance(value, Node):
            yield f"{prefix}{name}", value.kind
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _closing(text: str) -> int:
    depth = 0
    for place, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and character == ")":
            return place + 1
    return len(text)


def _value(tree: ast.expr, what: str) -> Any:
    match tree:
        case ast.Constant():
            return tree.value
        case ast.Call(func=ast.Name(id=kind)) if not tree.args:
            return Node(kind, _fields(kind, tree.keywords, what))
        case ast.Attribute(attr=name):  # Enum.NAME
            return name
        case ast.Name(id=name):
            return _NAMES.get(name, name)
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            value = _value(inner, what)
            if isinstance(value, (int, float)):
                return -value
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item, what) for item in items]
        case ast.Dict():
            keys = [_NO_KEY if key is None else _value(key, what) for key in tree.keys]
            if all(isinstance(key, _PLAIN) for key in keys):
                return dict(zip(keys, (_value(item, what) for item in tree.values), strict=True))
    shown = ast.unparse(tree)[:_SHOWN]
    raise ValueError(f"{what}: {shown!r} is no value of a printed configuration")


def _fields(kind: str, given: Iterable[ast.keyword], what: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in given:
        if one.arg is None or one.arg in found:
            said = f"{one.arg} twice" if one.arg else "**"
            raise ValueError(f"{what}: {kind}(…) has {said}, which print(config) does not write")
        found[one.arg] = _value(one.value, what)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        return value.item()
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, type) or inspect.isroutine(value):
        return getattr(value, "__name__", str(value))
    if dataclasses.is_dataclass(value):
        named = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        named.update(vars(value))  # what was set beside the fields acts there, or should have
    else:
        named = dict(getattr(value, "__dict__", {}))
    return Node(
        type(value).__name__,
        {key: _plain(item) for key, item in named.items() if not key.startswith("_")},
    )
