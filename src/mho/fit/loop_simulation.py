"""Many candidate devices through the same sweeps at once: what a fit of loops evaluates.

A fit asks for hundreds of parameter sets on every sweep. All of them, times all sweeps, are one
flat batch that goes from sample to sample by tensor operations, with the device's own equations.
The states are scalars, so a step can be exponential (Rosenbrock–Euler, order 2; Hochbruck &
Ostermann 2010, doi 10.1017/S0962492910000048): stiff approaches to an equilibrium and runaways need
no small steps, and a state that would move far takes several.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from mho.devices.maths import unit
from mho.devices.switching import SwitchingDevice
from mho.fit.access import cell_voltage

_MOST = 0.12  # of its range, that a state moves in one step
_SETTLED = 2.0**-12  # of that: a state thrown to and fro by less stands at its equilibrium
_STEPS = 80  # between two samples
_NUDGE = 1e-5  # of the state, to find how the rate depends on it
_TINY = 1e-30


@dataclass(frozen=True)
class Course:
    """What candidates went through, ``[samples, candidates, sweeps]``.

    Attributes:
        current: measured between the source's ends (A).
        state: of the cells at the samples, in [0, 1].
        hurried: how many cells did not come to the end of an interval in the steps allowed.
    """

    current: Tensor
    state: Tensor
    hurried: int


def simulate(
    device: SwitchingDevice,
    p: Any,
    access: Any,
    start: Tensor,
    voltage: Tensor,
    seconds: Tensor,
    *,
    iterations: int = 4,
) -> Course:
    """Send candidates through sweeps.

    Between two samples the voltage is taken as their mean, and held.

    Args:
        device: whose equations are used.
        p: its parameters as `mho.devices.SwitchingDevice.parameters` returns them; tensors
            broadcast to ``[candidates, sweeps]``.
        access: as `mho.fit.access.Access`; tensors likewise.
        start: states at the first sample, ``[candidates, sweeps]``.
        voltage: applied (V), ``[samples, sweeps]``, positive where the device's is.
        seconds: from each sample to the next, ``[samples, sweeps]``; 0 holds the state.
        iterations: of the voltage divider, from that of the sample before.
    """
    with torch.no_grad():
        run = _Run(device, _flat(p, start.shape), _flat(access, start.shape), iterations)
        return run.through(start, voltage, seconds)


class _Run:
    """The batch under way; tensors of cells are flat, ``[candidates · sweeps]``."""

    def __init__(self, device: SwitchingDevice, p: Any, access: Any, iterations: int) -> None:
        self.device, self.p, self.access, self.iterations = device, p, access, iterations
        self.hurried = 0

    def through(self, start: Tensor, voltage: Tensor, seconds: Tensor) -> Course:
        x, shape = start.flatten(), start.shape
        states = start.new_empty((len(voltage), x.numel()))
        states[0] = x
        guess = torch.zeros_like(x)
        for k in range(len(voltage) - 1):
            v = (0.5 * (voltage[k] + voltage[k + 1])).expand(shape).flatten()
            x, guess = self._follow(x, v, seconds[k].expand(shape).flatten(), guess)
            states[k + 1] = x
        v = voltage[:, None, :].expand(-1, *shape).reshape(len(voltage), -1)
        over = cell_voltage(
            lambda u: self._current(states, u, self.p), v, self.access, 0.5 * v, 8 + self.iterations
        )
        current = self._current(states, over, self.p).reshape(-1, *shape)
        return Course(current, states.reshape(-1, *shape), self.hurried)

    def _current(self, x: Tensor, v: Tensor, p: Any) -> Tensor:
        value: Tensor = self.device.current_at(x, v, p)
        return value

    def _follow(self, x: Tensor, v: Tensor, left: Tensor, guess: Tensor) -> tuple[Tensor, Tensor]:
        # From one sample to the next; those that arrive early wait while the others go on.
        x, left, guess = x.clone(), left.clone(), guess.clone()
        at, p, access = torch.arange(len(x), device=x.device), self.p, self.access
        here, most, before = x, torch.full_like(x, _MOST), torch.zeros_like(x)
        remain, volts, found = left, v, guess
        for _ in range(_STEPS):
            moved, used, rate, found = self._step(here, volts, remain, found, most, p, access)
            # Thrown over an equilibrium that the slope did not tell of: closer with each turn.
            most = torch.where(rate * before < 0.0, 0.5 * most, most)
            here = unit(here + moved)
            stands = ((here <= 0.0) & (rate < 0.0)) | ((here >= 1.0) & (rate > 0.0))
            stands |= most < _SETTLED * _MOST
            remain, before = torch.where(stands, 0.0, remain - used), rate
            x[at], left[at], guess[at] = here, remain, found
            many = int((remain > 0.0).sum())
            if not many:
                return x, guess
            if many < 0.6 * len(remain):
                keep = (remain > 0.0).nonzero().squeeze(1)
                at = at[keep]
                p, access = _part(self.p, at), _part(self.access, at)
                here, most, before, remain = here[keep], most[keep], before[keep], remain[keep]
                volts, found = volts[keep], found[keep]
        self.hurried += many
        return x, guess

    def _step(
        self, x: Tensor, v: Tensor, left: Tensor, guess: Tensor, most: Tensor, p: Any, access: Any
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        nudge = torch.where(x < 0.5, _NUDGE, -_NUDGE).to(x.dtype)
        pair = torch.stack([x, x + nudge])
        u = cell_voltage(
            lambda u: self._current(pair, u, p), v, access, guess.expand_as(pair), self.iterations
        )
        rates = self.device.rate(pair, self.device.drive(u, p), p) + 0.0 * pair
        rate, bend = rates[0], (rates[1] - rates[0]) / nudge
        bend = torch.where(bend.abs() < _TINY, _TINY, bend)
        # x moves by rate · (exp(bend t) - 1)/bend: for all the time left, or as far as allowed.
        reach = most * bend / rate.abs().clamp(min=_TINY)
        wait = torch.log1p(reach.clamp(min=-1.0 + 1e-12)) / bend
        wait = torch.where(reach > -1.0, wait, torch.inf)
        used = torch.minimum(left, wait)
        grown = torch.expm1((bend * used).clamp(max=500.0)) / bend
        moved = torch.minimum(torch.maximum(rate * grown, -most), most)
        return moved, used, rate, u[0] if u.ndim == pair.ndim else u


def _flat(values: Any, shape: torch.Size) -> Any:
    # Every parameter that differs between cells, as one number per cell of the flat batch.
    given = vars(values)
    return SimpleNamespace(
        **{
            name: value.expand(shape).flatten() if isinstance(value, Tensor) else value
            for name, value in given.items()
        }
    )


def _part(values: Any, at: Tensor) -> Any:
    return SimpleNamespace(
        **{n: v[at] if isinstance(v, Tensor) else v for n, v in vars(values).items()}
    )
