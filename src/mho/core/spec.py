"""Specs: frozen dataclasses of plain numbers that describe hardware, and nothing else.

A spec validates itself on construction, compares, prints, hashes and round-trips through a
dict of plain values (so through YAML and JSON). It holds no tensors and no randomness: numbers of
NumPy and torch become Python's before a spec checks itself.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import reprlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Generic, TypeVar, cast

import numpy as np
import torch

from mho.core import checks
from mho.core.renamed import SPECS

S = TypeVar("S", bound="Spec")
T = TypeVar("T")

_ARRAYS = (np.ndarray, torch.Tensor)


class Spec:
    """Base of every spec. Subclasses are ``@dataclass(frozen=True)``.

    Class attributes:
        said: parameters that ``str`` shows at their defaults, too.
        renamed: parameters of saved specs, from old names to new ones.
        sized: whether numbers are quantities of hardware, whose size is limited.
    """

    sized: ClassVar[bool] = True
    said: ClassVar[tuple[str, ...]] = ()
    renamed: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **settings: Any) -> None:
        # Where a spec checks itself its values are plain already: in one place for all specs.
        super().__init_subclass__(**settings)
        check = vars(cls).get("__post_init__")
        if check is not None:
            cls.__post_init__ = _settled_before(check)  # type: ignore[assignment, method-assign]

    def __post_init__(self) -> None:
        """Check the fields. Subclasses find them as Python's numbers and truth values."""
        _settle(self)

    def to_dict(self) -> dict[str, Any]:
        """Return this spec as plain values; ``from_dict`` takes them back.

        Returns:
            ``{"type": class name, field: value, …}``; nested specs are dicts, tuples are lists.
        """
        values = {
            field.name: _plain(getattr(self, field.name))
            for field in dataclasses.fields(self)  # type: ignore[arg-type]
            if field.init
        }
        return {"type": type(self).__name__, **values}

    def __str__(self) -> str:
        """Say in short what this is: the parameters that are not at their defaults.

        Numbers have six digits; ``repr`` gives all.
        """
        values = [
            f"{field.name}={_brief(value)}"
            for field in dataclasses.fields(self)  # type: ignore[arg-type]
            if (value := getattr(self, field.name)) != _default(field) or field.name in self.said
        ]
        return f"{type(self).__name__}({', '.join(values)})"

    @classmethod
    def from_dict(cls: type[S], data: Mapping[str, Any]) -> S:
        """Build a spec from the plain values that ``to_dict`` gives.

        Args:
            data: field values; ``type`` names the class and may be left out where ``cls`` is it.

        Raises:
            TypeError: if ``data`` is not a mapping, or describes another kind of spec.
            ValueError: if a key or the type is unknown, or a value is refused by the spec.
        """
        if not isinstance(data, Mapping):
            raise TypeError(
                f"{cls.__name__} must be given as a mapping (name: value), got "
                f"{reprlib.repr(data)} ({type(data).__name__})"
            )
        kind = cls
        if "type" in data:
            checks.instance(f"type of a {cls.__name__}", data["type"], str)
            kind = _find(data["type"], cls)
        if not issubclass(kind, cls):
            raise TypeError(f"expected a {cls.__name__}, got a {kind.__name__}")
        if not dataclasses.is_dataclass(cast(type, kind)):
            raise TypeError(f"a {kind.__name__} is of many types: which one must be said by 'type'")
        twice = [
            f"{old!r} is the old name of {new!r}"
            for old, new in kind.renamed.items()
            if old in data and new in data
        ]
        if twice:
            raise ValueError(f"{kind.__name__}: {'; '.join(twice)}, and both are given")
        data = {kind.renamed.get(key, key): value for key, value in data.items()}
        known = [field.name for field in dataclasses.fields(kind) if field.init]  # type: ignore[arg-type]
        unknown = [key for key in data if key not in known and key != "type"]
        if unknown:
            raise ValueError(
                f"{kind.__name__} has no parameter {', '.join(map(repr, unknown))}; "
                f"it takes {', '.join(known) or 'none'}"
            )
        return kind(**{key: _revive(value) for key, value in data.items() if key != "type"})

    def replace(self: S, **changes: Any) -> S:
        """Return a copy with some fields changed (validated anew)."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]


class derived(Generic[T]):  # noqa: N801 (used as a decorator, as property is)
    """A property that follows from the fields alone: worked out once for each spec.

    As `functools.cached_property`, without its lock, which ``torch.compile`` does not know.
    """

    small = True

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, spec: Any, owner: type | None = None) -> T:
        if spec is None:
            return self  # type: ignore[return-value]
        value = self._compute(spec)
        if not torch.compiler.is_compiling():
            vars(spec)[self._name] = value  # found there from now on, before this is asked
        return value


class derived_late(derived[T]):  # noqa: N801
    """As `derived`, of what is large and no read asks for: worked out when it is asked for."""

    small = False


def work_out(*specs: Any) -> None:
    """Work out what is `derived` of specs now, for ``torch.compile``.

    It guards what a graph has found of a spec: what appeared there later would compile it anew.
    """
    for spec in specs:
        kind: Any = type(spec)
        for name in _derived_of(kind):
            getattr(spec, name)


@functools.cache
def _derived_of(kind: type) -> tuple[str, ...]:
    known = {name: value for base in reversed(kind.__mro__) for name, value in vars(base).items()}
    return tuple(n for n, value in known.items() if isinstance(value, derived) and value.small)


_SHOWN = 16
"""Items of a tuple that are said in short."""


def _brief(value: Any) -> str:
    if isinstance(value, tuple) and any(isinstance(item, Spec) for item in value):
        return f"({', '.join(map(str, value))})"
    if isinstance(value, float):
        return repr(float(f"{value:.6g}"))
    if isinstance(value, tuple) and len(value) > _SHOWN:
        return f"({', '.join(map(_brief, value[:2]))}, … {len(value)} in all)"
    if isinstance(value, tuple) and any(isinstance(item, tuple) for item in value):
        return f"({', '.join(map(_brief, value))}{',' * (len(value) == 1)})"
    return str(value) if isinstance(value, Spec) else repr(value)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _settled_before(check: Callable[[Any], None]) -> Callable[[Any], None]:
    @functools.wraps(check)
    def __post_init__(self: Any) -> None:  # noqa: N807
        _settle(self)
        check(self)

    return __post_init__


def _settle(spec: Any) -> None:
    """Make the fields' numbers plain; refuse texts and numbers where a truth value is wanted."""
    values = vars(spec)
    for field in dataclasses.fields(spec):
        given, told = values.get(field.name), field.type
        if type(given) not in checks.PLAIN:
            kind = told.__name__ if isinstance(told, type) else str(told)
            value = _settled(given, "tuple" in kind)
            if isinstance(value, _ARRAYS) and kind.startswith(("int", "float")):
                checks.number(f"{type(spec).__name__} {field.name}", value)  # which it is not
            if value is not given:
                object.__setattr__(spec, field.name, value)
        plain = values.get(field.name)
        if spec.sized and field.init and type(plain) in (int, float):
            _limit(spec, field.name, told if isinstance(told, str) else str(told), plain)
        if told in ("bool", bool) and field.init:
            checks.truth(f"{type(spec).__name__} {field.name}", values[field.name])


def _limit(spec: Any, name: str, told: str, value: float) -> None:
    """Refuse numbers beyond what tensors hold; make whole numbers floats that are as long."""
    if "float" in told:
        sized = checks.sized(name, value)
        if sized is not value:
            object.__setattr__(spec, name, sized)
    elif (
        isinstance(value, int)
        and name != "seed"
        and not -(2**63) <= value < 2**63
        and abs(value) < 2**1000
    ):
        raise ValueError(f"{name} must be an integer that 64 bits hold, got {value!r}")


def _settled(value: Any, several: bool) -> Any:
    """Return a value with plain numbers; arrays as tuples where several numbers are wanted."""
    if isinstance(value, (tuple, list)):
        items = [_settled(item, several) for item in value]
        same = all(item is old for item, old in zip(items, value, strict=True))
        return value if same else tuple(items)
    value = checks.plain(value)
    lossless = isinstance(value, _ARRAYS) and not getattr(value, "requires_grad", False)
    return _tuple(value.tolist()) if several and lossless else value


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Spec):
        return value.to_dict()
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return checks.plain(value)


def _revive(value: Any) -> Any:
    if isinstance(value, Mapping) and "type" in value:
        return Spec.from_dict(value)
    if isinstance(value, list):
        return tuple(_revive(item) for item in value)
    return value


def _subclasses(kind: type) -> Iterator[type]:
    children: list[type] = kind.__subclasses__()
    for child in children:
        yield child
        yield from _subclasses(child)


def _find(name: str, wanted: type = Spec) -> type:
    # Python's own table of subclasses is the registry: a user's spec is known once imported.
    # Of several classes of one name (a re-run notebook cell) the one asked for, or of its kind,
    # comes first, else the last one found.
    name = SPECS.get(name, name)
    if wanted.__name__ == name:
        return wanted
    found = [kind for kind in _subclasses(Spec) if kind.__name__ == name]
    if not found:
        names = {kind.__name__.lower(): kind.__name__ for kind in _subclasses(Spec)}
        near = difflib.get_close_matches(str(name).lower(), sorted(names), n=1)
        meant = f"; did you mean {names[near[0]]!r}?" if near else ""
        raise ValueError(f"unknown type {name!r}: import the module that defines it first{meant}")
    return next((kind for kind in reversed(found) if issubclass(kind, wanted)), found[-1])


def first_difference(expected: Any, found: Any, path: str = "") -> str | None:
    """Say where two plain values first differ (``"adc.bits: expected 6, found 8"``), or None."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for key in {**expected, **found}:
            inner = f"{path}.{key}" if path else str(key)
            difference = first_difference(expected.get(key), found.get(key), inner)
            if difference:
                return difference
        return None
    return None if expected == found else f"{path}: expected {expected!r}, found {found!r}"
