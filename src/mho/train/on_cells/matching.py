"""Which crossbar holds which trained cells, and whether it holds weights as they do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mho.crossbar.crossbar import Crossbar
from mho.encoding import Differential, Encoding, Redundant, SingleColumn
from mho.model.crossbars import crossbar_name
from mho.nn import computed
from mho.nn.base import AnalogLayer
from mho.train.on_cells.layouts import CellLayout, DifferentialPair, MultiCell, SingleCell
from mho.train.on_cells.weights import WeightCells


@dataclass(frozen=True, eq=False)
class Plan:
    """Where the trained cells of one layer lie in its crossbars.

    Attributes:
        layer: of the converted model.
        trained: the cells of its parameters, by the parameters' names in the layer.
        index: for each crossbar by name, which weight stands where ``[rows, cols]``, counted
            through all parameters of ``trained``, flattened.
    """

    layer: AnalogLayer
    trained: dict[str, WeightCells]
    index: dict[str, Tensor]

    @property
    def one(self) -> WeightCells:
        """The first of the cells; all are alike in layout, range and device."""
        return next(iter(self.trained.values()))


# ── where each weight stands ─────────────────────────────────────────────────────────────────


class _Matrices(nn.Module):
    """Lets torch call a layer's ``matrices`` with other parameters."""

    def __init__(self, layer: AnalogLayer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self) -> dict[str, Tensor]:
        return self.layer.matrices()


def planned(
    path: str, layer: AnalogLayer, own: Mapping[str, WeightCells], placed: dict[int, str]
) -> Iterator[Plan]:
    """Plan how the trained cells of one layer lie in its crossbars; nothing if it has none.

    Args:
        path: of the layer in its model, for messages.
        layer: of the converted model.
        own: trained cells by the names of their parameters in the layer.
        placed: where cells lie already, by their ids; added to.

    Raises:
        ValueError: if the crossbars cannot hold them, and why.
    """
    known = dict(layer.named_parameters(recurse=False))
    computed_by = [
        *computed.parametrized_names(layer),
        *map(computed.made_by, computed.makers(layer)),
    ]
    inside = [name for name in own if name in known or name.startswith("parametrizations.")]
    if inside and computed_by:
        raise ValueError(
            f"{path}: its {', '.join(map(str, computed_by))} is computed (a norm, a mask, a "
            "parametrization): the cells hold what it is computed of, not the weights"
        )
    trained = {name: own[name] for name in known if name in own}
    if not trained:
        return
    for name, weights in trained.items():
        if id(weights) in placed:
            raise ValueError(
                f"{path}.{name} and {placed[id(weights)]} are one parameter: its cells cannot lie "
                "in two crossbars"
            )
        placed[id(weights)] = f"{path}.{name}"
    plan = Plan(layer, trained, _indices(path, layer, trained))
    for part, index in plan.index.items():
        _check(crossbar_name(path, part, layer), layer.crossbars[part], index, plan)
    yield plan


def _indices(
    path: str, layer: AnalogLayer, trained: Mapping[str, WeightCells]
) -> dict[str, Tensor]:
    """Return which weight stands where: matrices are built of the weights' numbers."""
    known = dict(layer.named_parameters(recurse=False))
    marks = {f"layer.{n}": torch.full_like(p, -1.0, dtype=torch.float64) for n, p in known.items()}
    start = 0
    for name in trained:
        p = known[name]
        numbers = torch.arange(start, start + p.numel(), dtype=torch.float64, device=p.device)
        marks[f"layer.{name}"] = numbers.view(p.shape)
        start += p.numel()
    matrices = functional_call(_Matrices(layer), marks, ())
    index = {part: m.round().to(torch.int64) for part, m in matrices.items()}
    for part, numbers in index.items():
        if bool((numbers < 0).any()):
            raise ValueError(
                f"{crossbar_name(path, part, layer)}: not all of its matrix lives on cells (a bias "
                "on the array, or a parameter left digital)"
            )
    every = torch.cat([numbers.flatten() for numbers in index.values()]).sort().values
    if not torch.equal(every, torch.arange(start, device=every.device)):
        raise ValueError(f"{path}: its crossbars do not hold each weight exactly once")
    return index


