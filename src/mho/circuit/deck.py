"""A crossbar as a SPICE deck."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from mho.circuit.lines import conductances
from mho.circuit.wires import Wires
from mho.core.checks import instance

OPTIONS = ".options reltol=1e-9 abstol=1e-18 vntol=1e-12 gmin=1e-18"
"""ngspice's defaults are off by percents on stiff circuits; these are not."""


def netlist(G: Tensor, wires: Wires, voltages: Tensor, sink: float = 0.0) -> str:
    """Write the array as a deck that ngspice runs as it is (``ngspice -b deck.cir``).

    It finds the operating point and prints ``i(vsense<j>)``, the current into the sink of bit line
    ``j`` [A], for every column. Nodes are ``w_<i>_<j>`` and ``b_<i>_<j>``; nodes joined by zero
    resistance have one name, that of their line's first. Cells that do not conduct are left out.

    Args:
        G: conductances ``[m, n]`` [S].
        wires: line resistances and which ends are used; not gated.
        voltages: of the drivers ``[m]`` [V].
        sink: voltage of the sinks [V].

    Returns:
        The deck.

    Raises:
        ValueError: for gated arrays, and as for ``effective_conductance``.
        TypeError: for what is not a floating-point tensor.
    """
    instance("wires", wires, Wires)
    instance("voltages", voltages, Tensor)
    if wires.gated:
        raise ValueError("wires must not be gated: gated arrays have no netlist")
    conductances(G)
    if G.ndim != 2:
        raise ValueError(f"G must have shape [m, n], got {list(G.shape)}")
    if tuple(voltages.shape) != (G.shape[0],):
        raise ValueError(f"voltages must have shape [{G.shape[0]}], got {list(voltages.shape)}")
    drivers = voltages.detach().tolist()
    m, n = G.shape
    lines = [
        f"* {m} x {n} crossbar written by mho",
        f"* source {wires.source:g}, word {wires.word:g}, bit {wires.bit:g}, "
        f"sense {wires.sense:g} ohm; drive {wires.drive}, read {wires.read}",
        *(f"Vin{i} in_{i} 0 DC {value!r}" for i, value in enumerate(drivers)),
        *(f"Vsense{j} out_{j} 0 DC {sink!r}" for j in range(n)),
    ]
    lines += wiring(m, n, wires)
    for i, row in enumerate(G.detach().tolist()):
        lines += [
            f"Rcell_{i}_{j} {word_node(i, j, n, wires)} {bit_node(i, j, m, wires)} {1 / g!r}"
            for j, g in enumerate(row)
            if g > 0
        ]
    prints = [f"print i(vsense{j})" for j in range(n)]
    lines += [OPTIONS, ".control", "set numdgt=15", "op", *prints, "quit", ".endc", ".end", ""]
    return "\n".join(lines)


def wiring(m: int, n: int, wires: Wires) -> Iterator[str]:
    """Yield the deck's resistors of all lines of an array of ``m`` rows and ``n`` columns."""
    for i in range(m):
        yield from _word_line(i, n, wires)
    for j in range(n):
        yield from _bit_line(j, m, wires)


def word_node(i: int, j: int, n: int, wires: Wires) -> str:
    """Return the deck's name of the word-line node at cell ``(i, j)``."""
    if wires.word == 0:
        return f"in_{i}" if wires.source == 0 else f"w_{i}_0"
    first, last = wires.drive != "right", wires.drive != "left"
    if wires.source == 0 and ((first and j == 0) or (last and j == n - 1)):
        return f"in_{i}"
    return f"w_{i}_{j}"


def bit_node(i: int, j: int, m: int, wires: Wires) -> str:
    """Return the deck's name of the bit-line node at cell ``(i, j)``."""
    if wires.bit == 0:
        return f"out_{j}" if wires.sense == 0 else f"b_0_{j}"
    if wires.sense == 0 and i == (m - 1 if wires.read == "bottom" else 0):
        return f"out_{j}"
    return f"b_{i}_{j}"


def _word_line(i: int, n: int, wires: Wires) -> Iterator[str]:
    if wires.source > 0 and wires.drive != "right":
        yield f"Rsource_{i} in_{i} {word_node(i, 0, n, wires)} {wires.source!r}"
    if wires.source > 0 and wires.drive != "left":
        yield f"Rfar_{i} in_{i} {word_node(i, n - 1, n, wires)} {wires.source!r}"
    if wires.word > 0:
        for j in range(n - 1):
            ends = f"{word_node(i, j, n, wires)} {word_node(i, j + 1, n, wires)}"
            yield f"Rword_{i}_{j} {ends} {wires.word!r}"


def _bit_line(j: int, m: int, wires: Wires) -> Iterator[str]:
    if wires.sense > 0:
        last = m - 1 if wires.read == "bottom" else 0
        yield f"Rsense_{j} {bit_node(last, j, m, wires)} out_{j} {wires.sense!r}"
    if wires.bit > 0:
        for i in range(m - 1):
            ends = f"{bit_node(i, j, m, wires)} {bit_node(i + 1, j, m, wires)}"
            yield f"Rbit_{i}_{j} {ends} {wires.bit!r}"
