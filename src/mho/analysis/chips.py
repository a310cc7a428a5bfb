"""Architectures of published chips, from their papers' parts; none is tuned to its own totals.

    >>> from mho.analysis import chips
    >>> print(mho.analysis.cost(model, inputs, chips.get("hermes")))

A preset is a function that returns a `ChipArchitecture`; its docstring and the architecture's own
``sources`` and ``assumed`` (printed with every result) say what was published and what was not.
Change one with ``chip.replace(...)``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mho.analysis.architecture import ChipArchitecture, Part
from mho.analysis.components.adc import IsaacADC, RegressionADC
from mho.analysis.components.base import Component
from mho.analysis.components.cells import Line
from mho.analysis.components.drivers import CapacitiveDAC, IsaacDriver
from mho.analysis.components.given import Given, estimate
from mho.analysis.components.interconnect import Bus, PumaRouter, Router
from mho.analysis.components.logic import Counter, Register, ShiftAdd
from mho.analysis.components.memory import EDRAM, SRAM
from mho.analysis.components.neurram import (
    NeuRRAMADC,
    NeuRRAMIntegrator,
    NeuRRAMSample,
    NeuRRAMShiftAdd,
)
from mho.analysis.components.processing import ActivationUnit, VectorUnit
from mho.analysis.components.sensing import IsaacSampleHold
from mho.analysis.timing import ChargeSteps, Levels, PulseWidths
from mho.core.text import meant

WAN = "W. Wan et al., Nature 608, 504 (2022), doi 10.1038/s41586-022-04992-8"
LE_GALLO = "M. Le Gallo et al., Nature Electronics 6, 680 (2023), doi 10.1038/s41928-023-01010-1"
KHADDAM = "R. Khaddam-Aljameh et al., IEEE JSSC 57, 1027 (2022), doi 10.1109/JSSC.2022.3140414"
SHAFIEE = "A. Shafiee et al., ISAAC, ISCA 2016, doi 10.1109/ISCA.2016.12"
ANKIT = "A. Ankit et al., PUMA, ASPLOS 2019, doi 10.1145/3297858.3304049"


def neurram() -> ChipArchitecture:
    """NeuRRAM (Wan et al. 2022): 130 nm, 48 cores of 256 × 256 1T1R cells, voltage-mode neurons.

    Signed weights are pairs of cells on neighbouring rows: an array is 128 inputs × 256 outputs,
    with a neuron for every output. Use it with ``Array(128, 256)``.

    Energies: the neuron's samples, integrations and steps as CiMLoop's authors fitted them to the
    chip's measured breakdown (4 constants); word lines from their capacitance and voltages (none
    fitted); input lines by one constant, the mean of the breakdown's seven for each bit. Times: two
    constants (`ChargeSteps`). So 7 constants meet 7 throughputs and 7 × 3 energies. TOPS/W is no
    figure of its own: it is what the breakdown adds up to (within 2 %, but 11 % at 8 bits out), so
    that neurons and input lines, two thirds of it, are fitted and the word lines alone predicted.
    Published figures, as these, leave out buffers and transfers between cores, which the board's
    FPGA does.
    """
    core = 1.161e-6  # m², of a core
    return ChipArchitecture(
        name="NeuRRAM (130 nm, 48 cores)",
        parts=(
            Part(
                "word lines", ("drivers",),
                _given(
                    "word line", energy=Line(256, voltage=1.3, supply=2.2).energy,
                    area=0.21 * core / 512, leakage=0.0,
                    source=f"{Line.source}; C · 1.3 V · 2.2 V",
                ),
                each="row", count=2.0, use="drive", uses=2.0,
            ),
            Part(
                "input lines", ("drivers", "cells", "lines"),
                _given(
                    "input lines", energy=(0.883e-12, 0.965e-12, 1.013e-12),
                    area=0.21 * core / 512, leakage=0.0,
                    source=f"{WAN}, Extended Data (breakdown): 3.77 fJ/op for each input bit",
                ),
                each="row", count=2.0, use="drive", uses=2.0,
            ),
            Part("sampling", ("converters",), _sampling(), each="line", use="sample"),
            Part("integrators", ("converters",), NeuRRAMIntegrator(), each="line", use="pulse"),
            Part(
                "neurons", ("converters", "activations"), NeuRRAMADC(), each="line", use="step"
            ),
            Part("shift-add", ("digital sums",), NeuRRAMShiftAdd(), each="line", use="step"),
            Part(
                "registers and rest", ("control",),
                _given(
                    "registers and rest", energy=0.0, area=0.39 * core, leakage=0.0,
                    source=f"{WAN}: what the breakdown of the core's area leaves; that of its "
                    "energy leaves nothing (its three parts are 99 % of the total)",
                ),
                each="core", use="read",
            ),
        ),
        timing=ChargeSteps(),
        rows=128,
        cols=256,
        slices_per_array=2,
        columns_per_converter=1,
        input_bits=(1, 8),
        output_bits=(1, 10),
        cell_area=2 * 125.7 * (130e-9) ** 2,
        cores=48,
        sources=(
            WAN,
            "neurons and word lines (48 fF + 2.1 fF a cell, 0.9 to 2.2 V): CiMLoop's fit to it",
        ),
        assumed=(
            "currents of the cells are within the input lines' energy, as in the breakdown",
            "the word lines' low voltage comes from a regulator: their charge is lost",
            "drivers' area, 21 % of a core, is half word lines', half input lines'",
        ),
    )  # fmt: skip


def _sampling() -> Component:
    # The older edition's area: with it the neuron's parts add up to its 1270 µm².
    one = NeuRRAMSample()
    return _given(
        "sampling", energy=one.energy, area=350e-12, leakage=one.leakage, source=one.source
    )


def hermes(phases: int = 1) -> ChipArchitecture:
    """Hermes (Le Gallo et al. 2023): 14 nm, 64 cores of 256 × 256 unit cells of four PCM devices.

    Inputs are pulse widths at 1 GHz; every column has a current-controlled oscillator with counter.
    Energy and area of a core are those of the earlier chip with one such core (Khaddam-Aljameh et
    al. 2022: 1.008 TOPS, 10.5 TOPS/W, 1.59 TOPS/mm²), so that nothing here is fitted to the 64-core
    chip's throughput, efficiency or area. What converters, cells, drivers and the local digital
    unit take apart is not published: they are one part, a column.

    Args:
        phases: 1 (low precision), or 4 (each pair of input sign and weight sign by itself).
    """
    if phases not in (1, 4):
        raise ValueError(f"phases of hermes must be 1 or 4, got {phases!r}")
    operations, rate = 2 * 256 * 256, 1.008e12
    column = _given(
        "column of a core",
        energy=operations / 10.5e12 / 256,
        area=1.008 / 1.59 * 1e-6 / 256,
        leakage=0.0,
        source=f"{KHADDAM}: 10.5 TOPS/W, 1.59 TOPS/mm² at 1.008 TOPS, all of the core",
    )
    cycle, pulses = 1e-9, 128
    return ChipArchitecture(
        name=f"Hermes (14 nm, 64 cores, {'one phase' if phases == 1 else 'four phases'})",
        parts=(
            Part(
                "columns",
                ("cells", "lines", "drivers", "converters", "digital sums", "activations"),
                column,
                each="line",
                use="phase",
            ),
        ),
        timing=PulseWidths(cycle, phases, overhead=operations / rate - pulses * cycle),
        rows=256,
        cols=256,
        slices_per_array=4,
        columns_per_converter=1,
        input_bits=(8, 8),
        output_bits=(8, 8),
        cores=64,
        sources=(LE_GALLO, KHADDAM),
        assumed=(
            "a core of the 64 takes what the single core of 2022 takes, phase by phase, whatever "
            "its cells hold",
            "global digital units, links and pads are not counted: nothing about them was at hand",
        ),
    )


def hermes_four_phase() -> ChipArchitecture:
    """Hermes in its high-precision mode, see `hermes`."""
    return hermes(4)


def isaac() -> ChipArchitecture:
    """ISAAC (Shafiee et al. 2016), a design at 32 nm: 168 tiles of 12 × 8 arrays of 128 × 128.

    Two bits a cell, inputs bit by bit in 100 ns each, one 1.28 GS/s converter an array. Use it with
    ``DAC(bits=16, mode="bit_serial")``, ``ADC(8)``, ``Array(128, 128)``. A core here is a tile.
    """
    return ChipArchitecture(
        name="ISAAC (32 nm, 168 tiles)",
        parts=(
            Part("drivers", ("drivers", "lines"), IsaacDriver(), each="row", use="drive"),
            Part("sample and hold", ("converters",), IsaacSampleHold(), each="line", use="sample"),
            Part("ADC", ("converters",), IsaacADC(), each="converter", use="conversion",
                 follows="output"),
            Part("shift-add", ("digital sums",), ShiftAdd(), each="array", count=0.5,
                 use="conversion"),
            Part("eDRAM", ("buffers",), EDRAM(), each="core", use="input bit", uses=1 / 256),
            Part("eDRAM, writes", ("buffers",), _again(EDRAM()), each="core", use="output bit",
                 uses=1 / 256),
            Part("bus", ("interconnect",), Bus(), each="core", count=12.0, use="input bit",
                 uses=1 / 256),
            Part("router", ("interconnect",), Router(), each="core", count=0.25,
                 use="output bit", uses=1 / 256),
            Part("sigmoid", ("activations",), ActivationUnit(), each="core", count=2.0,
                 use="output"),
        ),
        timing=Levels(100e-9, bit_serial=True),
        rows=128,
        cols=128,
        columns_per_converter=128,
        cell_area=25e-12 / 128**2,
        arrays_per_core=96,
        cores=168,
        overlapped=True,
        pipelined=True,
        sources=(SHAFIEE,),
        assumed=(
            "an input is read from eDRAM and crosses the bus once a vector, an output goes through "
            "one router and is written once",
            "control, input and output registers, pooling and the links between chips are not "
            "counted",
        ),
    )  # fmt: skip


def puma() -> ChipArchitecture:
    """PUMA (Ankit et al. 2019), a design at 32 nm: 138 tiles of 8 cores of 2 × 8 arrays, 128 × 128.

    Arrays and converters as ISAAC's. Use it with ``DAC(bits=16, mode="bit_serial")`` and ``ADC(8)``
    at ``Array(128, 128)``.
    """
    return ChipArchitecture(
        name="PUMA (32 nm, 138 tiles of 8 cores)",
        parts=(
            Part("drivers", ("drivers", "lines"), IsaacDriver(), each="row", use="drive"),
            Part("sample and hold", ("converters",), IsaacSampleHold(), each="line", use="sample"),
            Part("ADC", ("converters",), IsaacADC(), each="converter", use="conversion",
                 follows="output"),
            Part("shift-add", ("digital sums",), ShiftAdd(), each="array", count=0.5,
                 use="conversion"),
            Part("data memory", ("buffers",), SRAM(), each="core", use="input bit", uses=1 / 16),
            Part("vector unit", ("activations",), VectorUnit(), each="core", use="output"),
            Part("eDRAM of tiles", ("buffers",), EDRAM(), each="core", count=1 / 8,
                 use="output bit", uses=1 / 256),
            Part("bus of tiles", ("interconnect",), Bus(), each="core", count=12 / 8,
                 use="output bit", uses=1 / 256),
            Part("router", ("interconnect",), PumaRouter(), each="core", count=1 / 8,
                 use="output bit", uses=1 / 32),
        ),
        timing=Levels(100e-9, bit_serial=True),
        rows=128,
        cols=128,
        columns_per_converter=128,
        cell_area=25e-12 / 128**2,
        arrays_per_core=16,
        cores=8 * 138,
        overlapped=True,
        pipelined=True,
        sources=(ANKIT,),
        assumed=(
            "one converter of ISAAC's an array; its public simulator has several choices",
            "a router takes 32 bits a cycle; an output passes one router and the bus of its tile, "
            "which is ISAAC's",
            "control and instruction memories are not counted",
        ),
    )  # fmt: skip


def generic_22nm() -> ChipArchitecture:
    """A chip of 22 nm that nobody built, of 256 × 256 arrays: all is counted, much is assumed.

    Converters by a regression over published ones, shared by eight bit lines; capacitive drivers as
    measured at 40 nm, not scaled; digital circuits of 32 and 40 nm designs scaled. For comparing
    choices (bits, tiles, encodings), not for predicting a chip.
    """
    node = 22e-9
    return ChipArchitecture(
        name="a chip of 22 nm",
        parts=(
            Part("DAC", ("drivers",), CapacitiveDAC(), each="row", use="drive", follows="input"),
            Part("sample and hold", ("converters",), IsaacSampleHold(), each="line", use="sample"),
            Part("ADC", ("converters",), RegressionADC(8.0, 1e8, node), each="converter",
                 use="conversion", follows="output"),
            Part("shift-add", ("digital sums",), ShiftAdd(node=node), each="array",
                 use="conversion"),
            Part("activations", ("activations",), _scaled(ActivationUnit(node=node),
                 ActivationUnit()), each="core", use="output"),
            Part("buffer", ("buffers",), _scaled(SRAM(node=node), SRAM()), each="core",
                 use="input bit", uses=1 / 16),
            Part("buffer, writes", ("buffers",), _again(_scaled(SRAM(node=node), SRAM())),
                 each="core", use="output bit", uses=1 / 16),
            Part("router", ("interconnect",), Router(node=node), each="core", use="output bit",
                 uses=1 / 256),
            Part("control", ("control",), _controller(node), each="array", use="read"),
        ),
        timing=Levels(10e-9),
        columns_per_converter=8,
        cell_area=40 * node**2,
        line_capacitance=0.2e-9 * 40**0.5 * node,
        arrays_per_core=8,
        sources=("published components, at 22 nm where they scale; see each part",),
        assumed=(
            "lines driven for 10 ns; cells of 40 F² with a transistor; wires of 0.2 fF/µm",
            "leakage of digital circuits lies between none and that at their own node (32, 40 nm)",
            "control: a 16-bit counter and 64 bits of registers an array, used once a vector",
            "an input is read and an output written once a vector; outputs pass one router",
        ),
    )  # fmt: skip


def get(name: str) -> ChipArchitecture:
    """Return the architecture of a name.

    Args:
        name: one of `NAMES`.

    Raises:
        ValueError: if there is none of that name.
    """
    if name not in _CHIPS:
        raise ValueError(
            f"no architecture {name!r}; there are {', '.join(_CHIPS)}{meant(name, _CHIPS)}"
        )
    return _CHIPS[name]()


_CHIPS: dict[str, Callable[[], ChipArchitecture]] = {
    "neurram": neurram,
    "hermes": hermes,
    "hermes_four_phase": hermes_four_phase,
    "isaac": isaac,
    "puma": puma,
    "generic_22nm": generic_22nm,
}
NAMES = tuple(_CHIPS)
"""Names for `get`."""


def _given(
    name: str, source: str, *, energy: Any = None, area: Any = None, leakage: Any = None
) -> Given:
    return Given(
        name,
        energy=estimate(f"energy of {name}", energy),
        area=estimate(f"area of {name}", area),
        leakage=estimate(f"leakage of {name}", leakage),
        source=source,
    )


def _again(component: Component) -> Given:
    """Another use of a circuit that is there already: energy alone."""
    return _given(
        "the same", energy=component.energy, area=0.0, leakage=0.0, source=component.source
    )


def _scaled(component: Component, published: Component) -> Given:
    """A circuit at another node, where its leakage is not known: between none and the published."""
    lost = published.leakage
    most = None if lost is None else (0.0, lost.high)
    return _given(
        type(component).__name__,
        energy=component.energy,
        area=component.area,
        leakage=most,
        source=component.source,
    )


def _controller(node: float) -> Given:
    counter, register = Counter(bits=16, node=node), Register(bits=64, node=node)
    lost = Counter(bits=16).leakage
    return _given(
        "counter and registers",
        energy=counter.energy + register.energy,
        area=counter.area + register.area,
        leakage=None if lost is None else (0.0, lost.high),
        source=counter.source,
    )
