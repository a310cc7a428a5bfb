"""Random telegraph noise: traps in the cells that fill and empty."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mho.cells.behaviour import Context
from mho.cells.spread import Spread, check, nominal, positive
from mho.core import checks
from mho.core.constants import as_tensor
from mho.effects.base import ReadingEffect


@dataclass(frozen=True)
class TelegraphNoise(ReadingEffect):
    """Random telegraph noise: traps in the cell, filled or empty, switch its conductance.

    A filled trap leaves a cell of conductance g with ``g · (1 − step)``, where

        step = min(amplitude · (g_max / g)^hrs_growth, 1)

    A trap is filled for the share ``occupancy`` of the time. How long it stays so is said by its
    correlation time ``tau``, or not at all:

    * ``tau=None``: each read of the array (one call, a whole batch) finds every trap filled with
      the probability ``occupancy``, independently: reads are further apart than traps last.
    * else traps last: they are a state of the cells, drawn at fabrication as they are on average,
      and going on as time passes (`mho.age`); reads between which no time passes find the same.
      Each is a two-state Markov chain, exact for any lapse of time dt:

          P(filled after dt) = occupancy + (filled − occupancy) exp(−dt / tau)
          1 / tau = 1 / τ_capture + 1 / τ_emission,  occupancy = tau / τ_capture

      so that dwell times are exponential, of mean ``tau_capture`` empty and ``tau_emission``
      filled, and the noise has a Lorentzian spectrum of corner ``1 / (2π tau)``. Traps of taus
      spread evenly over decades add up to 1/f noise. Training draws traps as they are on average.

    The mean conductance of a cell with one trap is ``g · (1 − step · occupancy)``.

    Source: S. Ambrogio, S. Balatti, V. McCaffrey, D. C. Wang, D. Ielmini, "Noise-induced
    resistance broadening in resistive switching memory—Part I: intrinsic cell behavior", IEEE
    TED 2015, doi 10.1109/TED.2015.2475598; the chain: F. M. Puglisi, P. Pavan, "RTN analysis with
    FHMM as a tool for multi-trap characterization in HfOx RRAM", EDSSC 2013,
    doi 10.1109/EDSSC.2013.6628059.

    Attributes:
        amplitude: relative step of the conductance at g_max, 0…1; a number or a `Spread` over the
            traps.
        fraction: probability of each of a cell's traps to be there, 0…1.
        occupancy: share of time that a trap is filled, 0…1.
        tau: correlation time (s), > 0; a number or a `Spread` over the traps; None for reads
            further apart.
        traps: of every cell, at most, 1…1000; each is there with the probability ``fraction``.
        hrs_growth: how much larger the relative step is in cells of lower conductance, >= 0.
    """

    amplitude: float | Spread
    fraction: float = 1.0
    occupancy: float = 0.5
    tau: float | Spread | None = None
    traps: int = 1
    hrs_growth: float = 0.0

    def __post_init__(self) -> None:
        check("TelegraphNoise amplitude", self.amplitude, least=0.0, most=1.0)
        checks.probability("TelegraphNoise fraction", self.fraction)
        checks.probability("TelegraphNoise occupancy", self.occupancy)
        if self.tau is not None:
            object.__setattr__(self, "tau", positive("TelegraphNoise tau", self.tau))
        checks.integer("TelegraphNoise traps", self.traps, most=1000)
        checks.number("TelegraphNoise hrs_growth", self.hrs_growth, least=0.0)

    @classmethod
    def of_times(
        cls, amplitude: float | Spread, tau_capture: float, tau_emission: float, **others: Any
    ) -> TelegraphNoise:
        """Return the noise of traps of a mean time to capture and a mean time to emission.

        Args:
            amplitude: see `TelegraphNoise`.
            tau_capture: mean time that a trap stays empty (s), > 0.
            tau_emission: mean time that it stays filled (s), > 0.
            others: further fields.
        """
        tau_capture = checks.number("tau_capture", tau_capture, above=0.0)
        tau_emission = checks.number("tau_emission", tau_emission, above=0.0)
        tau = 1.0 / (1.0 / tau_capture + 1.0 / tau_emission)
        return cls(amplitude, occupancy=tau / tau_capture, tau=tau, **others)

    @property
    def tau_capture(self) -> float:
        """Mean time that a (nominal) trap stays empty (s); infinite where none is ever filled."""
        return self._time(self.occupancy)

    @property
    def tau_emission(self) -> float:
        """Mean time that a (nominal) trap stays filled (s); infinite where none ever empties."""
        return self._time(1.0 - self.occupancy)

    def _time(self, share: float) -> float:
        if self.tau is None:
            raise ValueError("traps without tau have no times: they differ from read to read")
        return nominal(self.tau) / share if share else math.inf

    @property
    def redrawn(self) -> bool:
        """Whether every read finds the traps anew."""
        return self.tau is None

    @property
    def changing(self) -> tuple[str, ...]:
        """Which traps are filled, where they last."""
        if self.tau is None:
            return ()
        return tuple(f"filled{_of(trap)}" for trap in range(self.traps))

    def fabricate_state(self, context: Context) -> dict[str, Tensor]:
        """Draw the traps of every cell: what they do, and, where they last, which are filled.

        Nothing is drawn of what is alike in all cells.
        """
        drawn = {}
        for trap in range(self.traps):
            if isinstance(self.amplitude, Spread):
                step: Tensor | float = context.sample(self.amplitude).clamp_(0.0, 1.0)
            else:
                step = self.amplitude
            if isinstance(step, Tensor) or self.fraction < 1.0:
                drawn[f"step{_of(trap)}"] = (context.uniform() < self.fraction) * step
            if isinstance(self.tau, Spread):
                drawn[f"tau{_of(trap)}"] = context.sample(self.tau)
            if self.tau is not None:
                filled = context.uniform() < self.occupancy
                drawn[f"filled{_of(trap)}"] = filled.to(context.dtype)
        return drawn

    def advance(self, context: Context, seconds: float) -> dict[str, Tensor]:
        """Return which traps are filled so many seconds later."""
        changed = {}
        for trap, name in enumerate(self.changing):
            filled = context.state[name]
            tau: Any = context.state.get(f"tau{_of(trap)}", self.tau)
            tau = as_tensor(tau, filled)
            chance = self.occupancy + (filled - self.occupancy) * (-seconds / tau).exp()
            changed[name] = (context.uniform() < chance).to(filled)
        return changed

    def read(self, g: Tensor, context: Context) -> Tensor:
        """Conductances with the traps as this read finds them."""
        for trap in range(self.traps):
            if self.tau is None:
                g = g - g * (context.uniform() < self.occupancy) * self._step(g, context, trap)
            else:
                filled = context.state[f"filled{_of(trap)}"].to(g)
                g = g - g * filled * self._step(g, context, trap)
        return g

    def shown(self, g: Tensor, context: Context) -> Tensor:
        """Conductances as reads of this moment show them on average.

        Where traps last, as they are now; else with every trap filled by its share of time.
        """
        if self.tau is not None:
            return self.read(g, context)
        for trap in range(self.traps):
            g = g - g * self._step(g, context, trap) * self.occupancy
        return g

    def _step(self, g: Tensor, context: Context, trap: int) -> Tensor | float:
        name = f"step{_of(trap)}"
        step = context.state[name] if name in context.state else nominal(self.amplitude)
        if self.hrs_growth == 0.0:
            return step
        finite = torch.finfo(g.dtype)
        grown = (context.g_max / g.detach().clamp(min=finite.tiny)) ** self.hrs_growth
        # Where there is no trap the step is 0, however large it would grow.
        return (step * grown.clamp(max=finite.max)).clamp(max=1.0)


def _of(trap: int) -> str:
    """Ending of the names of a trap's tensors; the first has none."""
    return f"_{trap}" if trap else ""
