"""From trained cells into the crossbars of a converted model, conductance by conductance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mho.crossbar.crossbar import Crossbar
from mho.encoding import Differential, SingleColumn
from mho.nn.base import AnalogLayer
from mho.train.on_cells.layouts import DifferentialPair, SingleCell
from mho.train.on_cells.weights import WeightCells


class _Plan(NamedTuple):
    layer: AnalogLayer
    crossbar: Crossbar
    g: Tensor
    scale: float
    matrix: str


class _Matrices(nn.Module):
    """Lets torch call a layer's ``matrices`` with other parameters."""

    def __init__(self, layer: AnalogLayer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self) -> dict[str, Tensor]:
        return self.layer.matrices()


def store(
    model: nn.Module, held: Mapping[Tensor, WeightCells], names: Mapping[Tensor, str]
) -> None:
    """Put cells' conductances into the crossbars that hold the same parameters.

    Args:
        model: converted.
        held: cells by parameter.
        names: of the parameters.

    Raises:
        ValueError: if something does not fit; nothing is then changed.
    """
    plans: list[_Plan] = []
    placed: set[Tensor] = set()
    for path, layer in model.named_modules():
        if isinstance(layer, AnalogLayer):
            plans += _plans(path or type(layer).__name__, layer, held, placed)
    missing = [repr(names[p]) for p in held if p not in placed]
    if missing:
        raise ValueError(f"no crossbar of this model holds {', '.join(missing)}")
    for plan in plans:
        crossbar = plan.crossbar
        crossbar.store(plan.g, scale=torch.full_like(crossbar.scale, plan.scale))
    for layer in {plan.layer for plan in plans}:
        layer.mark_programmed()


def _plans(
    path: str, layer: AnalogLayer, held: Mapping[Tensor, WeightCells], placed: set[Tensor]
) -> list[_Plan]:
    own = {n: p for n, p in layer.named_parameters(recurse=False) if p in held}
    if not own:
        return []
    # Where each weight stands in the layer's matrices: they are built of the weights' numbers.
    marks = {
        f"layer.{n}": torch.full_like(p, -1.0, dtype=torch.float64)
        for n, p in layer.named_parameters(recurse=False)
    }
    starts, start = {}, 0
    for name, parameter in own.items():
        count = parameter.numel()
        numbers = torch.arange(start, start + count, dtype=torch.float64, device=parameter.device)
        marks[f"layer.{name}"] = numbers.view(parameter.shape)
        starts[parameter] = start
        start += count
        placed.add(parameter)
    matrices = functional_call(_Matrices(layer), dict(marks), ())
    weights = [held[p] for p in own.values()]
    plans = []
    for name, numbers in matrices.items():
        where = f"{path}.{name}" if len(matrices) > 1 else path
        crossbar = layer.crossbars[name]
        index = numbers.round().to(torch.int64)
        if bool((index < 0).any()):
            raise ValueError(
                f"{where}: not all of its matrix lives on cells (a bias on the array, or a "
                "parameter left digital)"
            )
        for one in weights:
            _check(where, crossbar, one)
        flat = torch.cat([one.cells.conductance().flatten(1) for one in weights], dim=1)
        g, scale = _arranged(flat[:, index], weights[0])
        plans.append(_Plan(layer, crossbar, g, scale, name))
    return plans


def _check(where: str, crossbar: Crossbar, weights: WeightCells) -> None:
    """Refuse a crossbar that does not hold weights as the cells do."""
    hardware, frame = crossbar.hardware, weights.frame
    trouble = []
    mine = (frame.g_min, frame.g_max)
    if hardware.device.window != mine:
        trouble.append(f"its device's window is {hardware.device.window} S, the cells' {mine} S")
    wanted = {SingleCell: SingleColumn, DifferentialPair: Differential}.get(type(weights.layout))
    if wanted is None:
        trouble.append(f"no encoding holds weights as {weights.layout} does")
    elif type(hardware.encoding) is not wanted:
        found = type(hardware.encoding).__name__
        layout = type(weights.layout).__name__
        trouble.append(f"its encoding is {found}, and {layout} needs {wanted.__name__}")
    if weights.reference.dim():
        trouble.append("the cells' zeros are each one's own (shift_reference)")
    if weights.low != -weights.high:
        trouble.append(
            f"its weights are symmetric, the cells' from {weights.low} to {weights.high}"
        )
    if trouble:
        raise ValueError(
            f"{where} cannot take the cells' conductances: {'; '.join(trouble)}. "
            "mho.program(model) writes the weights instead"
        )


def _arranged(g: Tensor, weights: WeightCells) -> tuple[Tensor, float]:
    """Return the crossbar's conductances ``[slices, rows, physical cols]`` (S) and its scale."""
    if isinstance(weights.layout, DifferentialPair):
        return g, weights.frame.slope
    # A single column is read against a column at mid-window.
    middle = 0.5 * (weights.frame.g_max - weights.frame.g_min) + weights.frame.g_min
    return torch.cat((g, torch.full_like(g[..., :1], middle)), dim=-1), weights.frame.slope
