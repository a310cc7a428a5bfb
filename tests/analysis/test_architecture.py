"""Costs on architectures: worked by hand, conserved, linear, and honest about what is missing."""

import copy
import itertools
import pickle
from functools import partial

import pytest
import torch
from torch import nn

import mho
from mho import ADC, DAC, Array, Hardware
from mho.analysis import (
    ChargeSteps,
    ChipArchitecture,
    Levels,
    Part,
    PulseWidths,
    Technology,
    chips,
    cost,
)
from mho.analysis.components import (
    Given,
    IsaacADC,
    ProgrammingPulse,
    RegressionADC,
    TimelyDTC,
)
from mho.analysis.components.base import Estimate
from mho.analysis.timing import Sent
from mho.core import files
from mho.devices import LinearDevice

# Energies and areas are far below 1e-12, which pytest tolerates by itself.
approx = partial(pytest.approx, rel=1e-9, abs=0.0)

DEVICE = LinearDevice(1e-6, 1e-4)


def of(name, energy=None, area=None, leakage=None, latency=None):
    values = {"energy": energy, "area": area, "leakage": leakage, "latency": latency}
    known = {k: None if v is None else Estimate.exact(v) for k, v in values.items()}
    return Given(name, **known)


def whole(**changes):
    """An architecture of which everything is known, in round numbers."""
    parts = (
        Part("DAC", ("drivers",), of("DAC", 1e-13, 1e-12, 1e-9), each="row", use="drive"),
        Part("ADC", ("converters",), of("ADC", 2e-12, 1e-9, 1e-6, 1e-8), each="converter",
             use="conversion"),
        Part("sums", ("digital sums",), of("sums", 1e-14, 1e-11, 1e-8), use="conversion"),
        Part("ReLU", ("activations",), of("ReLU", 2e-14, 1e-11, 0.0), each="core", use="output"),
        Part("buffer", ("buffers",), of("buffer", 3e-14, 1e-9, 1e-5), each="core",
             use="input bit"),
        Part("link", ("interconnect",), of("link", 4e-14, 1e-10, 0.0), each="chip",
             use="output bit"),
        Part("clock", ("control",), of("clock", 5e-12, 1e-8, 1e-4), each="chip",
             use="inference"),
    )  # fmt: skip
    given = {
        "name": "whole", "parts": parts, "timing": Levels(2e-8), "columns_per_converter": 4,
        "cell_area": 1e-13, "line_capacitance": 1e-16, "arrays_per_core": 3, "cores": 8,
    }  # fmt: skip
    return ChipArchitecture(**(given | changes))


def model(cols=5, layers=1, rows=6):
    torch.manual_seed(0)
    sizes = [rows, *[cols] * layers]
    return nn.Sequential(*[nn.Linear(a, b) for a, b in itertools.pairwise(sizes)])


def found(architecture, network=None, x=None, **more):
    hardware = Hardware(device=DEVICE, array=Array(4, 4), dac=DAC(5), adc=ADC(6), **more)
    analog = mho.convert(network or model(), hardware).eval()
    return cost(analog, torch.ones(2, 6) if x is None else x, architecture)


def typical(value):
    return None if value is None else value.typical


# ── worked by hand ───────────────────────────────────────────────────────────────────────────


def test_every_part_is_used_as_often_as_by_hand():
    result = found(whole())
    layer = result.layers[0]
    # 6 × 5 on arrays of 4 × 4: 2 down, 2 across, twice for the pair: 8 arrays.
    assert layer.arrays == 8
    uses = {part.name: part.uses for part in result.parts}
    assert uses == {
        "cells": 24, "lines": 24,
        "DAC": 6 * 2 * 2,  # each line on the arrays across, for either cell of a pair
        "ADC": 5 * 2,  # a converter has the difference: outputs on the arrays down
        "sums": 10,
        "ReLU": 5,
        "buffer": 6 * 5,  # inputs of 5 bits
        "link": 5 * 6,  # outputs of 6 bits
        "clock": 1,
    }  # fmt: skip
    instances = {part.name: part.instances for part in result.parts}
    assert instances == {
        "cells": 8 * 16, "lines": 32, "DAC": 8 * 4,
        "ADC": 4,  # four bit lines of a pair of arrays share one: a converter a pair
        "sums": 8, "ReLU": 3, "buffer": 3, "link": 1, "clock": 1,
    }  # fmt: skip
    assert (result.cores, result.chips) == (3, 1)
    small = found(whole(cores=2))
    assert (small.cores, small.chips) == (3, 2)
    assert small["clock"].instances == 2
    # lines driven 20 ns, then four bit lines of the busiest converter
    assert typical(layer.latency) == approx(20e-9 + 4 * 10e-9)


