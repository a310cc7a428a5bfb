"""Lines that float after their pulses: charges of a circuit that is followed in time."""

import numpy as np
import pytest
import torch

from mho.circuit import Wires, effective_conductance, pulsed
from time_stepped import charge

F64 = torch.float64
WIRES = Wires(source=30.0, word=40.0, bit=50.0, sense=20.0)
M, N, STEPS = 5, 4, 10


def cells(*lead):
    generator = torch.Generator().manual_seed(0)
    return 1e-4 * torch.rand(*lead, M, N, dtype=F64, generator=generator) + 1e-6


def pulses(count=6):
    generator = torch.Generator().manual_seed(1)
    volts = torch.randn(count, M, dtype=F64, generator=generator)
    times = torch.randint(0, STEPS + 1, (count, M), generator=generator).to(F64)
    return volts, times


def stepped(g, wires, volts, times):
    found = [
        charge(g.numpy(), wires, v, t, float(STEPS), steps=STEPS, floating=True)
        for v, t in zip(volts.numpy(), times.numpy(), strict=True)
    ]
    return torch.from_numpy(np.stack(found))


def test_charges_are_those_of_the_circuit_in_time():
    g, (volts, times) = cells(), pulses()
    Y, T = pulsed.ports(g, WIRES)
    found = pulsed.mean_voltages(Y, volts, times) @ T
    torch.testing.assert_close(found, stepped(g, WIRES, volts, times), rtol=1e-9, atol=1e-15)


def test_between_drivers_is_symmetric_and_loses_what_sinks_get():
    """Kirchhoff: what drivers at equal voltages deliver is what arrives at the sinks."""
    Y, T = pulsed.ports(cells(3, 2), WIRES)
    assert Y.shape == (3, 2, M, M)
    torch.testing.assert_close(Y.sum(-1), T.sum(-1), rtol=1e-9, atol=1e-15)
    torch.testing.assert_close(Y, Y.mT, rtol=0, atol=0)
    expected = effective_conductance(cells(3, 2), WIRES)
    torch.testing.assert_close(T, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(("drive", "read"), [("right", "bottom"), ("left", "top")])
def test_other_ends_are_mirrored(drive, read):
    g, (volts, times) = cells(), pulses()
    turned = WIRES.replace(drive=drive, read=read)
    flips = [-1] if drive == "right" else [-2]
    Y, T = pulsed.ports(g, turned)
    found = pulsed.mean_voltages(Y, volts, times) @ T
    if drive == "right":
        expected = stepped(g.flip(flips), WIRES, volts, times).flip(-1)
    else:
        expected = stepped(g.flip(flips), WIRES, volts.flip(-1), times.flip(-1))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-15)


def test_no_resistance_is_the_limit_of_little():
    g, (volts, times) = cells(), pulses()
    none, little = Wires(bit=50.0, sense=20.0), Wires(1e-3, 1e-3, 50.0, 20.0)
    found = [pulsed.mean_voltages(Y, volts, times) @ T for Y, T in (pulsed.ports(g, none),)]
    torch.testing.assert_close(found[0], stepped(g, little, volts, times), rtol=1e-5, atol=1e-9)


def test_lines_without_cells_bring_nothing():
    g, (volts, times) = cells(), pulses()
    g[2] = 0.0
    Y, T = pulsed.ports(g, WIRES)
    found = pulsed.mean_voltages(Y, volts, times) @ T
    others = [0, 1, 3, 4]
    volts[:, 2] = 7.0
    assert bool(found.isfinite().all())
    torch.testing.assert_close(pulsed.mean_voltages(Y, volts, times) @ T, found)
    assert bool((Y[2] == 0).all())
    assert bool((Y[others][:, others] != 0).all())
    dark = torch.zeros(2, M, N, dtype=F64)
    Y, T = pulsed.ports(dark, WIRES)
    assert not bool((pulsed.mean_voltages(Y, *(x.expand(2, -1, -1) for x in pulses())) @ T).any())


def test_gradients_and_blocks(monkeypatch):
    Y, T = pulsed.ports(cells(), WIRES)
    volts, times = pulses(3)
    times = times + torch.linspace(0.1, 0.4, M, dtype=F64)  # no two together
    given = volts.requires_grad_(), times.requires_grad_()
    assert torch.autograd.gradcheck(lambda v, t: pulsed.mean_voltages(Y, v, t) @ T, given)
    whole = pulsed.mean_voltages(Y, *given)
    monkeypatch.setattr(pulsed, "_VALUES_AT_ONCE", M * M)
    torch.testing.assert_close(pulsed.mean_voltages(Y, *given), whole)
    assert pulsed.mean_voltages(Y, volts[:0], times[:0]).shape == (0, M)


def test_both_ends_are_refused():
    with pytest.raises(ValueError, match="both"):
        pulsed.ports(cells(), WIRES.replace(drive="both"))
