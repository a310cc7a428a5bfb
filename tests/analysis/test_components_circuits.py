"""Sensing, logic, memories, wires and cells against the numbers of their sources."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mho.analysis.components import (
    DRAM,
    EDRAM,
    SRAM,
    ActivationUnit,
    Adder,
    AdderTree,
    AlbireoTIA,
    Arithmetic,
    Bus,
    CacheSRAM,
    CellArray,
    ColumnMultiplexer,
    Comparator,
    Counter,
    Estimate,
    IsaacSampleHold,
    Line,
    Multiplier,
    ProgrammingPulse,
    PumaRouter,
    Register,
    Router,
    ShiftAdd,
    TimelyComparator,
    TimelyCurrentAdder,
    VectorUnit,
    Wire,
)
from tolerance import near

# Energy of one use (pJ), area (µm²), leakage (W) as published.
PUBLISHED = [
    (TimelyComparator(), 0.0417, 40, None),
    (TimelyCurrentAdder(), 0.0368, 40, None),
    (AlbireoTIA(), 0.3125, 2769, None),
    (IsaacSampleHold(), 8.73e-4, 40 / 1024, 0.97e-9),
    (Adder(), 0.21, 278, 2.4e-6),
    (Comparator(), 0.02947, 71, 2.51e-8),
    (Counter(), 0.25074, 495.5, 3.21e-7),
    (Register(), 0.009, 5.98, None),
    (Multiplier(), 12.68, 6350, 8e-5),
    (ShiftAdd(), 0.021, 60, None),
    (ActivationUnit(), 0.234, 300, 2.6e-5),
    (VectorUnit(), 0.26524, 4032, 1.92e-4),
    (VectorUnit("multiply"), 0.56533, 4032, 1.92e-4),
    (VectorUnit("divide"), 1.08089, 4032, 1.92e-4),
    (Arithmetic("add", "int8"), 0.03, None, None),
    (Arithmetic("add", "int16"), 0.05, None, None),
    (Arithmetic("add", "int32"), 0.1, None, None),
    (Arithmetic("add", "fp16"), 0.4, None, None),
    (Arithmetic("add", "fp32"), 0.9, None, None),
    (Arithmetic("multiply", "int8"), 0.2, None, None),
    (Arithmetic("multiply", "int32"), 3.1, None, None),
    (Arithmetic("multiply", "fp16"), 1.1, None, None),
    (Arithmetic("multiply", "fp32"), 3.7, None, None),
    (SRAM(256), 0.16, 560, 4.4e-5),
    (SRAM(512), 0.24, 1080, 7.8e-5),
    (SRAM(1024), 0.33, 1920, 1.47e-4),
    (SRAM(2048), 0.57, 3920, 3.3e-4),
    (CacheSRAM(8192), 10, None, None),
    (CacheSRAM(32768), 20, None, None),
    (CacheSRAM(1048576), 100, None, None),
    (EDRAM(65536), 17.2, 86000, 4.6e-4),
    (EDRAM(131072), 25.35, 121000, 7.7e-4),
    (DRAM(), 1950, None, None),
    (Bus(), 0.054 * 256, 7500, None),
    (Router(), 20.74, 150000, None),
    (PumaRouter(4), 16.13, 47000, 4.1e-4),
    (PumaRouter(8), 51.48, 116000, 1.04e-3),
]


@pytest.mark.parametrize(
    ("part", "picojoules", "square_microns", "watts"),
    PUBLISHED,
    ids=[str(row[0]) for row in PUBLISHED],
)
def test_every_part_is_as_published(part, picojoules, square_microns, watts):
    expected = {
        "energy": picojoules and picojoules * 1e-12,
        "area": square_microns and square_microns * 1e-12,
        "leakage": watts,
    }
    for quantity, value in expected.items():
        found = getattr(part, quantity)
        if value is None:
            assert found is None
        else:
            assert found.typical == near(value, rel=1e-4)


def test_times_of_one_use():
    for part, nanoseconds in [(Adder(), 1), (ShiftAdd(), 1 / 1.2), (EDRAM(), 2), (SRAM(), 1)]:
        assert part.latency.typical == near(nanoseconds * 1e-9)
    for part in (Bus(), Router(), DRAM(), TimelyComparator(), Arithmetic()):
        assert part.latency is None


@given(st.integers(1, 256), st.integers(1, 256))
def test_logic_is_linear_in_its_width(bits, by):
    for kind in (Adder, Comparator, Counter, Register, ShiftAdd, Bus, Router):
        for quantity in ("energy", "area", "leakage"):
            whole, one = getattr(kind(bits=bits), quantity), getattr(kind(bits=1), quantity)
            assert (whole is None) == (one is None)
            if whole is not None:
                assert whole.typical == near(bits * one.typical)
    for quantity in ("energy", "area", "leakage"):
        whole = getattr(Multiplier(bits=bits, by=by), quantity).typical
        assert whole == near(bits * by * getattr(Multiplier(1, 1), quantity).typical)


def counted(inputs, bits):
    """Full adders of a tree, adding words in pairs one layer after the other."""
    words, count = [bits] * inputs, 0
    while len(words) > 1:
        count += sum(words[0] for _ in range(len(words) // 2))
        words = [words[0] + 1] * (len(words) - len(words) // 2)
    return count


def test_the_adder_tree():
    # One full adder: 3·.7 + 2·1.05 = 4.2 fF, 3.402 fJ at .9 V; 3·.614 + 2·2.4·.614 = 4.7892 µm².
    one = AdderTree(inputs=2, bits=1)
    assert one.full_adders == 1
    assert one.energy.typical == near(3.402e-15)
    assert one.area.typical == near(4.7892e-12)
    # Four words of 8 bits: two adders of 8 and one of 9. 2·2·.1434 … : .1434 + .1673 + 9·.0956 ns.
    four = AdderTree(inputs=4, bits=8)
    assert four.full_adders == 25
    assert four.energy.typical == near(25 * 3.402e-15)
    assert four.latency.typical == near((0.1434 + 0.1673 + 9 * 0.0956) * 1e-9)
    assert AdderTree(inputs=256, bits=8).full_adders == 8 * 255 + 256 - 8 - 1
    assert four.replace(voltage=0.45 + 0.15).energy.typical == near(
        four.energy.typical * (0.6 / 0.9) ** 2
    )


@given(st.integers(2, 600), st.integers(1, 32))
def test_adders_of_any_tree(inputs, bits):
    assert AdderTree(inputs=inputs, bits=bits).full_adders == counted(inputs, bits)


def test_memories_between_their_sizes_follow_a_power_law():
    middle = SRAM(size=724)  # 512·√2
    for quantity in ("energy", "area", "leakage"):
        ends = [getattr(SRAM(size=size), quantity).typical for size in (512, 1024)]
        expected = (ends[0] * ends[1]) ** 0.5
        assert getattr(middle, quantity).typical == near(expected, rel=1e-3)
    assert CacheSRAM(16384).energy.typical == near(10e-12 * 2**0.5)
    sizes = [256, 300, 512, 700, 1024, 1500, 2048]
    for small, large in itertools.pairwise(sizes):
        assert SRAM(size=small).energy.typical < SRAM(size=large).energy.typical
    assert EDRAM().energy.high == near(20.45e-12)
    assert EDRAM().area.low == near(83000e-12)
    assert (DRAM().energy.low, DRAM().energy.high) == (1.3e-9, 2.6e-9)


def test_wires():
    per_micrometre = [(130, 0.449), (90, 1.302), (65, 1.430), (45, 3.04), (32, 6.56), (22, 13.3)]
    for nanometres, ohms in [*per_micrometre, (14, 40.6), (10, 98.0), (7, 98.0)]:
        wire = Wire(length=1e-6, node=nanometres * 1e-9)
        assert wire.resistance == near(ohms, rel=5e-3)
    wire = Wire(length=1e-3, voltage=0.9)
    assert wire.capacitance == near(200e-15)
    assert wire.energy.typical == near(200e-15 * 0.81)
    double = wire.replace(length=2e-3)
    assert double.energy.typical == near(2 * wire.energy.typical)
    assert double.latency.typical == near(4 * wire.latency.typical)
    between = Wire(node=28e-9).resistance
    assert Wire(node=32e-9).resistance < between < Wire(node=22e-9).resistance


def test_a_wires_delay_is_that_of_many_segments():
    import torch

    wire, segments = Wire(length=2e-3), 200
    r, c = wire.resistance / segments, wire.capacitance / segments
    links = 2 * torch.eye(segments, dtype=torch.float64)
    links -= torch.diag(torch.ones(segments - 1, dtype=torch.float64), 1)
    links -= torch.diag(torch.ones(segments - 1, dtype=torch.float64), -1)
    links[-1, -1] = 1.0
    rates, modes = torch.linalg.eigh(links / (r * c))
    start = modes.T @ torch.ones(segments, dtype=torch.float64)

    def far_end(time):
        return 1.0 - float(modes[-1] @ (torch.exp(-rates * time) * start))

    low, high = 0.0, 2 * wire.resistance * wire.capacitance
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if far_end(middle) > 0.5 else (middle, high)
    assert wire.latency.typical == near(middle, rel=0.01)


def test_cells_lines_and_pulses():
    # A bare crossing of 22 nm, 256 × 256: 4 · 484 nm² · 65536.
    assert CellArray().area.typical == near(1.26877e-10, rel=1e-4)
    # NeuRRAM: 12 % of its core's 1.161 mm² are 65536 cells of 125.7 F².
    neurram = CellArray(node=130e-9, factor=125.7)
    assert neurram.area.typical == near(0.12 * 1.161e-6, rel=2e-3)
    # ISAAC: 25 µm² for 128 × 128.
    isaac = CellArray(128, 128, node=32e-9, factor=1.49)
    assert isaac.area.typical == near(25e-12, rel=2e-3)
    assert CellArray(layers=2).area.typical == CellArray().area.typical / 2
    assert CellArray().energy is None
    # 48 + 2.1·256 = 585.6 fF, 1.3 V
    assert Line().capacitance == near(585.6e-15)
    assert Line().energy.typical == near(585.6e-15 * 1.3 * 2.2)
    assert Line().energy.low == near(585.6e-15 * 1.69)
    one = Line(cells=1, end_capacitance=0.0, voltage=1.0, supply=None)
    assert one.energy == Estimate.exact(2.1e-15)
    pulse = ProgrammingPulse(voltage=2.0, current=50e-6, width=100e-9)
    assert pulse.energy.typical == near(10e-12)
    assert pulse.latency.typical == 100e-9
    ranged = pulse.replace(current=(10e-6, 100e-6)).energy
    assert (ranged.low, ranged.high) == (near(2e-12), near(20e-12))
    assert ranged.typical == near(11e-12)


def test_the_scenarios_of_the_transimpedance_amplifier():
    assert AlbireoTIA().energy == Estimate(0.045e-12, 0.3125e-12, 0.625e-12)


def test_multiplexers():
    eight = ColumnMultiplexer(inputs=8)
    assert eight.area.typical == near(8 * 0.307e-12)
    assert eight.area.high == near(8 * 0.614e-12)
    assert eight.energy.typical == near(0.35e-15 * 0.81)
    assert ColumnMultiplexer(inputs=1).energy.typical == 0


@pytest.mark.parametrize(
    ("build", "error", "said"),
    [
        (lambda: Adder(bits=0), ValueError, "bits of Adder"),
        (lambda: Adder(bits=True), TypeError, "bits of Adder"),
        (lambda: Multiplier(by=0), ValueError, "by of Multiplier"),
        (lambda: AdderTree(inputs=1), ValueError, "inputs of AdderTree"),
        (lambda: AdderTree(voltage=2.0), ValueError, r"voltage of AdderTree.*\[0.5, 1.2\] V"),
        (lambda: VectorUnit("root"), ValueError, "operation of VectorUnit"),
        (lambda: Arithmetic("multiply", "int16"), ValueError, "format of Arithmetic.*'int16'"),
        (lambda: SRAM(size=4096), ValueError, r"size of SRAM.*\[256, 2048\] bytes"),
        (lambda: SRAM(size=512.0), TypeError, "size of SRAM"),
        (lambda: EDRAM(size=8192), ValueError, "size of EDRAM.*65536, 131072"),
        (lambda: CacheSRAM(size=4096), ValueError, "size of CacheSRAM"),
        (lambda: Wire(length=0.0), ValueError, "length of Wire"),
        (lambda: Wire(node=5e-9), ValueError, "node of Wire.*5 nm"),
        (lambda: PumaRouter(ports=5), ValueError, "ports of PumaRouter.*4, 8"),
        (lambda: CellArray(node=22), ValueError, "node of CellArray"),
        (lambda: CellArray(rows=0), ValueError, "rows of CellArray"),
        (lambda: Line(voltage=2.5), ValueError, "supply of Line"),
        (lambda: Line(cell_capacitance=-1e-15), ValueError, "cell_capacitance of Line"),
        (lambda: ProgrammingPulse(current=(2e-6, 1e-6)), ValueError, "most current"),
        (lambda: ProgrammingPulse(current=(1e-6,)), ValueError, "one number or"),
        (lambda: ProgrammingPulse(width=0.0), ValueError, "width of ProgrammingPulse"),
        (lambda: ColumnMultiplexer(inputs=0), ValueError, "inputs of ColumnMultiplexer"),
    ],
)
def test_what_a_circuit_cannot_be_is_refused(build, error, said):
    with pytest.raises(error, match=said):
        build()
