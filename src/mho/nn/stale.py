"""Whether the weights of a layer are those that its chip was last programmed with.

These functions are the methods of `AnalogLayer` that bear their names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from mho.core import notice
from mho.nn import computed

if TYPE_CHECKING:
    from mho.nn.base import AnalogLayer


def mark_programmed(layer: AnalogLayer) -> None:
    """Note that the chip now holds the weights as they are; `warn_if_stale` goes by it."""
    found = layer._versions()
    layer._synced, layer._warned = found, False
    for crossbar in layer.crossbars.values():
        crossbar.written_as = found  # layers that share it find out so


def warn_if_stale(layer: AnalogLayer) -> None:
    """Say once that the weights have moved since they were programmed."""
    if torch.compiler.is_compiling() or layer._warned:
        return
    held = None
    if not (layer._buffers or "parametrizations" in layer._modules):  # what is quick to see
        held = [
            (id(p), 0 if p is None or p.is_inference() else p._version)  # as `version`
            for p in layer._parameters.values()
        ]
        if layer._synced and held == vars(layer).get("_unmoved"):
            return
    found = layer._versions()
    if found == layer._synced:
        vars(layer)["_unmoved"] = held
        return
    if not layer._synced:
        layer._synced = found
        return
    if any(crossbar.written_as == found for crossbar in layer.crossbars.values()):
        layer._synced = found  # through another layer that shares the crossbar
        return
    names = found.keys() | layer._synced.keys()
    if _in_a_group() and any(
        n in found and n in layer._synced and found[n][0] != layer._synced[n][0] for n in names
    ):
        return  # FSDP computes with other tensors than it keeps: nobody can tell
    moved = sorted(n for n in names if found.get(n) != layer._synced.get(n))
    notice.warn(
        f"{named(layer)}: {', '.join(moved)} has changed since it was programmed, and "
        "eval() reads what the chip holds; call mho.program(model) to write it"
    )
    layer._warned = True


def apply(layer: AnalogLayer, fn: Any, recurse: bool = True) -> AnalogLayer:
    """As `torch.nn.Module._apply`; shapes without memory hold no other weights than before."""
    current = bool(layer._synced) and layer._versions() == layer._synced
    nn.Module._apply(layer, fn, recurse)
    if current and all(parameter.is_meta for parameter in layer.parameters()):
        mark_programmed(layer)
    return layer


def named(layer: AnalogLayer) -> str:
    """Return what messages call a layer: its type, and the name it was converted by."""
    kind = type_before_parametrizations(layer).__name__
    return f"{layer.converted_as!r} ({kind})" if layer.converted_as else kind


def versions(layer: AnalogLayer) -> dict[str, tuple[int, int]]:
    """Return which tensors, and which versions of them, what is to be stored is made of."""
    on_array = layer.hardware.bias == "array"
    return {
        path: (id(value), version(value))
        for name, path, value in computed.sources(layer)
        if on_array or "bias" not in name
    }


def version(value: Tensor | None) -> int:
    """Return how often a tensor was changed in place."""
    return 0 if value is None or value.is_inference() else value._version


def _in_a_group() -> bool:
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_initialized()
