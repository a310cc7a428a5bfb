"""Measurement: what was read from files, in SI units, arranged for the fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mho.fit.calibration import Array


@dataclass(frozen=True)
class Measurement:
    """What was measured, for the fits of `mho.fit`.

    ===========  ==========================  ====================================================
    kind         arrays                      for
    ===========  ==========================  ====================================================
    pulses       set, reset                  pulse responses (S), ``[cells, cycles, pulses + 1]``
    jumps        set_g, set_dg, reset_g,     jump tables (S); one direction alone has no names of
                 reset_dg                    the other
    iv           voltage, current[, time,    sweeps (V, A, s); cycle and state are numbers from 0
                 cycle, state]
    programming  target, achieved[, cell]    conductances wanted and reached (S)
    retention    time, g[, cell]             records (s, S); cell is a number from 0
    map          [lrs][, hrs][, x, y]        conductances of cells (S), of one state or both; where
                                             they stand, unless they are known by name alone
    ===========  ==========================  ====================================================

    Attributes:
        kind: of the measurement.
        arrays: by name, as above.
        cells: their names, in the order of the arrays; empty where the file names none.
        said: what was understood, in three lines: the kind, with cycles and cells; columns and
            units; what was left out or taken as something else.
        paths: of the files.
    """

    kind: str
    arrays: Mapping[str, Array]
    cells: tuple[str, ...]
    said: tuple[str, str, str]
    paths: tuple[Path, ...]

    def __str__(self) -> str:
        return "\n".join(self.said)