def test_sums_of_parts_are_the_whole_and_leakage_is_power_times_time():
    result = found(whole(), model(layers=3))
    time = result.latency.typical
    dynamic = sum(p.dynamic.typical for layer in result.layers for p in layer.parts)
    dynamic += sum(p.dynamic.typical for p in result.shared)
    assert result.dynamic.typical == approx(dynamic, rel=1e-12)
    power = 0.0
    for part in result.parts:
        assert part.leakage.typical == approx(part.power.typical * time, rel=1e-12)
        power += part.power.typical
    assert result.leakage.typical == approx(power * time, rel=1e-12)
    assert result.energy.typical == approx(
        result.dynamic.typical + result.leakage.typical, rel=1e-12
    )
    assert result.area.typical == approx(sum(p.area.typical for p in result.parts))
    assert result.counted("energy").typical == approx(result.energy.typical)
    ops = 2 * result.macs
    assert result.tops_per_watt.typical == approx(ops / result.energy.typical / 1e12)
    assert result.tops.typical == approx(ops / time / 1e12)
    assert result.tops_per_area.typical == approx(result.tops.typical / (result.area.typical * 1e6))


def test_it_is_linear_in_layers_that_are_alike():
    one, three = (found(whole(), model(cols=6, layers=n)) for n in (1, 3))
    for name in ("ADC", "DAC", "sums", "ReLU"):
        assert three[name].dynamic.typical == approx(3 * one[name].dynamic.typical)
    assert three.latency.typical == approx(3 * one.latency.typical)
    assert three["ADC"].area.typical == approx(3 * one["ADC"].area.typical)
    assert three["clock"].dynamic.typical == one["clock"].dynamic.typical


def test_pipelined_layers_wait_for_the_slowest_alone():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 3))
    x = torch.rand(2, 1, 4, 4)
    one, many = (found(whole(pipelined=p), network, x) for p in (False, True))
    assert many.latency.typical == one.latency.typical
    slowest = max(layer.latency.typical for layer in one.layers)
    assert many.interval.typical == approx(slowest)
    assert one.interval == one.latency
    assert many.leakage.typical < one.leakage.typical
    assert many["clock"].leakage.typical == approx(1e-4 * slowest)


def test_conversions_overlap_with_the_next_drive_where_the_architecture_says_so():
    network, x = nn.Conv2d(1, 4, 3), torch.rand(2, 1, 4, 4)
    for read, rest in ((20e-9, 20e-9), (70e-9, 40e-9)):
        result = found(whole(overlapped=True, timing=Levels(read)), network, x)
        # 4 positions, each as long as the longer of driving and converting; then the other once
        assert result.latency.typical == approx(4 * max(read, 40e-9) + rest)


def test_converters_follow_the_bits_of_the_model():
    def energy(bits):
        chip = chips.generic_22nm()
        hardware = Hardware(device=DEVICE, array=Array(4, 4), dac=DAC(5), adc=ADC(bits))
        analog = mho.convert(model(), hardware)
        return cost(analog, torch.ones(2, 6), chip)["ADC"]

    for bits in (4, 6, 8, 10):
        one = RegressionADC(float(bits), 1e8, 22e-9)
        assert energy(bits).dynamic.typical == approx(10 * one.energy.typical)
        assert energy(bits).area.typical == approx(4 * one.area.typical)
    with pytest.raises(ValueError, match="bits of RegressionADC"):
        energy(2)


