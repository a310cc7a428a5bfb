"""Learning rules whose weight is spread over tiles of cells, and the optimizer that runs them.

A rule is a spec. It says which tiles hold a weight, how they are read as one, and what an update
does to them; everything else (which weights live on cells, hooks, checkpoints, tables, deployment)
is `PulsedOptimizer`'s. The next rule is one small file: a `LearningRule` and its `RuleArrays`.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mho.cells.device import Device
from mho.core import checks, random
from mho.core.spec import Spec
from mho.devices.pulsed import PulsedDevice
from mho.train.on_cells.arrays import Arrays
from mho.train.on_cells.coincidence import PulsedUpdate
from mho.train.on_cells.layouts import CellLayout
from mho.train.on_cells.parameter import pulsed
from mho.train.on_cells.pulsed_sgd import Devices, PulsedOptimizer
from mho.train.on_cells.pulses import PulseRule
from mho.train.on_cells.weights import ONE_CELL, WeightCells


class MakeTile(Protocol):
    """Makes the tiles of one weight."""

    def __call__(self, name: str, shape: tuple[int, int]) -> WeightCells:
        """Return cells of their own device and seed, as fabrication leaves them.

        Args:
            name: of the tile; device and seed go by it.
            shape: ``(out, in)``.
        """


class RuleArrays(nn.Module):
    """The tiles of one weight under a rule; base of what rules make.

    A subclass says how tiles are read as one weight, written, and moved by an update. State that a
    resumed run needs is registered as buffers.

    Args:
        tiles: the cells, by name; each is an attribute of that name.

    Attributes:
        names: of the tiles.
        count: updates so far (int64).
    """

    count: Tensor

    def __init__(self, tiles: Mapping[str, WeightCells]) -> None:
        super().__init__()
        self.names = tuple(tiles)
        for name, cells in tiles.items():
            self.add_module(name, cells)
        first = next(iter(tiles.values()))
        self.register_buffer("count", torch.zeros_like(first.turn))

    @property
    def tiles(self) -> list[WeightCells]:
        """The cells, in order."""
        return [self.get_submodule(name) for name in self.names]  # type: ignore[misc]

    def read(self) -> Tensor:
        """Return the weights ``[out, in]`` that the network computes with."""
        raise NotImplementedError(f"{type(self).__name__} must define read()")

    def write(self, weight: Tensor) -> None:
        """Put cells where the weights ``[out, in]`` are these, without pulses."""
        raise NotImplementedError(f"{type(self).__name__} must define write(weight)")

    def descend(self, x: Tensor, delta: Tensor, lr: float, update: PulsedUpdate) -> None:
        """Do one update.

        Args:
            x: inputs ``[samples, in]``.
            delta: gradients of the outputs ``[samples, out]``.
            lr: learning rate, >= 0.
            update: how inputs and errors become pulses.
        """
        raise NotImplementedError(f"{type(self).__name__} must define descend(x, delta, …)")

    def holder(self) -> WeightCells | None:
        """Return the tile that alone holds the weight, which a crossbar can take over, or None."""
        return None


class LearningRule(Spec):
    """Base of rules for `TileSGD`. Subclasses are frozen dataclasses; see `RuleArrays`."""

    def arrays(self, tile: MakeTile, shape: tuple[int, int]) -> RuleArrays:
        """Return the arrays of one weight.

        Args:
            tile: makes each tile, given its name and shape.
            shape: of the weight, ``(out, in)``.
        """
        raise NotImplementedError(f"{type(self).__name__} must define arrays(tile, shape)")


class TileSGD(PulsedOptimizer):
    """SGD done by cells under a learning rule: `MultiTileResidual`, `ResidualLearning` and others.

    Args:
        model: a plain or converted model; the weights of its linear, convolutional and recurrent
            layers go on cells and are set to what the cells can hold.
        lr: learning rate, > 0.
        device: of all cells, or a mapping by parameter or name pattern; see `PulsedSGD`.
        rule: how tiles hold a weight and learn it; one of `mho.train`'s or of your own.
        tile_device: devices by the names of the rule's tiles or patterns of these, the first match
            counting; tiles that none fits have ``device``.
        weight_range: weights of a tile at a nominal cell's lowest and highest conductance.
        layout: how cells hold the weight of a tile.
        update: how inputs and errors become pulses; `StochasticPulses()` if not given.
        granularity: change of a tile's weight that is taken for one pulse's; the device's if not
            given.
        endurance: pulses after which a cell answers no more.
        seed: of the cells and the pulses.

    Raises:
        TypeError, ValueError: if an argument is refused, or nothing would be on cells.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float = 0.1,
        *,
        device: Devices,
        rule: LearningRule,
        tile_device: Mapping[str, Device] | None = None,
        weight_range: tuple[float, float] = (-1.0, 1.0),
        layout: CellLayout = ONE_CELL,
        update: PulsedUpdate | None = None,
        granularity: float | tuple[float, float] | None = None,
        endurance: int | None = None,
        seed: int = 0,
    ) -> None:
        checks.instance("rule", rule, LearningRule)
        self.rule = rule
        self._cells: dict[str, Any] = {
            "weight_range": weight_range,
            "layout": layout,
            "granularity": granularity,
            "endurance": endurance,
        }
        checks.instance("tile_device", tile_device, (Mapping, type(None)))
        self._tile_device = {
            name: pulsed(each, f"tile_device[{name!r}]")
            for name, each in (tile_device or {}).items()
        }
        super().__init__(
            model, lr, device=device, weight_range=weight_range, update=update, seed=seed
        )
        self._check_tile_names()

    def _array(
        self, shape: tuple[int, int], cell: PulsedDevice, seed: int, kind: dict[str, Any]
    ) -> Arrays:
        def tile(name: str, shape: tuple[int, int]) -> WeightCells:
            own = [each for key, each in self._tile_device.items() if fnmatchcase(name, key)]
            device = own[0] if own else cell
            return WeightCells(device, shape, seed=random.derive(seed, name), **self._cells, **kind)

        return self.rule.arrays(tile, shape)

    def _check_tile_names(self) -> None:
        known = {name: None for array in self.arrays.values() for name in array.names}  # type: ignore[attr-defined]
        for key in self._tile_device:
            if not any(fnmatchcase(name, key) for name in known):
                raise ValueError(
                    f"tile_device: {key!r} fits no tile of {type(self.rule).__name__}; there are "
                    + ", ".join(map(repr, known))
                )

    def _holding(self, array: RuleArrays) -> WeightCells:
        held = array.holder()
        if held is None:
            raise ValueError(
                f"under {self.rule} a weight is the sum of what the tiles "
                f"{', '.join(array.names)} hold: no crossbar's cells hold it alone. mho.convert "
                "writes the weights to a crossbar's own cells instead"
            )
        return held


