"""YAML as people mean it: what YAML 1.1 reads as something else stays a text, and nothing explodes.

PyYAML reads YAML 1.1: ``010`` is 8, ``1:30`` is 90, ``no`` is False, and of a name that is given
twice the first value is dropped. YAML 1.2 does none of these.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from mho.core import files

_MOST = 1_000_000  # values, aliases counted as often as they are used
_DEEPEST = 50
_LONGEST = 1 << 24  # bytes: PyYAML reads about one a microsecond

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # terminals obey them

_MEANT = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9_]*)", list("-+0123456789")),
    (
        "float",
        r"[-+]?([0-9][0-9_]*\.[0-9_]*([eE][-+]?[0-9]+)?|\.[0-9][0-9_]*([eE][-+]?[0-9]+)?"
        r"|[0-9][0-9_]*[eE][-+]?[0-9]+|\.(inf|Inf|INF))|\.(nan|NaN|NAN)",
        list("-+0123456789."),
    ),
)
"""What a bare word is, by how it is written, and with what it begins."""


class _Loader(yaml.SafeLoader):
    """`yaml.SafeLoader` of the words that YAML 1.2 knows."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (as PyYAML has it)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return names and values; refuse a name that is given twice."""
        known: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in known:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{key.value!r} is given twice", key.start_mark
                    )
                known.add(key.value)
        return super().construct_mapping(node, deep)


for _tag, _form, _first in _MEANT:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^({_form})$"), _first)


def read(path: Path) -> Any:
    """Return what a YAML file says, in plain values.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not UTF-8 or not YAML, is cut short, or holds too much.
    """
    text = files.text(path, _LONGEST)
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        if _size(node, {}, 0) > _MOST:
            raise ValueError(f"{path} holds more than {_MOST} values, aliases repeated")
        data = _constructed(loader, node)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path} is not valid YAML: {_said(error)}") from error
    if isinstance(data, dict) and "format" in data and not _ends(text):
        raise ValueError(
            f"{path} is cut short: it tells its format, and does not end with a line of '...'"
        )
    return data


def _constructed(loader: _Loader, node: yaml.Node) -> Any:
    """Return what a node says; a tag (``!!int abc``) may say what PyYAML cannot make of it."""
    try:
        return loader.construct_document(node)
    except (yaml.YAMLError, RecursionError, MemoryError):
        raise
    except Exception as error:  # of Python's own: too many digits, a day that is none, ...
        told = f"{type(error).__name__}: {error}"
        raise yaml.YAMLError(f"a value is not what it is said to be ({told})") from error


def _ends(text: str) -> bool:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return bool(lines) and lines[-1].rstrip() == "..."


def _said(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _size(node: Any, known: dict[int, int], depth: int) -> int:
    """Return how many values a node stands for; refuse one inside itself, or too deep."""
    if id(node) in known:
        if not known[id(node)]:
            raise yaml.YAMLError("an alias stands inside what it stands for")
        return known[id(node)]
    if depth > _DEEPEST:
        raise RecursionError
    if isinstance(node, yaml.ScalarNode):
        if _CONTROL.search(node.value):
            raise yaml.YAMLError(f"{node.value!r:.80} has control characters, which no name needs")
        return 1
    known[id(node)] = 0  # being counted
    inner = node.value
    if isinstance(node, yaml.MappingNode):
        inner = [part for pair in node.value for part in pair]
    known[id(node)] = 1 + sum(_size(part, known, depth + 1) for part in inner)
    return known[id(node)]
