"""Pictures are drawn where they are asked to be, of what they say."""

import matplotlib as mpl
import pytest
import torch

mpl.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

from mho.circuit import Wires, solve  # noqa: E402
from mho.plot import circuit  # noqa: E402

WIRES = Wires(5, 5, 5, 5)


def test_maps():
    G, v = torch.rand(8, 6) * 1e-4, torch.rand(8)
    solution = solve(G, WIRES, v)
    _, ax = plt.subplots()
    assert circuit.ir_drop(solution, ax=ax) is ax
    assert torch.allclose(torch.tensor(ax.images[0].get_array()), solution.cell_voltages.double())
    for lines in ("word", "bit"):
        assert circuit.node_voltages(solution, lines).images
    with pytest.raises(ValueError, match="lines"):
        circuit.node_voltages(solution, "source")
    with pytest.raises(ValueError, match="one array"):
        circuit.ir_drop(solve(G, WIRES, v[None]))
    plt.close("all")


def test_current_error():
    G = torch.rand(8, 6) * 1e-4
    line = circuit.current_error(G, Wires(), torch.rand(8)).lines[0]
    assert abs(line.get_ydata()).max() < 1e-4
    ax = circuit.current_error(G, WIRES, torch.rand(20, 8))
    assert ax.lines[0].get_ydata().max() < 0
    with pytest.raises(ValueError, match="zero"):
        circuit.current_error(G, WIRES, torch.zeros(8))
    plt.close("all")