def test_conversions_take_the_time_that_their_bits_take():
    adc = mho.analysis.components.HermesADC()
    part = Part("ADC", ("converters",), adc, each="converter", use="conversion", follows="output")
    chip = whole()
    chip = chip.replace(parts=tuple(part if p.name == "ADC" else p for p in chip.parts))
    for bits in (3, 6, 8):
        hardware = Hardware(device=DEVICE, array=Array(4, 4), dac=DAC(5), adc=ADC(bits))
        result = cost(mho.convert(model(), hardware), torch.ones(2, 6), chip)
        # 300 ps · 2^bits, four bit lines one after the other
        assert result.latency.typical == approx(20e-9 + 4 * 300e-12 * 2**bits)
        assert result["ADC"].dynamic is None  # whose energy was never published


def test_pulse_widths_deliver_full_voltage_for_a_part_of_the_time():
    chip = whole(timing=PulseWidths(1e-9), columns_per_converter=1)
    hardware = Hardware(
        device=DEVICE, array=Array(8, 8), dac=DAC(5, v_max=0.2, range=1.0), adc=ADC(6)
    )
    analog = mho.convert(nn.Linear(6, 5).double(), hardware)
    x = torch.tensor([[1.0, -0.5, 0.0, 0.2, 0.7, -1.0]], dtype=torch.float64)
    share = (x * 15).round().abs() / 15  # of 16 cycles
    rows = analog.crossbar.G.sum((0, 2))
    result = cost(analog, x, chip)
    expected = 0.2**2 * 16e-9 * float((share @ rows).sum())
    assert typical(result["cells"].dynamic) == approx(expected)
    driven = int((x != 0).sum())
    assert typical(result["lines"].dynamic) == approx(0.2**2 * driven * 2 * 8 * 1e-16)
    four = cost(analog, x, chip.replace(timing=PulseWidths(1e-9, 4, overhead=2e-9)))
    assert four.latency.typical == approx(4 * 18e-9)
    assert four["cells"].dynamic == result["cells"].dynamic
    assert four["ADC"].uses == 4 * result["ADC"].uses


def test_pulse_width_drivers_say_how_long_lines_are_driven():
    def of_mode(chip, **drive):
        dac = DAC(5, v_max=0.2, range=1.0, **drive)
        hardware = Hardware(device=DEVICE, array=Array(8, 8), dac=dac, adc=ADC(6))
        torch.manual_seed(0)
        analog = mho.convert(nn.Linear(6, 5).double(), hardware)
        return analog, cost(analog, x, chip)

    x = torch.tensor([[1.0, -0.5, 0.0, 0.2, 0.7, -1.0]], dtype=torch.float64)
    share = (x * 15).round().abs() / 15
    pulses = mho.PulseWidth(t_pulse=3e-8)
    analog, result = of_mode(whole(), mode="pulse_width", pulses=pulses)
    rows = analog.crossbar.G.sum((0, 2))
    expected = 0.2**2 * 3e-8 * float((share @ rows).sum())
    assert typical(result["cells"].dynamic) == approx(expected)
    assert result.latency.typical == approx(3e-8 + 4 * 1e-8)
    # On a chip of pulse widths the chip's own clock counts.
    chip = whole(timing=PulseWidths(1e-9), columns_per_converter=1)
    analog, result = of_mode(chip, mode="pulse_width", pulses=pulses)
    assert typical(result["cells"].dynamic) == approx(expected * 16e-9 / 3e-8)
    with pytest.raises(ValueError, match="one pulse width"):
        of_mode(chip, mode="pulse_width", pulses=mho.PulseWidth(split=(2, 2)))


def test_the_hardwares_own_converters_are_waited_for():
    slow = mho.periphery.converters.SAR(clock=1e8)
    one = found(whole())
    hardware = Hardware(device=DEVICE, array=Array(4, 4), dac=DAC(5), adc=ADC(6, architecture=slow))
    adc = hardware.adc
    assert adc.conversion_time > 1e-8
    result = cost(mho.convert(model(), hardware), torch.ones(2, 6), whole())
    assert result.latency.typical == approx(20e-9 + 4 * adc.conversion_time)
    assert result.latency.typical > one.latency.typical
    shared = hardware.replace(adc=adc.replace(columns_per_adc=2))
    with pytest.raises(ValueError, match="columns_per_adc=2 and the columns_per_converter=4"):
        cost(mho.convert(model(), shared), torch.ones(2, 6), whole())


