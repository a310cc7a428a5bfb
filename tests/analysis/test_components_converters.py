"""Converters and drivers against the numbers of their sources, typed from there."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mho.analysis.components import (
    NEUROSIM_CALIBRATION,
    CapacitiveDAC,
    HermesADC,
    IsaacADC,
    IsaacDriver,
    NeuroSimADC,
    NeuRRAMADC,
    NeuRRAMIntegrator,
    NeuRRAMSample,
    NeuRRAMShiftAdd,
    RegressionADC,
    ResistiveDAC,
    SurveyADC,
    SwitchMatrix,
    TimelyDTC,
    TimelyTDC,
    ZigZagADC,
    ZigZagDAC,
    adc_energy,
)
from tolerance import near

# Whole energies of Andrulis' regression (pJ) at 100 MS/s by bits, at 14, 22, 32, 65 and 130 nm.
REGRESSION = {
    4: (0.195, 0.457, 0.924, 3.50, 12.9),
    6: (0.225, 0.527, 1.07, 4.04, 14.9),
    8: (0.362, 0.847, 1.71, 6.49, 23.9),
    10: (0.700, 1.64, 3.31, 12.5, 46.2),
}
NODES = (14e-9, 22e-9, 32e-9, 65e-9, 130e-9)


@pytest.mark.parametrize("bits", REGRESSION)
def test_the_regression_gives_its_published_energies(bits):
    for node, picojoules in zip(NODES, REGRESSION[bits], strict=True):
        adc = RegressionADC(bits=bits, node=node)
        whole = adc.energy.typical + adc.leakage.typical * adc.latency.typical
        assert whole == near(picojoules * 1e-12, rel=5e-3)
        assert adc.energy.typical == near(0.8 * whole)


@pytest.mark.parametrize(
    ("bits", "node", "square_microns"),
    [
        (4, 14e-9, 905),
        (4, 22e-9, 1830),
        (4, 32e-9, 3270),
        (4, 65e-9, 9860),
        (8, 14e-9, 1090),
        (8, 22e-9, 2200),
        (8, 32e-9, 3940),
    ],
)
def test_the_regression_gives_its_published_areas(bits, node, square_microns):
    area = RegressionADC(bits=bits, node=node).area
    assert area.typical == near(square_microns * 1e-12, rel=5e-3)


@pytest.mark.parametrize(("bits", "corner"), [(8, 1.07e9), (10, 0.114e9), (12, 0.012e9)])
def test_the_rate_costs_energy_only_above_a_corner(bits, corner):
    energies = [
        RegressionADC(bits=bits, rate=rate).energy.typical
        for rate in (0.1 * corner, 0.98 * corner, 1.05 * corner, 4 * corner)
    ]
    assert energies[0] == near(energies[1])
    assert energies[1] < energies[2] < energies[3]
    # 2.871903 dB a factor e, so 3.98 dB a factor 4 is 2.5 times the energy.
    four = RegressionADC(bits=bits, rate=8 * corner).energy.typical
    two = RegressionADC(bits=bits, rate=2 * corner).energy.typical
    assert four / two == near(10 ** (0.2871903 * 1.3862944), rel=1e-6)


@given(st.floats(5.0, 14.0), st.floats(5.0, 14.0), st.floats(1e6, 1e10), st.floats(7e-9, 180e-9))
def test_more_bits_a_higher_rate_and_an_older_node_cost_more(bits, others, rate, node):
    low, high = sorted((bits, others))
    cheap, dear = (RegressionADC(bits=b, rate=rate, node=node) for b in (low, high))
    assert cheap.energy.typical <= dear.energy.typical * (1 + 1e-12)
    assert cheap.area.typical <= dear.area.typical * (1 + 1e-12)
    for quantity in ("energy", "leakage"):
        value = getattr(dear, quantity)
        assert 0 < value.low <= value.typical <= value.high
    faster = dear.replace(rate=min(2 * rate, 1e10))
    assert faster.energy.typical >= dear.energy.typical * (1 - 1e-12)
    older = dear.replace(node=min(2 * node, 180e-9))
    assert older.energy.typical >= dear.energy.typical * (1 - 1e-12)
    assert older.area.typical >= dear.area.typical * (1 - 1e-12)


def test_the_range_of_the_regression_covers_the_surveys_percentiles():
    for bits, low, median in [(6, 1.6e-12, 6.0e-12), (8, 5.1e-12, 12e-12), (9, 10e-12, 51e-12)]:
        adc = RegressionADC(bits=bits, node=65e-9)
        whole = [
            energy + power * adc.latency.typical
            for energy, power in zip(
                (adc.energy.low, adc.energy.high), (adc.leakage.low, adc.leakage.high), strict=True
            )
        ]
        assert whole[0] <= low * (1 + 1e-9)
        assert whole[1] >= median * (1 - 1e-9)


def test_the_survey():
    assert SurveyADC(bits=6).energy.low == 1.6e-12
    assert SurveyADC(bits=7).energy.high == 3.7e-12
    assert SurveyADC(bits=8).energy.typical == 12e-12
    assert SurveyADC(bits=11).energy.low == 4 * 10e-12
    assert SurveyADC().area is None
    assert SurveyADC().leakage is None
    assert adc_energy(5) == (0.8e-12, 3.0e-12)


def test_isaacs_converter():
    published = [(4, 0.79, 361.04), (5, 0.99, 476.91), (6, 1.20, 626.91), (7, 1.42, 845.18)]
    published += [(8, 1.67, 1200), (9, 1.969, 1827.9), (10, 2.379, 3002)]
    for bits, picojoules, square_microns in published:
        adc = IsaacADC(bits=bits)
        assert adc.energy.typical == near(picojoules * 1e-12, rel=1e-3)
        assert adc.area.typical == near(square_microns * 1e-12, rel=1e-3)
    # 128 columns in 100 ns; 16 mW for eight at 1.2 GS/s.
    assert 128 * IsaacADC().latency.typical == near(100e-9)
    assert IsaacADC().energy.typical == near(16e-3 / (8 * 1.2e9), rel=3e-3)
    assert IsaacADC().leakage is None


def test_the_converter_of_sram_columns():
    # (100·4 + .256)·.81 fF·V²; (100·8 + 65.536)·.81; (100·8 + 65.536)·1.
    assert ZigZagADC(bits=4).energy.typical == near(324.207e-15, rel=1e-5)
    assert ZigZagADC(bits=8).energy.typical == near(701.084e-15, rel=1e-5)
    assert ZigZagADC(bits=8, voltage=1.0).energy.typical == near(865.536e-15)
    # 10^1.0584·16, 10^.9108·256
    assert ZigZagADC(bits=4).area.typical == near(183.03e-12, rel=1e-3)
    assert ZigZagADC(bits=8).area.typical == near(2084.8e-12, rel=1e-3)
    assert ZigZagADC(bits=1).area is None
    # 4·(.00653·64 + .64), 8·(.00653·256 + .64)
    assert ZigZagADC(bits=4, rows=64).latency.typical == near(4.23168e-9)
    assert ZigZagADC(bits=8, rows=256).latency.typical == near(18.49344e-9)


def test_neurosims_converter():
    # 45 nm, 5 bits, 10 kΩ: 22.8525 µW + .097754·e^−9.184 W = 10.030 µW; 6 ns.
    energy = NeuroSimADC(bits=5, resistance=1e4, node=45e-9).energy
    assert energy.typical == near(6e-9 * (22.8525e-6 + 10.036e-6), rel=1e-3)
    # 22 nm, 5 bits, 100 kΩ: 6.9106 µW + .084273·e^−11.555 = .8078 µW.
    energy = NeuroSimADC(bits=5, resistance=1e5, node=22e-9).energy
    assert energy.typical == near(6e-9 * (6.9106e-6 + 0.8079e-6), rel=1e-3)
    # 14 nm, 8 bits, 1 MΩ: 5.7209 µW + .060584·e^−13.866; low power 5.0737 µW + .061085·e^−13.818.
    energy = NeuroSimADC(bits=8, resistance=1e6, node=14e-9).energy
    assert energy.typical == near(9e-9 * (5.7209e-6 + 0.0576e-6), rel=1e-3)
    assert energy.low == near(9e-9 * (5.0737e-6 + 0.0609e-6), rel=1e-3)
    assert energy.high == energy.typical
    # A column read at half the voltage draws what one of twice the resistance draws.
    half = NeuroSimADC(resistance=1e4, voltage=0.25).energy
    assert half == NeuroSimADC(resistance=2e4).energy
    with pytest.raises(ValueError, match=r"one of 130, 90.*got 40"):
        NeuroSimADC(node=40e-9)


# Node (nm); power (µW) of 8 bits and of a column of 1 Ω more (W), for high performance, low power;
# decades in ln by which that falls with the resistance.
NEUROSIM = """
130 100.8918 0.207452 2.367 132.8294 0.169380 2.303
90 66.5612 0.164900 2.345 85.3572 0.144323 2.303
65 45.6494 0.128483 2.321 55.8488 0.121272 2.303
45 29.4054 0.097754 2.296 34.0458 0.100225 2.303
32 15.7542 0.083709 2.313 17.935 0.079449 2.297
22 9.0745 0.084273 2.311 8.6793 0.072341 2.303
14 5.7209 0.060584 2.311 5.0737 0.061085 2.303
10 3.6151 0.049418 2.311 2.9657 0.051580 2.303
7 2.2887 0.040310 2.311 1.7335 0.043555 2.303
"""


@pytest.mark.parametrize("row", NEUROSIM.strip().splitlines())
def test_neurosims_converter_at_every_node(row):
    node, *values = map(float, row.split())
    for resistance, decades in [(1e30, None), (1.0, 0), (1e3, 3)]:
        energy = NeuroSimADC(bits=8, resistance=resistance, node=node * 1e-9).energy
        powers = [
            1e-6 * fixed + (0.0 if decades is None else r * math.exp(-s * decades))
            for fixed, r, s in (values[:3], values[3:])
        ]
        assert energy.typical == near(9e-9 * powers[0], rel=1e-6)
        assert energy.low == near(9e-9 * min(powers), rel=1e-6)
        assert energy.high == near(9e-9 * max(powers), rel=1e-6)


def test_neurosims_calibration_is_told_and_applied_by_nobody():
    assert NEUROSIM_CALIBRATION["energy"] == 1.22
    assert NEUROSIM_CALIBRATION["level_shifter_area"] == 1.44
    assert NEUROSIM_CALIBRATION["sensing_latency"] == 1.4
    activities = ("flip_flop_activity", "adder_activity", "control_activity")
    assert [NEUROSIM_CALIBRATION[name] for name in activities] == [0.5, 0.15, 0.05]
    with pytest.raises(TypeError):
        NEUROSIM_CALIBRATION["energy"] = 1.0


def test_hermes_converter_counts():
    for bits, nanoseconds in [(4, 4.8), (8, 76.8), (10, 307.2)]:
        assert HermesADC(bits=bits).latency.typical == near(nanoseconds * 1e-9)
    assert HermesADC.pitch == 4e-6
    assert HermesADC().energy is None
    assert HermesADC().area is None
    # Eight bits fit in the 133 ns of a read of the 64-core chip.
    HermesADC(bits=8).check_rate(1 / 133e-9)
    with pytest.raises(ValueError, match=r"at most 3.255e\+06/s.*got 7.519e\+06"):
        HermesADC(bits=10).check_rate(1 / 133e-9)


def test_neurrams_neuron_has_its_published_area():
    parts = [NeuRRAMADC(), NeuRRAMShiftAdd(), NeuRRAMIntegrator(), NeuRRAMSample()]
    assert sum(part.area.typical for part in parts) == near(1270e-12)
    assert [part.energy.typical for part in parts] == [0.3e-12, 0.1e-12, 0.25e-12, 1.2e-12]
    assert all(part.leakage.typical > 0 for part in parts)
    assert NeuRRAMSample().area.low == 45e-12
    assert NeuRRAMIntegrator().latency.typical == near(0.27e-6)
    assert NeuRRAMADC().latency.typical == near(0.30e-6)
    for part in parts:
        assert part.replace(voltage=1.2).energy.typical == near(part.energy.typical / 2.25)


@pytest.mark.parametrize(
    ("phases", "steps", "measured"), [((1,), 3, 2.122), ((1,), 4, 1.793), ((3, 2), 8 + 5, 0.4177)]
)
def test_neurrams_times_give_its_measured_throughput(phases, steps, measured):
    # Outputs of 3, 4 and 8 bits, inputs of 1, 2 and 6; 48 cores of 65536 operations a vector.
    pulse, step = NeuRRAMIntegrator().latency.typical, NeuRRAMADC().latency.typical
    pulses = sum(2**bits - 1 for bits in phases)
    time = pulse * pulses + step * (steps + len(phases))
    assert 48 * 65536 / time / 1e12 == near(measured, rel=0.09)


def test_time_domain_converters():
    assert TimelyDTC().energy.typical == 0.0375e-12
    assert TimelyDTC().area.typical == 240e-12
    assert TimelyTDC().energy.typical == 0.145e-12
    assert TimelyTDC().area.typical == 310e-12
    for converter in (TimelyDTC, TimelyTDC):
        assert converter(bits=5).energy.typical == near(converter().energy.typical / 8)
        assert converter(bits=5).area.typical == near(converter().area.typical / 8)
    assert TimelyDTC().latency is None
    assert TimelyDTC(bits=4, unit=1e-9).latency.typical == near(15e-9)


def test_drivers():
    assert IsaacDriver().energy.typical == near(4e-3 / 1024 * 100e-9 * 1.28 / 1.2, rel=1e-3)
    assert IsaacDriver().area.typical == near(170e-12 / 1024)
    assert CapacitiveDAC().energy.typical == near(0.32e-3 / 1.1e9, rel=1e-3)
    assert CapacitiveDAC().area.typical == 438e-12
    assert IsaacDriver().latency.typical == near(100e-9)
    assert CapacitiveDAC(rate=4e8).latency.typical == near(2.5e-9)
    assert CapacitiveDAC(bits=6).energy.typical == near(0.291e-12 / 4, rel=1e-3)
    assert CapacitiveDAC(bits=6).area.typical == near(438e-12 / 4)
    # 50 fF · 4 · .81, 50 fF · 2, nothing.
    assert ZigZagDAC(bits=4).energy.typical == near(162e-15)
    assert ZigZagDAC(bits=2, voltage=1.0).energy.typical == near(100e-15)
    assert ZigZagDAC(bits=1).energy.typical == 0
    assert SwitchMatrix().energy.typical == near(1.70e-15, rel=1e-3)
    assert SwitchMatrix(bits=3).energy.typical == near(5.10e-15, rel=1e-3)


def ladder_power(code, bits):
    """Nodal analysis of an R–2R ladder of 1 V and 1 Ω, written out with the switches as nodes."""
    size = bits + 1  # node 0 is the ground at the ladder's end
    laplacian = torch.zeros(size + 1, size + 1, dtype=torch.float64)  # the last is the reference

    def resistor(one, other, ohms):
        for a, b, sign in ((one, one, 1), (other, other, 1), (one, other, -1), (other, one, -1)):
            laplacian[a, b] += sign / ohms

    resistor(0, 1, 2.0)
    for bit in range(bits):
        resistor(bit + 1, size if code >> bit & 1 else 0, 2.0)
        if bit:
            resistor(bit, bit + 1, 1.0)
    inner = slice(1, size)
    voltages = torch.zeros(size + 1, dtype=torch.float64)
    voltages[size] = 1.0
    voltages[inner] = torch.linalg.solve(laplacian[inner, inner], -laplacian[inner, size])
    return float(laplacian[size] @ voltages)


@pytest.mark.parametrize("bits", [1, 2, 5])
def test_the_resistive_ladder_obeys_kirchhoff(bits):
    powers = [ladder_power(code, bits) for code in range(2**bits)]
    energy = ResistiveDAC(bits=bits, resistance=1e4, voltage=0.5, time=10e-9).energy
    scale = 0.25 / 1e4 * 10e-9
    assert energy.typical == near(scale * sum(powers) / len(powers))
    assert energy.high == near(scale * max(powers))
    assert energy.low == 0


def test_the_resistive_ladders_laws():
    dac = ResistiveDAC(bits=4, resistance=1e4, node=22e-9)
    assert dac.area.typical == near(3 * 4 * 1e4 * 2.35e-15)
    assert dac.replace(node=44e-9).area.typical == near(4 * dac.area.typical)
    assert dac.replace(voltage=1.0).energy.typical == near(4 * dac.energy.typical)
    assert dac.replace(resistance=2e4).energy.typical == near(dac.energy.typical / 2)
    assert dac.replace(time=30e-9).energy.typical == near(3 * dac.energy.typical)
    assert dac.latency.typical == 10e-9


@pytest.mark.parametrize(
    ("kind", "bits"),
    [
        (SurveyADC, range(1, 17)),
        (IsaacADC, range(4, 11)),
        (ZigZagADC, range(2, 13)),
        (NeuroSimADC, range(1, 13)),
        (TimelyTDC, range(1, 11)),
        (TimelyDTC, range(1, 11)),
        (CapacitiveDAC, range(1, 11)),
        (ZigZagDAC, range(1, 9)),
        (ResistiveDAC, range(1, 13)),
        (SwitchMatrix, range(1, 5)),
        (HermesADC, range(1, 13)),
    ],
)
def test_a_bit_more_never_costs_less(kind, bits):
    for quantity in ("energy", "area", "latency"):
        values = [getattr(kind(bits=b), quantity) for b in bits]
        if None in values:
            assert not any(values)
            continue
        if kind is SurveyADC and quantity == "energy":
            continue  # its medians at 6 and 7 bits cross
        for less, more in itertools.pairwise(values):
            assert less.typical <= more.typical


@pytest.mark.parametrize(
    ("build", "error", "said"),
    [
        (
            lambda: RegressionADC(bits=3),
            ValueError,
            r"bits of RegressionADC.*\[4, 14\] bits.*got 3",
        ),
        (lambda: RegressionADC(rate=2e10), ValueError, r"rate of RegressionADC.*1e\+10\] 1/s"),
        (lambda: RegressionADC(rate=0.0), ValueError, "rate of RegressionADC"),
        (lambda: RegressionADC(node=32), ValueError, r"\[7, 180\] nm.*in metres: 32 nm is 32e-9"),
        (lambda: RegressionADC(node=float("nan")), ValueError, "node of RegressionADC"),
        (lambda: RegressionADC(bits="8"), TypeError, "bits of RegressionADC"),
        (lambda: SurveyADC(rate=1e6), ValueError, r"rate of SurveyADC.*\[1e\+07, 2e\+09\] 1/s"),
        (lambda: SurveyADC(bits=8.0), TypeError, "bits of SurveyADC"),
        (lambda: IsaacADC(rate=2e9), ValueError, r"rate of IsaacADC.*1.28e\+09"),
        (lambda: IsaacADC(bits=11), ValueError, "bits of IsaacADC"),
        (lambda: IsaacADC(node=22e-9), TypeError, "node"),
        (lambda: CapacitiveDAC(rate=1.2e9), ValueError, r"rate of CapacitiveDAC.*1.1e\+09"),
        (lambda: NeuRRAMADC(voltage=0.5), ValueError, r"voltage of NeuRRAMADC.*\[1.2, 1.8\] V"),
        (lambda: ZigZagADC(rows=0), ValueError, "rows of ZigZagADC"),
        (lambda: TimelyDTC(unit=0.0), ValueError, "unit of TimelyDTC"),
        (lambda: ResistiveDAC(resistance=0.0), ValueError, "resistance of ResistiveDAC"),
        (lambda: ResistiveDAC(bits=13), ValueError, "bits of ResistiveDAC"),
        (lambda: ZigZagADC().check_rate(1e9), ValueError, "at most 5.407e\\+07/s"),
        (lambda: ZigZagADC().check_rate(-1.0), ValueError, "rate"),
    ],
)
def test_what_a_converter_cannot_do_is_refused(build, error, said):
    with pytest.raises(error, match=said):
        build()
