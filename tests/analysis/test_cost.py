"""Energy, latency and area against examples worked by hand."""

import math
from functools import partial

import pytest
import torch
from torch import nn

import mho
from mho import ADC, DAC, Array, Hardware, circuit
from mho.analysis import ChipArchitecture, Part, Technology, adc_energy, cost
from mho.analysis.components import Given
from mho.circuit import Wires
from mho.core.text import quantity
from mho.devices import VTEAM, LinearDevice
from mho.encoding import BitSliced, SingleColumn

# Energies and areas are far below 1e-12, which pytest tolerates by itself.
approx = partial(pytest.approx, rel=1e-9, abs=0.0)

DEVICE = LinearDevice(1e-6, 1e-4)
TECHNOLOGY = Technology(
    read_time=20e-9,
    conversion_rate=1e8,
    columns_per_adc=4,
    adc_energy=(1e-12, 3e-12),
    dac_energy=2e-13,
    line_capacitance=1e-16,
    feature_size=50e-9,
    cell_factor=12.0,
    adc_area=1e-9,
    dac_area=1e-11,
)


def linear(hardware, rows=6, cols=5, bias=True):
    torch.manual_seed(0)
    model = nn.Linear(rows, cols, bias=bias).double()
    return mho.convert(model, hardware).eval()


def energy(found, part):
    """What the uses of a part take, where this is known to one number."""
    value = found[part].dynamic
    assert value.low == value.high
    return value.typical


def test_one_layer_worked_by_hand():
    hardware = Hardware(device=DEVICE, array=Array(4, 3), dac=DAC(v_max=0.2, range=2.0), adc=ADC(8))
    analog = linear(hardware)
    x = torch.tensor([[2.0, -1.0, 0.5, 0.0, 1.0, -2.0], [1.0] * 6], dtype=torch.float64)
    found = cost(analog, x, TECHNOLOGY).layers[0]
    volts = x / 2.0 * 0.2
    rows = analog.crossbar.G.sum((0, 2))
    assert found.reads == 1
    assert energy(found, "cells") == approx(float((volts**2 @ rows).mean()) * 20e-9)
    # 6 × 5 in tiles of 4 × 3: 2 down, 2 across, twice for the two cells of a weight
    assert found.arrays == 8
    assert found.conversions == 2 * 5
    assert found.drives == 6 * 2 * 2
    assert found.macs == 6 * 5
    assert found.utilisation == approx(60 / (8 * 4 * 3))
    # Lines have their whole length on tiles that are filled in part: 2 × 2 × 3 cells.
    squares = float((volts**2).sum(1).mean())
    assert energy(found, "lines") == approx(squares * 12 * 1e-16)
    adc, dac = found["ADC"].dynamic, found["DAC"].dynamic
    assert (adc.low, adc.high) == (approx(10e-12), approx(30e-12))
    assert (dac.low, dac.high) == (approx(24 * 2e-13),) * 2
    # three bit lines of a tile share one ADC of 10 ns
    assert found.latency.low == found.latency.high == approx(20e-9 + 3 * 10e-9)
    cells = 8 * 4 * 3 * 12 * 50e-9**2
    assert found.area.typical == approx(cells + 8 * 4 * 1e-11 + 4 * 1e-9)


def test_bit_serial_inputs_drive_and_convert_every_plane():
    def found(**more):
        dac = DAC(bits=4, mode="bit_serial", v_max=0.1, range=7.0, **more)
        hardware = Hardware(device=DEVICE, array=Array(4, 3), dac=dac, adc=ADC(8))
        analog = linear(hardware, bias=False)
        return cost(analog, x, TECHNOLOGY).layers[0], analog.crossbar.G.sum((0, 2))

    x = torch.tensor([[5.0, -3.0, 0.0, 7.0, 1.0, 0.0]], dtype=torch.float64)
    ones = torch.tensor([2.0, 2.0, 0.0, 3.0, 1.0, 0.0], dtype=torch.float64)  # bits set
    each, rows = found()
    assert energy(each, "cells") == approx(float(ones @ rows) * 0.1**2 * 20e-9)
    assert each.conversions == 3 * 10
    assert each.drives == 3 * 24
    assert each.latency.typical == approx(3 * (20e-9 + 30e-9))
    once, _ = found(converts_once=True)
    assert once.conversions == 10
    assert once.drives == each.drives
    assert once.latency.typical == approx(3 * 20e-9 + 30e-9)


