"""Solutions: every voltage, current and power of an array, from what its cells carry."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mho.circuit.grid import Grid, turn_cells, turn_cols
from mho.circuit.wires import Wires


@dataclass(frozen=True)
class Solution:
    """Everything about an array under given voltages. Positive currents flow word to bit line.

    Args:
        word_voltages: node voltages on the word lines ``[..., m, n]`` [V].
        bit_voltages: node voltages on the bit lines ``[..., m, n]`` [V].
        cell_currents: ``[..., m, n]`` [A].
        currents: into the sinks ``[..., n]`` [A].
        source_power: delivered by drivers and sinks ``[...]`` [W].
        dissipated_power: turned into heat in cells and wires ``[...]`` [W].
    """

    word_voltages: Tensor
    bit_voltages: Tensor
    cell_currents: Tensor
    currents: Tensor
    source_power: Tensor
    dissipated_power: Tensor

    @property
    def cell_voltages(self) -> Tensor:
        """Voltage across every cell, word line to bit line ``[..., m, n]`` [V]."""
        return self.word_voltages - self.bit_voltages


def complete(grid: Grid, drivers: Tensor, sinks: Tensor, cell_currents: Tensor) -> Solution:
    """Return the solution of canonical arrays whose cells' currents are known.

    Node voltages follow from these by running sums, exactly as the lines add up.

    Args:
        grid: the arrays.
        drivers: driver voltages ``[N, V, m]`` [V].
        sinks: sink voltages ``[N, V, n]`` [V].
        cell_currents: ``[N, V, m, n]`` [A].
    """
    drop, rise = grid.word_drop(cell_currents), grid.bit_rise(cell_currents)
    currents = cell_currents.sum(-2)
    on_word = cell_currents.flip(-1).cumsum(-1).flip(-1)
    on_bit = cell_currents.flip(-2).cumsum(-2).flip(-2)
    fed = drivers * on_word[..., 0]
    lost = drop.new_zeros(())
    if grid.end is not None:
        far = grid.far_current((grid.word[:, None] * on_word).cumsum(-1))
        on_word = on_word - far[..., None]
        lost = (grid.end[:, None] * far.square()).sum(-1)
    word_voltages = drivers[..., None] - drop
    bit_voltages = sinks[..., None, :] + rise
    heat = (
        cell_currents * (word_voltages - bit_voltages)
        + grid.word[:, None] * on_word.square()
        + grid.bit[:, None] * on_bit.square()
    ).sum((-2, -1)) + lost
    power = fed.sum(-1) - (sinks * currents).sum(-1)
    return Solution(word_voltages, bit_voltages, cell_currents, currents, power, heat)


def as_given(found: Solution, wires: Wires, lead: tuple[int, ...], G: Tensor) -> Solution:
    """Return a solution of canonical arrays turned, shaped and of the dtype and device of ``G``.

    Args:
        found: of canonical arrays.
        wires: say which ends are used.
        lead: leading dimensions wanted.
        G: the arrays as given ``[..., m, n]``.
    """
    m, n = G.shape[-2:]

    def cells(values: Tensor) -> Tensor:
        return turn_cells(values, wires).reshape(*lead, m, n).to(G)

    return Solution(
        word_voltages=cells(found.word_voltages),
        bit_voltages=cells(found.bit_voltages),
        cell_currents=cells(found.cell_currents),
        currents=turn_cols(found.currents, wires).reshape(*lead, n).to(G),
        source_power=found.source_power.reshape(lead).to(G),
        dissipated_power=found.dissipated_power.reshape(lead).to(G),
    )
