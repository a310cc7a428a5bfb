"""Accelerators: their numbers become the right hardware, and their chips work."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import mho
from mho.chip import Accelerator, Daffodil, FixedPointAccelerator, accelerator, accelerators
from mho.effects import PowerLawDrift, ReadNoise, StuckAt, WriteNoise
from mho.encoding import Ternary


@dataclass(frozen=True)
class Toy(Accelerator):
    rows: int = 10
    cols: int = 8

    def hardware(self, encoding=None):
        return mho.Hardware()


def test_all_are_known_by_name_also_a_users_own():
    assert {"FixedPointAccelerator", "Daffodil", "Toy"} <= set(accelerators())
    assert accelerator("Daffodil", stuck=0.1) == Daffodil(stuck=0.1)
    assert accelerator("Toy").chip().rows == 10
    with pytest.raises(ValueError, match="accelerator must be one of 'FixedPointAccelerator'"):
        accelerator("Narcissus")


def test_fixed_point_becomes_hardware():
    spec = FixedPointAccelerator(
        g_min=10e-6,
        g_max=60e-6,
        v_read=0.25,
        dac_bits=6,
        adc_bits=9,
        read_noise=1e-6,
        write_noise=2e-6,
        stuck=0.08,
        retention=PowerLawDrift(nu=0.05),
        tile=(64, 32),
    )
    hardware = spec.hardware(Ternary())
    assert hardware.device.window == (10e-6, 60e-6)
    assert hardware.dac == mho.DAC(bits=6, v_max=0.25)
    assert hardware.adc == mho.ADC(bits=9)
    assert hardware.encoding == Ternary()
    assert (hardware.array.rows, hardware.array.cols) == (64, 32)
    faults, write, retention, read = hardware.effects
    assert faults == StuckAt(low=0.04, high=0.04)
    assert write.sigma == pytest.approx(0.04)
    assert retention == PowerLawDrift(nu=0.05)
    assert read.sigma == pytest.approx(0.02)
    uniform = spec.replace(read_noise_kind="uniform").hardware().effects[-1]
    assert uniform.sigma == pytest.approx(0.02 / 3**0.5)
    assert isinstance(uniform, ReadNoise)
    assert FixedPointAccelerator.from_dict(spec.to_dict()) == spec
    serial = spec.replace(inputs="bit_serial").hardware()
    assert serial.dac.mode == "bit_serial"
    assert FixedPointAccelerator(dac_bits=None, adc_bits=None).hardware().adc is None


@pytest.mark.parametrize(
    ("mode", "values"),
    [("low", {1e-6}), ("high", {1e-4}), ("both", {1e-6, 1e-4}), ("random", None)],
)
def test_modes_of_being_stuck(mode, values):
    chip = FixedPointAccelerator(stuck=0.2, stuck_mode=mode, rows=200, cols=200).chip(seed=1)
    held = chip.G[chip.stuck].double()
    assert abs(len(held) - 8000) < 5 * (40000 * 0.2 * 0.8) ** 0.5
    if values is not None:
        found = held.unique().tolist()
        assert found == pytest.approx(sorted(values))
    else:
        span = 99e-6
        assert abs(float(held.mean()) - 50.5e-6) < 5 * span / 12**0.5 / len(held) ** 0.5
        assert float(held.std()) == pytest.approx(span / 12**0.5, rel=0.03)


def test_daffodil_is_the_board():
    board = Daffodil(stuck=0.1)
    assert board.rows * board.cols == 32 * 25 * 25
    hardware = board.hardware()
    # 12 bits over 5 V leave 2 · 0.3 V / 1.22 mV = 491 steps: nine bits.
    assert hardware.dac.bits == 9
    assert hardware.adc.bits == 12
    # The stage rests at 1.7 V behind 1.5 kΩ; its output falls to 0 V, and rises to 2.5 V.
    assert hardware.adc.range == pytest.approx(1.7 / 1500)
    assert hardware.encoding.converters == 2  # each kernel by itself
    full_column = 25 * board.g_max * board.v_read
    assert full_column <= hardware.adc.range
    faults = hardware.effects[0]
    assert (faults.g_low, faults.g_high) == (10e-6, 500e-6)
    assert isinstance(hardware.effects[1], WriteNoise)
    assert Daffodil.from_dict(board.to_dict()) == board


def test_the_board_converts_what_its_stage_gives():
    board = Daffodil(read_noise=0.0, write_noise=0.0)
    adc, r = board.hardware().adc, board.r_feedback
    current = torch.linspace(-2e-3, 2e-3, 40001, dtype=torch.float64)
    volts = (board.v_rest - r * current).clamp(0.0, 2.5)
    code = (volts / 2.5 * 4096).round().clamp(0, 4095)  # as the converter's data sheet says
    wanted = (board.v_rest - code * 2.5 / 4096) / r
    found = adc.convert(current.clone(), torch.tensor(adc.range, dtype=torch.float64))
    step = 2.5 / 4096 / r
    assert float(found.unique().diff().median()) == pytest.approx(step, rel=2e-3)
    assert float((found - wanted).abs().max()) <= 1.6 * step  # rest falls between two codes
    assert float(found.max()) == pytest.approx(1.7 / r, rel=1e-3)
    assert float(found.min()) == pytest.approx(-0.8 / r, rel=2e-3)


def test_bits_of_the_drivers_follow_from_the_parts():
    steps = {v: 2 * v / (5 / 4096) for v in (0.1, 0.3, 1.2)}
    for v, count in steps.items():
        for board in (Daffodil(v_read=v), Daffodil().replace(v_read=v)):
            assert board.dac_bits == round(math.log2(count + 1))
            assert board.hardware().dac.bits == board.dac_bits
    known = {**Daffodil().to_dict(), "v_read": 1.2}
    assert Daffodil.from_dict(known).dac_bits == 11
    assert Daffodil.from_dict({**known, "dac_bits": 9}).dac_bits == 11  # older descriptions
    with pytest.raises(TypeError):
        Daffodil(dac_bits=8)
    with pytest.raises(ValueError, match="v_rest must be < v_adc"):
        Daffodil(v_rest=2.5)


@pytest.mark.parametrize("rest", [0.0, 0.25, 0.32, 0.7])
def test_one_sided_converters_by_hand(rest):
    bits = 5
    adc = mho.ADC(bits=bits, range=2e-6, rest=rest)
    low = -round(rest * 31)
    high = 31 + low
    assert adc.levels == (low, high)
    current = torch.linspace(-9e-6, 3e-6, 997, dtype=torch.float64)
    found = adc.convert(current.clone(), torch.tensor(2e-6, dtype=torch.float64))
    step = 2e-6 / high
    assert torch.allclose(found, (current / step).round().clamp(low, high) * step, atol=1e-18)


def test_one_sided_converters_spend_no_code_on_currents_that_do_not_come():
    torch.manual_seed(0)
    layer, x = nn.Linear(40, 12, bias=False), torch.rand(300, 40)
    encoding = mho.encoding.Differential(subtract="digital")

    def error(rest):
        hardware = mho.Hardware(
            device=mho.devices.LinearDevice(1e-6, 1e-4),
            encoding=encoding,
            dac=mho.DAC(8, signed=False),
            adc=mho.ADC(6, rest=rest),
        )
        analog = mho.convert(layer, hardware).eval()
        mho.calibrate(analog, x, correct=False)
        return float((analog(x) - layer(x)).norm() / layer(x).norm())

    assert error(0.0) == pytest.approx(error(0.5) / 2, rel=0.15)  # one bit more


def test_refused_rests():
    for bad, message in [
        ({"rest": 1.0}, "above it"),
        ({"rest": -0.1}, "rest"),
        ({"rest": 0.0, "method": "linear"}, "uniform"),
        ({"rest": 0.0, "bits": 1}, "two bits"),
    ]:
        with pytest.raises(ValueError, match=message):
            mho.ADC(**bad)


def test_a_network_runs_on_the_board():
    torch.manual_seed(0)
    board = Daffodil(write_noise=1e-6, stuck=0.02)
    chip = board.chip(seed=0)
    model = nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 3)).eval()
    analog = mho.convert(model, board.hardware())
    chip.place(analog)
    x = torch.randn(200, 4)
    mho.calibrate(analog, x)
    y, wanted = analog(x), model(x)
    assert torch.corrcoef(torch.stack((y.flatten(), wanted.flatten())))[0, 1] > 0.8


def test_refusals():
    with pytest.raises(ValueError, match=r"FixedPointAccelerator g_max must be > 0\.5"):
        FixedPointAccelerator(g_min=0.5)
    with pytest.raises(ValueError, match="stuck_mode must be one of"):
        FixedPointAccelerator(stuck_mode="all")
    with pytest.raises(ValueError, match="DAC bits must be given"):
        FixedPointAccelerator(inputs="bit_serial", dac_bits=None)
    with pytest.raises(ValueError, match="Daffodil r_feedback must be > 0"):
        Daffodil(r_feedback=0.0)
    with pytest.raises(TypeError, match="retention must be Effect"):
        FixedPointAccelerator(retention=3)