def test_encodings_pay_for_their_slices():
    def found(encoding):
        return cost(linear(Hardware(device=DEVICE, encoding=encoding, adc=ADC(6))), x).layers[0]

    x = torch.ones(3, 6, dtype=torch.float64)
    sliced = found(BitSliced(bits=5, bits_per_cell=1))
    assert sliced.conversions == 5 * sliced.reads * len(BitSliced(bits=5, bits_per_cell=1).digital)
    single = found(SingleColumn())
    assert single.conversions == 6  # the offset column is converted too


def test_power_with_wires_is_that_of_the_solved_circuit():
    wires = Wires(source=5.0, word=2.0, bit=2.0, sense=5.0)
    for interleaved in (False, True):
        array = Array(4, 4, wires=wires, interleaved=interleaved)
        analog = linear(Hardware(device=DEVICE, array=array, dac=DAC(v_max=0.2, range=1.0)))
        x = torch.rand(3, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        found = energy(cost(analog, x, TECHNOLOGY).layers[0], "cells")
        G = analog.crossbar.G
        arrays = list(G) if not interleaved else [G.permute(1, 2, 0).flatten(1)]
        power = 0.0
        for g in arrays:
            for top in (slice(0, 4), slice(4, 6)):
                for left in range(0, g.shape[1], 4):
                    tile = g[top, left : left + 4]
                    solution = circuit.solve(tile, wires, x[:, top] * 0.2)
                    power += float(solution.dissipated_power.sum())
        assert found == approx(power / 3 * 20e-9, rel=1e-9)


def test_nonlinear_cells_draw_their_own_current():
    device = mho.devices.DataDriven2021()
    hardware = Hardware(device=device, dac=DAC(v_max=0.4, range=1.0))
    analog = linear(hardware, bias=False)
    x = torch.rand(10, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = energy(cost(analog, x, TECHNOLOGY).layers[0], "cells")
    volts = 0.4 * x
    current = analog.crossbar.G.sum((0, 2)) * device.transfer(volts)
    assert found == approx(float((volts * current).sum(1).mean()) * 20e-9)
    ohmic = float((volts.square() @ analog.crossbar.G.sum((0, 2))).mean()) * 20e-9
    assert not math.isclose(found, ohmic, rel_tol=0.01)


def test_a_convolution_reads_once_a_position():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    analog = mho.convert(model, Hardware(device=DEVICE, adc=ADC(8)))
    found = cost(analog, torch.rand(5, 2, 8, 8), TECHNOLOGY)
    assert [layer.reads for layer in found.layers] == [36, 1]
    assert found.layers[0].conversions == 36 * 4
    times = [layer.latency.typical for layer in found.layers]
    assert found.latency.typical == approx(sum(times))


def test_cost_scales_with_what_there_is():
    x = torch.rand(4, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    one, two = (
        cost(linear(Hardware(device=DEVICE, adc=ADC(8)), cols=c), x, TECHNOLOGY).layers[0]
        for c in (5, 10)
    )
    assert two.conversions == 2 * one.conversions
    assert two["ADC"].dynamic.low == approx(2 * one["ADC"].dynamic.low)
    dearer = TECHNOLOGY.replace(adc_energy=(2e-12, 6e-12), read_time=40e-9)
    again = cost(linear(Hardware(device=DEVICE, adc=ADC(8))), x, dearer).layers[0]
    before, after = one["ADC"].dynamic, again["ADC"].dynamic
    assert (after.low, after.high) == (
        approx(2 * before.low),
        approx(2 * before.high),
    )
    assert energy(again, "cells") == approx(2 * energy(one, "cells"))


def test_the_survey_and_beyond():
    assert adc_energy(8) == (5.1e-12, 12e-12)
    assert adc_energy(6) == (1.6e-12, 6.0e-12)
    assert adc_energy(4) == (0.4e-12, 1.5e-12)
    assert adc_energy(10) == (20e-12, 102e-12)
    text = str(cost(linear(Hardware(adc=ADC(4))), torch.ones(1, 6, dtype=torch.float64)))
    assert "Murmann" in text
    assert "4 bits: the survey's nearest figure" in text
    assert "not counted:" in text
    assert "area of: cells, DAC, ADC" in text


def test_the_model_is_left_alone():
    analog = linear(Hardware(device=DEVICE, adc=ADC(8), effects=(mho.effects.ReadNoise(0.1),)))
    before = {k: v.clone() for k, v in analog.state_dict().items() if torch.is_tensor(v)}
    analog.train()
    cost(analog, torch.ones(2, 6, dtype=torch.float64))
    assert analog.training
    for key, value in before.items():
        assert torch.equal(analog.state_dict()[key], value) or value.isnan().all()


def test_no_converter_is_said_not_to_be_counted():
    found = cost(linear(Hardware(device=DEVICE)), torch.ones(1, 6, dtype=torch.float64))
    assert found.layers[0].conversions == 0
    assert any("no ADC" in text for text in found.excluded)
    assert found.layers[0]["ADC"].dynamic is None
    assert found.latency is None
    assert found.counted("latency").typical == approx(10e-9)


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda: Technology(read_time=0.0), ValueError, "read_time"),
        (lambda: Technology(adc_energy=(2.0, 1.0)), ValueError, "high of adc_energy"),
        (lambda: Technology(adc_energy=(1.0,)), ValueError, "adc_energy"),
        (lambda: Technology(columns_per_adc=0), ValueError, "columns_per_adc"),
        (lambda: adc_energy(0), ValueError, "bits"),
        (lambda: cost(nn.Linear(2, 2), torch.ones(1, 2)), ValueError, "no crossbar"),
        (lambda: cost(linear(Hardware()), torch.ones(0, 6)), ValueError, "at least one sample"),
        (lambda: cost(linear(Hardware()), torch.ones(1, 6), 3), TypeError, "architecture"),
    ],
)
def test_bad_input_is_refused(make, kind, text):
    with pytest.raises(kind, match=text):
        make()