def test_slices_in_one_unit_cell_take_one_array():
    one, two = (found(whole(slices_per_array=n)) for n in (1, 2))
    assert (one.layers[0].arrays, two.layers[0].arrays) == (8, 4)
    assert two["DAC"].uses == one["DAC"].uses / 2
    assert two["ADC"].uses == one["ADC"].uses
    assert two.utilisation == one.utilisation == approx(30 / 64)


def test_programming_is_the_report_of_the_programming_stage():
    hardware = Hardware(
        device=mho.devices.VTEAM(), array=Array(4, 4), dac=DAC(5), adc=ADC(6),
        programming=mho.programming.WriteVerify(),
    )  # fmt: skip
    analog = mho.convert(model(), hardware)
    report = mho.program(analog)
    result = cost(analog, torch.ones(2, 6), whole(), programming=report)
    assert result.programming.pulses == report.pulses
    assert typical(result.programming_time) == report.seconds
    assert typical(result.programming_energy) == report.energy
    # A policy that counts pulses alone: their energy is the architecture's to say.
    exact = mho.convert(model(), Hardware(device=DEVICE, array=Array(4, 4), adc=ADC(6)))
    report = mho.program(exact)
    assert report.energy is None
    unknown = cost(exact, torch.ones(2, 6), whole(), programming=report)
    assert unknown.programming_energy is None
    with pytest.raises(ValueError, match="programming_energy is no objective"):
        unknown.objective("programming_energy")
    pulse = ProgrammingPulse(2.0, 50e-6, 1e-7)
    known = cost(exact, torch.ones(2, 6), whole(pulse=pulse), programming=report)
    assert known.objective("programming_energy") == approx(report.pulses * 2 * 50e-6 * 1e-7)
    each = report.pulses / 60
    assert known.objective("programming_time") == approx(each * 4 * 1e-7)


# ── what is not counted ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("quantity", ["energy", "area", "leakage"])
def test_a_part_that_is_not_known_makes_the_sum_unknown_and_no_objective(quantity):
    values = {"energy": 1e-14, "area": 1e-11, "leakage": 1e-8, quantity: None}
    chip = whole()
    parts = tuple(
        p.replace(component=of("sums", **values)) if p.name == "sums" else p for p in chip.parts
    )
    known, lacking = found(chip), found(chip.replace(parts=parts))
    name = {"energy": "dynamic"}.get(quantity, quantity)
    assert getattr(lacking, name) is None
    assert lacking.uncounted(name) == ("sums",)
    assert lacking.counted(name).typical < known.counted(name).typical
    with pytest.raises(ValueError, match=f"{name} is no objective here.*lacks sums"):
        lacking.objective(name)
    assert known.objective(name) > 0
    assert "≥" in str(lacking)
    assert "sums" in str(lacking).split("not counted:")[1]


def test_a_role_without_a_part_is_not_counted_either():
    chip = whole()
    chip = chip.replace(parts=tuple(p for p in chip.parts if p.name != "buffer"))
    result = found(chip)
    assert result.energy is None
    assert result.area is None
    assert result.uncounted("area") == ("buffers",)
    assert result.objective("latency") == result.latency.typical
    with pytest.raises(ValueError, match="lacks buffers"):
        result.objective("energy")
    with pytest.raises(ValueError, match="objective must be one of energy"):
        result.objective("price")


def test_a_technology_is_the_least_architecture():
    technology = Technology(read_time=3e-8, columns_per_adc=2, dac_energy=1e-13)
    one = found(technology)
    other = found(technology.architecture())
    assert one.layers == other.layers
    assert one.energy is None
    assert one.counted("energy").high > 0
    assert set(one.missing) == {
        "digital sums", "activations", "buffers", "interconnect", "control",
    }  # fmt: skip


