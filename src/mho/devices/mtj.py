"""Magnetic tunnel junctions: binary cells that a pulse switches with some probability."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mho.cells.device import Device
from mho.cells.population import Cells
from mho.cells.programming import Exact, Programming
from mho.cells.spread import Spread, check, nominal
from mho.core import checks, derivatives, random
from mho.core.constants import as_tensor
from mho.devices.macrospin import switching_probability
from mho.devices.parameters import Parameters

GYROMAGNETIC = 1.76085963e11  # rad/(s T), of the electron

_BOUNDS: dict[str, dict[str, float]] = {
    "tmr": {"least": 1e-4, "most": 1e4},
    "v_half": {"least": 0.01, "most": 1e4},
}


@dataclass(frozen=True)
class MTJ(Device):
    """A perpendicular magnetic tunnel junction switched by spin-transfer torque.

    Parallel (P) cells are at ``g_max``, antiparallel (AP) ones at ``g_min``, and nothing lies
    between: a write goes to the nearer of the two.

        G_P = g_parallel            G_AP(v) = g_parallel / (1 + TMR(v))
        TMR(v) = tmr / (1 + (v/v_half)²)

    A positive pulse sets (AP to P), a negative one resets. It switches a cell with the probability
    of the macrospin's Fokker–Planck equation (`mho.devices.macrospin`) at the reduced current
    ``i = v/v_set`` (AP to P) or ``-v/v_reset`` (P to AP) and the reduced time
    ``τ = α γ B_k t/(1 + α²)``: thermally activated over the barrier ``delta (1 - i)²`` below the
    critical voltage, precessional above it. The same law holds at rest, where it is retention.

    Because TMR depends on voltage, the current is not ``g · f(v)``: a crossbar reads it by a few
    terms per row (`mho.crossbar.expansion`); with ``v_half=None`` it is ohmic. Left out: the
    voltage's own effect on the anisotropy, heating, and reversal that is not coherent.

    Source of the switching law: W. H. Butler et al., IEEE Trans. Magn. 2012,
    doi 10.1109/TMAG.2012.2209122. Form of TMR(v): Y. Zhang et al., "Compact modeling of
    perpendicular-anisotropy CoFeB/MgO magnetic tunnel junctions", IEEE Trans. Electron Devices
    2012, doi 10.1109/TED.2011.2178416; its damping and v_half are the defaults here. The other
    defaults are **illustrative**: round numbers for a 40 nm junction like that of S. Ikeda et al.,
    Nature Materials 2010, doi 10.1038/nmat2804, not its measured values.

    Attributes:
        g_parallel: conductance of parallel cells (S), > 0; a number or a `Spread`.
        tmr: tunnel magnetoresistance at low voltage, ``(R_AP - R_P)/R_P``, 1e-4 … 1e4; a number
            or a `Spread`.
        v_half: voltage at which it has halved (V), 0.01 … 1e4; a number or a `Spread`; None: never.
        v_set: critical voltage AP to P (V), > 0; a number or a `Spread`.
        v_reset: size of the critical voltage P to AP (V), > 0; a number or a `Spread`.
        delta: barrier over kT, 5…200.
        damping: Gilbert's α, > 0; a number or a `Spread`.
        anisotropy_field: B_k (T), > 0; a number or a `Spread`.

    Raises:
        TypeError, ValueError: if a parameter is refused.
    """

    ordered: ClassVar[tuple[tuple[str, str], ...]] = ()
    discrete: ClassVar[bool] = True

    g_parallel: float | Spread = 70e-6
    tmr: float | Spread = 1.2
    v_half: float | Spread | None = 0.5
    v_set: float | Spread = 0.7
    v_reset: float | Spread = 0.7
    delta: float = 40.0
    damping: float | Spread = 0.027
    anisotropy_field: float | Spread = 0.3

    def __post_init__(self) -> None:
        positive = ("g_parallel", "tmr", "v_set", "v_reset", "damping", "anisotropy_field")
        names = positive if self.v_half is None else (*positive, "v_half")
        for name in names:
            value = getattr(self, name)
            check(name, value, **_BOUNDS.get(name, {"above": 0.0}))
            if isinstance(value, Spread) and value.low is None:
                # A normal tail must not make a junction of negative resistance.
                low = 0.01 * value.nominal
                object.__setattr__(self, name, value.replace(low=low))
        checks.number("delta", self.delta, least=5.0, most=200.0)

    @property
    def g_min(self) -> float:  # type: ignore[override]
        """Nominal low-voltage conductance of antiparallel cells (S)."""
        return nominal(self.g_parallel) / (1.0 + nominal(self.tmr))

    @property
    def g_max(self) -> float:  # type: ignore[override]
        """Nominal conductance of parallel cells (S)."""
        return nominal(self.g_parallel)

    @property
    def set_polarity(self) -> int:
        """+1: a positive voltage sets the cell (raises g)."""
        return 1

    @property
    def programming(self) -> Programming:
        """How cells are programmed where the hardware does not say: into the nearer state."""
        return Exact()

    @property
    def cells_type(self) -> type[Cells]:
        """The class of this device's populations."""
        return MTJCells

    def values(self, state: dict[str, Tensor] | None = None) -> Any:
        """Return all parameters by name: per-cell tensors where drawn, else nominal numbers."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        plain = {n: v if v is None else nominal(v) for n, v in plain.items()}
        return Parameters({**plain, **(state or {})})

    def levels(self, state: dict[str, Tensor] | None = None) -> tuple[Any, Any]:
        """Return low-voltage conductances (S) of antiparallel and of parallel cells."""
        p = self.values(state)
        return p.g_parallel / (1.0 + p.tmr), p.g_parallel

    def reach(self, g: Tensor, state: dict[str, Tensor] | None = None) -> Tensor:
        """Return the nearer of the two conductances (S); gradients pass as through clipping."""
        ends = [as_tensor(e, g) for e in self.levels(state)]
        within = derivatives.clip(g, *ends)
        near = torch.where(2.0 * g.detach() > ends[0] + ends[1], ends[1], ends[0])
        return near + (within - within.detach())

    def transfer(self, v: Tensor) -> Tensor:
        """Return ``v`` (V), of cells without a voltage-dependent TMR.

        Raises:
            NotImplementedError: if TMR depends on the voltage: the current is then not g · f(v).
        """
        if self.v_half is not None:
            raise NotImplementedError(
                "the current of an MTJ with v_half is not g · f(v): see current_of, or give "
                "v_half=None (at read voltages far below v_half they agree)"
            )
        return v

    def current_of(self, v: Tensor, g: Tensor) -> Tensor:
        """Return the current (A) of nominal cells; see `Device.current_of`.

        Between the two states, where only noise puts a cell, it is linear in ``g``.
        """
        low, high = self.levels()
        parallel = (g - low) / (high - low)
        return v * torch.lerp(high / (1.0 + self.tmr_at(v)) + 0.0 * g, high + 0.0 * g, parallel)

    @property
    def separable(self) -> bool:  # type: ignore[override]
        """Whether TMR does not depend on the voltage."""
        return self.v_half is None

    @property
    def ohmic(self) -> bool:
        """Whether the current is proportional to the voltage."""
        return self.v_half is None

    def tmr_at(self, v: Tensor | float, state: dict[str, Tensor] | None = None) -> Any:
        """Return the tunnel magnetoresistance at voltages (V)."""
        p = self.values(state)
        return p.tmr if p.v_half is None else p.tmr / (1.0 + (v / p.v_half) ** 2)

    def probability(
        self,
        v: Tensor,
        duration: Tensor | float,
        parallel: Tensor | bool = False,
        state: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """Return the probability that a pulse switches cells.

        Args:
            v: voltages (V).
            duration: pulse widths (s), >= 0, broadcast with ``v``.
            parallel: which cells are parallel, broadcast with ``v``.
            state: per-cell parameters from `fabricate_state`.

        Returns:
            Probabilities, in float64.
        """
        p = self.values(state)
        v = torch.as_tensor(v, dtype=torch.float64)
        rate = p.damping * GYROMAGNETIC * p.anisotropy_field / (1.0 + p.damping**2)
        is_parallel = torch.as_tensor(parallel, device=v.device)
        current = torch.where(is_parallel, -v / p.v_reset, v / p.v_set)
        time = torch.as_tensor(duration * rate, dtype=torch.float64, device=v.device)
        return switching_probability(current, time, self.delta)


class MTJCells(Cells):
    """A population of magnetic tunnel junctions.

    Attributes:
        x: 1 where parallel (high conductance), 0 where antiparallel; of the population's shape.
    """

    keeps_parameters: ClassVar[bool] = True

    spec: MTJ

    @property
    def x(self) -> Tensor:
        """States: as pulses left them, else those nearer to the conductances."""
        if self.inner is not None:
            return self.inner
        low, high = self.spec.levels(self.parameters_drawn())
        return (2.0 * self.g > low + high).to(self.g.dtype)

    @x.setter
    def x(self, value: Tensor) -> None:
        value = value.expand(self.shape)
        self.hold(self.conductance_of(value, self.parameters_drawn()))
        self.inner = value

    def conductance_of(self, inner: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        """Return the low-voltage conductances (S) of states."""
        low, high = self.spec.levels(drawn)
        return self._between(inner, low, high)

    def reset(self) -> None:
        """Put every healthy cell antiparallel."""
        self.x = torch.zeros_like(self.g)
        self.seconds = 0.0

    def write(self, g: Tensor) -> None:
        """Set the cells directly to the nearer of their two states.

        Args:
            g: conductances asked for (S), of (or broadcast to) ``shape``.

        Raises:
            ValueError: if some are not finite or the shape does not fit.
        """
        low, high = self.spec.levels(self.parameters_drawn())
        self.x = (2.0 * self._checked(g).detach() > low + high).to(self.g.dtype)
        self.seconds = 0.0

    def current(self, v: Tensor | float) -> Tensor:
        """Return the current (A) through each cell under a voltage (V) that does not move it."""
        voltage = checks.numbers("v", v, self.x.dtype, self.x.device)
        drawn = self.parameters_drawn()
        _, high = self.spec.levels(drawn)
        low = high / (1.0 + self.spec.tmr_at(voltage, drawn))
        return self.with_broken(voltage * self._between(self.x, low, high), voltage)

    @torch.no_grad()
    def apply_pulse(self, v: Tensor | float, duration: Tensor | float) -> None:
        """Switch each cell, or not: drawn from the cells' stream with the law's probability.

        It counts as one write of every cell that sees a voltage for a time.

        Args:
            v: voltages (V), > 0 towards parallel; one for all cells or one per cell.
            duration: pulse widths (s), >= 0, one for all cells or one per cell.

        Raises:
            ValueError: if some are not finite or negative, or the shapes do not fit.
        """
        voltage, seconds = self._per_cell("v", v), self._per_cell("duration", duration)
        if bool((seconds < 0.0).any()):
            raise ValueError(f"duration must be >= 0, got {float(seconds.min()):g}")
        self.count(((voltage != 0.0) & (seconds > 0.0)).long())
        chance = self.spec.probability(voltage, seconds, self.x > 0.5, self.parameters_drawn())
        draw = torch.empty(self.shape, dtype=torch.float64, device=self.x.device)
        draw.uniform_(generator=random.take(self.rng, self.x.device))
        self.x = torch.where(draw < chance, 1.0 - self.x, self.x)

    @staticmethod
    def _between(x: Tensor, low: Any, high: Any) -> Tensor:
        # As tensors: of two numbers torch.where makes float32.
        ends = [torch.as_tensor(end, dtype=x.dtype, device=x.device) for end in (low, high)]
        return torch.where(x > 0.5, ends[1], ends[0])

    def _per_cell(self, name: str, value: Tensor | float) -> Tensor:
        # In float64: a float32 holds no ten years and nanosecond at once.
        return checks.one_each(name, value, self.x, torch.float64)
