"""Pulses in passive arrays: which cells see what of them, one group after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mho.circuit import InSeries
from mho.circuit.half_select import as_arrays, bias_of, seen, tallies
from mho.circuit.passive import cell_voltages
from mho.programming import access
from mho.programming.writers import VoltageWriter

if TYPE_CHECKING:
    from mho.programming.scheme import WriteVerify

TOLERANCE = 1e-5
"""Kirchhoff residual of the circuits solved, relative to the largest cell current."""

Pulse = tuple[Tensor, "Tensor | float", Tensor]
"""What every cell sees (V), for how long (s), and which of them were selected."""


class PassiveWriter:
    """Gives pulses to passive arrays, in which half-selected cells see parts of them.

    On wires with resistance, or with selectors, the circuit of all cells is solved as they are
    when a round's pulses of one polarity begin (those of one row, where cells are pulsed one by
    one), and what cells see of each pulse is held for its width.

    Args:
        writer: of the population.
        scheme: bias, order, wires and selector.
    """

    def __init__(self, writer: VoltageWriter, scheme: WriteVerify) -> None:
        self.writer, self.scheme = writer, scheme
        self.selector = None if scheme.selector is None else scheme.selector.current
        self.wires = None if scheme.wires is None or scheme.wires.ideal else scheme.wires

    def pulse(self, chosen: Tensor, volts: Tensor, width: float) -> tuple[float, float]:
        """Give the chosen cells their pulses, group after group.

        Args:
            chosen: of the population's shape.
            volts: signed, wanted on the chosen cells, 0 elsewhere (V).
            width: of a pulse (s).

        Returns:
            Energy dissipated in all cells, and of it in cells that were not selected (J).
        """
        total = half_selected = 0.0
        for over, seconds, own in self._pulses(chosen, volts, width):
            joules = self.writer.pulse(over, seconds)
            total += float(joules.sum(dtype=torch.float64))
            half_selected += float(torch.where(own, 0.0, joules).sum(dtype=torch.float64))
        return total, half_selected

    def _pulses(self, chosen: Tensor, volts: Tensor, width: float) -> Iterator[Pulse]:
        rows = list(access.rows(chosen))
        if self.scheme.order == "row":
            real = self.wires is not None or self.selector is not None
            for together in [rows] if real and rows else [[row] for row in rows]:
                wanted = torch.stack([torch.where(row, volts, 0.0) for row in together])
                for over, row in zip(self._seen(wanted), together, strict=True):
                    yield over, width, row
        elif self.wires is None:
            yield from self._levels(chosen, volts, width)
        else:
            for row in rows:
                cells = access.cells(row)
                for over, cell in zip(self._seen(cells * volts), cells, strict=True):
                    yield over, width, cell

    def _levels(self, chosen: Tensor, volts: Tensor, width: float) -> Iterator[Pulse]:
        # Pulses of one voltage add up to one long pulse, whoever was selected in each: so there
        # are as many steps as amplitudes, and only the order of pulses within a round is lost.
        for level in volts[chosen].unique().tolist():
            equal = chosen & (volts == level)
            for part, count in tallies(equal, self.scheme.bias):
                over = part * level * (count > 0).to(volts.dtype)
                own = torch.full_like(chosen, part == 1.0)
                yield self._share(over), width * count.to(volts.dtype), own

    def _seen(self, wanted: Tensor) -> Tensor:
        """Return what cells see of selections ``[V, …]``, each of cells of one row (V)."""
        if self.wires is None:
            return self._share(torch.stack([seen(v, self.scheme.bias) for v in wanted]))
        arrays = torch.stack([as_arrays(v) for v in wanted], dim=1)  # [arrays, V, rows, cols]
        g = as_arrays(self.writer.conductance())
        over = cell_voltages(
            _Cells(self.writer, wanted.shape[1:]),
            self.wires,
            bias_of(arrays, self.scheme.bias),
            selector=self.selector,
            conductance=g if self.writer.cells.spec.ohmic and bool(g.any()) else None,
            tolerance=TOLERANCE,
        )
        return over.transpose(0, 1).reshape(wanted.shape).to(wanted)

    def _share(self, volts: Tensor) -> Tensor:
        """Return what of voltages over cells and selectors is over the cells (V)."""
        if self.selector is None:
            return volts
        return InSeries(self.writer.current, self.selector).cell_share(volts)


class _Cells:
    """The cells' law, for voltages ``[arrays, V, rows, cols]``."""

    def __init__(self, writer: VoltageWriter, shape: tuple[int, ...]) -> None:
        self.writer, self.shape = writer, shape

    def __call__(self, v: Tensor) -> Tensor:
        vectors = v.transpose(0, 1)
        current = self.writer.current(vectors.reshape(-1, *self.shape))
        return current.reshape(vectors.shape).transpose(0, 1)