def test_parts_in_the_path_of_a_vector_add_their_time():
    chip = whole()
    wait = Part("wait", ("control",), of("wait", 0.0, 0.0, 0.0, 5e-9), in_path=True)
    slower = found(chip.replace(parts=(*chip.parts, wait)))
    assert slower.latency.typical == approx(found(chip).latency.typical + 5e-9)
    unknown = Part("wait", ("control",), of("wait", 0.0, 0.0, 0.0), in_path=True)
    lacking = found(chip.replace(parts=(*chip.parts, unknown)))
    assert lacking.latency is None
    assert lacking.uncounted("latency") == ("time of wait",)
    assert lacking.counted("latency").typical == approx(20e-9)
    with pytest.raises(ValueError, match="lacks time of wait"):
        lacking.objective("latency")


def test_tiles_that_leave_arrays_idle_are_said():
    result = found(whole(rows=8, cols=8))
    assert "tiles of 4 × 4 lie on arrays of 8 × 8" in str(result)
    assert result.utilisation == approx(60 / (8 * 64))
    assert result["DAC"].instances == 8 * 8
    assert "lie on arrays" not in str(found(whole()))


def test_amplifiers_of_the_hardware_are_missed_unless_a_part_is_theirs():
    amplifier = mho.periphery.Amplifier(gain=1.1)
    assert found(whole(), amplifier=amplifier).missing == ("amplifiers",)
    assert found(whole(), amplifier=amplifier).energy is None
    chip = whole()
    more = Part("TIA", ("amplifiers",), of("TIA", 1e-13, 1e-10, 0.0), each="line", use="phase")
    counted = found(chip.replace(parts=(*chip.parts, more)), amplifier=amplifier)
    assert counted.energy is not None
    assert counted["TIA"].uses == 10
    assert found(whole()).missing == ()


def test_bit_serial_drivers_have_one_bit():
    dac = mho.analysis.components.CapacitiveDAC()
    chip = whole()
    parts = tuple(
        p.replace(component=dac, follows="input") if p.name == "DAC" else p for p in chip.parts
    )
    chip = chip.replace(parts=parts)

    def energy(drive):
        hardware = Hardware(device=DEVICE, array=Array(4, 4), dac=drive, adc=ADC(6))
        part = cost(mho.convert(model(), hardware), torch.ones(2, 6), chip)["DAC"]
        return part.dynamic.typical / part.uses

    assert energy(DAC(5)) == approx(dac.replace(bits=5).energy.typical)
    assert energy(DAC(5, mode="bit_serial")) == approx(dac.replace(bits=1).energy.typical)


def test_bits_nobody_knows_are_not_counted():
    hardware = Hardware(device=DEVICE, array=Array(4, 4), adc=ADC(6))  # ideal drivers
    result = cost(mho.convert(model(), hardware), torch.ones(2, 6), whole())
    assert result["buffer"].dynamic is None
    assert result["DAC"].dynamic is not None
    assert result.uncounted("dynamic") == ("buffer",)


# ── refusals ─────────────────────────────────────────────────────────────────────────────────

