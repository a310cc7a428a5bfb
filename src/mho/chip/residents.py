"""Residents: which crossbar lives where on a chip, and in which order of lines."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mho.chip.permute import best_orders
from mho.chip.placement import Region
from mho.core import checks
from mho.core.spec import first_difference
from mho.crossbar.crossbar import Crossbar
from mho.encoding.redundant import Redundant
from mho.hardware import Hardware
from mho.model.convert import layers
from mho.model.summary import crossbar_name
from mho.nn.base import AnalogLayer


@dataclass(eq=False)
class Resident:
    """One crossbar on a chip.

    Attributes:
        owner: name of its model on the chip.
        name: of the crossbar in the model.
        regions: one for each of its slices.
        crossbar: the crossbar, or None after a chip was loaded without its models.
        rows: word line of every row inside the region, ``[slices, rows]``; None for in order.
        cols: bit line of every column, ``[slices, cols]``; None for in order.
        counted: writes of the crossbar that the chip's wear contains.
    """

    owner: str
    name: str
    regions: tuple[Region, ...]
    crossbar: Crossbar | None = None
    rows: Tensor | None = None
    cols: Tensor | None = None
    counted: int = 0

    @property
    def label(self) -> str:
        """Of the model and the crossbar."""
        return f"{self.owner}/{self.name}" if self.name else self.owner

    def gather(self, chip: Tensor) -> Tensor:
        """Return its cells of a tensor ``[…, rows, cols]``, ``[slices, rows, cols]``."""
        chip = chip.reshape(*chip.shape[-2:])
        cells = torch.stack([region.of(chip) for region in self.regions])
        if self.rows is not None and self.cols is not None:
            cells = cells.gather(1, self.rows.to(chip.device).unsqueeze(2).expand_as(cells))
            cells = cells.gather(2, self.cols.to(chip.device).unsqueeze(1).expand_as(cells))
        return cells

    def scatter(self, cells: Tensor, chip: Tensor) -> None:
        """Write its cells back into a tensor ``[rows, cols]``, in place."""
        if self.rows is not None and self.cols is not None:
            rows = self.rows.to(cells.device).unsqueeze(2).expand_as(cells)
            cols = self.cols.to(cells.device).unsqueeze(1).expand_as(cells)
            across = torch.empty_like(cells).scatter_(2, cols, cells)
            cells = torch.empty_like(cells).scatter_(1, rows, across)
        for region, cell in zip(self.regions, cells, strict=True):
            region.of(chip).copy_(cell)

    def order(self, target: Tensor, stuck: Tensor, stuck_g: Tensor, which: str) -> None:
        """Choose the order of lines that suits a target; see `mho.chip.permute`."""
        assert self.crossbar is not None
        encoding = self.crossbar.hardware.encoding
        copies, part = 1, encoding
        if isinstance(encoding, Redundant):  # every copy in an order of its own
            copies, part = encoding.copies, encoding.base
        split = (x.unflatten(0, (copies, -1)) for x in (target, stuck, stuck_g))
        found = [
            best_orders(aim, mask, value, part.combination, which)
            for aim, mask, value in zip(*split, strict=True)
        ]
        slices = len(target) // copies
        self.rows, self.cols = (
            torch.stack(orders).repeat_interleave(slices, 0) for orders in zip(*found, strict=True)
        )


def crossbars_of(model: nn.Module) -> dict[str, tuple[Crossbar, Tensor | None]]:
    """Return a model's crossbars by name, and the weights each is to hold.

    Args:
        model: a converted model, or a `Crossbar`; that keeps what it holds, if it was programmed.

    Raises:
        TypeError, ValueError: if there are none.
    """
    if isinstance(model, Crossbar):
        written = not bool(model.reference.isnan().any())
        return {"": (model, model.weight.clone() if written else None)}
    return {
        crossbar_name(name, part, layer): (layer.crossbars[part], matrix.detach())
        for name, layer in layers(model).items()
        for part, matrix in layer.matrices().items()
    }


def program_all(model: nn.Module, weights: dict[str, tuple[Crossbar, Tensor | None]]) -> None:
    """Write all crossbars of a model with what they are to hold."""
    if isinstance(model, Crossbar):
        for crossbar, weight in weights.values():
            if weight is not None:
                crossbar.program(weight)
        return
    for module in model.modules():
        if isinstance(module, AnalogLayer):
            module.program()


def refuse_other_cells(
    part: str, crossbar: Crossbar, weight: Tensor | None, hardware: Hardware, dtype: torch.dtype
) -> None:
    """Refuse a crossbar that cannot be made of a chip's cells.

    Args:
        part: name of the crossbar.
        crossbar: what is to be placed.
        weight: what it is to hold, if known.
        hardware: of the chip.
        dtype: of the chip's conductances.

    Raises:
        TypeError, ValueError: if its device or effects are others, its precision is another, or
            the weight is not finite.
    """
    own = [behaviour.to_dict() for behaviour in hardware.behaviours]
    other = [behaviour.to_dict() for behaviour in crossbar.hardware.behaviours]
    if own != other:
        pairs = zip(own, other, strict=False)
        difference = next(
            (first_difference(a, b) for a, b in pairs if a != b),
            f"{len(own)} and {len(other)} of them",
        )
        raise ValueError(
            f"crossbar {part!r} has other cells than this chip: its device and effects must be "
            f"those of the chip's hardware ({difference})"
        )
    if crossbar.G.dtype != dtype:
        raise TypeError(f"crossbar {part!r} must be {dtype} as the chip, got {crossbar.G.dtype}")
    if weight is not None:
        checks.finite(f"weight of {part or 'the crossbar'}", weight)