def test_switching_devices_have_a_cost_too():
    analog = linear(Hardware(device=VTEAM()), bias=False)
    x = torch.ones(2, 6, dtype=torch.float64)
    found = cost(analog, x, TECHNOLOGY).layers[0]
    expected = float(analog.crossbar.G.sum()) * 0.2**2 * 20e-9
    assert energy(found, "cells") == approx(expected)


def test_quantities_are_said_with_the_prefix_that_suits_them():
    said = [quantity(v, "J") for v in (0.0, 9.9996e-10, 9.99e-10, 1.234e-9, 5.0, 3e-16)]
    assert said == ["–", "1 nJ", "999 pJ", "1.23 nJ", "5 J", "0.3 fJ"]


def test_cells_whose_current_does_not_separate_draw_their_own_current():
    device = mho.devices.MTJ()
    assert not device.separable
    analog = linear(Hardware(device=device, dac=DAC(v_max=0.3, range=1.0)), bias=False)
    x = torch.rand(4, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = energy(cost(analog, x, TECHNOLOGY).layers[0], "cells")
    low, high = device.window
    G = analog.crossbar.G.clamp(low, high)
    power = 0.0
    for sample in 0.3 * x:
        for row, v in enumerate(sample):
            for g in G[:, row].flatten():
                power += float(v * device.current_of(v, g))
    assert found == approx(power / 4 * 20e-9, rel=1e-6)
    ohmic = float(((0.3 * x).square() @ G.sum((0, 2))).mean()) * 20e-9
    assert not math.isclose(found, ohmic, rel_tol=1e-3)


def test_leakage_that_is_within_an_energy_is_not_taken_for_none():
    together = Given("together", energy=3e-12, latency=1e-9, area=1e-12, leakage_in_energy=True)
    apart = Given("apart", energy=2e-12, latency=1e-9, area=1e-12, leakage=1e-6)
    rest = ("digital sums", "activations", "buffers", "interconnect", "control")
    chip = ChipArchitecture(
        parts=(
            Part("drivers", ("drivers", *rest), together, each="row", use="drive"),
            Part("ADC", ("converters",), apart, each="converter", use="conversion"),
        ),
        cell_area=1e-14,
        line_capacitance=1e-15,
    )
    found = cost(mho.convert(nn.Linear(4, 3), Hardware(adc=ADC(8))), torch.rand(5, 4), chip)
    part = found["drivers"]
    assert part.leakage is None
    assert part.energy == part.dynamic
    assert part.dynamic.typical == approx(2 * 4 * 3e-12)
    # The energy as a whole is known, and is the sum of its parts; the leakage by itself is not.
    each = sum(p.dynamic.typical for p in found.parts) + found["ADC"].leakage.typical
    assert found.objective("energy") == approx(each)
    assert found.leakage is None
    with pytest.raises(
        ValueError, match=r"leakage is no objective .* drivers \(within its energy\)"
    ):
        found.objective("leakage")
    assert "in dynamic" in str(found)
    assert not any("leakage of" in text for text in found.excluded)
