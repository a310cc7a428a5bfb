"""The cells themselves: their area, the charge of their lines, the pulses that write them.

What currents take in the cells comes from a model's own voltages and conductances
(`mho.analysis.cost`); it is no component's.
"""

from __future__ import annotations

from dataclasses import dataclass

from mho.analysis.components.base import Component, Estimate
from mho.core import checks


@dataclass(frozen=True)
class CellArray(Component):
    """Area of an array's cells, F² a cell; energy is the currents', so not told here.

    Source: geometry. 4 F² is a bare crossing, the least there is; ISAAC's and PUMA's 128 × 128
    cells take 25 µm² (1.49 F² at 32 nm: less than a layer of cells takes); a cell of NeuRRAM, with
    its transistor, takes 125.7 F² (derived from its core's area and the share of its cells);
    NeuroSim takes 48 F² (4 × 12) for a cell with a transistor.

    Attributes:
        rows: word lines, >= 1.
        columns: bit lines, >= 1.
        node: F (m), > 0.
        factor: area of a cell (F²), > 0.
        layers: of cells on top of each other, >= 1.

    Raises:
        TypeError, ValueError: if a value is no number, or out of range.
    """

    rows: int = 256
    columns: int = 256
    node: float = 22e-9
    factor: float = 4.0
    layers: int = 1

    source = "geometry: rows · columns · factor · F² / layers"
    conditions = "cells alone; what their currents take is the model's"
    use = "one read"

    def __post_init__(self) -> None:
        checks.integer("rows of CellArray", self.rows)
        checks.integer("columns of CellArray", self.columns)
        checks.number("node of CellArray", self.node, above=0.0, below=1e-3)
        checks.number("factor of CellArray", self.factor, above=0.0)
        checks.integer("layers of CellArray", self.layers)

    @property
    def area(self) -> Estimate:
        """Of all cells (m²)."""
        cells = self.rows * self.columns / self.layers
        return Estimate.exact(cells * self.factor * self.node**2)


@dataclass(frozen=True)
class Line(Component):
    """Charge of a word, bit or source line: one use charges it once, E = C · swing · supply.

    C is that of its driver's end and so much a cell. Where the supply is higher than the swing, the
    charge that flows off is lost; the range is down to C · swing², where it is not. By default the
    gates of a word line of NeuRRAM, from 0.9 to 2.2 V.

    Source: CiMLoop's model of NeuRRAM (github.com/mit-emze/cimloop): 48 fF and 2.1 fF a cell at
    130 nm. Others: the wire's 0.2 fF/µm (`Wire`), and a gate's half NAND (0.35 fF) at 28 nm.

    Attributes:
        cells: on the line, >= 1.
        voltage: swing (V), > 0.
        supply: from which the charge comes (V), at least the swing; None: the swing.
        cell_capacitance: of a cell and its length of wire (F), >= 0.
        end_capacitance: of what is at the line's end (F), >= 0.

    Raises:
        TypeError, ValueError: if a value is no number, or out of range.
    """

    cells: int = 256
    voltage: float = 1.3
    supply: float | None = 2.2
    cell_capacitance: float = 2.1e-15
    end_capacitance: float = 48e-15

    source = "CiMLoop's NeuRRAM, github.com/mit-emze/cimloop"
    conditions = "capacitances given; by default 130 nm, from 0.9 to 2.2 V"
    use = "one charge"

    def __post_init__(self) -> None:
        checks.integer("cells of Line", self.cells)
        checks.number("voltage of Line", self.voltage, above=0.0)
        if self.supply is not None:
            checks.number("supply of Line", self.supply, least=self.voltage)
        checks.number("cell_capacitance of Line", self.cell_capacitance, least=0.0)
        checks.number("end_capacitance of Line", self.end_capacitance, least=0.0)

    @property
    def capacitance(self) -> float:
        """Of the line (F)."""
        return self.end_capacitance + self.cells * self.cell_capacitance

    @property
    def energy(self) -> Estimate:
        """Taken from the supply (J)."""
        supply = self.voltage if self.supply is None else self.supply
        return Estimate.covering(supply, self.voltage) * (self.capacitance * self.voltage)


@dataclass(frozen=True)
class ProgrammingPulse(Component):
    """A pulse that writes a cell: E = V I t, with the current that flows then.

    The range is between the current before and after it switches. How many pulses a cell takes is
    the programming stage's report. Lines, selectors and verifying reads are not in it.

    Source: physics.

    Attributes:
        voltage: across cell and selector (V), > 0.
        current: while the pulse lasts (A), > 0; or ``(least, most)``: their mean is typical.
        width: (s), > 0.

    Raises:
        TypeError, ValueError: if a value is no number, or out of range.
    """

    voltage: float = 2.0
    current: float | tuple[float, float] = (10e-6, 100e-6)
    width: float = 100e-9

    source = "physics: V · I · t"
    conditions = "values given; without lines, selectors and verifying reads"
    use = "one pulse"

    def __post_init__(self) -> None:
        checks.number("voltage of ProgrammingPulse", self.voltage, above=0.0)
        checks.number("width of ProgrammingPulse", self.width, above=0.0)
        if isinstance(self.current, tuple):
            if len(self.current) != 2:
                raise ValueError(
                    f"current of ProgrammingPulse must be one number or (least, most), "
                    f"got {self.current!r}"
                )
            least, most = self.current
            checks.number("least current of ProgrammingPulse", least, above=0.0)
            checks.number("most current of ProgrammingPulse", most, least=least)
        else:
            checks.number("current of ProgrammingPulse", self.current, above=0.0)

    @property
    def energy(self) -> Estimate:
        """Of one pulse (J)."""
        least, most = (
            self.current if isinstance(self.current, tuple) else (self.current, self.current)
        )
        return Estimate(least, (least + most) / 2, most) * (self.voltage * self.width)

    @property
    def latency(self) -> Estimate:
        """Its width (s)."""
        return Estimate.exact(self.width)
