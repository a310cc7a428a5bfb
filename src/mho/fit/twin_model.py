"""What a measured array does to its inputs, and how that changes with what is not known of it.

    g = G / (1 + access · G)     cells and their transistors
    c_j = f(v) @ T(g)_j          currents, on wires
    z_j = gain_j · c_j + offset_j
    y_j = z_j / (1 + compression · |z_j|) + noise

All tensors are float64, ``[reads, lines]`` where not said otherwise; a line is what one converter
reads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mho.cells.spread import Spread, nominal
from mho.circuit import Wires
from mho.circuit.noise import voltages_across
from mho.crossbar import expansion
from mho.crossbar.wires import wired, wired_noise
from mho.effects.reading import AccessResistance, ReadNoise
from mho.hardware import Hardware
from mho.periphery.amplifier import Amplifier

RESISTANCES = ("source", "word", "bit", "sense", "access")
_STEP = 1e-3
_LEAST_STEP = 1e-3  # ohm


@dataclass(frozen=True)
class State:
    """A guess at what is hidden.

    Attributes:
        gain: of every line ``[lines]``.
        offset: of every line (A) ``[lines]``.
        compression: of all (1/A).
        wires: of the array.
        access: resistance in series with every cell (Ω).
        g: conductances ``[slices, rows, cols]`` (S).
        common: what all lines of a read have in common ``[reads]`` (A).
    """

    gain: Tensor
    offset: Tensor
    compression: float
    wires: Wires
    access: float
    g: Tensor
    common: Tensor

    @classmethod
    def of(cls, hardware: Hardware, g: Tensor, lines: int, reads: int) -> State:
        """Return what hardware says; spreads by their means.

        Args:
            hardware: what is known.
            g: conductances ``[slices, rows, cols]`` (S).
            lines: how many there are.
            reads: likewise.

        Raises:
            ValueError: if its amplifier has values for another number of lines, or there are errors
                at its lines that no twin has.
        """
        amplifier = hardware.amplifier or Amplifier()
        _refuse_errors(hardware, amplifier)
        one = torch.ones(lines, dtype=torch.float64)
        gain, offset = (_of_lines(value, one) for value in (amplifier.gain, amplifier.offset))
        access = sum(e.ohms for e in hardware.effects if isinstance(e, AccessResistance))
        common = torch.zeros(reads, dtype=torch.float64)
        bend = nominal(amplifier.compression)
        return cls(gain, offset, bend, hardware.array.wires, access, g, common)

    @property
    def seen(self) -> Tensor:
        """Conductances of cells with what is in series with them, shaped as ``g`` (S)."""
        return self.g / (1.0 + self.access * self.g)

    def resistances(self, names: tuple[str, ...]) -> list[float]:
        """Return the resistances (Ω) of these names."""
        return [self.access if name == "access" else getattr(self.wires, name) for name in names]

    def with_resistances(self, values: dict[str, float]) -> State:
        """Return the state with other resistances, none below 0 Ω."""
        values = {name: max(value, 0.0) for name, value in values.items()}
        access = values.pop("access", self.access)
        return replace(self, wires=self.wires.replace(**values), access=access)


def _refuse_errors(hardware: Hardware, amplifier: Amplifier) -> None:
    """Refuse errors that differ from line to line and are not looked for (ValueError)."""
    spread = isinstance(amplifier.compression, Spread) or isinstance(amplifier.noise, Spread)
    if spread or amplifier.saturation is not None:
        raise ValueError(
            "hardware's amplifier must have one compression and one noise for all lines, and no "
            f"saturation, got {amplifier}"
        )
    adc = hardware.adc
    if (adc is not None and adc.errs) or hardware.drive.errs:
        raise ValueError(
            "hardware must have converters and drivers without errors of their own: in a fit all "
            f"errors of lines count as the amplifiers', got dac={hardware.dac}, adc={adc}"
        )


def _of_lines(value: float | Spread | tuple[float, ...], one: Tensor) -> Tensor:
    if not isinstance(value, tuple):
        return one * nominal(value)
    if len(value) != len(one):
        raise ValueError(
            f"hardware's Amplifier has values for {len(value)} lines, the array has {len(one)}"
        )
    return one.new_tensor(value)


class Array:
    """An array of one tile, as its hardware says, with what is hidden left open.

    Args:
        hardware: what it is made of.
    """

    def __init__(self, hardware: Hardware) -> None:
        self.hardware = hardware

    def effective(self, state: State) -> Tensor:
        """Return what converters see of the cells, ``[rows, lines]`` (S)."""
        array = self.hardware.array.replace(wires=state.wires)
        return self.hardware.encoding.converted(wired(state.seen, array))

    def driven(self, v: Tensor) -> Tensor:
        """Return ``f(v)`` (V) of voltages ``[reads, rows]``."""
        return expansion.driven(v.unsqueeze(0), self.hardware, 1.0)[0]

    def currents(self, state: State, v: Tensor) -> Tensor:
        """Return the currents (A) before the amplifiers, for ``f(v) [reads, rows]``."""
        return v @ self.effective(state)

    def outputs(self, state: State, v: Tensor) -> Tensor:
        """Return the mean outputs (A), for ``f(v) [reads, rows]``."""
        z = self.currents(state, v) * state.gain + state.offset
        return compressed(z, state.compression)

    def noises(self, state: State, v: Tensor) -> dict[str, Tensor]:
        """Return the variance of currents (A²) by cells' noise of relative size 1, by its kind."""
        hardware = self.hardware
        given = {e.relative_to for e in hardware.effects if isinstance(e, ReadNoise)}
        low, high = hardware.device.window
        kinds = {"range": torch.full_like(state.g, (high - low) ** 2), "value": state.seen.square()}
        return {
            kind: self.noise(state, v, variance)
            for kind, variance in kinds.items()
            if kind in given or not given
        }

    def by_resistance(self, state: State, v: Tensor, names: tuple[str, ...]) -> list[Tensor]:
        """Return the derivative of the currents in each resistance (A/Ω).

        By central differences of the exact ``T``: it is smooth in them, and quick to solve.
        """
        found = []
        for name, value in zip(names, state.resistances(names), strict=True):
            step = max(value * _STEP, _LEAST_STEP)
            up, down = value + step, max(value - step, 0.0)
            ends = [self.effective(state.with_resistances({name: r})) for r in (up, down)]
            found.append(v @ ((ends[0] - ends[1]) / (up - down)))
        return found

    def reach(self, state: State) -> Tensor | None:
        """Return the derivative of every line's currents per volt in each of its own cells.

        Exact: the voltage across the cell, times the share of its current that reaches the line.
        Only of bare cells, where every line reads one slice.

        Returns:
            ``[lines, drivers, rows]``; None where wires are ideal and a cell sees its driver alone.
        """
        own = (1.0 + state.access * state.g).pow(-2)
        if state.wires.ideal:
            if not state.access:
                return None
            return torch.diag_embed(own.transpose(1, 2).flatten(0, 1))
        eye = torch.eye(state.g.shape[2], dtype=state.g.dtype)
        # [slices, drivers or lines, rows, cols]
        across, seen = voltages_across(state.seen, state.wires, eye)
        share = seen.to(state.g).diagonal(dim1=1, dim2=3) * own  # [slices, rows, cols]
        return (across.to(state.g) * share.unsqueeze(1)).permute(0, 3, 1, 2).flatten(0, 1)

    def noise(self, state: State, v: Tensor, variance: Tensor) -> Tensor:
        """Return the variance (A²) of the currents by white noise of the cells.

        Args:
            state: of the array.
            v: ``f(v) [reads, rows]``.
            variance: of every cell, shaped as ``g`` (S²).
        """
        encoding = self.hardware.encoding
        if state.wires.ideal:
            return v.square() @ encoding.converted_variance(variance)
        array = self.hardware.array.replace(wires=state.wires)
        (form,) = wired_noise(state.seen, variance, encoding, array)
        return form.variance(v[None, None])[0, 0]