# ── whether the hardware holds weights as the cells do ───────────────────────────────────────


def _check(where: str, crossbar: Crossbar, index: Tensor, plan: Plan) -> None:
    trouble = list(_trouble(crossbar, index, plan))
    if trouble:
        raise ValueError(
            f"{where} cannot hold the trained cells: {'; '.join(trouble)}. mho.convert writes the "
            "weights to other cells instead"
        )


def _trouble(crossbar: Crossbar, index: Tensor, plan: Plan) -> Iterator[str]:
    hardware, one = crossbar.hardware, plan.one
    if crossbar.on_chip:
        yield "its cells are those of a chip"
    alike = {(w.device, w.layout, w.low, w.high) for w in plan.trained.values()}
    if len(alike) > 1:
        yield "its parameters live on cells of several devices, layouts or ranges"
        return
    if hardware.device not in (one.device, getattr(one.device, "device", None)):
        yield f"its device is {hardware.device}, the cells are {one.device}"
    yield from _encoding_trouble(hardware.encoding, one.layout)
    zero = zero_of(plan, index)
    if zero is None:
        yield "the cells' zeros are each one's own (shift_reference)"
    elif not isinstance(one.layout, DifferentialPair):
        low, high = hardware.device.window
        if not bool(((zero >= low) & (zero <= high)).all()):
            yield (
                f"the weight 0 of the range {(one.low, one.high)} lies outside of the cells' "
                "window, where no offset column can be"
            )


def _encoding_trouble(encoding: Encoding, layout: CellLayout) -> Iterator[str]:
    wanted: type[Encoding] = SingleColumn
    if isinstance(layout, DifferentialPair):
        wanted = Differential
    elif isinstance(layout, MultiCell):
        parts = layout.significances
        if parts is not None and len(set(parts)) > 1:
            yield "copies of an encoding count alike, the cells' significances differ"
        if type(encoding) is not Redundant or encoding.copies != layout.count:
            yield f"{layout} needs Redundant(SingleColumn(), copies={layout.count}), got {encoding}"
            return
        encoding = encoding.base
    elif not isinstance(layout, SingleCell):
        yield f"no encoding holds weights as {layout} does"
        return
    if isinstance(encoding, SingleColumn) and encoding.group is not None:
        yield f"cells trained in place have one offset column, not one for every {encoding.group}"
        return
    if type(encoding) is not wanted:
        found, name = type(encoding).__name__, type(layout).__name__
        yield f"its encoding is {found}, and {name} needs {wanted.__name__}"


def zero_of(plan: Plan, index: Tensor) -> Tensor | None:
    """Return what offset cells are to hold ``[slices, rows, 1]`` (S), the same in all columns."""
    slices = plan.one.layout.slices
    if not any(w.reference.dim() for w in plan.trained.values()):
        return plan.one.reference.expand(slices, len(index), 1)
    return _of_rows([w.reference.expand(slices, *w.shape) for w in plan.trained.values()], index)


def zero_written(plan: Plan, index: Tensor) -> Tensor | None:
    """Return what offset cells held when written ``[slices, rows, 1]`` (S), where it is known."""
    known = [w.reference_written for w in plan.trained.values()]
    parts = [g for g in known if g is not None]
    return _of_rows(parts, index) if len(parts) == len(known) else None


def _of_rows(parts: Sequence[Tensor], index: Tensor) -> Tensor | None:
    """Return what all weights of a row share ``[slices, rows, 1]``; None if they do not."""
    every = torch.cat([part.flatten(1) for part in parts], dim=1)[:, index]
    first = every[..., :1]
    return first if torch.equal(every, first.expand_as(every)) else None
