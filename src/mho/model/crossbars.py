"""The one listing of a model's crossbars, with their names; all that acts on a model goes by it."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
    """

    name: str
    crossbar: Crossbar
    layer: AnalogLayer | None
    part: str
    readers: tuple[str, ...] = ()

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
        return replace(entry, readers=(known.name, *known.readers))
    return replace(known, readers=(*known.readers, entry.name))


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
