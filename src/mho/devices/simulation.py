"""How voltage-driven cells follow a waveform: on tensors, on floats, adaptively, with noise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.devices import diffusion, integrate
from mho.devices.course import Course, Model, of_cell
from mho.devices.integrate import Integrator
from mho.devices.maths import unit
from mho.devices.series import Loaded

# Fixed steps that move a cell by more of its range than this are refused as too coarse.
_MOST = 0.05
# ...and steps by more than this are not precise enough to be chosen where others can be.
_GENTLE = 0.01
# So many steps every cell of a pulse may take before it is taken for a stiff one.
_EXPLICIT_STEPS = 100
# Currents found at once.
_AT_ONCE = 1 << 20
# A proposed step keeps this much below the limit, and kicks of so many σ within it.
_MARGIN, _SIGMAS = 0.8, 6.0


class TooCoarseError(ValueError):
    """Fixed steps of one sample would move a cell too far."""


@dataclass(frozen=True)
class Run:
    """One waveform over one population. Its methods take states and return (currents, states).

    Attributes:
        spec: the device.
        p: its parameters, per cell where spread.
        voltage: of shape ``[time]`` or ``[time, *shape]`` (V).
        dt: between samples (s).
        every: which currents are kept; None: none.
        gate: a second waveform, for models whose ``drive`` takes a pair (V).
        gentle: refuse fixed steps that others could well do better.
    """

    spec: Model
    p: Any
    voltage: Tensor
    dt: float
    every: int | None
    gate: Tensor | None = None
    gentle: bool = False

    @property
    def _most(self) -> float:
        return _GENTLE if self.gentle else _MOST

    @property
    def rate(self) -> integrate.Rate:
        """The state equation: dx/dt (1/s) of a state and a drive."""
        rate, p = self.spec.rate, self.p
        return lambda x, drive: rate(x, drive, p)

    def on_tensors(self, x: Tensor, solver: Integrator) -> tuple[Tensor, Tensor]:
        """Move the whole population by one tensor operation after the other."""
        if self.spec.state_free and self._alike():
            increments = self._increments(solver)
            fine = float(increments.abs().max()) <= self._most
            return self._follow(x, _sums(x, increments.tolist()), check=not fine)
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

    def adaptive(
        self, x: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Move every cell with as many steps between two samples as it needs."""
        p, cells = in_a_row(self.p, x, self.dt), x.numel()
        volts = tuple(_flat(v) for v in self._waveforms())
        course = Course(self.spec, p, tuple(torch.cat([v, v[-1:]]) for v in volts))
        kept, end = course.follow(x.double().reshape(-1), self.every, generator)
        current = x.new_empty((len(kept), cells))
        size = max(1, _AT_ONCE // max(1, cells))
        for start in range(0, len(kept), size):
            part = slice(start, start + size)
            v = tuple(v[:: self.every or 1][part].reshape(len(kept[part]), -1) for v in volts)
            current[part] = self.spec.current_at(kept[part], v[0] if len(v) == 1 else v, p)
        return current.reshape(-1, *x.shape), end.to(x).reshape(x.shape)

    def _waveforms(self) -> tuple[Tensor, ...]:
        return (self.voltage,) if self.gate is None else (self.voltage, self.gate)

    def on_floats(self, x: Tensor, solver: Integrator) -> tuple[Tensor, Tensor]:
        """Move one cell after the other on Python's floats, with the same equations."""
        cells = x.numel()
        volts = self.voltage.double().cpu().reshape(len(self.voltage), -1).expand(-1, cells)
        current = volts.new_empty((len(volts) if self.every else 0, cells))
        ends = []
        for cell, start in enumerate(x.double().flatten().tolist()):
            p = of_cell(self.p, cell)
            trace = replace(self, p=p, voltage=volts[:, cell], every=None)._trace(start, solver)
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
        if moved <= self._most:
            return
        raise TooCoarseError(
            f"dt={self.dt:g} s is too coarse for {type(self.spec).__name__}: the step after "
            f"sample {k} would move a cell by {moved:.2g} of its range (at most {self._most:g}); "
            f"dt <= {self._fine(x):.1e} s would do for this waveform, or method='auto'"
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
                fine = min(fine, _MARGIN * share * self._most / max(rate, 1e-30))
                fine = min(fine, (share * self._most / max(_SIGMAS * sigma, 1e-30)) ** 2)
        return fine


def hold(
    spec: Any,
    p: Any,
    x: Tensor,
    voltage: Tensor,
    seconds: Tensor,
    generator: torch.Generator | None,
) -> Tensor:
    """Return the states after a constant voltage.

    In closed form where the device has one; else by explicit steps, and what these do not finish
    soon by a `Course` of one sample. Noise is a reflected diffusion.

    Args:
        spec: the device, or one that is `Loaded`.
        p: its parameters.
        x: states before.
        voltage: (V), of the shape of ``x``.
        seconds: for how long, >= 0, of the shape of ``x``.
        generator: of the noise of stochastic models.
    """
    if not spec.stochastic:
        closed: Tensor | None = spec.pulse(x, voltage, seconds, p)
        if closed is not None:
            return closed
        drive = spec.drive(voltage, p)
        x, seconds = integrate.part_way(
            lambda x, t: spec.rate(x, drive, p), x, seconds, None, _EXPLICIT_STEPS
        )
        if not bool((seconds > 0.0).any()):
            return x
    elif not isinstance(spec, Loaded):
        drive = spec.drive(voltage, p)
        return diffusion.reflected(
            lambda x: spec.rate(x, drive, p),
            lambda x: spec.diffusion(x, drive, p),
            x,
            seconds,
            generator,
        )
    volts = voltage.double().reshape(1, -1).expand(2, -1)
    course = Course(spec, in_a_row(p, x, seconds), (volts,))
    return course.follow(x.double().reshape(-1), None, generator)[1].to(x).reshape(x.shape)


def _sums(x: Tensor, increments: list[float]) -> Iterator[Tensor]:
    for increment in increments:
        x = unit(x + increment)
        yield x


def in_a_row(p: Any, x: Tensor, seconds: float | Tensor) -> Any:
    """Return the parameters of all cells in a row, in float64, with ``seconds`` as one more."""
    values = {**vars(p), "seconds": seconds}
    return SimpleNamespace(
        **{
            n: v.double().expand(x.shape).reshape(-1) if isinstance(v, Tensor) else v
            for n, v in values.items()
        }
    )


def _flat(waveform: Tensor) -> Tensor:
    return waveform.double().reshape(len(waveform), -1) if waveform.ndim > 1 else waveform.double()
