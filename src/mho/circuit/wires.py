"""Wires: what the lines of a crossbar are made of, and from which ends they are used."""

from __future__ import annotations

from dataclasses import dataclass

from mho.core.checks import instance, number, one_of
from mho.core.spec import Spec, derived


@dataclass(frozen=True)
class Wires(Spec):
    """Resistances and terminals of a crossbar's lines.

    Word line ``i`` runs from its driver ``V_i`` through ``source`` to cell ``(i, 0)`` and on to
    cell ``(i, n-1)``, one segment ``word`` between neighbouring cells; its far end is open. Bit
    line ``j`` is open at row 0, has one segment ``bit`` between neighbouring cells, and after row
    ``m-1`` ends through ``sense`` in a virtual ground. A cell joins the two nodes at ``(i, j)``.
    Every resistance may be zero, and zero is exact: the nodes are then one.

    In a *gated* array (1T1R cells whose transistors' gates are the inputs) the word lines carry no
    current. Each column is a ladder of its own: a supply rail runs along it (``source`` from the
    supply to the rail, ``word`` between neighbouring cells of the rail), the cells join the rail
    to the bit line. Rails are fed at the top row for ``drive="left"``, at the bottom row for
    ``drive="right"``. See ``mho.circuit.solve_gated``.

    Args:
        source: from a driver to the first cell of its line [ohm].
        word: between neighbouring cells of a word line [ohm].
        bit: between neighbouring cells of a bit line [ohm].
        sense: from the last cell of a bit line to its virtual ground [ohm].
        drive: which end of the word lines the drivers feed: ``"left"``, ``"right"`` or ``"both"``
            (each end through its own ``source``).
        read: which end of the bit lines is sensed: ``"bottom"`` or ``"top"``.
        gated: the gated column-ladder topology.
    """

    source: float = 0.0
    word: float = 0.0
    bit: float = 0.0
    sense: float = 0.0
    drive: str = "left"
    read: str = "bottom"
    gated: bool = False

    def __post_init__(self) -> None:
        """Refuse negative resistances and unknown ends."""
        for name in ("source", "word", "bit", "sense"):
            number(name, getattr(self, name), least=0.0)
        one_of("drive", self.drive, ("left", "right", "both"))
        one_of("read", self.read, ("bottom", "top"))
        instance("gated", self.gated, bool)
        if self.gated and self.drive == "both":
            raise ValueError("drive must be 'left' or 'right' in a gated array, got 'both'")

    @derived
    def ideal(self) -> bool:
        """Whether no resistance is left, so that ``T = G``."""
        return self.source == self.word == self.bit == self.sense == 0.0
