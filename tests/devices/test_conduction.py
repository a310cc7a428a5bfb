"""Cells that conduct by any one law."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import interpolate

import mho
from mho.devices import (
    ConductionDevice,
    ConductionLaw,
    Device,
    Diode,
    LinearDevice,
    Ohmic,
    PooleFrenkel,
    Sinh,
    SpaceCharge,
    TabulatedLaw,
)
from mho.testing import DeviceContract

TABLE = TabulatedLaw((-1.0, -0.3, 0.0, 0.2, 0.9), (-2.0, -0.4, 0.0, 0.3, 2.5))
ODD = TabulatedLaw((0.0, 0.2, 0.9), (0.0, 0.3, 2.5), odd=True)
LAWS = (Ohmic(), Sinh(b=2.7), PooleFrenkel(beta=1.5), SpaceCharge(c=3.0), Diode(b=-4.0), TABLE, ODD)

REFERENCES = {
    "Ohmic": lambda v: v,
    "Sinh": lambda v: np.sinh(2.7 * v) / 2.7,
    "PooleFrenkel": lambda v: v * np.exp(1.5 * np.sqrt(np.abs(v))),
    "SpaceCharge": lambda v: v + 3.0 * v * np.abs(v),
    "Diode": lambda v: (np.exp(-4.0 * v) - 1.0) / -4.0,
}


class TestConductionDevice(DeviceContract):
    def device(self):
        return ConductionDevice(g_min=1e-6, g_max=1e-4, law=Sinh(b=3.0))


class TestPooleFrenkel(DeviceContract):
    v_small = 1e-9  # √v falls slowly

    def device(self):
        return ConductionDevice(g_min=0.0, g_max=1e-4, law=PooleFrenkel(beta=2.0))


class TestTable(DeviceContract):
    def device(self):
        return ConductionDevice(g_min=1e-6, g_max=1e-4, law=TABLE)


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_a_law_goes_through_the_origin_with_slope_one_and_never_falls(law):
    v = torch.linspace(-1.2, 1.2, 2001, dtype=torch.float64)
    f = law(v)
    assert bool((f.diff() > 0.0).all())
    near = torch.tensor([-1e-9, 0.0, 1e-9], dtype=torch.float64)
    assert law(near)[1] == 0.0
    assert (law(near) / 1e-9).tolist() == pytest.approx([-1.0, 0.0, 1.0], abs=1e-4)


@pytest.mark.parametrize("law", LAWS[:5], ids=repr)
def test_laws_are_their_formulas(law):
    v = np.linspace(-1.3, 1.3, 53)
    assert law(torch.from_numpy(v)).numpy() == pytest.approx(REFERENCES[type(law).__name__](v))


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_gradients_are_right_and_finite_at_zero(law):
    v = torch.tensor([-1.1, -0.4, -0.05, 0.07, 0.55, 1.1], dtype=torch.float64)
    assert torch.autograd.gradcheck(law, v.requires_grad_())
    zero = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(law(zero).sum(), zero)
    assert slope.tolist() == pytest.approx([1.0] * 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_table_is_scipys_monotone_cubic(dtype):
    v = torch.linspace(-1.0, 0.9, 301, dtype=dtype)
    cubic = interpolate.PchipInterpolator(TABLE.volts, TABLE.values)
    expected = cubic(v.numpy()) / cubic.derivative()(0.0)
    assert TABLE(v).numpy() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_a_table_goes_on_in_a_straight_line_or_refuses():
    far = torch.tensor([-2.0, -1.0, 0.9, 1.4], dtype=torch.float64)
    cubic = interpolate.PchipInterpolator(TABLE.volts, TABLE.values)
    slope = cubic.derivative()
    expected = [-2.0 - slope(-1.0), -2.0, 2.5, 2.5 + 0.5 * slope(0.9)] / slope(0.0)
    assert TABLE(far).tolist() == pytest.approx(expected.tolist())
    strict = TABLE.replace(beyond="refuse")
    assert strict(far[1:3]).tolist() == TABLE(far[1:3]).tolist()
    with pytest.raises(ValueError, match=r"\[-1, 0.9\] V"):
        strict(far)


def test_an_odd_table_is_odd():
    v = torch.linspace(0.0, 1.2, 50, dtype=torch.float64)
    torch.testing.assert_close(ODD(-v), -ODD(v), rtol=1e-12, atol=0.0)
    assert ODD.span == (-0.9, 0.9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"volts": (0.0, 0.5)}, "as many"),
        ({"volts": (-1.0, 0.0, 0.0)}, "increase"),
        ({"values": (-1.0, 0.0, -0.5)}, "increase"),
        ({"values": (-1.0, 0.1, 1.0)}, "without voltage"),
        ({"volts": (-1.0, 0.5, 1.0)}, "without voltage"),
        ({"volts": (0.1, 0.5, float("nan"))}, "volts must be finite"),
        ({"odd": True}, "begin at 0"),
        ({"beyond": "clip"}, "beyond must be one of"),
    ],
)
def test_bad_tables_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        TabulatedLaw((-1.0, 0.0, 1.0), (-1.0, 0.0, 1.0)).replace(**changes)


def test_bad_devices_are_refused():
    with pytest.raises(TypeError, match="law must be ConductionLaw"):
        ConductionDevice(law="sinh")
    with pytest.raises(ValueError, match="g_min must be < g_max"):
        ConductionDevice(g_min=1e-4, g_max=1e-4)
    for law, name in ((Sinh, "b"), (PooleFrenkel, "beta"), (SpaceCharge, "c")):
        with pytest.raises(ValueError, match=f"{name} must be >= 0"):
            law(**{name: -1.0})


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_a_device_is_saved_and_loaded(law, tmp_path):
    device = ConductionDevice(g_min=0.0, g_max=2e-5, law=law)
    device.save(tmp_path / "cell.yaml")
    assert Device.load(tmp_path / "cell.yaml") == device


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_a_crossbar_reads_with_the_law(law):
    device = ConductionDevice(g_min=1e-6, g_max=1e-4, law=law)
    hardware = mho.Hardware(device=device, dac=mho.DAC(v_max=0.5, range=1.0))
    crossbar = mho.Crossbar(6, 4, hardware, seed=1, dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    crossbar.program(torch.randn(6, 4, generator=generator, dtype=torch.float64))
    x = 2.0 * torch.rand(5, 6, generator=generator, dtype=torch.float64) - 1.0
    plus, minus = crossbar.G
    f = law(0.5 * x)
    expected = (f @ plus - f @ minus) * crossbar.scale / 0.5
    torch.testing.assert_close(crossbar(x), expected)


def test_an_ohmic_law_is_the_linear_device():
    x = torch.linspace(-1.0, 1.0, 6).repeat(2, 1)
    reads = []
    for device in (ConductionDevice(law=Ohmic()), LinearDevice(1e-6, 100e-6)):
        crossbar = mho.Crossbar(6, 4, mho.Hardware(device=device), seed=1)
        crossbar.program(torch.linspace(-1.0, 1.0, 24).view(6, 4))
        reads.append(crossbar(x))
        assert device.ohmic
    assert torch.equal(*reads)


def test_a_law_of_ones_own():
    @dataclass(frozen=True)
    class Cubic(ConductionLaw):
        k: float = 1.0

        def __call__(self, v):
            return v + self.k * v**3

    device = ConductionDevice(law=Cubic(k=2.0))
    cells = device.fabricate((3,), dtype=torch.float64)
    cells.write(torch.tensor([1e-6, 1e-5, 1e-4], dtype=torch.float64))
    assert cells.current(0.5).tolist() == pytest.approx([0.75e-6, 0.75e-5, 0.75e-4])
    assert not device.ohmic
