"""Loss landscapes: the loss along one or two directions from where a network stands.

A plain torch model is evaluated many points at a time (`torch.func.vmap`) where that is faster.
A converted model is written to a chip at every point, with all that happens to its cells; several
chips show how far the picture is the chip's. Neither is changed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from tqdm import tqdm

from mho.analysis.directions import Direction, Loss, coordinates, eval_mode, snapshot
from mho.core import checks, durations
from mho.core.digests import digest
from mho.core.durations import Duration
from mho.model.inputs import pair_of
from mho.model.lifecycle import age, program
from mho.model.many import over_chips
from mho.nn.base import AnalogLayer
from mho.runs.work import unwrapped

# Numbers that the points of one batched evaluation may take together, and the least number of
# points worth a batch: larger ones leave the caches and lose to one after the other.
_AT_ONCE = 2**19
_LEAST = 8


@dataclass(frozen=True, eq=False)
class Landscape:
    """What `landscape` returns.

    Attributes:
        steps: along each direction, one or two tensors ``[points]``.
        loss: ``[chips, points]`` or ``[chips, points of the second, points of the first]``; a
            plain model counts as one chip.
        trajectory: where given points lie in the plane, ``[given, directions]``; or None.
    """

    steps: tuple[Tensor, ...]
    loss: Tensor
    trajectory: Tensor | None = None

    @property
    def mean(self) -> Tensor:
        """Mean loss over the chips."""
        return self.loss.mean(0)

    @property
    def std(self) -> Tensor:
        """Standard deviation over the chips; 0 of one."""
        return self.loss.std(0, unbiased=len(self.loss) > 1)


@torch.no_grad()
def landscape(
    model: nn.Module,
    loss: Loss,
    data: Any,
    directions: Sequence[Direction],
    *,
    span: float | Sequence[tuple[float, float]] = 1.0,
    points: int = 21,
    chips: Sequence[int] = (),
    seconds: Duration = 0.0,
    trajectory: Sequence[Direction] = (),
    workers: int = 1,
    store: str | Path | None = None,
    executor: Executor | Callable[[], Executor] | None = None,
    name: str = "landscape",
    label: str | None = None,
) -> Landscape:
    """Evaluate the loss on a line or a plane through where a model stands.

    Args:
        model: a plain or a converted model; taken in ``eval()`` mode.
        loss: from outputs and targets to a scalar.
        data: inputs and targets, as tensors, arrays, tables or lists; or a Dataset or a DataLoader
            of such pairs.
        directions: one or two, as ``mho.analysis`` makes them.
        span: how far to go to both sides in units of each direction, or a range for each.
        points: along each direction, >= 2.
        chips: seeds, one chip each: the model is fabricated anew for each and programmed at every
            point. Empty: a converted model is programmed on its own chip.
        seconds: age (s) at which a chip is read, after programming.
        trajectory: points to be placed in the plane, for example snapshots of training.
        workers: how many chips are evaluated at once, as `mho.study.over_chips` takes it.
        store: a file or database that keeps finished chips, as `mho.study.over_chips` takes it.
        executor: what evaluates the chips, as `mho.study.over_chips` takes it.
        name: of this study in the store.
        label: names a progress bar (shown on terminals only); None shows none.

    Raises:
        TypeError, ValueError: if an argument is refused; chips or seconds of a plain model;
            workers, a store or an executor without chips.
    """
    checks.instance("model", model, nn.Module)
    data = pair_of("data", data, model)
    points = checks.integer("points", points, least=2)
    seconds = durations.seconds("seconds", seconds, least=0.0)
    if len(directions) not in (1, 2):
        raise ValueError(f"directions must be one or two, got {len(directions)}")
    origin = snapshot(model)
    for direction in directions:
        _check_direction(direction, origin)
    steps = tuple(torch.linspace(*ends, points) for ends in _ranges(span, len(directions)))
    analog = any(isinstance(module, AnalogLayer) for module in model.modules())
    if not analog and (len(chips) or seconds):
        raise ValueError("chips and seconds are of converted models; this one has no crossbars")
    grid = torch.cartesian_prod(*reversed(steps)).reshape(-1, len(steps)).flip(1)
    if not len(chips) and (workers != 1 or store is not None or executor is not None):
        raise ValueError("workers, store and executor are of chips: give their seeds")
    if analog:
        walk = _Walk(loss, data, origin, directions, grid, seconds)
        still = copy.deepcopy(model).eval()
        if len(chips):
            shared: Any = {"workers": workers, "store": store, "executor": executor, "name": name}
            loss_at = over_chips(still, walk, chips, label=label, **shared)
            loss_at = loss_at.to(next(iter(origin.values())).dtype)
        else:
            loss_at = walk(still, label)[None]
    else:
        loss_at = _batched(model, loss, data, origin, directions, grid, label)[None]
    placed = None
    if trajectory:
        placed = torch.stack([coordinates(point, origin, directions) for point in trajectory])
    return Landscape(steps, loss_at.reshape(-1, *[points] * len(steps)), placed)


def _ranges(span: float | Sequence[tuple[float, float]], count: int) -> list[tuple[float, float]]:
    span = checks.plain(span)
    if isinstance(span, (int, float)):
        span = checks.number("span", span, above=0.0)
        return [(-float(span), float(span))] * count
    if len(span) != count:
        raise ValueError(f"span must be one number or {count} ranges, got {span!r}")
    for low, high in span:
        checks.number("end of span", high, above=low)
    return [(float(low), float(high)) for low, high in span]


def _check_direction(direction: Direction, origin: Direction) -> None:
    if set(direction) != set(origin):
        odd = sorted(set(direction) ^ set(origin))
        raise ValueError(f"direction and model differ in the parameters {', '.join(odd)}")
    for name, value in origin.items():
        checks.shape(f"direction of {name}", direction[name], tuple(value.shape))


def _batched(
    model: nn.Module,
    loss: Loss,
    data: tuple[Tensor, Tensor],
    origin: Direction,
    directions: Sequence[Direction],
    grid: Tensor,
    label: str | None,
) -> Tensor:
    """Many points in one evaluation: weights get a leading dimension."""
    inputs, targets = data

    def at(point: dict[str, Tensor]) -> Tensor:
        return loss(functional_call(model, point, (inputs,)), targets)

    size = sum(value.numel() for value in origin.values())
    widest = max((value.shape[0] for value in origin.values() if value.dim()), default=1)
    each = max(size, inputs.numel(), len(inputs) * widest)
    found = []
    with eval_mode(model):
        together = _AT_ONCE // each
        pieces = grid.split(together if together >= _LEAST else 1)
        for piece in tqdm(pieces, label, disable=None if label else True, leave=False):
            stacked = {name: _moved(name, origin, directions, piece) for name in origin}
            if len(piece) > 1:
                found.append(vmap(at, randomness="same")(stacked))
            else:
                found.append(at({name: value[0] for name, value in stacked.items()})[None])
    return torch.cat(found).cpu()


def _moved(name: str, origin: Direction, directions: Sequence[Direction], piece: Tensor) -> Tensor:
    weight = origin[name]
    steps = piece.to(weight)
    moved = weight.expand(len(piece), *weight.shape)
    for k, direction in enumerate(directions):
        moved = moved + steps[:, k].view(-1, *[1] * weight.dim()) * direction[name]
    return moved


class _Walk:
    """One chip, written anew at every point: its cells and its clock are one thing at a time."""

    def __init__(
        self,
        loss: Loss,
        data: tuple[Tensor, Tensor],
        origin: Direction,
        directions: Sequence[Direction],
        grid: Tensor,
        seconds: float,
    ) -> None:
        self._loss, self._data, self._origin = loss, data, origin
        self._directions, self._grid, self._seconds = directions, grid, seconds

    @property
    def identity(self) -> dict[str, Any]:
        """What makes it this walk, for a store."""
        moves = [digest(way[key]) for way in self._directions for key in self._origin]
        data = [digest(item) for item in (*self._data, self._grid)]
        return {
            "loss": unwrapped(self._loss),
            "data": data,
            "directions": moves,
            "age": self._seconds,
        }

    def __call__(self, chip: nn.Module, label: str | None = None) -> Tensor:
        inputs, targets = self._data
        parameters = dict(chip.named_parameters())
        found = []
        for point in tqdm(self._grid, label, disable=None if label else True, leave=False):
            for name, parameter in parameters.items():
                moved = _moved(name, self._origin, self._directions, point[None])[0]
                parameter.copy_(moved)
            program(chip)
            age(chip, self._seconds)
            found.append(self._loss(chip(inputs), targets))
        return torch.stack(found).cpu()
