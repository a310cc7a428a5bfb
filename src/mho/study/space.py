"""What a study varies: choices and ranges of a hardware's fields, by path."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mho.core import checks
from mho.core.extras import need
from mho.core.spec import Spec
from mho.hardware import Hardware
from mho.study.paths import field_of, nearest, reaches, revived, with_settings

_TRIED = 200  # combinations, to find one in which a value is taken


@dataclass(frozen=True)
class Range(Spec):
    """Numbers between two ends.

    Attributes:
        low: the lowest.
        high: the highest, > low.
        log: whether they are spread evenly in their logarithm; low must then be > 0.
    """

    sized: ClassVar[bool] = False  # these numbers may be of anything

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        low = checks.number("Range low", self.low)
        high = checks.number("Range high", self.high, above=low)
        checks.number("Range high - low", high - low)
        if self.log:
            checks.number("Range low, where log=True,", low, above=0.0)


@dataclass(frozen=True)
class Integers(Spec):
    """Integers between two ends, both among them.

    Attributes:
        low: the lowest.
        high: the highest, > low.
        step: from one to the next, >= 1; ``high`` must be reached. 1 where ``log`` is true.
        log: whether they are spread evenly in their logarithm; low must then be >= 1.
    """

    sized: ClassVar[bool] = False  # these numbers may be of anything

    low: int
    high: int
    step: int = 1
    log: bool = False

    def __post_init__(self) -> None:
        low = checks.integer("Integers low", self.low, least=1 if self.log else -(2**53))
        high = checks.integer("Integers high", self.high, least=low + 1, most=2**53)
        step = checks.integer("Integers step", self.step)
        if self.log and step != 1:
            raise ValueError(f"Integers step must be 1 where log=True, got {step!r}")
        if (high - low) % step:
            raise ValueError(
                f"Integers high must be reached from {low} in steps of {step}, got {high!r}"
            )


@dataclass(frozen=True)
class Choices:
    """Values that were listed, and what Optuna calls them: themselves where they are plain."""

    values: tuple[Any, ...]
    labels: tuple[Any, ...]


Domain = Choices | Range | Integers
Space = Mapping[str, Domain]


def space_of(
    given: Mapping[str, Any], hardware: Hardware, free: Collection[str]
) -> dict[str, Domain]:
    """Return what is varied, checked against the hardware.

    Args:
        given: lists, `Range` and `Integers`, by path.
        hardware: whose fields they are.
        free: names that are no fields.

    Raises:
        ValueError: if a path is neither a field nor free, there is no value, or one is refused.
        TypeError: if values are of another kind.
    """
    checks.instance("space", given, Mapping)
    if not given:
        raise ValueError("space must have at least one path, got none")
    if isinstance(free, str):
        raise TypeError(f"free must be a list of names, got {free!r} (str)")
    unused = [name for name in free if name not in given]
    if unused:
        raise ValueError(f"free names {unused} are not in the space {list(given)}")
    space = {_path(path): _domain(path, values) for path, values in given.items()}
    fields = {path: domain for path, domain in space.items() if path not in free}
    for path in free:
        if reaches(hardware, path):
            raise ValueError(f"free name {path!r} is a field of the hardware: it is set there")
    _refuse_same(hardware, fields)
    for path in fields:
        for host in _hosts(hardware, fields, path):
            if not reaches(host, path):
                raise ValueError(nearest(host, path))
    _check_values(hardware, fields)
    return space


def _refuse_same(hardware: Hardware, fields: Collection[str]) -> None:
    known: dict[str, str] = {}
    for path in fields:
        other = known.setdefault(field_of(hardware, path), path)
        if other != path:
            raise ValueError(f"{path!r} is the same field as {other!r}: vary one of them")


def _path(path: Any) -> str:
    checks.instance("every path", path, str)
    return path


MOST_VALUES = 10_000
"""That one name takes in a list."""


def _domain(path: str, values: Any) -> Domain:
    if isinstance(values, (Range, Integers)):
        return values
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if isinstance(values, (str, Mapping, Spec)) or not isinstance(values, Sequence | range):
        raise TypeError(
            f"values of {path!r} must be a list, a Range or Integers, got {values!r} "
            f"({type(values).__name__})"
        )
    if len(values) > MOST_VALUES:
        raise ValueError(
            f"values of {path!r} must be {MOST_VALUES} at the most, got {len(values)}: a Range or "
            "Integers says its ends alone"
        )
    values = tuple(revived(value) for value in values)
    if not values:
        raise ValueError(f"values of {path!r} must be at least one, got none")
    for value in values:
        _refuse_unkept(path, value)
    twice = [v for i, v in enumerate(values) if v in values[:i]]
    if twice:
        raise ValueError(f"values of {path!r} must differ, got {twice[0]!r} twice")
    return Choices(values, _labels(values))


def _refuse_unkept(path: str, value: Any) -> None:
    """Refuse what a store could not keep, or not tell from others."""
    try:
        plain(value)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"values of {path!r} must be numbers, texts, specs, or lists of these, got "
            f"{checks.said(value)}"
        ) from error
    if _is_nan(value):
        raise ValueError(f"values of {path!r} must not be NaN, which equals nothing: use None")


def _is_nan(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(map(_is_nan, value))
    return isinstance(value, float) and math.isnan(value)


def plain(value: Any) -> Any:
    """Return a value as it goes to JSON.

    Raises:
        TypeError: if it does not.
    """
    if isinstance(value, Spec):
        return value.to_dict()
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    json.dumps(value)
    return value


def _labels(values: tuple[Any, ...]) -> tuple[Any, ...]:
    short = [v if type(v) in checks.PLAIN else _text(v) for v in values]
    if len({str(label) for label in short}) == len(short):
        return tuple(short)
    return tuple(f"{i}: {label}" for i, label in enumerate(short))


def _text(value: Any) -> str:
    return f"({', '.join(map(str, value))})" if isinstance(value, tuple) else str(value)


def _hosts(hardware: Hardware, fields: Space, path: str) -> Iterator[Hardware]:
    """Give the hardware with all choices of what stands above a path; as it is if nothing does."""
    above = [other for other in fields if path.startswith(f"{other}.")]
    for values in itertools.product(*(samples_of(fields[other]) for other in above)):
        yield with_settings(hardware, dict(zip(above, values, strict=True)))


def samples_of(domain: Domain) -> list[Any]:
    """Return all choices, or the ends and the middle of a range."""
    if isinstance(domain, Choices):
        return list(domain.values)
    return [value_at(domain, u) for u in (0.0, 0.5, 1.0 - 1e-12)]


def _check_values(hardware: Hardware, fields: Space) -> None:
    """Refuse values that are taken in no combination with the others."""
    for path, domain in fields.items():
        for value in samples_of(domain):
            refused = _refusal(hardware, fields, path, value)
            if refused is None:
                continue
            no_integer = isinstance(domain, Range) and isinstance(refused, TypeError)
            if no_integer and not _refusal(hardware, fields, path, round(value)):
                hint = "Integers(low, high, step=…) varies integers (in a study's file: step: 1)"
                raise TypeError(f"{refused}; {hint}") from refused
            raise refused


def _refusal(hardware: Hardware, fields: Space, path: str, value: Any) -> Exception | None:
    """Return why no combination takes a value; None if one does."""
    refused: Exception | None = None
    others = [[None, *samples_of(d)] if p != path else [value] for p, d in fields.items()]
    for values in itertools.islice(itertools.product(*others), _TRIED):
        chosen = {p: v for p, v in zip(fields, values, strict=True) if p == path or v is not None}
        try:
            with_settings(hardware, chosen)
        except (ValueError, TypeError) as error:
            refused = refused or error
        else:
            return None
    return refused


def value_at(domain: Domain, u: float) -> Any:
    """Return the value of a domain at a number in [0, 1), spread evenly over it."""
    if isinstance(domain, Choices):
        return domain.values[int(u * len(domain.values))]
    if isinstance(domain, Range):
        low, high = domain.low, domain.high
        found = low * (high / low) ** u if domain.log else low + (high - low) * u
        return float(min(max(found, low), high))
    if domain.log:
        found = (domain.low - 0.5) * ((domain.high + 0.5) / (domain.low - 0.5)) ** u
        return min(max(round(found), domain.low), domain.high)
    count = (domain.high - domain.low) // domain.step + 1
    return domain.low + domain.step * int(u * count)


def distribution(domain: Domain) -> Any:
    """Return a domain as Optuna's distribution."""
    kinds = need("optuna.distributions", "study")
    if isinstance(domain, Choices):
        return kinds.CategoricalDistribution(domain.labels)
    if isinstance(domain, Range):
        return kinds.FloatDistribution(domain.low, domain.high, log=domain.log)
    return kinds.IntDistribution(domain.low, domain.high, log=domain.log, step=domain.step)


def label_of(domain: Domain, value: Any) -> Any:
    """Return what Optuna calls a value."""
    return domain.labels[domain.values.index(value)] if isinstance(domain, Choices) else value


def settings_of(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was set, by path, from what Optuna calls it."""
    found = {}
    for path, domain in space.items():
        given = params[path]
        if isinstance(domain, Choices):
            same = (i for i, x in enumerate(domain.labels) if x == given and type(x) is type(given))
            given = domain.values[next(same, domain.labels.index(given))]
        found[path] = given
    return found


def described(space: Space) -> dict[str, Any]:
    """Return a space as plain values, by which it is known again."""
    return {
        path: [plain(v) for v in domain.values] if isinstance(domain, Choices) else domain.to_dict()
        for path, domain in space.items()
    }
