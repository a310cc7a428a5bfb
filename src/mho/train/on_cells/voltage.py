"""Voltage-driven cells as pulse-count cells: every pulse has one amplitude and one width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mho.cells.behaviour import Behaviour, Context
from mho.cells.population import Cells
from mho.cells.spread import Spread
from mho.core import checks
from mho.devices import integrate
from mho.devices.maths import unit
from mho.devices.pulsed import PulsedCells, PulsedDevice
from mho.devices.switching import SwitchingDevice
from mho.devices.trains import Cell
from mho.programming.scheme import WriteVerify

_NOISY_PARTS = 64  # as a voltage-driven cell's own pulse is cut into


@dataclass(frozen=True)
class VoltagePulses(PulsedDevice):
    """A voltage-driven device written by equal pulses.

    A train of n pulses under constant voltage is one pulse n times as long: cells that do not
    move without a voltage know no pauses. The state follows from the conductance.

    Attributes:
        device: the model.
        set_voltage: amplitude of a set pulse (V), > 0; the device knows its sign.
        set_width: of a set pulse (s), > 0.
        reset_voltage: amplitude of a reset pulse (V), > 0.
        reset_width: of a reset pulse (s), > 0.

    Raises:
        TypeError, ValueError: if a parameter is refused.
    """

    device: SwitchingDevice
    set_voltage: float
    set_width: float
    reset_voltage: float
    reset_width: float

    def __post_init__(self) -> None:
        checks.instance("device", self.device, SwitchingDevice)
        for way in ("set", "reset"):
            for what, most in (("voltage", 1e3), ("width", 1e6)):
                name = f"{way}_{what}"
                checks.number(name, getattr(self, name), above=0.0, most=most)

    @classmethod
    def for_device(
        cls, device: SwitchingDevice, *, levels: int = 100, amplitude: float = 1.0
    ) -> VoltagePulses:
        """Return pulses of which so many take 99 % of the cells through their window.

        Args:
            device: voltage-driven.
            levels: pulses through the window, >= 1, in either direction.
            amplitude: sought amplitude (V), > 0; see `mho.programming.WriteVerify.for_device`.

        Raises:
            ValueError: if no pulse takes the cells through their window.
        """
        levels = checks.integer("levels", levels)
        scheme = WriteVerify.for_device(device, amplitude=amplitude)
        shorter = scheme.stuck_after / levels
        return cls(
            device,
            scheme.set_pulses.stop,
            scheme.set_pulses.width * shorter,
            scheme.reset_pulses.stop,
            scheme.reset_pulses.width * shorter,
        )

    @property
    def g_min(self) -> float:  # type: ignore[override]
        """Nominal lowest conductance (S)."""
        return self.device.g_min

    @property
    def g_max(self) -> float:  # type: ignore[override]
        """Nominal highest conductance (S)."""
        return self.device.g_max

    @property
    def cells_type(self) -> type[Cells]:
        """The class of this device's populations."""
        return _VoltageCells

    @property
    def noisy(self) -> bool:
        """Whether the model has a random term."""
        return self.device.stochastic

    def transfer(self, v: Tensor) -> Tensor:
        """Return ``f(v)`` of the model; see `Device.transfer`."""
        return self.device.transfer(v)

    def spreads(self) -> dict[str, Spread]:
        """Return the model's parameters that differ from cell to cell."""
        return self.device.spreads()

    def fabricate_state(self, context: Context) -> dict[str, Tensor]:
        """Draw the model's spreads, and each cell's window with them."""
        return self._with_window(self.device.fabricate_state(context), context.like)

    def pulsed(self, cells: Cells) -> Cells:
        """Return cells of the model as cells under these pulses: the very same ones."""
        drawn = self._with_window(dict(cells.parameters_drawn()), cells.g)
        return cells.under((self, *cells.behaviours[1:]), drawn)

    def driven(self, cells: Cells, effects: tuple[Behaviour, ...]) -> Cells:
        """Return cells under these pulses as cells of the model: the very same ones.

        Args:
            cells: under these pulses.
            effects: that act on them from now on.
        """
        own = self.device.spreads()
        drawn = {name: v for name, v in cells.parameters_drawn().items() if name in own}
        return cells.under((self.device, *effects), drawn)

    def _with_window(self, drawn: dict[str, Tensor], like: Tensor) -> dict[str, Tensor]:
        if drawn:
            p = self.device.parameters(drawn)
            for name, x in (("g_min", 0.0), ("g_max", 1.0)):
                g = torch.as_tensor(self.device.conductance_at(x, p), dtype=like.dtype)
                drawn[name] = g.to(like.device).expand(like.shape).clone()
        return drawn

    def constants(self) -> dict[str, float]:
        """Return the nominal window; the model's other numbers are its own."""
        return {"g_min": self.g_min, "g_max": self.g_max}

    def change(self, g: Tensor, up: Tensor, cell: Cell) -> Tensor:
        """Return the mean signed change (S) of one pulse; see `PulsedDevice.change`."""
        return self.burst(g, torch.where(up, 1.0, -1.0).to(g.dtype), cell) - g

    def burst(self, g: Tensor, counts: Tensor, cell: Cell) -> Tensor:
        """Return the conductances (S) after noise-free trains; see `PulsedDevice.burst`."""
        x, p, volts, seconds = self._start(g, counts, cell)
        after = self.device.pulse(x, volts, seconds, p)
        if after is None:
            drive = self.device.drive(volts, p)
            after = integrate.adaptive(lambda x, t: self.device.rate(x, drive, p), x, seconds)
        found: Tensor = self.device.conductance_at(unit(after), p)
        return found

    def noisy_pulse(self, g: Tensor, up: Tensor, cell: Cell, generator: torch.Generator) -> Tensor:
        """Return the conductances (S) after one pulse of a model with a random term."""
        x, p, volts, seconds = self._start(g, torch.where(up, 1.0, -1.0).to(g.dtype), cell)
        device, part = self.device, seconds / _NOISY_PARTS
        drive = device.drive(volts, p)
        for _ in range(_NOISY_PARTS):
            kick = device.diffusion(x, drive, p) * part.sqrt()
            x = integrate.adaptive(lambda x, t: device.rate(x, drive, p), x, part)
            x = unit(x + kick * torch.empty_like(x).normal_(generator=generator))
        found: Tensor = device.conductance_at(x, p)
        return found

    def _start(self, g: Tensor, counts: Tensor, cell: Cell) -> tuple[Tensor, Any, Tensor, Tensor]:
        # States, parameters, voltages (V) and times (s).
        drawn = {name: value for name, value in cell.items() if isinstance(value, Tensor)}
        p = self.device.parameters(drawn)
        up, sign = counts > 0, float(self.device.set_polarity)
        volts = torch.where(up, sign * self.set_voltage, -sign * self.reset_voltage).to(g.dtype)
        width = torch.where(up, self.set_width, self.reset_width).to(g.dtype)
        return unit(self.device.state_at(g, p)), p, volts, counts.abs() * width


class _VoltageCells(PulsedCells):
    """A population of voltage-driven cells under equal pulses."""

    spec: VoltagePulses

    def parameter(self, name: str) -> float | Tensor:
        """Return a parameter of the model, or an end of the window."""
        value: float | Tensor | None = self.parameters_drawn().get(name)
        holder = self.spec if name in ("g_min", "g_max") else self.spec.device
        return getattr(holder, name) if value is None else value

    def _jump(self, g: Tensor, up: Tensor, cell: Cell, generator: torch.Generator) -> Tensor:
        if self.spec.noisy:
            return self.spec.noisy_pulse(g, up, cell, generator) - g
        return super()._jump(g, up, cell, generator)
