"""Accelerators: their numbers become the right hardware, and their chips work."""

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
    assert hardware.adc.range == pytest.approx(2.5 / 3300)
    full_column = 25 * board.g_max * board.v_read
    assert full_column <= hardware.adc.range
    faults = hardware.effects[0]
    assert (faults.g_low, faults.g_high) == (10e-6, 500e-6)
    assert isinstance(hardware.effects[1], WriteNoise)
    assert Daffodil.from_dict(board.to_dict()) == board


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
