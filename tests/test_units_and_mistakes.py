"""What people get wrong at first is refused, or said, by name: units, uses, tables, inputs."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal

import mho
from mho.analysis import ChipArchitecture, Levels, Part, PulseWidths, Technology
from mho.analysis.components import Given, RegressionADC
from mho.chip import Cores, LayerShape, Rewriting, place
from mho.devices import Spread
from mho.periphery import SAR, DriverErrors, Measured

DRIVERS = Part("DAC", ("drivers",), None)
CONVERTERS = Part("ADC", ("converters",), None)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Given("own", energy=2.0), "energy of own must be < 0.01 J"),
        (lambda: Given("own", energy=(1e-12, 2.0)), "energy of own"),
        (lambda: Given("own", latency=10.0), "latency of own must be < 10 s"),
        (lambda: Given("own", area=1000.0), "area of own must be < 0.1 m²"),
        (lambda: Given("own", leakage=5000.0), "leakage of own must be < 1000 W"),
        (lambda: Given("own", node=22.0), "node of Given must be < 0.0001 m"),
        (lambda: Technology(adc_energy=2.0), "adc_energy"),
        (lambda: Technology(dac_energy=(0.0, 2.0)), "high of dac_energy"),
        (lambda: Technology(feature_size=22.0), "feature_size"),
        (lambda: Technology(line_capacitance=0.03), "line_capacitance"),
        (lambda: Technology(read_time=20.0), "read_time"),
        (lambda: Levels(read_time=20.0), "read_time"),
        (lambda: PulseWidths(overhead=20.0), "overhead"),
        (lambda: Cores(read_time=133.0), "Cores read_time"),
        (lambda: mho.PulseWidth(t_pulse=128.0), "PulseWidth t_pulse"),
        (lambda: mho.PulseWidth(jitter=20.0), "PulseWidth jitter"),
        (lambda: mho.PulseWidth(full_charge=1.0), "PulseWidth full_charge must be < 1e-06 C"),
        (lambda: SAR(clock=1.0), "SAR clock must be >= 1000 Hz"),
        (lambda: ChipArchitecture(parts=(DRIVERS, CONVERTERS), cell_area=40.0), "cell_area"),
    ],
)
def test_numbers_without_their_prefix_are_refused(make, name):
    with pytest.raises(ValueError, match=name) as caught:
        make()
    assert "SI units" in str(caught.value)


def test_quantities_of_slow_and_large_things_are_taken():
    host = Given("host", energy=5e-3, latency=1.0, area=2e-3, leakage=100.0, node=350e-9)
    assert host.energy.typical == 5e-3
    assert Cores(read_time=1.0).read_time == 1.0


def test_an_energy_that_nothing_uses_is_refused():
    with pytest.raises(ValueError, match=r"'ADC' has an energy of each use.*'conversion'"):
        Part("ADC", ("converters",), RegressionADC())
    assert Part("rest", ("control",), Given("rest", area=1e-9)).use is None


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([0.1 * k for k in range(15)], "0 … 1.4"),  # volts
        ([float(k) for k in range(15)], "0 … 14"),  # codes from 0
        ([1e-6 * (k - 7) for k in range(15)], "steps around zero"),  # amperes
        ([*range(-7, 7), -8.0], r"levels\[14\] = -8 after 6"),
    ],
)
def test_a_measured_table_in_other_units_is_refused(levels, message):
    with pytest.raises(ValueError, match=message):
        Measured(levels=levels)


def test_a_measured_table_prints_in_short():
    levels = [k - 127.5 for k in range(255)]
    adc = mho.ADC(8, architecture=Measured(levels=[levels, levels]))
    assert str(adc).count("-127.5") == 2
    assert "255 in all" in str(adc)
    assert len(str(adc)) < 200
    assert adc == mho.ADC.from_dict(adc.to_dict())


def test_calibration_under_autocast_finds_what_it_finds_without():
    torch.manual_seed(0)
    inputs = torch.randn(64, 16)
    analog = mho.convert(nn.Linear(16, 4), mho.Hardware(dac=mho.DAC(8), adc=mho.ADC(8)), seed=0)
    mho.calibrate(analog, inputs)
    (crossbar,) = mho.crossbars(analog).values()
    exact = crossbar.correction.adc_range.clone()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mho.calibrate(analog, inputs)
    assert torch.allclose(crossbar.correction.adc_range, exact, rtol=0.02)


def test_a_mapping_says_that_it_does_not_know_how_often_layers_are_read():
    hardware = mho.Hardware(array=mho.Array(64, 64))
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 4))
    with pytest.warns(UserWarning, match="'?0'? counts as read once.*inputs=") as caught:
        place(model, Cores(count=4, rows=64, cols=64), hardware=hardware)
    assert caught[0].filename == __file__


def test_what_is_not_known_of_rewriting_is_said_in_words():
    layers = [LayerShape("a", 256, 256), LayerShape("b", 256, 256)]
    found = str(place(layers, Cores(count=1), turns=Rewriting(batch=2)))
    assert "for one inference time not known, energy not known" in found
    assert "of the chip, in the mean over turns" in found
    with pytest.raises(ValueError, match="the chip has 1 core of"):
        place(layers, Cores(count=1))


@pytest.mark.parametrize("converted", [False, True])
@pytest.mark.parametrize(
    ("model", "shape", "reads"),
    [
        (nn.LSTM(16, 8), (10, 4, 16), 10),  # time first
        (nn.LSTM(16, 8), (10, 16), 10),  # one sequence
        (nn.LSTM(16, 8, batch_first=True), (4, 10, 16), 10),
        (nn.Conv2d(3, 4, 3), (3, 8, 8), 36),  # one image
        (nn.Conv2d(3, 4, 3), (2, 3, 8, 8), 36),
        (nn.Linear(16, 4), (16,), 1),
        (nn.TransformerEncoderLayer(16, 2, 8), (10, 4, 16), 10),
    ],
)
def test_a_sequence_or_an_image_is_one_inference(model, shape, reads, converted):
    hardware = mho.Hardware(array=mho.Array(64, 64))
    what = mho.convert(model.eval(), hardware) if converted else model
    given = None if converted else hardware
    mapping = place(what, Cores(rows=64, cols=64), hardware=given, inputs=torch.rand(*shape))
    assert {layer.shape.reads for layer in mapping.layers} == {float(reads)}


@pytest.mark.parametrize(
    "parts",
    [
        {"device": mho.devices.PCM()},
        {"amplifier": mho.Amplifier(compression=Spread(Normal(2e3, 2e2)))},
        {"adc": mho.ADC(8, architecture=SAR(capacitor_sigma=0.02))},
    ],
    ids=["device", "amplifier", "adc"],
)
def test_what_was_drawn_has_shapes_on_the_meta_device(parts):
    hardware = mho.Hardware(**{"dac": mho.DAC(8), "adc": mho.ADC(8), **parts})
    analog = mho.convert(nn.Linear(16, 4), hardware).eval().to("meta")
    assert analog(torch.empty(3, 16, device="meta")).shape == (3, 4)


def test_levels_of_drivers_in_volts_are_refused():
    volts = DriverErrors(levels=[0.2 * k / 7 for k in range(-7, 8)])
    with pytest.raises(ValueError, match=r"shares of v_max.*got up to 0\.2"):
        mho.DAC(4, errors=volts)
    shares = DriverErrors(levels=[k / 7 for k in range(-7, 8)])
    assert mho.DAC(4, errors=shares).errors == shares


def test_a_type_in_other_letters_is_guessed():
    with pytest.raises(ValueError, match=r"unknown type 'Sar'.*did you mean 'SAR'"):
        mho.ADC.from_dict({"bits": 8, "architecture": {"type": "Sar"}})


def test_conductances_in_microsiemens_cost_nothing_that_is_known():
    hardware = mho.Hardware(device=mho.devices.LinearDevice(g_min=1, g_max=100))
    analog = mho.convert(nn.Linear(4, 3), hardware)
    with pytest.raises(ValueError, match=r"conductance must be < 1 S \(SI.*1e-4\), got 100"):
        mho.analysis.cost(analog, torch.rand(5, 4))


def test_one_number_where_several_are_asked_for_is_told():
    model = torch.nn.Linear(4, 3)
    hardware = mho.Hardware(adc=mho.ADC(bits=8))
    analog = mho.convert(model, hardware).eval()
    with pytest.raises(TypeError, match=r"seeds must be several.*as range\(8\), got 3"):
        mho.study.over_chips(analog, lambda chip: 0.0, seeds=3)
    with pytest.raises(TypeError, match=r"bits must be several.*as range\(4, 10\), got 8"):
        mho.tune(model, hardware, torch.rand(9, 4), error=0.1, bits=8)


def test_an_array_times_a_crossbar_says_what_is_taken():
    crossbar = mho.Crossbar(4, 3, mho.Hardware(), seed=0)
    crossbar.program(torch.rand(4, 3))
    for product in (lambda: np.ones((2, 4)) @ crossbar, lambda: np.ones((2, 3)) @ crossbar.T):
        with pytest.raises(TypeError, match=r"input must be Tensor, got ndarray"):
            product()
