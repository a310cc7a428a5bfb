"""Tied weights: layers that share one Parameter share one crossbar, one population of cells.

Layers of one kind read it alike. An embedding tied to a linear layer, as the first and the last
layer of most language models are, reads the linear layer's crossbar the other way: it drives a bit
line and reads the word lines.

One array has one set of converters in each direction. Those of the bit lines are calibrated on the
inputs of all layers that read them; those of the word lines follow each vector. The gain of a
column, which makes up for what its cells have lost, acts in both directions; an offset, which is
the converters' own, in its own alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from torch import nn

from mho.crossbar import lookup
from mho.hardware import Hardware
from mho.nn import computed
from mho.nn.base import AnalogLayer, guard
from mho.nn.conv import Conv1d, Conv2d, Conv3d
from mho.nn.embedding import Embedding, EmbeddingBag
from mho.nn.linear import Linear

_TABLES = (Embedding, EmbeddingBag)


class Plan(NamedTuple):
    """Which layers read whose crossbar.

    Attributes:
        joined: by the name of a layer, the name of the one whose crossbar it reads.
        apart: by the names of two layers that share a Parameter and not a crossbar, why not.
    """

    joined: dict[str, str]
    apart: dict[tuple[str, str], str]


def plan(layers: Mapping[str, AnalogLayer], hardware: Mapping[str, Hardware]) -> Plan:
    """Find layers that share a Parameter, and whose crossbar each reads.

    Args:
        layers: by name, that have taken over their parameters and have no crossbars yet.
        hardware: of each.
    """
    joined: dict[str, str] = {}
    apart: dict[tuple[str, str], str] = {}
    for names in _tied(layers):
        # An embedding can read a linear layer's crossbar; the other way it would need training
        # reads of whole vectors from the word lines.
        owners: list[str] = []
        for name in sorted(names, key=lambda n: isinstance(layers[n], _TABLES)):
            why = {o: _apart(layers[o], layers[name], hardware[o], hardware[name]) for o in owners}
            owner = next((o for o, reason in why.items() if reason is None), None)
            if owner is not None:
                joined[name] = owner
                continue
            apart.update({(o, name): reason for o, reason in why.items() if reason is not None})
            owners.append(name)
    return Plan(joined, apart)


def _tied(layers: Mapping[str, AnalogLayer]) -> Iterator[list[str]]:
    """Return the names of layers that share a Parameter, group by group."""
    holders: dict[int, list[str]] = {}
    for name, layer in layers.items():
        for key, _, tensor in computed.sources(layer):
            if isinstance(tensor, nn.Parameter) and not key.startswith("bias"):
                holders.setdefault(id(tensor), []).append(name)
    for names in holders.values():
        unique = list(dict.fromkeys(names))
        if len(unique) > 1:
            yield unique


def _apart(
    one: AnalogLayer, other: AnalogLayer, hardware: Hardware, theirs: Hardware
) -> str | None:
    """Say why two layers with one Parameter cannot read one crossbar; None where they can."""
    if any(computed.parametrized_names(x) or computed.makers(x) for x in (one, other)):
        return "what computes a weight is a layer's own"
    if hardware != theirs:
        return "they are put on different hardware"
    if any(layer.holds("bias") and hardware.bias == "array" for layer in (one, other)):
        return "a bias lies on the array"
    if _way(one) is None or _way(other) is None:
        return f"{type(one if _way(one) is None else other).__name__} shares no crossbar"
    if _way(one) != _way(other):
        if not (isinstance(one, Linear) and isinstance(other, _TABLES)):
            return f"{type(one).__name__} and {type(other).__name__} lay it out differently"
        if isinstance(other, EmbeddingBag):
            return "a bag is a read of whole vectors, which word lines give to no training"
        return lookup.backward_refusal(hardware, int(one.out_features))
    return None


def _way(layer: AnalogLayer) -> Any:
    """Return what layers that lay out a weight alike have in common."""
    if isinstance(layer, (Conv1d, Conv2d, Conv3d)):
        return type(layer), layer.groups
    if isinstance(layer, _TABLES):
        return "rows"
    return "columns" if isinstance(layer, Linear) else None


def join(layer: AnalogLayer, owner: AnalogLayer) -> None:
    """Let a layer, which has taken over its parameters, read the crossbar of another."""
    layer.hardware = owner.hardware
    layer._warned = False
    guard(layer)
    (crossbar,) = owner.crossbars.values()
    crossbar.shared = True
    if isinstance(layer, _TABLES):
        layer.turned = isinstance(owner, Linear)
    layer.add_module("crossbar", crossbar)
    layer._synced = dict(owner._synced)


def retie(model: nn.Module, plain: Mapping[AnalogLayer, nn.Module]) -> None:
    """Tie again what is read from one crossbar, in a copy without crossbars.

    Args:
        model: with crossbars.
        plain: what stands for its layers in the copy.
    """
    first: dict[Any, Any] = {}
    for layer in (m for m in model.modules() if isinstance(m, AnalogLayer)):
        found: Any = plain.get(layer)
        for crossbar in layer.crossbars.values():
            twin = first.setdefault(crossbar, found)
            if twin is found or twin is None or found is None:
                continue
            same = twin.weight.shape == found.weight.shape and twin.weight.equal(found.weight)
            if same:
                found.weight = twin.weight
