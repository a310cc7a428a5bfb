"""Wrong input is refused where it is given, saying what and why; specs are specs."""

import pytest
import torch

from mho.circuit import Wires, effective_conductance, solve
from mho.core.spec import Spec

WIRES = Wires(1, 1, 1, 1)
NAN = float("nan")


@pytest.mark.parametrize("name", ["source", "word", "bit", "sense"])
@pytest.mark.parametrize("value", [-1.0, NAN, float("inf")])
def test_bad_resistances(name, value):
    with pytest.raises(ValueError, match=name):
        Wires(**{name: value})
    with pytest.raises(ValueError, match=name):
        effective_conductance(torch.rand(3, 3), WIRES, **{name: torch.tensor(value)})
    with pytest.raises(ValueError, match=name):
        effective_conductance(torch.rand(3, 3), WIRES, **{name: torch.ones(4)})
    with pytest.raises(TypeError, match=name):
        effective_conductance(torch.rand(3, 3), WIRES, **{name: "5"})


@pytest.mark.parametrize(
    ("G", "match"),
    [
        (torch.tensor([[1.0, -1e-9]]), "1 of 2"),
        (torch.tensor([[1.0, NAN], [NAN, 1.0]]), "2 of 4"),
        (torch.tensor([[1.0, float("inf")]]), "1 of 2"),
        (torch.zeros(4, 4), "conduct"),
        (torch.ones(4), "shape"),
        (torch.ones(0, 4), "empty"),
    ],
)
def test_bad_conductances(G, match):
    for wires in (WIRES, Wires()):
        with pytest.raises(ValueError, match=match):
            effective_conductance(G, wires)


def test_one_empty_tile_of_many_is_fine():
    G = torch.stack([torch.zeros(3, 3), torch.ones(3, 3)])
    assert float(effective_conductance(G, WIRES)[0].abs().max()) == 0


def test_bad_types():
    with pytest.raises(TypeError, match="G must be Tensor"):
        effective_conductance([[1.0]], WIRES)
    with pytest.raises(TypeError, match="floating"):
        effective_conductance(torch.ones(2, 2, dtype=torch.int64), WIRES)
    with pytest.raises(TypeError, match="wires must be Wires"):
        effective_conductance(torch.ones(2, 2), 5.0)
    with pytest.raises(ValueError, match="method"):
        effective_conductance(torch.ones(2, 2), WIRES, method="magic")


def test_bad_voltages():
    G = torch.rand(3, 4)
    with pytest.raises(ValueError, match="voltages"):
        solve(G, WIRES, torch.ones(4))
    with pytest.raises(ValueError, match="voltages"):
        solve(G, WIRES, torch.tensor([0.0, NAN, 0.0]))
    with pytest.raises(ValueError, match="sink"):
        solve(G, WIRES, torch.ones(3), sink=torch.ones(3))
    with pytest.raises(ValueError, match="must fit G"):
        solve(torch.rand(2, 3, 4), WIRES, torch.ones(5, 1, 3))
    with pytest.raises(ValueError, match="must fit G"):
        solve(G, WIRES, torch.ones(5, 3), sink=torch.ones(2, 4))


def test_wires_are_a_spec():
    wires = Wires(1, 2, 3, 4, drive="both", read="top")
    assert Spec.from_dict(wires.to_dict()) == wires
    assert hash(wires) == hash(Wires(1, 2, 3, 4, drive="both", read="top"))
    assert Wires().ideal
    assert not wires.ideal
    for field in ({"drive": "up"}, {"read": "left"}, {"gated": True, "drive": "both"}):
        with pytest.raises(ValueError):
            Wires(**field)
    with pytest.raises(TypeError, match="gated"):
        Wires(gated=1)