ADC_PART = Part("ADC", ("converters",), IsaacADC(), each="converter", use="conversion")
DAC_PART = Part("DAC", ("drivers",), None, each="row", use="drive")


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda: ChipArchitecture(parts=(ADC_PART,)), ValueError, "lacks parts for: drivers"),
        (lambda: ChipArchitecture(), ValueError, "lacks parts for: drivers, converters"),
        (lambda: ChipArchitecture(parts=(ADC_PART, DAC_PART, ADC_PART)), ValueError, "twice: ADC"),
        (
            lambda: ChipArchitecture(parts=(ADC_PART, DAC_PART), conversion_rate=2e9),
            ValueError,
            r"conversion_rate must be <= 1.28e\+09 /s, what ADC",
        ),
        (lambda: ChipArchitecture(parts=(ADC_PART, 3)), TypeError, "every part"),
        (lambda: ChipArchitecture(parts=(ADC_PART, DAC_PART), rows=0), ValueError, "rows"),
        (
            lambda: ChipArchitecture(parts=(ADC_PART, DAC_PART), cell_area=-1.0),
            ValueError,
            "cell_area",
        ),
        (lambda: ChipArchitecture(parts=(ADC_PART, DAC_PART), timing=3), TypeError, "timing"),
        (lambda: ChipArchitecture(parts=(ADC_PART, DAC_PART), sources=(3,)), TypeError, "sources"),
        (lambda: ChipArchitecture(parts=ADC_PART), TypeError, "parts"),
        (lambda: Part("x", ("moving",), None), ValueError, "role of part 'x'"),
        (lambda: Part("x", (), None), ValueError, "roles of part 'x'"),
        (lambda: Part("x", "control", None), TypeError, "roles of part 'x'"),
        (lambda: Part("x", ("control",), 3), TypeError, "component of part 'x'"),
        (lambda: Part("x", ("control",), None, each="street"), ValueError, "each of part 'x'"),
        (lambda: Part("x", ("control",), None, use="often"), ValueError, "use of part 'x'"),
        (lambda: Part("x", ("control",), None, count=0.0), ValueError, "count of part 'x'"),
        (lambda: Part("x", ("control",), None, uses=-1.0), ValueError, "uses of part 'x'"),
        (
            lambda: Part("x", ("control",), Given("x"), follows="output"),
            ValueError,
            "Given has no bits",
        ),
        (lambda: PulseWidths(phases=0), ValueError, "phases"),
        (lambda: PulseWidths(cycle=0.0), ValueError, "cycle"),
        (lambda: Levels(-1.0), ValueError, "read_time"),
        (lambda: ChargeSteps(step=0.0), ValueError, "step"),
        (lambda: ChargeSteps().slots(Sent(None, 8)), ValueError, "bits of its DAC"),
        (lambda: ChargeSteps().slots(Sent(4, None)), ValueError, "bits of its ADC"),
        (lambda: PulseWidths().slots(Sent(8, 8, 7)), ValueError, "7 drives"),
        (lambda: Levels(bit_serial=True).slots(Sent(8, 8, 1)), ValueError, "8 bits in 1 drive"),
        (lambda: Part("cells", ("cells",), None), ValueError, "name must not be 'cells'"),
        (lambda: whole(timing=PulseWidths()), ValueError, "columns_per_converter must be 1 with P"),
        (
            lambda: whole(timing=ChargeSteps(), columns_per_converter=1, conversion_rate=1e6),
            ValueError,
            "conversion_rate must be None with ChargeSteps",
        ),
        (lambda: whole(input_bits=(8, 4)), ValueError, "most of input_bits"),
        (lambda: whole(output_bits=(8,)), ValueError, "output_bits must be"),
        (lambda: found(whole(input_bits=(6, 8))), ValueError, "inputs of 6 to 8 bits, got 5"),
        (lambda: found(whole(output_bits=(8, 8))), ValueError, "outputs of 8 bits, got 6"),
        (lambda: found(whole(rows=3)), ValueError, r"tiles of 4 × 4 do not fit.*Array\(3, 4\)"),
        (lambda: found(3), TypeError, "architecture must be ChipArchitecture or Technology"),
    ],
)
def test_bad_input_is_refused(make, kind, text):
    with pytest.raises(kind, match=text):
        make()


def test_a_rate_that_only_fewer_bits_allow_is_refused_for_the_models_bits():
    adc = Part(
        "ADC", ("converters",), mho.analysis.components.HermesADC(4), each="converter",
        use="conversion", follows="output",
    )  # fmt: skip
    chip = ChipArchitecture(
        parts=(adc, DAC_PART), conversion_rate=1e8
    )  # 16 counts of 300 ps suit it
    assert found(chip.replace(conversion_rate=5e7)).latency is not None  # 64 of them: 19.2 ns
    with pytest.raises(ValueError, match="conversion_rate must be <= "):
        found(chip)


# ── a spec like every other ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("chip", [whole(), *map(chips.get, chips.NAMES)], ids=lambda c: c.name)
def test_architectures_are_specs(chip, tmp_path):
    files.save(chip, tmp_path / "chip.yaml")
    again = files.load(tmp_path / "chip.yaml", ChipArchitecture)
    assert again == chip
    assert copy.deepcopy(chip) == chip
    assert pickle.loads(pickle.dumps(chip)) == chip
    assert chip.replace(name="other").name == "other"
    assert ChipArchitecture.from_dict(chip.to_dict()) == chip


