"""Checkpoints of models with many layers: torch hands them down in time linear in the layers.

`torch.nn.Module.load_state_dict` gives every child the entries under its name, looking through
all entries once a child: of L children with k entries each, L² · k comparisons. A crossbar layer
has a dozen entries. Packed, they are one until the layer itself takes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

_KEY = "<entries of this layer>"


def pack(state: dict[str, Any], prefixes: list[str]) -> None:
    """Put the entries under every prefix into one, in place, in one pass over all entries.

    Args:
        state: a checkpoint.
        prefixes: of layers, each ending in a dot; none begins with another.
    """
    packed = grouped(state, prefixes)
    for entries in packed.values():
        for key in entries:
            del state[key]
    state.update({f"{prefix}{_KEY}": entries for prefix, entries in packed.items() if entries})


def grouped(state: Mapping[str, Any], prefixes: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the entries under every prefix (see `pack`), in one pass over all entries."""
    found: dict[str, dict[str, Any]] = {prefix: {} for prefix in prefixes}
    for key, value in state.items():
        owner = next((part for part in _beginnings(key) if part in found), None)
        if owner is not None:
            found[owner][key] = value
    return found


def unpack(state: dict[str, Any], prefix: str) -> bool:
    """Put back what `pack` did to the entries of one layer, in place; whether it did anything."""
    entries = state.pop(f"{prefix}{_KEY}", None)
    state.update(entries or {})
    return entries is not None


def repeat_shared(
    state: dict[str, Any], module: nn.Module, prefix: str, kind: type[nn.Module]
) -> None:
    """Give what is saved once to all places of a part that several layers share, in place.

    Args:
        state: a checkpoint.
        module: where loading begins.
        prefix: its own, empty or ending in a dot.
        kind: of the parts, which say by ``shared`` whether they are.
    """
    named = module.named_modules(remove_duplicate=False)
    places: dict[nn.Module, list[str]] = {}
    for name, part in named:
        if isinstance(part, kind) and part.shared:
            places.setdefault(part, []).append(f"{prefix}{name}.")
    for prefixes in places.values():
        entries = {p: {k: v for k, v in state.items() if k.startswith(p)} for p in prefixes}
        known = next((p for p in prefixes if entries[p]), None)
        if known is None:
            continue
        for place in prefixes:
            if not entries[place]:
                saved = entries[known].items()
                state.update({place + key.removeprefix(known): value for key, value in saved})


@contextmanager
def unguarded(module: nn.Module, guard: Any) -> Iterator[None]:
    """Let a layer load without its own guard: whoever packed its entries has looked at them."""
    hooks = module._load_state_dict_pre_hooks
    others = ((key, h) for key, h in hooks.items() if getattr(h, "hook", None) is not guard)
    module._load_state_dict_pre_hooks = type(hooks)(others)
    try:
        yield
    finally:
        module._load_state_dict_pre_hooks = hooks


def _beginnings(key: str) -> Iterator[str]:
    """Yield ``"a."``, ``"a.b."`` of ``"a.b.c"``."""
    end = key.find(".")
    while end >= 0:
        yield key[: end + 1]
        end = key.find(".", end + 1)


def reached(module: nn.Module, prefix: str, layers: type[nn.Module], guard: Any) -> Iterator[str]:
    """Yield the prefixes of the layers that nobody between the module and them looks through.

    Args:
        module: where loading begins.
        prefix: its own, empty or ending in a dot.
        layers: kind of the layers, which `unpack`.
        guard: the hook that may stand before loading; past any other hook nothing is packed.
    """
    hooks = module._load_state_dict_pre_hooks.values()
    own_way = type(module)._load_from_state_dict is not nn.Module._load_from_state_dict
    if own_way or any(getattr(hook, "hook", None) is not guard for hook in hooks):
        return
    for name, child in module._modules.items():
        if isinstance(child, layers):
            if type(child)._load_from_state_dict is layers._load_from_state_dict:
                yield f"{prefix}{name}."
        elif child is not None:
            yield from reached(child, f"{prefix}{name}.", layers, guard)
