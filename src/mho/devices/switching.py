"""Voltage-driven cells: an inner state ``x`` that a voltage moves, and the current it lets pass.

    dx/dt = rate(x, drive(v))        I = current_at(x, v)

``x`` is in [0, 1] and is 1 at low resistance in every model. A model writes its equations once,
with the functions of ``mho.devices.maths``, and they serve whole populations and single cells.
"""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import Tensor

from mho.cells.behaviour import Context
from mho.cells.device import Device
from mho.cells.population import Cells
from mho.cells.programming import Exact, Programming
from mho.cells.spread import Spread, nominal
from mho.core import checks, random
from mho.devices import diffusion, integrate
from mho.devices.integrate import INTEGRATORS
from mho.devices.maths import unit
from mho.devices.simulation import Run

# Up to so many cells, Python's floats beat tensor operations.
_FEW = 16


class SwitchingDevice(Device):
    """Base of voltage-driven models. Subclasses are frozen dataclasses.

    A model says its equations in the methods that take ``p``: the parameters, by name, each a
    number or one value per cell. States and voltages are floats or tensors.

    Class attributes:
        signed: parameters whose spread may cross zero; all others keep their sign in every cell.
        implicit: whether the current is found by solving for a voltage inside of the cell; the
            equation is then what `settled` says.
    """

    ordered: ClassVar[tuple[tuple[str, str], ...]] = (("r_on", "r_off"),)
    signed: ClassVar[tuple[str, ...]] = ()
    implicit: ClassVar[bool] = False

    # ---- the model's equations ---------------------------------------------------------------

    def drive(self, v: Any, p: Any) -> tuple[Any, ...]:
        """Return what the state equation needs of the voltage (V) alone."""
        return (v,)

    def rate(self, x: Any, drive: tuple[Any, ...], p: Any) -> Any:
        """Return dx/dt (1/s) at states ``x`` under ``drive(v)``."""
        raise NotImplementedError

    def conductance_at(self, x: Any, p: Any) -> Any:
        """Return the low-voltage conductance (S) at states ``x``."""
        raise NotImplementedError

    def state_at(self, g: Any, p: Any) -> Any:
        """Return the state that has the low-voltage conductance ``g`` (S)."""
        raise NotImplementedError

    def transfer_at(self, v: Any, p: Any) -> Any:
        """Return ``f(v)`` (V) of ``I = g · f(v)``, with ``f'(0) = 1``."""
        return v

    def current_at(self, x: Any, v: Any, p: Any) -> Any:
        """Return the current (A) at states ``x`` under voltages ``v`` (V)."""
        return self.conductance_at(x, p) * self.transfer_at(v, p)

    def settled(self, x: Any, v: Any, u: Any, p: Any) -> tuple[Any, Any, Any]:
        """Return what an inner voltage of ``u`` (V) means, for models that are ``implicit``.

        Returns:
            The inner voltage that follows from it (V), which is ``u`` itself at the solution, the
            current (A), and dx/dt (1/s).
        """
        raise NotImplementedError

    def pulse(self, x: Tensor, v: Tensor, duration: Tensor, p: Any) -> Tensor | None:
        """Return the states after a constant voltage, in closed form; None where there is none.

        Args:
            x: states before.
            v: voltages (V), of the shape of ``x``.
            duration: times (s), of the shape of ``x``.
            p: parameters.
        """
        return None

    def diffusion(self, x: Any, drive: tuple[Any, ...], p: Any) -> Any:
        """Return the noise intensity (1/√s) of the state, for stochastic models."""
        return 0.0 * x

    @property
    def set_polarity(self) -> int:
        """+1 if a positive voltage sets the cell (raises g), -1 if a negative one does."""
        return 1

    @property
    def stochastic(self) -> bool:
        """Whether the state equation has a random term."""
        return False

    @property
    def state_free(self) -> bool:
        """Whether the rate depends on the voltage alone (its integral is then a sum)."""
        return False

    # ---- what follows from them --------------------------------------------------------------

    def fabricate_state(self, context: Context) -> dict[str, Tensor]:
        """Draw every spread parameter per cell; see `Device.fabricate_state`.

        Raises:
            ValueError: if ordered parameters keep crossing, or some draws change their sign.
        """
        drawn = super().fabricate_state(context)
        for name, spread in self.spreads().items():
            wrong = int((drawn[name] * math.copysign(1.0, spread.nominal) <= 0.0).sum())
            if wrong and spread.nominal != 0.0 and name not in self.signed:
                raise ValueError(
                    f"{name} must keep its sign in every cell, but {wrong} of "
                    f"{drawn[name].numel()} draws of {spread} do not: bound it with low or high"
                )
        return drawn

    def parameters(self, drawn: dict[str, Tensor] | None = None) -> Any:
        """Return all parameters by name: per-cell tensors where drawn, else nominal numbers."""
        values: dict[str, Any] = {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)  # type: ignore[arg-type]
        }
        for name, value in values.items():
            if isinstance(value, (int, float, Spread)):
                values[name] = nominal(value)
        return SimpleNamespace(**{**values, **(drawn or {})})

    @property
    def g_min(self) -> float:  # type: ignore[override]
        """Nominal conductance (S) at x = 0."""
        return float(self.conductance_at(0.0, self.parameters()))

    @property
    def g_max(self) -> float:  # type: ignore[override]
        """Nominal conductance (S) at x = 1."""
        return float(self.conductance_at(1.0, self.parameters()))

    def reach(self, g: Tensor, state: dict[str, Tensor] | None = None) -> Tensor:
        """Return the nearest conductances the cells can hold; see `Device.reach`."""
        p = self.parameters(state)
        low, high = (self.conductance_at(x, p) for x in (0.0, 1.0))
        if not isinstance(low, Tensor) and not isinstance(high, Tensor):
            return g.clamp(low, high)
        low, high = (torch.as_tensor(b, dtype=g.dtype, device=g.device) for b in (low, high))
        return torch.minimum(torch.maximum(g, low), high)

    @property
    def programming(self) -> Programming:
        """How cells are programmed where the hardware does not say: exactly.

        A write–verify loop takes such cells anywhere in their window.
        """
        return Exact()

    def transfer(self, v: Tensor) -> Tensor:
        """Return ``f(v)`` (V) of ``I = g · f(v)`` with nominal parameters.

        Raises:
            NotImplementedError: if the model's current does not separate so.
        """
        if not self.separable:
            raise NotImplementedError(f"the current of {type(self).__name__} is not g · f(v)")
        value: Tensor = self.transfer_at(v, self.parameters())
        return value

    def current_of(self, v: Tensor, g: Tensor) -> Tensor:
        """Return the current (A) of nominal cells; see `Device.current_of`."""
        p = self.parameters()
        current: Tensor = self.current_at(self.state_at(g, p), v, p)
        return current

    @property
    def ohmic(self) -> bool:
        """Whether the current is proportional to the voltage."""
        return self.separable and type(self).transfer_at is SwitchingDevice.transfer_at

    @property
    def cells_type(self) -> type[Cells]:
        """The class of this device's populations."""
        return SwitchingCells


