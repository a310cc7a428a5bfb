"""The laws of single pulses that can be fitted: each a device's own mean step and noise.

A law's parameters are one vector, the last axis of ``theta``; conductances are in the scale of
`mho.fit.pulse.data.Trains`. Positive quantities stand as their logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.devices.exponential import LARGEST_NONLINEARITY, ExponentialDevice, curvature
from mho.devices.pulsed import PulsedDevice
from mho.devices.steps import PiecewiseStep, PowStep, SoftBoundsDevice
from mho.fit.calibration import Array

NODES = 6  # of the piecewise law, over the window
_LARGEST_EXPONENT = 20.0

StepModel = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Mean change and standard deviation of one pulse, from conductances and directions."""


@dataclass(frozen=True)
class Law:
    """One law.

    Attributes:
        name: as `mho.fit.pulses` knows it.
        title: as the verdict says it.
        device: the class whose cells follow it.
        shape: names of the parameters between the bounds and the noise.
        starts: values of these where a search begins.
        scales: how far each may reasonably be from there.
        held: which of them are not fitted unless asked for.
        natural: names of the device's own numbers, ``g_min``, ``g_max``, …, ``c2c``.
        in_siemens: which of these scale with the window.
        bounds_free: whether the mean step says where the bounds are.
    """

    name: str
    title: str
    device: type[PulsedDevice]
    shape: tuple[str, ...]
    starts: tuple[tuple[float, ...], ...]
    scales: tuple[float, ...]
    natural: tuple[str, ...]
    in_siemens: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    bounds_free: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """All entries of ``theta``: bounds, shape, noise of a pulse, noise of a reading."""
        return ("g_min", "g_max", *self.shape, "c2c", "read_noise")

    def cell(self, theta: Tensor) -> dict[str, Any]:
        """Return the parameters of the device's cells, each ``[candidates, 1]``."""
        columns = dict(zip(self.names, theta[..., None].unbind(-2), strict=True))
        cell: dict[str, Any] = {
            "g_min": columns["g_min"],
            "g_max": columns["g_max"],
            "c2c": columns["c2c"].exp(),
        }
        if self.name == "exponential":
            for way in ("set", "reset"):
                label = columns[f"nonlinearity_{way}"]
                cell[f"nonlinearity_{way}"] = _inside(label)
                cell[f"curvature_{way}"] = curvature(cell[f"nonlinearity_{way}"])
            cell["levels"] = columns["levels"].exp()
            cell["levels_reset"] = columns["levels_reset"].exp()
            return cell
        if self.name == "piecewise":
            for way in ("set", "reset"):
                nodes = [columns[f"step_{way}_{k}"] for k in range(NODES)]
                cell[f"factors_{way}"] = torch.cat(nodes, dim=-1).clamp_min(0.0)
            return cell
        up, down = columns["step_set"].exp(), columns["step_reset"].exp()
        cell["step"], cell["asymmetry"] = (up + down) / 2, (up - down) / (up + down)
        if self.name == "power":
            for way in ("set", "reset"):
                exponent = columns[f"exponent_{way}"]
                cell[f"exponent_{way}"] = exponent.clamp(0.0, _LARGEST_EXPONENT)
        return cell

    def model(self, theta: Tensor) -> StepModel:
        """Return mean and deviation of a pulse for candidates ``theta``, ``[candidates, names]``.

        What it returns takes conductances that broadcast with ``[candidates, cells]``.
        """
        cell, nominal = self.cell(theta), self.device()
        if self.name == "piecewise":
            return lambda g, up: _piecewise(g, up, cell)

        def steps(g: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
            # The devices' formulas want g and up whole.
            g = g.expand(torch.broadcast_shapes(g.shape, cell["c2c"].shape))
            change = nominal.change(g, up.expand(g.shape), cell)
            noise = torch.as_tensor(nominal.noise(g, change, cell)).abs()
            return change, noise.expand(change.shape)

        return steps

    def numbers(self, theta: Array, low: float, width: float) -> Array:
        """Return the device's own numbers (`natural`) in SI units from one ``theta``."""
        cell = self.cell(torch.as_tensor(theta)[None])
        if self.name == "piecewise":
            both = torch.cat([cell.pop("factors_set"), cell.pop("factors_reset")], dim=-1)[0]
            cell["step"] = both.mean()
            for k, factor in enumerate((both / both.mean()).tolist()):
                way = "set" if k < NODES else "reset"
                cell[f"factors_{way}[{k % NODES}]"] = factor
        values = {name: float(cell[name]) for name in self.natural}
        for name in self.in_siemens:
            values[name] *= width
        for name in ("g_min", "g_max"):
            values[name] = low + width * values[name]
        return np.array([values[name] for name in self.natural])


def _inside(label: Tensor) -> Tensor:
    return label.clamp(-LARGEST_NONLINEARITY, LARGEST_NONLINEARITY)


def _piecewise(g: Tensor, up: Tensor, cell: dict[str, Any]) -> tuple[Tensor, Tensor]:
    # As `PiecewiseStep`, for candidates that differ in their factors.
    z = ((g - cell["g_min"]) / (cell["g_max"] - cell["g_min"])).clamp(0.0, 1.0) * (NODES - 1)
    left = z.floor().clamp(max=NODES - 2)
    part = z - left
    index = left.long()
    sizes = []
    for way in ("set", "reset"):
        nodes = cell[f"factors_{way}"].expand(*z.shape[:-1], NODES)
        sizes.append(torch.lerp(nodes.gather(-1, index), nodes.gather(-1, index + 1), part))
    size = torch.where(up, sizes[0], sizes[1])
    return torch.where(up, size, -size), cell["c2c"] * size


def _levels(pulses: int) -> float:
    return math.log(pulses)


_STEP = math.log(0.03)

EXPONENTIAL = Law(
    name="exponential",
    title="exponential law",
    device=ExponentialDevice,
    shape=("nonlinearity_set", "nonlinearity_reset", "levels", "levels_reset"),
    starts=tuple((a, b, _levels(40), _levels(40)) for a in (1.0, -1.0) for b in (-1.0, 1.0)),
    scales=(3.0, 3.0, 1.0, 1.0),
    held=("levels", "levels_reset"),
    natural=(
        *("g_min", "g_max", "nonlinearity_set", "nonlinearity_reset", "c2c"),
        *("levels", "levels_reset"),
    ),
)
SOFT_BOUNDS = Law(
    name="soft_bounds",
    title="soft-bounds law",
    device=SoftBoundsDevice,
    shape=("step_set", "step_reset"),
    starts=((_STEP, _STEP),),
    scales=(2.0, 2.0),
    natural=("g_min", "g_max", "step", "asymmetry", "c2c"),
    in_siemens=("step",),
)
POWER = Law(
    name="power",
    title="power law",
    device=PowStep,
    shape=("step_set", "step_reset", "exponent_set", "exponent_reset"),
    starts=tuple((_STEP, _STEP, a, a) for a in (1.0, 0.3, 2.5)),
    scales=(2.0, 2.0, 2.0, 2.0),
    natural=("g_min", "g_max", "step", "asymmetry", "exponent_set", "exponent_reset", "c2c"),
    in_siemens=("step",),
)
PIECEWISE = Law(
    name="piecewise",
    title="piecewise law",
    device=PiecewiseStep,
    shape=tuple(f"step_{way}_{k}" for way in ("set", "reset") for k in range(NODES)),
    starts=((0.03,) * (2 * NODES),),
    scales=(0.1,) * (2 * NODES),
    natural=(
        *("g_min", "g_max", "step"),
        *(f"factors_{way}[{k}]" for way in ("set", "reset") for k in range(NODES)),
        "c2c",
    ),
    in_siemens=("step",),
    bounds_free=False,
)

LAWS = {law.name: law for law in (SOFT_BOUNDS, EXPONENTIAL, POWER, PIECEWISE)}
"""All of them, the simplest first."""
