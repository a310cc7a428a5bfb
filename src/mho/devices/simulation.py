"""How voltage-driven cells follow a waveform: on tensors, on floats, adaptively, with noise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from mho.devices import integrate
from mho.devices.integrate import Integrator
from mho.devices.maths import unit

# Fixed steps that move a cell by more of its range than this are refused as too coarse.
_MOST = 0.05
# A proposed step keeps this much below the limit, and kicks of so many σ within it.
_MARGIN, _SIGMAS = 0.8, 6.0


class Model(Protocol):
    """What a simulation asks of a voltage-driven device; `SwitchingDevice` explains each."""

    @property
    def state_free(self) -> bool:
        """Whether the rate depends on the drive alone."""

    @property
    def stochastic(self) -> bool:
        """Whether the state moves at random, too."""

    def drive(self, v: Any, p: Any) -> Any:
        """What a voltage (V) means for the state."""

    def rate(self, x: Any, drive: Any, p: Any) -> Any:
        """Return dx/dt (1/s)."""

    def diffusion(self, x: Any, drive: Any, p: Any) -> Any:
        """Return the noise intensity (1/√s)."""

    def current_at(self, x: Any, v: Any, p: Any) -> Any:
        """Return the current (A)."""


@dataclass(frozen=True)
class Run:
    """One waveform over one population. Its methods take states and return (currents, states).

    Attributes:
        spec: the device.
        p: its parameters, per cell where spread.
        voltage: of shape ``[time]`` or ``[time, *shape]`` (V).
        dt: between samples (s).
        every: which currents are kept; None: none.
    """

    spec: Model
    p: Any
    voltage: Tensor
    dt: float
    every: int | None

    @property
    def rate(self) -> integrate.Rate:
        """The state equation: dx/dt (1/s) of a state and a drive."""
        rate, p = self.spec.rate, self.p
        return lambda x, drive: rate(x, drive, p)

    def on_tensors(self, x: Tensor, solver: Integrator) -> tuple[Tensor, Tensor]:
        """Move the whole population by one tensor operation after the other."""
        if self.spec.state_free and self._alike():
            increments = self._increments(solver)
            gentle = float(increments.abs().max()) <= _MOST
            return self._follow(x, _sums(x, increments.tolist()), check=not gentle)
        return self._follow(x, solver.states(self.rate, x, self._drives(solver.middle), self.dt))

    def noisy(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Move the population with the model's random term."""
        normals = (torch.empty_like(x).normal_(generator=generator) for _ in self.voltage)
        states = integrate.heun_maruyama(
            self.rate,
            lambda x, drive: self.spec.diffusion(x, drive, self.p),
            x,
            self._drives(False),
            self.dt,
            normals,
        )
        return self._follow(x, states)

    def adaptive(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Move every cell with as many steps between two samples as it needs."""
        return self._follow(x, self._adaptive_states(x), check=False)

    def on_floats(self, x: Tensor, solver: Integrator) -> tuple[Tensor, Tensor]:
        """Move one cell after the other on Python's floats, with the same equations."""
        cells = x.numel()
        volts = self.voltage.double().cpu().reshape(len(self.voltage), -1).expand(-1, cells)
        current = volts.new_empty((len(volts) if self.every else 0, cells))
        ends = []
        for cell, start in enumerate(x.double().flatten().tolist()):
            p = _of_cell(self.p, cell)
            trace = Run(self.spec, p, volts[:, cell], self.dt, None)._trace(start, solver)
            moved = trace.diff().abs()
            self._refuse_coarse(float(moved.max()), int(moved.argmax()), x)
            ends.append(float(trace[-1]))
            if self.every:
                current[:, cell] = self.spec.current_at(trace[:-1], volts[:, cell], p)
        kept = current[:: self.every or 1].to(x).reshape(-1, *x.shape)
        return kept, volts.new_tensor(ends).to(x).reshape(x.shape)

    def _alike(self) -> bool:
        # All cells see one voltage and have the same parameters.
        spread = any(isinstance(value, Tensor) for value in vars(self.p).values())
        return self.voltage.ndim == 1 and not spread

    def _samples(self) -> Any:
        # What is the same for all cells is a number: operations on it then cost next to nothing.
        return self.voltage.tolist() if self.voltage.ndim == 1 else self.voltage

    def _drives(self, middle: bool) -> Iterator[Any]:
        # The last sample is held for one more step.
        samples = self._samples()
        for now, ahead in pairwise(chain(samples, samples[-1:])):
            yield self.spec.drive(now, self.p)
            if middle:
                yield self.spec.drive(0.5 * (now + ahead), self.p)
        yield self.spec.drive(samples[-1], self.p)

    def _increments(self, solver: Integrator) -> Tensor:
        """Return each step's change of a state whose rate is the same in every state."""
        return solver.increments(self.rate(0.5, self._all_drives(solver.middle)), self.dt)

    def _all_drives(self, middle: bool) -> tuple[Tensor, ...]:
        v = self.voltage.double()
        samples = torch.cat([v, v[-1:]])
        if middle:
            middles = 0.5 * (samples[1:] + samples[:-1])
            samples = torch.cat([torch.stack([samples[:-1], middles], 1).flatten(), v[-1:]])
        return self.spec.drive(samples, self.p)

    def _adaptive_states(self, x: Tensor) -> Iterator[Tensor]:
        seconds = torch.full_like(x, self.dt)
        for now, ahead in pairwise(chain(self.voltage, self.voltage[-1:])):
            slope = (ahead - now) / self.dt

            def rate(x: Tensor, t: Tensor, now: Tensor = now, slope: Tensor = slope) -> Tensor:
                value: Tensor = self.spec.rate(x, self.spec.drive(now + slope * t, self.p), self.p)
                return value

            x = integrate.adaptive(rate, x, seconds)
            yield x

    def _follow(
        self, x: Tensor, states: Iterable[Tensor], check: bool = True
    ) -> tuple[Tensor, Tensor]:
        every, samples = self.every, self._samples()
        count = 0 if every is None else -(-len(samples) // every)
        current = x.new_empty((count, *x.shape))
        for k, ahead in enumerate(states):
            if every is not None and k % every == 0:
                current[k // every] = self.spec.current_at(x, samples[k], self.p)
            if check:
                self._refuse_coarse(float((ahead - x).abs().max()), k, x)
            x = ahead
        return current, x

    def _trace(self, x: float, solver: Integrator) -> Tensor:
        """Return one cell's states at all samples and at the end, of shape ``[time + 1]``."""
        if self.spec.state_free:
            return integrate.accumulate(x, self._increments(solver))
        drives = zip(*(part.tolist() for part in self._all_drives(solver.middle)), strict=True)
        states = chain([x], solver.states(self.rate, x, drives, self.dt))
        return torch.from_numpy(np.fromiter(states, np.float64, len(self.voltage) + 1))

    def _refuse_coarse(self, moved: float, k: int, x: Tensor) -> None:
        if moved <= _MOST:
            return
        other = "" if self.spec.stochastic else ", or adaptive=True"
        raise ValueError(
            f"dt={self.dt:g} s is too coarse for {type(self.spec).__name__}: the step after "
            f"sample {k} would move a cell by {moved:.2g} of its range (at most {_MOST:g}); "
            f"dt <= {self._fine(x):.1e} s would do for this waveform{other}"
        )

    def _fine(self, x: Tensor) -> float:
        # A step that no cell, wherever in its range, can find too coarse.
        fine = self.dt
        for v in (self.voltage.amin(0), self.voltage.amax(0)):
            drive = self.spec.drive(v, self.p)
            for part in torch.linspace(0.0, 1.0, 33).tolist():
                state = torch.full_like(x, part)
                rate = float(self.rate(state, drive).abs().max())
                sigma = float(torch.as_tensor(self.spec.diffusion(state, drive, self.p)).max())
                share = 0.5 if sigma > 0.0 else 1.0
                fine = min(fine, _MARGIN * share * _MOST / max(rate, 1e-30))
                fine = min(fine, (share * _MOST / max(_SIGMAS * sigma, 1e-30)) ** 2)
        return fine


def _sums(x: Tensor, increments: list[float]) -> Iterator[Tensor]:
    for increment in increments:
        x = unit(x + increment)
        yield x


def _of_cell(p: Any, cell: int) -> Any:
    return SimpleNamespace(
        **{
            name: float(value.flatten()[cell]) if isinstance(value, Tensor) else value
            for name, value in vars(p).items()
        }
    )
