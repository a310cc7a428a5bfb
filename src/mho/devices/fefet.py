"""Ferroelectric transistors: a multi-domain model, and the jump tables it makes.

Measured FeFET tables belong to who measured them; these come from a published compact model, at
any programming voltage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mho.core import checks, random
from mho.core.spec import Spec
from mho.devices.tabular import JumpTable, TabularDevice

Array = npt.NDArray[np.float64]

_ATOM = 1e-3  # width of a step of the CDF, in jumps of one domain
_TRAINS = (2.0, 60.0)  # mean length of the trains of pulses, from the first cell to the last
_ROWS, _LEAST_PAIRS = 60, 200


@dataclass(frozen=True)
class MultiDomainFeFET(Spec):
    """A ferroelectric gate of independently switching domains, read in the linear region.

    A domain of activation field ``E_a`` switches under the field E in the characteristic time
    ``τ = tau0·exp((E_a/E)^alpha)``; with the accumulated ``h = Σ t/τ`` of pulses towards the same
    state, the chance that it switches in a pulse is ``1 − exp(h_before^β − h_after^β)``. A pulse
    towards the state it is in clears its h. Activation fields are normal over the domains. The
    field is the gate voltage's share on the ferroelectric (capacitive divider with the
    interlayer) over its thickness, and the conductance is linear in the fraction of domains up
    (the threshold voltage is linear in polarisation, the linear region linear in threshold).

    Left out: depolarisation, coupling between domains, and the series capacitance of the channel.

    Source: S. Deng et al., "A comprehensive model for ferroelectric FET capturing the key
    behaviors: scalability, variation, stochasticity, and accumulation", VLSI 2020,
    doi 10.1109/VLSITechnology18217.2020.9265014 (defaults but for the conductances and the number
    of domains; there 20).

    Attributes:
        g_min: conductance with all domains down (S), >= 0.
        g_max: conductance with all domains up (S), > g_min.
        domains: number of domains under the gate.
        field_mean: mean activation field (V/m).
        field_sigma: standard deviation of the activation field (V/m), over all domains.
        tau0: switching time at infinite field (s).
        alpha: exponent of the field.
        beta: exponent of the accumulated time.
        thickness: of the ferroelectric (m).
        permittivity: of the ferroelectric, relative.
        interlayer: thickness of the interlayer (m).
        interlayer_permittivity: relative.

    Raises:
        TypeError, ValueError: if a parameter is refused.
    """

    g_min: float = 0.1e-6
    g_max: float = 20e-6
    domains: int = 100
    field_mean: float = 2.3e8
    field_sigma: float = 0.4e8
    tau0: float = 1.9e-8
    alpha: float = 3.0
    beta: float = 2.0
    thickness: float = 8e-9
    permittivity: float = 28.0
    interlayer: float = 1e-9
    interlayer_permittivity: float = 3.9

    def __post_init__(self) -> None:
        checks.number("g_min", self.g_min, least=0.0)
        checks.number("g_max", self.g_max, above=self.g_min)
        checks.integer("domains", self.domains)
        checks.number("field_sigma", self.field_sigma, least=0.0)
        checks.number("interlayer", self.interlayer, least=0.0)
        for field in fields(self):
            if field.name not in ("g_min", "g_max", "domains", "field_sigma", "interlayer"):
                checks.number(field.name, getattr(self, field.name), above=0.0)

    def field(self, voltage: float) -> float:
        """Return the field (V/m) in the ferroelectric at a gate voltage (V)."""
        stack = self.thickness / self.permittivity + self.interlayer / self.interlayer_permittivity
        return voltage / stack / self.permittivity

    def record(
        self,
        set_voltage: float,
        reset_voltage: float,
        width: float,
        *,
        cells: int = 200,
        pulses: int = 600,
        seed: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """Pulse a population back and forth in trains of random length.

        Args:
            set_voltage: of set pulses (V), > 0.
            reset_voltage: of reset pulses (V), < 0.
            width: of a pulse (s), > 0.
            cells: population size; each cell draws its own domains.
            pulses: per cell.
            seed: of domains, switching and trains.

        Returns:
            Conductances (S) ``[pulses + 1, cells]``, from all domains down, and the pulses'
            directions (bool, true for set) ``[pulses, cells]``.
        """
        set_voltage = checks.number("set_voltage", set_voltage, above=0.0)
        reset_voltage = checks.number("reset_voltage", reset_voltage, below=0.0)
        width = checks.number("width", width, above=0.0)
        cells = checks.integer("cells", cells)
        pulses = checks.integer("pulses", pulses)
        generator = random.generator(seed)
        shape = (cells, self.domains)
        activation = torch.empty(shape, dtype=torch.float64).normal_(generator=generator)
        activation = (self.field_mean + self.field_sigma * activation).clamp_min(0.0)
        progress = {
            True: width / self._time(activation, set_voltage),
            False: width / self._time(activation, -reset_voltage),
        }
        up = torch.zeros(shape, dtype=torch.bool)
        done = torch.zeros(shape, dtype=torch.float64)
        towards = torch.ones(cells, dtype=torch.bool)
        length = torch.logspace(math.log10(_TRAINS[0]), math.log10(_TRAINS[1]), cells)
        record, directions = [self._conductance(up)], []
        for _ in range(pulses):
            against = up != towards[:, None]
            step = torch.where(towards[:, None], progress[True], progress[False])
            after = done + step
            chance = -torch.expm1(done**self.beta - after**self.beta)
            draw = torch.empty(shape, dtype=torch.float64).uniform_(generator=generator)
            switched = against & (draw < chance)
            up = up ^ switched
            done = torch.where(against & ~switched, after, torch.zeros_like(after))
            record.append(self._conductance(up))
            directions.append(towards)
            turn = torch.empty(cells).uniform_(generator=generator) < 1.0 / length
            towards = torch.where(turn, ~towards, towards)
        return torch.stack(record), torch.stack(directions)

    def tabular(
        self,
        set_voltage: float,
        reset_voltage: float,
        width: float,
        *,
        cells: int = 200,
        pulses: int = 600,
        seed: int = 0,
        c2c: float = 1.0,
        d2d: float = 0.0,
    ) -> TabularDevice:
        """Return the tabular device of this gate under given pulses; arguments as `record`.

        The tables hold the distribution of jumps seen at each conductance over cells and
        histories: what a jump table can know. (So d2d is partly inside already.)

        Raises:
            ValueError: if the pulses switch hardly anything.
        """
        record, directions = self.record(
            set_voltage, reset_voltage, width, cells=cells, pulses=pulses, seed=seed
        )
        before, jumps = record[:-1].numpy(), record.diff(dim=0).numpy()
        chosen = directions.numpy()
        return TabularDevice(
            self._table("set", before[chosen], jumps[chosen]),
            self._table("reset", before[~chosen], jumps[~chosen]),
            g_min=self.g_min,
            g_max=self.g_max,
            c2c=c2c,
            d2d=d2d,
        )

    def _time(self, activation: Tensor, voltage: float) -> Tensor:
        exponent = (activation / self.field(voltage)) ** self.alpha
        return self.tau0 * exponent.clamp(max=500.0).exp()

    def _conductance(self, up: Tensor) -> Tensor:
        return self.g_min + (self.g_max - self.g_min) * up.double().mean(dim=1)

    def _table(self, name: str, g: Array, jumps: Array) -> JumpTable:
        unit = (self.g_max - self.g_min) / self.domains
        count = np.rint(jumps / unit).astype(int)
        if not count.any():
            raise ValueError(
                f"no domain switched in {len(g)} {name} pulses: raise voltage or width"
            )
        parts = _bins((g - self.g_min) / (self.g_max - self.g_min))
        steps = np.arange(count.min(), count.max() + 1)
        rows = []
        for part in parts:
            share = np.cumsum(np.bincount(count[part] - steps[0], minlength=len(steps)))
            below = np.concatenate([[0], share[:-1]])
            # A jump of a whole number of domains is a (nearly) vertical rise of the CDF.
            rows.append(np.stack([below, share], axis=1).ravel() / share[-1])
        axis = np.stack([steps - _ATOM, steps], axis=1).ravel() * unit
        return JumpTable(
            g=tuple(float(g[part].mean()) for part in parts),
            dg=tuple(axis.tolist()),
            cdf=tuple(tuple(row.tolist()) for row in rows),
        )


def _bins(place: Array) -> list[npt.NDArray[np.intp]]:
    # Which pairs make a row: equal parts of the window, joined until each holds enough pairs.
    order = np.argsort(place, kind="stable")
    ends = np.searchsorted(place[order], np.linspace(0.0, 1.0, _ROWS + 1)[1:-1])
    parts, start = [], 0
    for end in (*ends.tolist(), len(order)):
        if end - start >= _LEAST_PAIRS:
            parts.append(order[start:end])
            start = end
    if not parts:
        return [order]
    parts[-1] = np.concatenate([parts[-1], order[start:]])
    return parts
