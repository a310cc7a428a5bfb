"""Subclasses that count calls of their public methods, for tests that overrides are called."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

API = Path(__file__).resolve().parents[3] / "shared" / "reference" / "api"


def api(system: str) -> dict[str, dict[str, Any]]:
    """Return the whole public surface of ``"memtorch"`` or ``"xbtorch"``: module → names."""
    path = API / f"{system}.json"
    if not path.is_file():
        pytest.skip(f"the public surface of {system} is not at hand")
    return json.loads(path.read_text(encoding="utf-8"))


def public_methods(system: str) -> set[str]:
    """Return all ``Class.method`` of a system, constructors left out."""
    return {
        f"{name}.{method}"
        for names in api(system).values()
        for name, facts in names.items()
        if isinstance(facts, dict)
        for method in facts.get("methods", {})
        if method != "__init__"
    }


def counting(kind: Any, *methods: str) -> tuple[Any, Counter[str]]:
    """Return a subclass whose methods count their calls and go on to those of ``kind``.

    Args:
        kind: a class.
        methods: names of the methods to override.
    """
    calls: Counter[str] = Counter()

    def overriding(name: str) -> Any:
        inherited = getattr(kind, name)

        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            return inherited(self, *args, **kwargs)

        return method

    made = type(f"Counting{kind.__name__}", (kind,), {name: overriding(name) for name in methods})
    return made, calls
