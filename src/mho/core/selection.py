"""Selecting modules of a model: by class, by name pattern, or by a predicate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from torch import nn

Selector = type | str | Callable[[str, nn.Module], bool]
Selectors = Selector | Sequence[Selector]

V = TypeVar("V")


def selectors(given: Selectors | None) -> tuple[Selector, ...] | None:
    """Return one selector or several as a tuple; None stays None."""
    if given is None:
        return None
    many: Any = given
    return tuple(many) if isinstance(given, (list, tuple, set)) else (many,)


def selects(selector: Selector, name: str, module: nn.Module) -> bool:
    """Whether a selector means this module.

    Raises:
        TypeError: if it is no class, name pattern or predicate.
    """
    if isinstance(selector, type):
        return isinstance(module, selector)
    if isinstance(selector, str):
        return fnmatchcase(name, selector)
    if callable(selector):
        return bool(selector(name, module))
    raise TypeError(f"a selector must be a class, a name pattern or a predicate, got {selector!r}")


def selected(what: str, given: Sequence[Selector], among: Mapping[str, nn.Module]) -> set[str]:
    """Return the names that any of some selectors means; ``what`` names the argument in errors.

    Raises:
        TypeError: if one is no selector.
        ValueError: if a name pattern matches nothing.
    """
    refuse_strangers(what, [s for s in given if isinstance(s, str)], among)
    return {name for name, module in among.items() if any(selects(s, name, module) for s in given)}


def refuse_strangers(what: str, patterns: Sequence[str], among: Mapping[str, nn.Module]) -> None:
    """Refuse name patterns that match nothing (ValueError)."""
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in among):
            names = ", ".join(map(repr, among)) or "none"
            raise ValueError(f"{what}: {pattern!r} matches no module; there are {names}")


def assigned(
    among: Mapping[str, nn.Module],
    default: V,
    *,
    only: Selectors | None,
    skip: Selectors | None,
    overrides: Mapping[str, V | None],
) -> dict[str, V]:
    """Return what each selected module is given, in their order; see `mho.convert`.

    Raises:
        TypeError: if a selector is none.
        ValueError: if a name pattern matches nothing.
    """
    refuse_strangers("overrides", list(overrides), among)
    kept = set(among) if only is None else selected("only", selectors(only) or (), among)
    kept -= selected("skip", selectors(skip) or (), among)
    found = {name: first_match(name, overrides, default) for name in among if name in kept}
    return {name: value for name, value in found.items() if value is not None}


def first_match(name: str, by_pattern: Mapping[str, V | None], default: V | None) -> V | None:
    """Return what the first name pattern that fits says, or the default."""
    return next((v for pattern, v in by_pattern.items() if fnmatchcase(name, pattern)), default)


def walk(
    model: nn.Module, wanted: Callable[[nn.Module], bool], closed: tuple[type, ...]
) -> Iterator[tuple[str, nn.Module]]:
    """Walk a module tree, each module once; not into those wanted, nor into closed ones.

    Args:
        model: where to begin.
        wanted: which modules to give.
        closed: modules that use their children's weights by themselves.
    """
    seen: set[int] = set()

    def into(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
        if id(module) in seen:
            return
        seen.add(id(module))
        if wanted(module):
            yield name, module
        elif not isinstance(module, closed):
            for child_name, child in module.named_children():
                yield from into(child, f"{name}.{child_name}" if name else child_name)

    yield from into(model, "")
