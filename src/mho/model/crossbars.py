"""The one listing of a model's crossbars, with their names; all that acts on a model goes by it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from mho.core import checks
from mho.crossbar import Crossbar
from mho.nn.base import AnalogLayer


@dataclass(frozen=True, eq=False)
class Entry:
    """One crossbar of a model.

    Attributes:
        name: the layer's, and of layers with several crossbars also the crossbar's; of a crossbar
            outside of layers its own.
        crossbar: the crossbar.
        layer: whose it is; None for one outside of layers.
        part: its name in the layer.
        readers: names of further layers that read it, tied weights being stored once.
        others: these layers.
    """

    name: str
    crossbar: Crossbar
    layer: AnalogLayer | None
    part: str
    readers: tuple[str, ...] = ()
    others: tuple[AnalogLayer, ...] = ()

    @property
    def kind(self) -> str:
        """Type of the layer, or of the crossbar itself."""
        owner: nn.Module = self.crossbar if self.layer is None else self.layer
        return type_before_parametrizations(owner).__name__

    def weight(self) -> Tensor | None:
        """Return the weights it is to hold ``[groups · rows, cols]``.

        Those of its layer; a crossbar outside of layers has none beside its cells: what these
        stand for now, or None if they were never programmed.
        """
        if self.layer is not None:
            return self.layer.wanted()[self.part]
        never = bool(self.crossbar.reference.isnan().any())
        return None if never else self.crossbar.weight.clone()


def listing(model: nn.Module) -> list[Entry]:
    """Return all crossbars of a model, each once, in the order of its modules.

    Raises:
        TypeError: if ``model`` is not a module.
        ValueError: if it has none.
    """
    found = entries(model)
    if not found:
        raise ValueError("the model has no crossbar layers; mho.convert makes them")
    return found


def entries(model: nn.Module) -> list[Entry]:
    """As `listing`, of a model that may have none."""
    checks.instance("model", model, nn.Module)
    found: dict[Crossbar, Entry] = {}
    for name, module in model.named_modules():
        if isinstance(module, AnalogLayer):
            for part, crossbar in module.crossbars.items():
                entry = Entry(crossbar_name(name, part, module), crossbar, module, part)
                found[crossbar] = _joined(found.get(crossbar), entry)
        elif isinstance(module, Crossbar):
            found.setdefault(module, Entry(name, module, None, ""))
    return list(found.values())


def _joined(known: Entry | None, entry: Entry) -> Entry:
    """Name a crossbar by the first layer that reads it the usual way."""
    if known is None:
        return entry
    if getattr(known.layer, "turned", False):
        one, other = entry, known
    else:
        one, other = known, entry
    assert other.layer is not None
    return replace(
        one,
        readers=(other.name, *known.readers) if one is entry else (*known.readers, other.name),
        others=(*known.others, other.layer),
    )


def _alike(one: Tensor, other: Tensor) -> bool:
    placed = one.shape == other.shape and one.device == other.device
    return placed and (one.is_meta or torch.equal(one, other))


def tie_again(entry: Entry) -> None:
    """See that layers which read one crossbar hold one Parameter.

    Loading with ``assign=True`` makes two of one that was tied; alike they are made one again.

    Raises:
        ValueError: if they hold different numbers.
    """
    for name, other in zip(entry.readers, entry.others, strict=True):
        mine: Any = getattr(entry.layer, "weight", None)
        theirs: Any = getattr(other, "weight", None)
        if mine is theirs:
            continue
        held = all("weight" in m._parameters for m in (entry.layer, other) if m is not None)
        if held and _alike(mine, theirs):
            other.weight = mine
            continue
        raise ValueError(
            f"{entry.name} and {name} read one crossbar and no longer share a weight: tie them "
            f"again ({name}.weight = {entry.name}.weight), or convert the model anew"
        )


def crossbars(model: nn.Module) -> dict[str, Crossbar]:
    """Return all crossbars of a model by name, those outside of layers too.

    Args:
        model: a converted model, or any module with crossbars; or a `Crossbar`, whose name is "".

    Returns:
        By the names that `mho.summary` shows: the layer's, and of layers with several crossbars
        also the crossbar's own.

    Raises:
        TypeError: if ``model`` is not a module.
        ValueError: if it has none.
    """
    return {entry.name: entry.crossbar for entry in listing(model)}


def layers(model: nn.Module) -> dict[str, AnalogLayer]:
    """Return a model's crossbar layers by name, each once.

    Raises:
        ValueError: if it has none.
    """
    checks.instance("model", model, nn.Module)
    found = {n: m for n, m in model.named_modules() if isinstance(m, AnalogLayer)}
    if not found:
        raise ValueError("the model has no crossbar layers; mho.convert makes them")
    return found


def crossbar_name(layer_name: str, part: str, layer: AnalogLayer) -> str:
    """Name a crossbar for people: by its layer, and by its own name where the layer has several."""
    if len(layer.crossbars) == 1:
        return layer_name or part
    return f"{layer_name}.{part}" if layer_name else part