class Direct(Array):
    """Amplifiers alone: currents are given in place of inputs ``[reads, lines]`` (A)."""

    def currents(self, state: State, v: Tensor) -> Tensor:
        """Return the currents given."""
        return v

    def noises(self, state: State, v: Tensor) -> dict[str, Tensor]:
        """Return the variance (A²) of a gain that varies by its own size."""
        return {"gain": v.square()}


def compressed(z: Tensor, compression: float) -> Tensor:
    """Return ``z / (1 + compression · |z|)``."""
    return z / (1.0 + compression * z.abs())


def slope(z: Tensor, compression: float) -> Tensor:
    """Return the derivative of `compressed` in ``z``."""
    return (1.0 + compression * z.abs()).pow(-2)


def by_compression(z: Tensor, compression: float) -> Tensor:
    """Return the derivative of `compressed` in the compression (A²)."""
    return -z * z.abs() * slope(z, compression)


def by_cell(v: Tensor, reach: Tensor | None, cells: Tensor) -> Tensor:
    """Return the derivative of every line's current in some of its own cells.

    Args:
        v: ``f(v) [reads, rows]``.
        reach: as `Array.reach` returns it.
        cells: rows of the cells asked for ``[lines, cells]``.

    Returns:
        ``[lines, reads, cells]`` (V).
    """
    if not cells.numel():
        return v.new_zeros(len(cells), len(v), 0)
    if reach is None:
        return v[:, cells].transpose(0, 1)
    return v @ reach.gather(2, cells.unsqueeze(1).expand(-1, reach.shape[1], -1))
