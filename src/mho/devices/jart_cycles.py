"""Filaments that come out different from cycle to cycle: the variability of JART VCM v1b.

Radius and length of a cell's disc are drawn anew whenever the voltage's sign changes. They do not
jump, but go from the old to the new as the density N moves from where it was to its bound:

    r = r_from + (r_to - r_from) (N - N_from)/(N_to - N_from)

with ``N_to`` = n_max while the cell sets and n_min while it resets; ``l_disc`` likewise.

Source: Bengel et al. 2020, doi 10.1109/TCSI.2020.3018502, eq. 21–24.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from mho.core import random
from mho.devices import maths
from mho.devices.switching_cells import SwitchingCells

# New shapes are normal within so many standard deviations.
_SIGMAS = 3.0
_SHAPES = ("radius", "l_disc")
CYCLE = ("heading", "n_from", "n_to", *(f"{n}_{end}" for n in _SHAPES for end in ("from", "to")))
"""Names of the tensors that say where a cell is in its cycle."""


def shaped(n: Any, p: Any) -> Any:
    """Return the parameters of cells of density ``n`` (1/m³), with the shape they have there."""
    if not hasattr(p, "heading"):
        return p
    way = p.n_to - p.n_from
    part = maths.clip((n - p.n_from) / maths.where(way == 0.0, p.n_to, way), 0.0, 1.0)
    new = {}
    for name in _SHAPES:
        start, end = getattr(p, f"{name}_from"), getattr(p, f"{name}_to")
        new[name] = start + (end - start) * part
    return SimpleNamespace(**{**vars(p), **new})


def at_rest(shape: Tensor, p: Any) -> dict[str, Tensor]:
    """Return the state of cycles of cells that have not been driven yet.

    Args:
        shape: a tensor shaped as the population.
        p: their parameters.
    """
    blank = torch.zeros_like(shape)
    state = {"heading": blank, "n_from": blank + p.n_min, "n_to": blank + p.n_max}
    for name in _SHAPES:
        for end in ("from", "to"):
            state[f"{name}_{end}"] = blank + getattr(p, name)
    return state


class JARTCells(SwitchingCells):
    """Cells of `JARTVCM` whose filaments differ from cycle to cycle.

    Written directly, a cell has the shape that fabrication gave it. What is drawn comes from the
    population's stream of programming. A waveform counts as 0 V at the end of the sample interval
    in which it changes its sign; it must do so for all cells at once.
    """

    spec: Any

    def write(self, g: Tensor) -> None:
        """Set the states directly to conductances; see `SwitchingCells.write`."""
        self._keep(at_rest(self.g, self._born()))
        super().write(g)

    def reset(self) -> None:
        """Put every healthy cell at its lowest conductance, with the shape it was born with."""
        self._keep(at_rest(self.g, self._born()))
        super().reset()

    def present(self) -> dict[str, Tensor]:
        """Return the parameters that differ from cell to cell, as they are now."""
        p = self._values()
        now = vars(shaped(self.spec.density(self.x, p), p))
        return {**super().present(), **{name: now[name] for name in _SHAPES}}

    @torch.no_grad()
    def apply_pulse(self, v: Tensor | float, duration: Tensor | float, **settings: Any) -> None:
        """Move the states by a constant voltage; see `SwitchingCells.apply_pulse`."""
        voltage, seconds = self._per_cell("v", v), self._per_cell("duration", duration)
        self._turn(voltage * (seconds > 0.0))
        super().apply_pulse(v, duration, **settings)

    @torch.no_grad()
    def simulate(
        self,
        voltage: Tensor,
        *,
        dt: float,
        every: int | None = 1,
        gate: Tensor | None = None,
        **settings: Any,
    ) -> Tensor:
        """Drive the cells with a waveform; see `SwitchingCells.simulate`.

        Raises:
            ValueError: if a waveform's sign does not change for all cells at once.
        """
        volts = self.waveform("voltage", voltage)
        if gate is not None and len(gate) != len(volts):
            raise ValueError(f"gate must have {len(volts)} samples as voltage, got {len(gate)}")
        found = [super().simulate(volts[:0], dt=dt, every=every, **settings)]
        for start, stop in _halves(volts):
            # Between two half cycles the voltage passes 0 V.
            last = stop == len(volts)
            half = volts[start:stop] if last else torch.cat([volts[start:stop], volts[:1] * 0.0])
            self._turn(_extreme(half))
            if gate is not None:
                settings["gate"] = gate[start : start + len(half)]
            kept = super().simulate(half, dt=dt, every=every and 1, **settings)
            found.append(kept[: stop - start])
        return torch.cat(found)[:: every or 1]

    def _born(self) -> Any:
        drawn = self.parameters_drawn()
        return self.spec.parameters({k: v for k, v in drawn.items() if k in self.spec.spreads()})

    def _keep(self, state: dict[str, Tensor]) -> None:
        for name, value in state.items():
            self.register_buffer(f"state_0_{name}", value)

    def _turn(self, voltage: Tensor) -> None:
        """Draw a new shape for the cells that see a voltage of another sign than before."""
        p, sign = self._values(), voltage.sign().expand(self.shape)
        turned = (sign != 0.0) & (sign != p.heading)
        if not bool(turned.any()):
            return
        n, x = self.spec.density(self.x, p), self.x
        now, born = vars(shaped(n, p)), vars(self._born())
        source = random.take(self.rng, x.device)
        new = {"heading": sign, "n_from": n, "n_to": torch.where(sign > 0.0, p.n_min, p.n_max)}
        for name, part in zip(_SHAPES, (p.c2c_radius, p.c2c_length), strict=True):
            new[f"{name}_from"] = now[name]
            new[f"{name}_to"] = born[name] * (1.0 + part * _normal(x, source))
        self._keep({k: torch.where(turned, v, getattr(p, k)).to(x) for k, v in new.items()})
        self.x = x  # the same states, whatever the conductances are said to be


def _normal(like: Tensor, source: torch.Generator) -> Tensor:
    # Within _SIGMAS, by the quantiles: none is cut off and piled up.
    edge = torch.special.ndtr(torch.tensor(-_SIGMAS, dtype=torch.float64))
    share = torch.empty(like.shape, dtype=torch.float64, device=like.device)
    share.uniform_(float(edge), float(1.0 - edge), generator=source)
    return torch.special.ndtri(share).to(like)


def _extreme(half: Tensor) -> Tensor:
    """Return the voltage farthest from 0 of waveforms of one sign."""
    low, high = half.amin(0), half.amax(0)
    return torch.where(-low > high, low, high)


def _halves(volts: Tensor) -> list[tuple[int, int]]:
    """Return where the half cycles of a waveform begin and end; each is of one sign."""
    if not volts.numel():
        return [(0, len(volts))] if len(volts) else []
    signs = volts.reshape(len(volts), -1).sign()
    low, high = signs.amin(1).tolist(), signs.amax(1).tolist()
    cuts, before = [0], 0.0
    for k, (least, most) in enumerate(zip(low, high, strict=True)):
        if least < 0.0 < most:
            raise ValueError(
                f"voltage must have one sign for all cells at each sample, for cells that differ "
                f"from cycle to cycle (c2c > 0); at sample {k} it has both"
            )
        sign = least or most
        if sign and before and sign != before:
            cuts.append(k)
        before = sign or before
    return list(zip(cuts, [*cuts[1:], len(volts)], strict=True))
