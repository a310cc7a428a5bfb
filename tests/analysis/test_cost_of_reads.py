"""What costs see of how a crossbar is read: pulses behind wires, compared pairs, analog sums."""

import pytest
import torch
from torch import nn

import mho
from mho import ADC, DAC, Array, Hardware, PulseWidth, circuit
from mho.analysis import chips, cost
from mho.analysis.power import pulse_power
from mho.circuit import Wires
from mho.devices import MTJ, LinearDevice, Yakopcic
from mho.encoding import Binary, BitSliced, Ternary

DEVICE = LinearDevice(g_min=1e-6, g_max=1e-4)
GENERIC = chips.get("generic_22nm")


def linear(hardware, rows=9, cols=4):
    torch.manual_seed(0)
    return mho.convert(nn.Linear(rows, cols).double(), hardware).eval()


def stepped(g, wires, volts, share, rest, steps=7 * 60):
    """Return the power of drives in the mean over the longest pulse, step after step."""
    load = circuit.driver_conductance(g, wires).sum(0) if wires else None
    power = 0.0
    for k in range(steps):
        at = torch.where(share > (k + 0.5) / steps, volts, rest)
        form = at @ load * at if wires else at**2 * g.sum((0, 2))
        power += float(form.sum()) / steps
    return power


@pytest.mark.parametrize("wires", [None, Wires(source=20.0, word=30.0, bit=10.0, sense=5.0)])
@pytest.mark.parametrize("pulses", [PulseWidth(), PulseWidth(v_idle=0.05)])
def test_pulses_deliver_power_as_long_as_they_last(wires, pulses):
    array = Array(16, 8) if wires is None else Array(16, 8, wires=wires)
    drive = DAC(4, mode="pulse_width", pulses=pulses)
    crossbar = linear(Hardware(device=DEVICE, array=array, dac=drive)).crossbar
    x = torch.randn(6, 9, dtype=torch.float64)
    ranges = crossbar.reader.ranges
    volts, share = ranges.voltages(x), ranges.lasting(x)
    wanted = stepped(crossbar.G, wires, volts, share, pulses.v_idle)
    assert pulse_power(crossbar, volts, share) == pytest.approx(wanted, rel=1e-9, abs=0)


@pytest.mark.parametrize("device", [MTJ(v_half=0.5), Yakopcic()])
def test_cells_of_any_kind_deliver_at_the_voltage_of_the_pulse(device):
    hardware = Hardware(device=device, array=Array(16, 8), dac=DAC(4, mode="pulse_width"))
    crossbar = linear(hardware).crossbar
    ranges = crossbar.reader.ranges
    x = torch.randn(5, 9, dtype=torch.float64)
    volts, share = ranges.voltages(x), ranges.lasting(x)
    g = crossbar.G.clamp(*device.window)
    wanted = sum(
        float((s[:, None] * v[:, None] * device.current_of(v[:, None], g)).sum())
        for v, s in zip(volts, share, strict=True)
    )
    assert pulse_power(crossbar, volts, share) == pytest.approx(wanted, rel=1e-6, abs=0)


def test_sums_before_converters_are_fewer_conversions():
    x = torch.rand(3, 9, dtype=torch.float64)
    found = {}
    for add in ("digital", "analog"):
        encoding = BitSliced(bits=4, bits_per_cell=2, add=add)
        hardware = Hardware(encoding=encoding, dac=DAC(6), adc=ADC(6), array=Array(16, 8))
        found[add] = cost(linear(hardware), x, GENERIC)
    ratio = len(BitSliced(bits=4, bits_per_cell=2).digital)
    assert ratio > 1
    for name in ("ADC", "shift-add"):
        one, other = (found[add][name].uses for add in ("digital", "analog"))
        assert one == ratio * other


@pytest.mark.parametrize("encoding", [Binary(compared=True), Ternary(compared=True)])
def test_pairs_that_are_compared_are_no_product_on_bit_lines(encoding):
    x = torch.rand(3, 9, dtype=torch.float64)
    found = cost(linear(Hardware(encoding=encoding, array=Array(16, 8))), x, GENERIC)
    assert found.energy is None
    for name in ("cells", "lines", "DAC", "ADC"):
        assert found[name].dynamic is None
    assert any("sense amplifiers" in text for text in found.excluded)
    assert "sense amplifiers" in str(found)
    sums = cost(linear(Hardware(encoding=encoding.replace(compared=False), adc=ADC(6))), x, GENERIC)
    assert sums["cells"].dynamic.typical > 0
    assert not any("sense amplifiers" in text for text in sums.excluded)


def test_times_of_its_own_that_are_not_the_chips_are_said():
    x = torch.rand(3, 9, dtype=torch.float64)
    built = mho.periphery.SAR(clock=1e6, capacitor_sigma=0.05)
    drive = DAC(8, mode="pulse_width", pulses=PulseWidth(t_pulse=1e-6))
    hardware = Hardware(dac=drive, adc=ADC(8, architecture=built), array=Array(16, 8))
    said = "\n".join(cost(linear(hardware), x, chips.get("hermes")).assumptions)
    assert "pulses last up to 1 µs, those of Hermes" in said
    assert "converters take 8 µs" in said or "converters take 9 µs" in said
    said = "\n".join(cost(linear(hardware), x, GENERIC).assumptions)
    assert "pulses last" not in said
    assert "drawn for every bit line, while 8" in said
    shared = hardware.replace(adc=hardware.adc.replace(columns_per_adc=8))
    found = cost(linear(shared), x, GENERIC)
    assert "drawn for every" not in "\n".join(found.assumptions)
    # Eight conversions of the hardware's own clock, not of the chip's converters.
    assert found.latency.typical > 4 * shared.adc.conversion_time
    with pytest.raises(ValueError, match="do not agree"):
        cost(linear(shared.replace(adc=shared.adc.replace(columns_per_adc=4))), x, GENERIC)
    cores = GENERIC.cores_for(shared, 10)
    assert cores.conversion_time == shared.adc.conversion_time
    assert cores.read_time == pytest.approx(1e-6, rel=1e-9, abs=0)
