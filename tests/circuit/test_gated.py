"""Gated columns against a dense solution of the same ladder."""

import pytest
import torch

from mho.circuit import Wires, effective_conductance, solve_gated


def dense(G, wires, gates, supply):
    """Cell currents from ``J = g (V - R J)`` with both lines' resistance matrices written out."""
    m = G.shape[-2]
    k = torch.arange(m)
    from_top = torch.minimum(k[:, None], k[None]).double()
    from_bottom = torch.minimum(m - 1 - k[:, None], m - 1 - k[None]).double()
    rail = wires.source + wires.word * (from_top if wires.drive == "left" else from_bottom)
    bit = wires.sense + wires.bit * (from_bottom if wires.read == "bottom" else from_top)
    g = (G[..., None, :, :] * gates[..., None]).mT
    system = torch.eye(m) + g[..., None] * (rail + bit)
    return torch.linalg.solve(system, supply * g).mT


@pytest.mark.parametrize("drive", ["left", "right"])
@pytest.mark.parametrize("read", ["bottom", "top"])
@pytest.mark.parametrize("ohms", [(1, 2, 3, 4), (0, 2, 0, 0), (0, 0, 3, 0), (1e6, 1e5, 1e5, 0)])
@pytest.mark.parametrize("m", [1, 6])
def test_matches_dense(m, drive, read, ohms):
    generator = torch.Generator().manual_seed(0)
    G = 1e-2 * torch.rand(2, m, 5, generator=generator, dtype=torch.float64)
    gates = (torch.rand(2, 3, m, generator=generator) > 0.3).double()
    wires = Wires(*ohms, drive=drive, read=read, gated=True)
    expected = dense(G, wires, gates, 0.5)
    found = solve_gated(G, wires, gates, 0.5)
    scale = float(expected.abs().max())
    assert float((found.cell_currents - expected).abs().max()) < 1e-12 * scale
    assert float((found.currents - expected.sum(-2)).abs().max()) < 1e-12 * scale
    torch.testing.assert_close(found.source_power, found.dissipated_power, rtol=1e-11, atol=0)
    ohm = G[:, None] * gates[..., None] * found.cell_voltages
    assert float((ohm - found.cell_currents).abs().max()) < 1e-11 * scale


def test_ideal_and_closed():
    G = torch.rand(4, 3, dtype=torch.float64)
    gates = torch.tensor([1.0, 0.0, 0.5, 1.0], dtype=torch.float64)
    found = solve_gated(G, Wires(gated=True), gates, 2.0)
    torch.testing.assert_close(found.currents, 2 * gates @ G, rtol=1e-6, atol=0.0)
    closed = solve_gated(G, Wires(1, 2, 3, 4, gated=True), torch.zeros(4))
    assert float(closed.currents.abs().max()) == 0
    torch.testing.assert_close(closed.word_voltages, torch.ones(4, 3, dtype=torch.float64))


def test_refusals():
    G = torch.rand(4, 3)
    with pytest.raises(ValueError, match="solve_gated"):
        effective_conductance(G, Wires(gated=True))
    with pytest.raises(ValueError, match="must be gated"):
        solve_gated(G, Wires(), torch.ones(4))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        solve_gated(G, Wires(gated=True), torch.full((4,), 1.5))
    with pytest.raises(ValueError, match="shape"):
        solve_gated(G, Wires(gated=True), torch.ones(3))
    with pytest.raises(ValueError, match="do not match"):
        solve_gated(torch.rand(2, 4, 3), Wires(gated=True), torch.ones(5, 1, 4))
