"""What drivers see of an array: power as a quadratic form, against solutions vector by vector."""

import pytest
import torch

from mho import circuit
from mho.circuit import Wires

ENDS = [
    Wires(source=5.0, word=2.0, bit=3.0, sense=4.0),
    Wires(source=5.0, word=2.0, bit=3.0, sense=4.0, read="top"),
    Wires(source=5.0, word=2.0, bit=3.0, sense=4.0, drive="right"),
    Wires(source=5.0, word=2.0, bit=3.0, sense=4.0, drive="both"),
    Wires(word=2.0, bit=3.0),
    Wires(),
]


@pytest.mark.parametrize("wires", ENDS, ids=str)
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (7, 1), (6, 4), (13, 17)])
def test_power_is_that_of_every_solution(wires, shape):
    generator = torch.Generator().manual_seed(0)
    G = torch.rand(3, *shape, generator=generator, dtype=torch.float64) * 1e-4
    V = torch.randn(5, shape[0], generator=generator, dtype=torch.float64)
    Y = circuit.driver_conductance(G, wires)
    assert Y.shape == (3, shape[0], shape[0])
    assert torch.allclose(Y, Y.mT, rtol=1e-12, atol=0.0)
    found = ((V @ Y) * V).sum(-1)
    solved = circuit.solve(G, wires, V.expand(3, 5, shape[0]))
    assert torch.allclose(found, solved.source_power, rtol=1e-12)
    assert torch.allclose(found, solved.dissipated_power, rtol=1e-9)


def test_ideal_wires_leave_row_sums_and_one_array_keeps_its_shape():
    G = torch.rand(4, 3, dtype=torch.float64)
    assert torch.equal(circuit.driver_conductance(G, Wires()), torch.diag(G.sum(1)))
    near = circuit.driver_conductance(G.float() * 1e-5, Wires(word=1e-3, bit=1e-3))
    assert near.shape == (4, 4)
    assert near.dtype is torch.float32
    assert torch.allclose(near, torch.diag(G.sum(1)).float() * 1e-5, rtol=1e-4, atol=1e-12)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"negative|>= 0"):
        circuit.driver_conductance(-torch.ones(2, 2), Wires(word=1.0))
    with pytest.raises(TypeError, match=r"Tensor|tensor"):
        circuit.driver_conductance([[1.0]], Wires(word=1.0))
    with pytest.raises(ValueError, match="gated"):
        circuit.driver_conductance(torch.ones(2, 2), Wires(word=1.0, gated=True))
