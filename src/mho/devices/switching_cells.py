"""Populations of voltage-driven cells: their states, pulses and waveforms."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from mho.cells.population import Cells
from mho.core import checks, random
from mho.devices import series as in_series
from mho.devices.integrate import INTEGRATORS
from mho.devices.maths import unit
from mho.devices.series import Compliance, Loaded, Series, Transistor
from mho.devices.simulation import Run, TooCoarseError, hold

if TYPE_CHECKING:
    from mho.devices.switching import SwitchingDevice

# Up to so many cells, Python's floats beat tensor operations.
_FEW = 16


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
        voltage = checks.numbers("v", v, self.x.dtype, self.x.device)
        return self.with_broken(self.spec.current_at(self.x, voltage, self._values()), voltage)

    @torch.no_grad()
    def apply_pulse(
        self,
        v: Tensor | float,
        duration: Tensor | float,
        *,
        series: Series | None = None,
        compliance: Compliance | None = None,
    ) -> None:
        """Move the states by a constant voltage.

        The model's closed form is used where it has one; elsewhere every cell is integrated
        with steps of its own (error control), so any amplitude and duration is safe. The noise of
        stochastic models does not depend on how a pulse is cut. It counts as one write of every
        cell that sees a voltage for a time.

        Args:
            v: voltages (V), one for all cells or one per cell.
            duration: pulse widths (s), >= 0, one for all cells or one per cell.
            series: what stands in series with every cell, as in `simulate`.
            compliance: largest current (A), as in `simulate`.

        Raises:
            ValueError: if some are not finite or negative, or the shapes do not fit.
        """
        voltage = self._per_cell("v", v)
        seconds = self._per_cell("duration", duration)
        if bool((seconds < 0.0).any()):
            raise ValueError(f"duration must be >= 0, got {float(seconds.min()):g}")
        spec, p = self._loaded(series, compliance), self._values()
        self.count(((voltage != 0.0) & (seconds > 0.0)).long())
        noise = random.take(self.rng, self.x.device) if spec.stochastic else None
        after = hold(spec, p, self.x, voltage, seconds, noise)
        # A cell that is not driven keeps its state exactly.
        self.x = torch.where(seconds > 0.0, unit(after), self.x)

    def _loaded(self, series: Series | None, compliance: Compliance | None) -> Any:
        """Return the device, with what stands in series with it."""
        if series is not None:
            checks.instance("series", series, in_series.KINDS)
        limits = in_series.limits(compliance, self.spec.set_polarity)
        if series is None and compliance is None:
            return self.spec
        return Loaded(self.spec, series, limits)

    def _per_cell(self, name: str, value: Tensor | float) -> Tensor:
        return checks.one_each(name, value, self.x)

    @torch.no_grad()
    def simulate(
        self,
        voltage: Tensor,
        *,
        dt: float,
        method: str = "auto",
        every: int | None = 1,
        adaptive: bool = False,
        series: Series | None = None,
        compliance: Compliance | None = None,
        gate: Tensor | None = None,
    ) -> Tensor:
        """Drive the cells with a waveform and return their currents.

        Sample k is the voltage at time ``k · dt``; between samples the voltage is linear, and
        the last one is held for one more ``dt``. The current returned for a sample is that at
        its time; the states are left as they are at ``len(voltage) · dt``.

        With something in series, or a compliance current, ``voltage`` is that over all of it. The
        cells' part of it is solved at every moment, so that one current flows through both.

        Args:
            voltage: waveform (V), of shape ``[time]`` (all cells alike) or ``[time, *shape]``.
            dt: time between samples (s), > 0.
            method: ``auto`` takes Heun's rule, one step a sample, where every step moves the
                cells gently, and else follows them adaptively. ``euler`` (order 1), ``heun`` (2)
                and ``rk4`` (4) are one step a sample whatever comes, and refuse one that is too
                coarse. The order is that for smooth voltages; at an edge of a pulse all are of
                order 1. Models with a random term use Heun's rule with Euler–Maruyama noise.
            every: return the current of every so many samples only; None: of no sample (an
                empty tensor), to move large populations without storing a trace.
            adaptive: follow adaptively from the start: every cell takes as many steps between
                two samples as it needs (`mho.devices.course`), implicit ones where its rate is
                steep. Noise is a stochastic differential equation's (Itô), whatever the steps.
            series: what stands in series with every cell: `mho.devices.Transistor`,
                `mho.devices.Resistor` or `mho.circuit.Selector`. Followed adaptively.
            compliance: largest current (A), or ``(set, reset)``, of an ideal limit: the source
                lowers its voltage as far as it must. Followed adaptively.
            gate: waveform of the gate's voltage (V) for a `Transistor` in series, instead of its
                ``v_gate``; of shape ``[time]`` or ``[time, *shape]``.

        Returns:
            Currents (A), of shape ``[⌈time / every⌉, *shape]``.

        Raises:
            ValueError: if ``dt`` is not positive, or too coarse for a fixed ``method`` (the
                message says what would do), or the waveforms or options do not fit together.
        """
        adaptive = checks.truth("adaptive", adaptive)
        dt = checks.number("dt", dt, above=0.0)
        checks.one_of("method", method, ("auto", *INTEGRATORS))
        if every is not None:
            every = checks.integer("every", every)
        spec = self._loaded(series, compliance)
        adaptive = adaptive or spec is not self.spec
        if adaptive and method != "auto":
            raise ValueError(
                f"method must be 'auto', got {method!r}: with adaptive=True, something in series "
                "or a compliance, steps are not one a sample"
            )
        volts = self.waveform("voltage", voltage)
        run = Run(spec, self._values(), volts, float(dt), every, self._gate(gate, series, volts))
        if not len(run.voltage) or not self.x.numel():
            kept = len(run.voltage[:: every or 1]) if every else 0
            return self.x.new_empty((kept, *self.shape))
        current, self.x = self._adaptive(run) if adaptive else self._fixed(run, method)
        return current

    def _gate(self, gate: Tensor | None, series: Series | None, volts: Tensor) -> Tensor | None:
        if gate is None:
            return None
        if not isinstance(series, Transistor):
            raise ValueError("gate needs series=Transistor(…): nothing else has a gate")
        waveform = self.waveform("gate", gate)
        if len(waveform) != len(volts):
            raise ValueError(
                f"gate must have as many samples as voltage, {len(volts)}, got {len(waveform)}"
            )
        return waveform

    def _fixed(self, run: Run, method: str) -> tuple[Tensor, Tensor]:
        """Take one step a sample; where ``auto`` finds that too coarse, as many as needed."""
        try:
            if self.spec.stochastic:
                return run.noisy(self.x, random.take(self.rng, self.x.device))
            solver = INTEGRATORS["heun" if method == "auto" else method]
            few = self.x.numel() <= _FEW
            run = replace(run, gentle=method == "auto")
            return (run.on_floats if few else run.on_tensors)(self.x, solver)
        except TooCoarseError:
            if method != "auto":
                raise
        return self._adaptive(run)

    def _adaptive(self, run: Run) -> tuple[Tensor, Tensor]:
        noise = random.take(self.rng, self.x.device) if self.spec.stochastic else None
        return run.adaptive(self.x, noise)

    def waveform(self, name: str, voltage: Tensor) -> Tensor:
        """Return a waveform as the cells take it, or refuse it by its name."""
        voltage = checks.numbers(name, voltage, self.x.dtype, self.x.device)
        if voltage.ndim == 0 or (voltage.ndim > 1 and voltage.shape[1:] != self.shape):
            raise ValueError(
                f"{name} must have shape [time] or {['time', *self.shape]}, "
                f"got {list(voltage.shape)}"
            )
        checks.finite(name, voltage)
        return voltage