@pytest.mark.parametrize(
    ("kind", "v_idle"),
    [("ohmic", 0.0), ("ohmic", 0.13), ("separable", 0.0), ("separable", 0.13), ("nominal", 0.0)],
)
def test_cells_take_what_every_interval_of_pulses_takes(kind, v_idle):
    """Summed over the levels' slots, lines that are done resting at their rail."""
    device = {
        "ohmic": lambda: mho.devices.LinearDevice(1e-6, 1e-4),
        "separable": lambda: mho.devices.presets.get("hfox_stanford_pku"),
        "nominal": lambda: mho.devices.presets.get("tio2_pickett"),
    }[kind]()
    top, volts, window = 15, 0.4, 50e-9
    pulses = mho.PulseWidth(t_pulse=window, v_idle=v_idle)
    dac = DAC(5, v_max=volts, mode="pulse_width", range=1.0, pulses=pulses)
    torch.manual_seed(0)
    model = nn.Linear(6, 4, bias=False).double()
    analog = mho.convert(model, Hardware(device=device, dac=dac, adc=ADC(8)), seed=0).eval()
    x = 2 * torch.rand(3, 6, dtype=torch.float64) - 1
    level, g = (x * top).round(), analog.crossbar.G.double()
    device = analog.crossbar.hardware.device
    low, high = device.window
    energy = 0.0
    for slot in range(top):
        v = torch.where(level.abs() > slot, level.sign() * volts, v_idle)
        for one in v:
            lines = one[:, None].expand_as(g)
            current = g * lines
            if not device.ohmic:
                current = device.current_of(lines, g.clamp(low, high))
            energy += float((lines * current).sum()) * window / top / len(x)
    chip = ChipArchitecture(
        parts=(Part("rest", ("drivers", "converters"), None),), columns_per_converter=1
    )
    found = cost(analog, x, chip)["cells"].dynamic
    assert found.typical == approx(energy, rel=1e-6)


def test_a_conversion_is_not_as_short_as_what_is_known_of_it():
    quick = Given("quick", energy=1e-13, latency=1e-9, area=1e-12, leakage=0.0)
    slow = Given("slow", energy=1e-13, latency=3e-9, area=1e-12, leakage=0.0)
    unknown = Given("unknown", energy=1e-13, area=1e-12, leakage=0.0)

    def chip(*converters):
        parts = [
            Part(f"part {k}", ("converters",), each, each="converter", use="conversion")
            for k, each in enumerate(converters)
        ]
        return ChipArchitecture(parts=(Part("drivers", ("drivers",), None), *parts))

    sent = Sent(8, 8)
    assert chip(quick, slow).conversion_time(sent) == slow.latency
    assert chip(quick, unknown).conversion_time(sent) is None
    assert chip(unknown, quick).conversion_time(sent) is None
    told = chip(quick, unknown).replace(conversion_rate=1e8).conversion_time(sent)
    assert told.typical == approx(1e-8)


@pytest.mark.parametrize(
    ("drive", "bits", "drives"),
    [
        ({"mode": "bit_serial"}, 1, 7),
        ({"mode": "pulse_width"}, 8, 1),
        ({"mode": "pulse_width", "pulses": mho.PulseWidth(signs="two_phase")}, 7, 2),
        ({"mode": "pulse_width", "pulses": mho.PulseWidth(split=(3, 4))}, 4, 2),
    ],
)
def test_drivers_have_the_bits_of_one_drive(drive, bits, drives):
    parts = (
        Part("DTC", ("drivers",), TimelyDTC(), each="row", use="drive", follows="input"),
        Part("ADC", ("converters",), None),
    )
    hardware = Hardware(dac=DAC(8, range=1.0, **drive), adc=ADC(8))
    analog = mho.convert(nn.Linear(6, 4, bias=False), hardware)
    found = cost(analog, torch.rand(3, 6), ChipArchitecture(parts=parts))["DTC"]
    assert found.uses == 2 * 6 * drives
    assert found.dynamic.typical == approx(2 * 6 * drives * 0.0375e-12 * 2.0 ** (bits - 8))
