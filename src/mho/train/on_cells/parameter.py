"""One parameter of an optimizer, held by cells."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mho.core import random
from mho.devices.pulsed import PulsedDevice
from mho.devices.switching import SwitchingDevice
from mho.train.on_cells.choice import cells_dtype, matrix_shape
from mho.train.on_cells.layouts import CellLayout
from mho.train.on_cells.pulses import PulseRule
from mho.train.on_cells.voltage import VoltagePulses
from mho.train.on_cells.weights import WeightCells


class HeldParameter(nn.Module):
    """The cells behind a parameter, and what is remembered from one update to the next.

    The parameter itself is not kept here, so that this module's ``state_dict`` is the cells' own.

    Args:
        parameter: whose values are to be held.
        device: what the cells are, pulse-count or voltage-driven.
        weight_range: lowest and highest weight.
        layout: how cells hold a weight.
        rule: from changes to pulses.
        granularity: change of a weight that is taken for one pulse's (or of a pulse up and
            down); None: the device's.
        endurance: pulses after which a cell answers no more, or None.
        seed: of everything random.

    Attributes:
        weights: the cells.
        rng: stream of the stochastic rounding.
        carry: changes not written yet, flat, in weight units; None without a threshold.
        now: what the parameter holds: the decoded cells, in its dtype and shape.
    """

    rng: Tensor
    carry: Tensor | None
    now: Tensor

    def __init__(
        self,
        parameter: Tensor,
        *,
        device: Any,
        weight_range: tuple[float, float],
        layout: CellLayout,
        rule: PulseRule,
        granularity: float | tuple[float, float] | None,
        endurance: int | None,
        seed: int,
    ) -> None:
        super().__init__()
        self.weights = WeightCells(
            pulsed(device),
            matrix_shape(parameter),
            layout=layout,
            weight_range=weight_range,
            granularity=granularity,
            endurance=endurance,
            seed=seed,
            dtype=cells_dtype(parameter),
            torch_device=parameter.device,
        )
        self.rule = rule
        rng = random.stream(random.derive(seed, "pulses"))
        self.register_buffer("rng", rng.to(parameter.device))
        empty = self.weights.cells.g.new_zeros(parameter.numel())
        self.register_buffer("carry", None if rule.threshold is None else empty)
        held = parameter.detach().clone(memory_format=torch.contiguous_format)
        self.register_buffer("now", held, persistent=False)

    @torch.no_grad()
    def fill(self, parameter: Tensor, program: bool) -> int:
        """Put the cells at a parameter's values, exactly or by pulses and reads.

        Returns:
            How many weights were outside of the range, and were clipped.
        """
        values = parameter.detach().reshape(matrix_shape(parameter))
        clipped = self.weights.program(values) if program else self.weights.write(values)
        self.settle(parameter)
        return clipped

    @torch.no_grad()
    def settle(self, parameter: Tensor) -> None:
        """Set the parameter to exactly what the cells hold."""
        self.now = self.weights.read().to(parameter.dtype).view(parameter.shape)
        parameter.copy_(self.now)

    @torch.no_grad()
    def realise(self, change: Tensor, spare: Tensor | None = None) -> None:
        """Give the cells the pulses that a change of the weights is worth.

        Args:
            change: shaped like the parameter, finite. Overwritten.
            spare: memory to work in, ``[2, n]`` of the cells' dtype.
        """
        flat, weights = change.reshape(-1).to(self.weights.cells.g.dtype), self.weights
        width = weights.high - weights.low
        index, counts = self.rule.due(flat, weights.steps, width, self.carry, self.rng, spare)
        weights.pulse(index, counts)
        if weights.layout.cellwise:
            self.now.view(-1)[index] = weights.read_at(index).to(self.now.dtype)
        else:
            self.now = weights.read().to(self.now.dtype).view(self.now.shape)


def pulsed(device: Any, what: str = "device") -> PulsedDevice:
    """Return a device that takes pulses; for voltage-driven ones, with pulses that fit.

    Args:
        device: pulse-count or voltage-driven.
        what: the argument's name, for messages.

    Raises:
        TypeError: if it takes none.
    """
    if isinstance(device, PulsedDevice):
        return device
    if isinstance(device, SwitchingDevice):
        return VoltagePulses.for_device(device)
    hint = "; use its tabular() device" if hasattr(device, "tabular") else ""
    raise TypeError(
        f"{what} must be a PulsedDevice or a SwitchingDevice, which answer pulses, got "
        f"{type(device).__name__}{hint}"
    )


def warn_clipped(clipped: Mapping[str, int], total: int) -> None:
    """Say how many weights did not fit the range, if any."""
    if not any(clipped.values()):
        return
    parts = ", ".join(f"{name!r} {count}" for name, count in clipped.items() if count)
    warnings.warn(
        f"{sum(clipped.values())} of {total} weights lie outside of weight_range and were clipped: "
        f"{parts}",
        stacklevel=4,
    )
