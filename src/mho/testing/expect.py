"""Checks of the conformance kits: every failure names what was expected and what was found."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mho.core.spec import Spec


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


def saved_and_loaded(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state_dict after the way through a file, read with ``weights_only=True``."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded
