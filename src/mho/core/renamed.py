"""Names of the version before: they still work, and a warning says what they are called now."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from mho.core import notice

T = TypeVar("T")

SPECS = {"Practice": "NoiseInjection"}
"""Types in saved specs (YAML, JSON, checkpoints), by their old names."""


def warn(old: str, new: str) -> None:
    """Say once a line that something has another name now (DeprecationWarning)."""
    notice.warn(
        f"{old} is now called {new}; the old name goes in the next version", DeprecationWarning
    )


def of_module(module: str, name: str, found: Mapping[str, Any]) -> Any:
    """Return what a module calls otherwise now, for its ``__getattr__``.

    Args:
        module: its name.
        name: what was asked for.
        found: what there is, by the old names.

    Raises:
        AttributeError: if the module never had the name.
    """
    if name not in found:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    warn(f"{module}.{name}", f"{module}.{found[name].__name__}")
    return found[name]


def state(found: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    """Return a pickled state in which an attribute has its new name."""
    return {new if name == old else name: value for name, value in found.items()}


def method(old: str, new: str) -> Callable[..., Any]:
    """Return a method that calls another one, by its old name."""

    def renamed(self: Any, *args: Any, **named: Any) -> Any:
        warn(f"{type(self).__name__}.{old}", new)
        return getattr(self, new)(*args, **named)

    renamed.__doc__ = f"Old name of ``{new}``."
    return renamed


def attribute(old: str, new: str) -> Any:
    """Return a property that is another one, by its old name."""

    def renamed(self: Any) -> Any:
        warn(f"{type(self).__name__}.{old}", new)
        return getattr(self, new)

    return property(renamed, doc=f"Old name of ``{new}``.")


def keywords(names: Mapping[str, str]) -> Callable[[type[T]], type[T]]:
    """Return a decorator by which a class still takes arguments, and pickles, by old names.

    Args:
        names: from old to new.
    """

    def decorate(kind: type[T]) -> type[T]:
        made = kind.__init__

        @functools.wraps(made)
        def __init__(self: T, *args: Any, **named: Any) -> None:  # noqa: N807
            for old in sorted(names.keys() & named.keys()):
                if names[old] in named:
                    raise TypeError(f"{kind.__name__}: {old} is the old name of {names[old]}")
                warn(f"{kind.__name__}({old}=…)", f"{names[old]}=…")
                named[names[old]] = named.pop(old)
            made(self, *args, **named)

        def __setstate__(self: T, state: dict[str, Any]) -> None:  # noqa: N807
            vars(self).update({names.get(name, name): value for name, value in state.items()})

        kind.renamed = names  # type: ignore[attr-defined]
        kind.__init__ = __init__  # type: ignore[method-assign, assignment]
        kind.__setstate__ = __setstate__  # type: ignore[attr-defined]
        for old, new in names.items():
            setattr(kind, old, attribute(old, new))
        return kind

    return decorate
