"""The deck runs in ngspice as it is, and ngspice agrees with the solver."""

import re
import shutil
import subprocess

import pytest
import torch

from mho.circuit import Wires, effective_conductance, netlist, solve

ngspice = pytest.mark.skipif(
    shutil.which("ngspice") is None, reason="ngspice is not installed (Debian package ngspice)"
)
CASES = [
    Wires(1, 2, 3, 4),
    Wires(),
    Wires(0, 2, 0, 0, drive="both"),
    Wires(7, 2, 1, 0, drive="both", read="top"),
    Wires(0, 0, 3, 0, read="top"),
    Wires(5, 0, 0, 5),
    Wires(0, 1, 1, 0, drive="right"),
    Wires(1e6, 1e-3, 1e3, 1e-3),
]


def run(deck, path):
    path.write_text(deck)
    done = subprocess.run(["ngspice", "-b", str(path)], capture_output=True, text=True, timeout=60)
    values = re.findall(r"i\(vsense\d+\) = (\S+)", done.stdout)
    return torch.tensor([float(value) for value in values], dtype=torch.float64)


@ngspice
@pytest.mark.parametrize("wires", CASES)
def test_ngspice_agrees(wires, tmp_path):
    generator = torch.Generator().manual_seed(1)
    G = 1e-3 * torch.rand(7, 5, generator=generator, dtype=torch.float64)
    G[1] = 0
    v = torch.randn(7, generator=generator, dtype=torch.float64)
    found = run(netlist(G, wires, v, sink=0.1), tmp_path / "deck.cir")
    expected = solve(G, wires, v, sink=0.1).currents
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-6


@ngspice
def test_ngspice_on_a_severe_tile(tmp_path):
    generator = torch.Generator().manual_seed(2)
    G = 1 / (1e4 + 9e4 * torch.rand(40, 40, generator=generator, dtype=torch.float64))
    v = torch.rand(40, generator=generator, dtype=torch.float64)
    wires = Wires(12, 12, 12, 12)
    found = run(netlist(G, wires, v), tmp_path / "deck.cir")
    expected = v @ effective_conductance(G, wires)
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-6


def test_deck_names_what_there_is():
    deck = netlist(torch.tensor([[1e-3, 0.0]]), Wires(word=2), torch.tensor([0.5]))
    assert "Rcell_0_0 in_0 out_0 " in deck
    assert "Rword_0_0 in_0 w_0_1 2" in deck
    assert "Rcell_0_1" not in deck  # does not conduct


def test_refusals():
    G = torch.rand(3, 2)
    with pytest.raises(ValueError, match="gated"):
        netlist(G, Wires(gated=True), torch.ones(3))
    with pytest.raises(ValueError, match="voltages"):
        netlist(G, Wires(), torch.ones(2))
    with pytest.raises(ValueError, match="shape"):
        netlist(G[None], Wires(), torch.ones(3))
