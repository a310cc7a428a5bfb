"""The multi-domain FeFET and the jump tables it makes."""

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from mho.core.spec import Spec
from mho.devices.fefet import MultiDomainFeFET

GATE = MultiDomainFeFET()


def switched_fraction(voltage, width, pulses=1):
    """Mean fraction of fresh domains that ``pulses`` equal pulses switch, by quadrature."""
    # The published divider: 8 nm of permittivity 28 over 1 nm of 3.9.
    field = voltage / (8e-9 + 28 * 1e-9 / 3.9)

    def integrand(activation):
        h = pulses * width / (1.9e-8 * np.exp((activation / field) ** 3))
        return -np.expm1(-(h**2)) * stats.norm.pdf(activation, 2.3e8, 0.4e8)

    return integrate.quad(integrand, 0.5e8, 4.5e8, epsabs=1e-12)[0]


@pytest.mark.parametrize(("voltage", "width"), [(2.0, 1e-7), (3.0, 5e-8), (3.5, 2e-8)])
def test_first_pulse_switches_what_the_model_says(voltage, width):
    record, directions = GATE.record(voltage, -voltage, width, cells=2000, pulses=1, seed=1)
    assert directions.all()
    fraction = ((record[1] - GATE.g_min) / (GATE.g_max - GATE.g_min)).numpy()
    expected = switched_fraction(voltage, width)
    error = (expected * (1 - expected) / (2000 * GATE.domains)) ** 0.5
    assert abs(fraction.mean() - expected) < 4 * error


def test_accumulated_pulses_equal_one_long_pulse():
    # What makes beta > 1 more than chance: h adds up over pulses towards the same state.
    gate = MultiDomainFeFET(domains=400)
    record, directions = gate.record(2.5, -2.5, 1e-8, cells=1500, pulses=4, seed=3)
    steady = directions.all(dim=0)
    fraction = (record[4, steady] - gate.g_min) / (gate.g_max - gate.g_min)
    expected = switched_fraction(2.5, 1e-8, pulses=4)
    error = (expected * (1 - expected) / (int(steady.sum()) * 400)) ** 0.5
    assert abs(float(fraction.mean()) - expected) < 4 * error


def test_tables_follow_the_voltage_and_drive_cells_end_to_end():
    means = []
    for voltage in (2.5, 3.0, 3.5):
        device = GATE.tabular(voltage, -voltage, 5e-8, cells=100, pulses=300)
        means.append(device.set_table.mean().max())
        assert device.window == (GATE.g_min, GATE.g_max)
        assert Spec.from_dict(device.to_dict()) == device
        cells = device.fabricate((100,), seed=0)
        cells.pulse(60)
        assert (cells.g > 0.7 * GATE.g_max).all()
        cells.pulse(-60)
        assert (cells.g < 0.3 * GATE.g_max).all()
    assert means == sorted(means)


def test_table_reproduces_the_jumps_it_was_made_from():
    settings = {"cells": 300, "pulses": 300, "seed": 5}
    record, directions = GATE.record(3.0, -3.0, 5e-8, **settings)
    jumps = record.diff(dim=0)[directions]
    g = record[:-1][directions]
    near = (g > 9e-6) & (g < 11e-6)
    device = GATE.tabular(3.0, -3.0, 5e-8, **settings)
    cells = device.fabricate((20_000,), dtype=torch.float64)
    cells.write(torch.tensor(10e-6, dtype=torch.float64))
    cells.pulse(1)
    drawn = cells.g - 10e-6
    spread = float(jumps[near].std())
    assert abs(float(drawn.mean() - jumps[near].mean())) < 0.25 * spread
    assert float(drawn.std()) == pytest.approx(spread, rel=0.25)


def test_seed():
    one, two, other = (
        GATE.record(3.0, -3.0, 5e-8, cells=5, pulses=9, seed=s)[0] for s in (1, 1, 2)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_bad_values_are_refused():
    with pytest.raises(ValueError, match="g_max must be >"):
        MultiDomainFeFET(g_min=1e-5, g_max=1e-6)
    with pytest.raises(ValueError, match="thickness must be > 0"):
        MultiDomainFeFET(thickness=0.0)
    with pytest.raises(ValueError, match="reset_voltage must be < 0"):
        GATE.tabular(3.0, 3.0, 5e-8)
    with pytest.raises(ValueError, match=r"no domain switched.*raise voltage or width"):
        GATE.tabular(0.3, -0.3, 1e-9, cells=20, pulses=20)