@torch.no_grad()
def move(
    cells: WeightCells, change: Tensor, rule: PulseRule, carry: Tensor | None = None
) -> Tensor:
    """Give cells the whole pulses that a change of their weights is worth.

    Args:
        cells: of one tile.
        change: wanted ``[out, in]``.
        rule: how a change becomes pulses.
        carry: changes not written yet, flat, moved on in place; None without a threshold.

    Returns:
        What the pulses are taken to have changed ``[out, in]``.
    """
    flat = change.to(cells.cells.g).flatten().clone()
    index, counts = rule.due(flat, cells.steps, cells.high - cells.low, carry, cells.cells.rng)
    cells.pulse(index, counts)
    if cells.layout.refresh_due(int(cells.turn)):
        cells.refresh()
    up, down = cells.steps
    written, number = flat.zero_(), counts.to(flat)
    written[index] = torch.where(counts > 0, number * up, number * down)
    return written.view(change.shape)


def put_zero(cells: WeightCells, reference: str, error: float = 0.0) -> None:
    """Put the cells of a tile that gathers gradients at 0, and make a reference this zero.

    Args:
        cells: of the tile.
        reference: each cell's ``"symmetry"`` point, or the ``"middle"`` of the nominal window.
        error: standard deviation of the reference about the symmetry point (weight units).
    """
    if reference == "symmetry":
        cells.shift_reference(sigma=error)
    else:
        cells.middle_reference()
