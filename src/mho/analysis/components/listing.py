"""All components as a table: what each costs where it was published, and who says so."""

from __future__ import annotations

from collections.abc import Callable

from mho.analysis.components import (
    adc,
    cells,
    drivers,
    interconnect,
    logic,
    memory,
    neurram,
    processing,
    sensing,
    timely,
)
from mho.analysis.components.base import Component, Estimate
from mho.analysis.components.given import Given
from mho.core import checks
from mho.core.text import quantity
from mho.core.text import table as laid_out

LIBRARY: tuple[type[Component], ...] = (
    adc.RegressionADC,
    adc.SurveyADC,
    adc.IsaacADC,
    adc.ZigZagADC,
    adc.NeuroSimADC,
    adc.HermesADC,
    neurram.NeuRRAMADC,
    timely.TimelyTDC,
    drivers.IsaacDriver,
    drivers.CapacitiveDAC,
    drivers.ZigZagDAC,
    drivers.ResistiveDAC,
    drivers.SwitchMatrix,
    timely.TimelyDTC,
    sensing.IsaacSampleHold,
    neurram.NeuRRAMSample,
    neurram.NeuRRAMIntegrator,
    sensing.AlbireoTIA,
    timely.TimelyComparator,
    timely.TimelyCurrentAdder,
    sensing.ColumnMultiplexer,
    logic.ShiftAdd,
    neurram.NeuRRAMShiftAdd,
    logic.Adder,
    logic.AdderTree,
    logic.Multiplier,
    logic.Comparator,
    logic.Counter,
    logic.Register,
    processing.ActivationUnit,
    processing.VectorUnit,
    processing.Arithmetic,
    memory.SRAM,
    memory.CacheSRAM,
    memory.EDRAM,
    memory.DRAM,
    interconnect.Wire,
    interconnect.Bus,
    interconnect.Router,
    interconnect.PumaRouter,
    cells.CellArray,
    cells.Line,
    cells.ProgrammingPulse,
)


def table(*components: Component) -> str:
    """Return a table of components: node, energy and time of one use, area, leakage, source.

    A quantity is its typical value, and its range where it has one; a dash is what is not known.

    Args:
        components: which; none for the whole library, each as published.

    Raises:
        TypeError: if one is no component.
    """
    for component in components:
        checks.instance("components", component, Component)
    rows = [_row(component) for component in components or [kind() for kind in LIBRARY]]
    head = ("component", "one use", "node", "energy", "time", "area", "leakage", "source")
    return laid_out(head, rows, left=len(head))


def _row(component: Component) -> tuple[str, ...]:
    node = getattr(component, "node", None)
    return (
        component.name if isinstance(component, Given) else str(component).removesuffix("()"),
        component.use,
        "–" if node is None else f"{node * 1e9:g} nm",
        _said(component.energy, "J"),
        _said(component.latency, "s"),
        _area(component.area),
        "in the energy" if component.leakage_in_energy else _said(component.leakage, "W"),
        component.source,
    )


def _said(value: Estimate | None, unit: str) -> str:
    return _ranged(value, lambda number: quantity(number, unit, zero="0"))


def _area(value: Estimate | None) -> str:
    return _ranged(value, lambda number: f"{float(f'{1e12 * number:.3g}'):,.10g} µm²")


def _ranged(value: Estimate | None, said: Callable[[float], str]) -> str:
    if value is None:
        return "–"
    low, typical, high = said(value.low), said(value.typical), said(value.high)
    return typical if low == high else f"{typical} ({low} … {high})"