class SwitchingCells(Cells):
    """A population of voltage-driven cells.

    Attributes:
        x: inner states, in [0, 1], 1 at low resistance; of the population's shape. In float32 a
            step below 6e-8 of the range is lost: for very slow motion fabricate in float64.
    """

    keeps_parameters: ClassVar[bool] = True

    spec: SwitchingDevice

    @property
    def x(self) -> Tensor:
        """Inner states: as voltages left them, else those that have the conductances."""
        if self.inner is not None:
            return self.inner
        within = self.spec.reach(self.g, self.parameters_drawn())
        state: Tensor = unit(self.spec.state_at(within, self._values()))
        return state

    @x.setter
    def x(self, value: Tensor) -> None:
        value = value.expand(self.shape)
        self.hold(self.conductance_of(value, self.parameters_drawn()))
        self.inner = value

    def conductance_of(self, inner: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        """Return the low-voltage conductances (S) of inner states."""
        g = self.spec.conductance_at(inner, self.spec.parameters(drawn))
        return torch.as_tensor(g, dtype=inner.dtype, device=inner.device).expand(inner.shape)

    def reset(self) -> None:
        """Put every healthy cell at its lowest conductance (x = 0)."""
        self.x = torch.zeros_like(self.g)
        self.seconds = 0.0

    def present(self) -> dict[str, Tensor]:
        """Return the parameters that differ from cell to cell, as they are now."""
        spreads, drawn = self.spec.spreads(), self.parameters_drawn()
        return {name: value for name, value in drawn.items() if name in spreads}

    def _values(self) -> Any:
        return self.spec.parameters(self.parameters_drawn())

    def write(self, g: Tensor) -> None:
        """Set the states directly to conductances, the nearest each cell can hold.

        Args:
            g: low-voltage conductances asked for (S), of (or broadcast to) ``shape``.

        Raises:
            ValueError: if some are not finite or the shape does not fit.
        """
        within = self.spec.reach(self._checked(g).detach(), self.parameters_drawn())
        self.x = unit(self.spec.state_at(within, self._values())).clone()
        self.seconds = 0.0

    def current(self, v: Tensor | float) -> Tensor:
        """Return the current (A) through each cell under a voltage that does not move it.

        Args:
            v: voltages (V), of (or broadcast with) ``shape``.
        """
        voltage = torch.as_tensor(v, dtype=self.x.dtype, device=self.x.device)
        return self.with_broken(self.spec.current_at(self.x, voltage, self._values()), voltage)

    @torch.no_grad()
    def apply_pulse(self, v: Tensor | float, duration: Tensor | float) -> None:
        """Move the states by a constant voltage.

        The model's closed form is used where it has one; elsewhere every cell is integrated
        with steps of its own (error control), so any amplitude and duration is safe. It counts as
        one write of every cell that sees a voltage for a time.

        Args:
            v: voltages (V), one for all cells or one per cell.
            duration: pulse widths (s), >= 0, one for all cells or one per cell.

        Raises:
            ValueError: if some are not finite or negative, or the shapes do not fit.
        """
        voltage = self._per_cell("v", v)
        seconds = self._per_cell("duration", duration)
        if bool((seconds < 0.0).any()):
            raise ValueError(f"duration must be >= 0, got {float(seconds.min()):g}")
        p = self._values()
        self.count(((voltage != 0.0) & (seconds > 0.0)).long())
        if self.spec.stochastic:
            self.x = self._noisy_pulse(voltage, seconds, p)
            return
        closed = self.spec.pulse(self.x, voltage, seconds, p)
        if closed is None:
            drive = self.spec.drive(voltage, p)
            closed = integrate.adaptive(lambda x, t: self.spec.rate(x, drive, p), self.x, seconds)
        # A cell that is not driven keeps its state exactly.
        self.x = torch.where(seconds > 0.0, unit(closed), self.x)

    def _noisy_pulse(self, voltage: Tensor, seconds: Tensor, p: Any) -> Tensor:
        spec, drive = self.spec, self.spec.drive(voltage, p)
        return diffusion.reflected(
            lambda x: spec.rate(x, drive, p),
            lambda x: spec.diffusion(x, drive, p),
            self.x,
            seconds,
            random.take(self.rng, self.x.device),
        )

    def _per_cell(self, name: str, value: Tensor | float) -> Tensor:
        value = torch.as_tensor(value, dtype=self.x.dtype, device=self.x.device)
        checks.finite(name, value)
        try:
            return value.expand(self.shape)
        except RuntimeError:
            raise ValueError(
                f"{name} must be one number or have shape {list(self.shape)}, "
                f"got {list(value.shape)}"
            ) from None

    @torch.no_grad()
    def simulate(
        self,
        voltage: Tensor,
        *,
        dt: float,
        method: str = "heun",
        every: int | None = 1,
        adaptive: bool = False,
    ) -> Tensor:
        """Drive the cells with a waveform and return their currents.

        Sample k is the voltage at time ``k · dt``; between samples the voltage is linear, and
        the last one is held for one more ``dt``. The current returned for a sample is that at
        its time; the states are left as they are at ``len(voltage) · dt``.

        Args:
            voltage: waveform (V), of shape ``[time]`` (all cells alike) or ``[time, *shape]``.
            dt: time between samples (s), > 0.
            method: ``euler`` (order 1), ``heun`` (2) or ``rk4`` (4), one step a sample. The
                order is that for smooth voltages; at an edge of a pulse all are of order 1.
                Models with a random term use Heun's rule with Euler–Maruyama noise.
            every: return the current of every so many samples only; None: of no sample (an
                empty tensor), to move large populations without storing a trace.
            adaptive: let every cell take as many steps between two samples as it needs, for
                models that switch much faster than the waveform. Slower. Not for models with a
                random term.

        Returns:
            Currents (A), of shape ``[⌈time / every⌉, *shape]``.

        Raises:
            ValueError: if ``dt`` is not positive or too coarse for the model (the message says
                what would do), or the waveform does not fit.
        """
        checks.number("dt", dt, above=0.0)
        checks.one_of("method", method, tuple(INTEGRATORS))
        if every is not None:
            checks.integer("every", every)
        if adaptive and self.spec.stochastic:
            raise ValueError("adaptive must be False for a model with a random term")
        run = Run(self.spec, self._values(), self._waveform(voltage), dt, every)
        if not len(run.voltage) or not self.x.numel():
            kept = len(run.voltage[:: every or 1]) if every else 0
            return self.x.new_empty((kept, *self.shape))
        if self.spec.stochastic:
            current, x = run.noisy(self.x, random.take(self.rng, self.x.device))
        elif adaptive:
            current, x = run.adaptive(self.x)
        elif self.x.numel() <= _FEW:
            current, x = run.on_floats(self.x, INTEGRATORS[method])
        else:
            current, x = run.on_tensors(self.x, INTEGRATORS[method])
        self.x = x
        return current

    def _waveform(self, voltage: Tensor) -> Tensor:
        voltage = torch.as_tensor(voltage, dtype=self.x.dtype, device=self.x.device)
        if voltage.ndim == 0 or (voltage.ndim > 1 and voltage.shape[1:] != self.shape):
            raise ValueError(
                f"voltage must have shape [time] or {['time', *self.shape]}, "
                f"got {list(voltage.shape)}"
            )
        checks.finite("voltage", voltage)
        return voltage
