"""Checks of the conformance kits: every failure names what was expected and what was found."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from mho.core.spec import Spec

S = TypeVar("S", bound=Spec)


def holds(condition: bool, expected: str, found: object) -> None:
    """Fail unless a condition holds, saying what was expected and what was found."""
    if not condition:
        raise AssertionError(f"expected {expected}; found {found}")


def equal(what: str, found: object, expected: object) -> None:
    """Fail unless two plain values are equal."""
    holds(found == expected, f"{what} = {expected!r}", repr(found))


def close(
    what: str, found: Tensor, expected: Tensor, *, rtol: float = 1e-5, atol: float = 0.0
) -> None:
    """Fail unless two tensors agree in shape, dtype and value."""
    equal(f"shape of {what}", tuple(found.shape), tuple(expected.shape))
    equal(f"dtype of {what}", found.dtype, expected.dtype)
    found, expected = found.detach(), expected.detach()
    if found.dtype in (torch.bool, torch.int64):
        holds(torch.equal(found, expected), f"{what} = {expected}", found)
        return
    error = (found - expected).abs()
    bad = ~(error <= atol + rtol * expected.abs())
    if bool(bad.any()):
        worst = int(torch.where(bad, error, -1.0).nan_to_num(torch.inf).argmax())
        value, reference = found.flatten()[worst], expected.flatten()[worst]
        raise AssertionError(
            f"expected {what} within rtol={rtol:g}, atol={atol:g}; found {int(bad.sum())} of "
            f"{bad.numel()} values outside, the worst {float(value):.9g} instead of "
            f"{float(reference):.9g}"
        )


def same(what: str, found: Tensor, expected: Tensor) -> None:
    """Fail unless two tensors are equal bit for bit."""
    close(what, found, expected, rtol=0.0)


def finite(what: str, found: Tensor) -> None:
    """Fail if a tensor holds NaN or infinity."""
    bad = int((~torch.isfinite(found.detach())).sum())
    holds(not bad, f"{what} finite", f"{bad} of {found.numel()} entries NaN or infinite")


def refused(what: str, action: Callable[[], object], kind: type[Exception] = ValueError) -> None:
    """Fail unless an action raises an error of a kind, with a message."""
    try:
        action()
    except kind as error:
        holds(bool(str(error)), f"{what} refused with a message", "an empty message")
        return
    raise AssertionError(f"expected {what} refused with {kind.__name__}; found it accepted")


def round_trips(spec: Spec) -> None:
    """Fail unless a spec survives the way through a dict, JSON and back, and hashes and prints."""
    data = json.loads(json.dumps(spec.to_dict()))
    back = Spec.from_dict(data)
    equal(f"{type(spec).__name__} after to_dict, JSON, from_dict", back, spec)
    equal("hash of the spec read back", hash(back), hash(spec))
    name = type(spec).__name__
    holds(name in repr(spec), f"{name!r} in the printed spec", repr(spec))
    unknown = {**data, "no_such_parameter": 1}
    refused("an unknown parameter", lambda: Spec.from_dict(unknown))


def other_values(value: Any) -> list[Any]:
    """Return other values of a field's kind, of which at least one should be accepted."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, max(value - 1, 1), 2 * value + 2]
    if isinstance(value, float):
        if value == 0.0:
            return [0.25, 1e-3, 1e-7]
        return [0.8 * value, 1.25 * value, 0.99 * value, 1.01 * value]
    return []


def every_field_acts(
    spec: S, observe: Callable[[S], Sequence[Tensor]], labels: Mapping[str, str]
) -> None:
    """Fail unless every field of a spec, changed to another valid value, changes an observation.

    A field whose other values are all refused acts. Fields that are no plain numbers or nested
    specs (texts, spreads, tables) are not tried.

    Args:
        spec: what is tried.
        observe: what is to be seen of it, the same for the same spec.
        labels: fields that need not act here, each with the reason.
    """
    before = observe(spec)
    for field in dataclasses.fields(spec):  # type: ignore[arg-type]
        if not field.init or field.name in labels:
            continue
        tried = []
        for value in other_values(getattr(spec, field.name)):
            try:
                other = spec.replace(**{field.name: value})
                after = observe(other)
            except (TypeError, ValueError):
                continue
            tried.append(value)
            if not _all_equal(before, after):
                break
        else:
            holds(
                not tried,
                f"{type(spec).__name__}.{field.name} to change something, or to be refused (or "
                "named among the labels, with the reason)",
                f"nothing changed for {tried}",
            )


def _all_equal(one: Sequence[Tensor], two: Sequence[Tensor]) -> bool:
    return len(one) == len(two) and all(
        a.shape == b.shape and torch.equal(a.nan_to_num(nan=-1.0), b.nan_to_num(nan=-1.0))
        for a, b in zip(one, two, strict=True)
    )


def saved_and_loaded(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state_dict after the way through a file, read with ``weights_only=True``."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded
