"""Gated arrays: the inputs open the cells' transistors, and each column is a ladder of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from mho.circuit.lines import Ohms, as_lines, conductances, solving_device
from mho.circuit.solution import Solution
from mho.circuit.wires import Wires
from mho.core.checks import instance, number


def solve_gated(
    G: Tensor,
    wires: Wires,
    gates: Tensor,
    supply: float = 1.0,
    *,
    source: Ohms | None = None,
    word: Ohms | None = None,
    bit: Ohms | None = None,
    sense: Ohms | None = None,
) -> Solution:
    """Solve a gated (1T1R select per input) array for every voltage and current in it.

    Cell ``(i, j)`` conducts ``gates[i] * G[i, j]`` between the supply rail and the bit line of its
    column, so without wires ``currents = supply * gates @ G``. With wires the currents are not
    linear in the gates: each pattern of gates is another circuit, and there is no fixed ``T``.

    A column has no branches, so it is solved by two sweeps over its rows. With ``r = word + bit``,
    ``d`` a cell's voltage, ``c`` the bit line's current after it and ``I`` the column's current,

        c = Y d + kappa I,
        Y' = g' + Y / (1 + r Y),
        1 - kappa' = (1 - kappa + r_back Y) / (1 + r Y)

    where ``r_back`` is ``bit`` if rail and bit line are used from opposite ends, else ``r``. All
    terms are positive: nothing cancels, whatever the resistances.

    Args:
        G: conductances ``[..., m, n]`` [S].
        wires: line resistances; ``wires.gated`` must be set.
        gates: how far each row's cells are open, in [0, 1], ``[m]`` or ``[..., vectors, m]``.
        supply: voltage of the rails [V].
        source: instead of ``wires.source``, of each column's supply, ``[..., n]`` [ohm].
        word: instead of ``wires.word``, of each column's rail, ``[..., n]`` [ohm].
        bit: instead of ``wires.bit``, ``[..., n]`` [ohm].
        sense: instead of ``wires.sense``, ``[..., n]`` [ohm].

    Returns:
        The solution; ``word_voltages`` are those of the rails. Differentiable.

    Raises:
        ValueError: for gates outside [0, 1], wires that are not gated, and as for ``solve``.
        TypeError: for what is not a floating-point tensor.
    """
    instance("wires", wires, Wires)
    if not wires.gated:
        raise ValueError("wires must be gated, Wires(gated=True, …), got an ungated array")
    number("supply", supply)
    cells = conductances(G)
    _, m, n = cells.shape
    lead = G.shape[:-2]
    given = {"source": source, "word": word, "bit": bit, "sense": sense}
    lines = {
        name: as_lines(name, getattr(wires, name) if value is None else value, lead, n, cells)
        for name, value in given.items()
    }
    open_cells = (cells.view(*lead, 1, m, n) * _gates(gates, m, G)[..., None]).flatten(0, -3)
    count = open_cells.shape[0] // cells.shape[0]
    lines = {name: value.repeat_interleave(count, 0) for name, value in lines.items()}
    bottom = wires.read == "bottom"
    solution = _ladder(
        open_cells if bottom else open_cells.flip(-2),
        opposite=(wires.drive == "left") == bottom,
        supply=supply,
        **lines,
    )
    shape = (*lead, count) if gates.ndim > 1 else lead

    def back(values: Tensor) -> Tensor:
        if values.ndim == 3 and not bottom:
            values = values.flip(-2)
        return values.reshape((*shape, *values.shape[1:])).to(G)

    return Solution(**{name: back(value) for name, value in vars(solution).items()})


def _gates(gates: Tensor, m: int, G: Tensor) -> Tensor:
    instance("gates", gates, Tensor)
    if gates.ndim == 0 or gates.shape[-1] != m:
        raise ValueError(
            f"gates must have shape [..., {m}] to fit G of shape {list(G.shape)}, "
            f"got {list(gates.shape)}"
        )
    if not bool(((gates >= 0) & (gates <= 1)).all()):
        raise ValueError("gates must be in [0, 1]")
    gates = gates.to(device=solving_device(G), dtype=torch.float64)
    gates = gates[None] if gates.ndim == 1 else gates
    vectors = gates.shape[-2]
    if G.ndim == 2:
        return gates.reshape(-1, m)
    try:
        return gates.expand(*G.shape[:-2], vectors, m)
    except RuntimeError:
        raise ValueError(
            f"gates of shape {list(gates.shape)} do not match G of shape {list(G.shape)}"
        ) from None


def _ladder(
    cells: Tensor,
    *,
    opposite: bool,
    supply: float,
    source: Tensor,
    word: Tensor,
    bit: Tensor,
    sense: Tensor,
) -> Solution:
    # Columns sensed at the last row; the rail is fed at the first row if ``opposite``.
    rows = cells.unbind(-2)
    r = word + bit
    back, forth = (bit, word) if opposite else (r, torch.zeros_like(word))
    admittance, rest = [rows[0]], torch.ones_like(rows[0])
    rests = [rest]
    for g in rows[1:]:
        Y = admittance[-1]
        rest = (rest + back * Y) / (1 + r * Y)
        admittance.append(g + Y / (1 + r * Y))
        rests.append(rest)
    # Any column current will do, since all scales with it; this one is fine for open columns too.
    total, d = admittance[-1], rests[-1]
    drops = [d]
    for Y, rest in zip(reversed(admittance[:-1]), reversed(rests[:-1]), strict=True):
        d = (d + (forth - r * (1 - rest)) * total) / (1 + r * Y)
        drops.append(d)
    voltages = torch.stack(drops[::-1], -2)
    currents = cells * voltages
    on_bit = currents.cumsum(-2)
    flow = on_bit[..., :-1, :]  # in the segments between rows
    rise = bit[:, None] * flow
    above = torch.nn.functional.pad(rise, (0, 0, 0, 1)).flip(-2).cumsum(-2).flip(-2)
    bit_voltages = above + (sense * total)[:, None]
    at_feed = 0 if opposite else -1
    scale = supply / (voltages[:, at_feed] + bit_voltages[:, at_feed] + source * total)
    on_rail = total[:, None] - flow if opposite else flow
    heat = (currents * voltages).sum(-2) + (source + sense) * total.square()
    heat = heat + (word[:, None] * on_rail.square() + rise * flow).sum(-2)
    current = scale * total
    spread = scale[:, None]
    return Solution(
        word_voltages=spread * (voltages + bit_voltages),
        bit_voltages=spread * bit_voltages,
        cell_currents=spread * currents,
        currents=current,
        source_power=(supply * current).sum(-1),
        dissipated_power=(scale.square() * heat).sum(-1),
    )
