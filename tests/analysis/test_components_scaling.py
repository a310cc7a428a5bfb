"""From node to node, against the published table and factors; what is refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mho.analysis.components import (
    Adder,
    AdderTree,
    AlbireoTIA,
    AtNode,
    Given,
    HermesADC,
    IsaacADC,
    NeuRRAMADC,
    RegressionADC,
    TimelyComparator,
    Wire,
    area_factor,
    delay_factor,
    energy_factor,
)
from tolerance import near

# Stillmaker and Baas's table: an area at the row's node times the entry is that at the column's.
NODES = (130, 90, 65, 45, 32, 20, 16, 14, 10, 7)
TABLE = """
1 0.44 0.23 0.16 0.072 0.033 0.03 0.027 0.016 0.0092
2.3 1 0.53 0.35 0.16 0.075 0.067 0.061 0.036 0.021
4.3 1.9 1 0.66 0.31 0.14 0.13 0.12 0.068 0.039
6.4 2.8 1.5 1 0.46 0.21 0.19 0.17 0.1 0.059
14 6.1 3.3 2.2 1 0.46 0.41 0.38 0.22 0.13
30 13 7.1 4.7 2.2 1 0.89 0.82 0.48 0.28
34 15 7.9 5.3 2.4 1.1 1 0.91 0.54 0.31
37 16 8.7 5.8 2.7 1.2 1.1 1 0.59 0.34
63 28 15 9.8 4.5 2.1 1.9 1.7 1 0.58
110 48 25 17 7.8 3.6 3.2 2.9 1.7 1
"""


def test_areas_are_the_tables_to_its_last_digit():
    rows = [[float(entry) for entry in row.split()] for row in TABLE.strip().splitlines()]
    for old, row in zip(NODES, rows, strict=True):
        for new, entry in zip(NODES, row, strict=True):
            half = 0.5 * 10.0 ** (math.floor(math.log10(entry)) - 1)
            assert area_factor(old * 1e-9, new * 1e-9).typical == pytest.approx(entry, abs=half)


def test_energies_from_45_nm():
    # As public estimators scale, at .8 V.
    for nanometres, factor in [(32, 0.66), (22, 0.29), (14, 0.14)]:
        found = energy_factor(45e-9, nanometres * 1e-9)
        assert found.typical == pytest.approx(factor, abs=0.005)
    # HP to HP, 1.018·.64 − .3107·.8 + .1539 to .2363·.64 − .09675·.8 + .02239; LP to LP likewise.
    found = energy_factor(45e-9, 14e-9)
    assert found.high == near(0.096222 / 0.55686, rel=1e-4)
    assert found.low == near(0.078468 / 0.69302, rel=1e-4)
    # Above 45 nm there is one kind of transistor: 7.171·.64 − 6.709·.8 + 2.904 to 65 nm's.
    found = energy_factor(130e-9, 65e-9)
    assert found.low == found.high
    assert found.typical == near(0.8598 / 2.12624, rel=1e-4)


def test_delays():
    # −76.65·.512 + 334.9·.64 − 493.4·.8 + 275.8 = 56.171; 7 nm: 2.873; 14 nm: 4.510
    assert delay_factor(130e-9, 14e-9).typical == near(4.510 / 56.171, rel=1e-3)
    assert delay_factor(130e-9, 7e-9).typical == near(2.873 / 56.171, rel=1e-3)
    assert delay_factor(14e-9, 7e-9).typical == near(2.873 / 4.510, rel=1e-3)


# The source's polynomials at .8 V by node: energies of HP and of LP (one kind above 45 nm), delays.
AT_800_MV = {
    130: (2.1262, 2.1262, 56.17),
    90: (1.3149, 1.3149, 40.65),
    65: (0.8598, 0.8598, 31.65),
    45: (0.5569, 0.6930, 16.96),
    32: (0.3583, 0.4569, 8.32),
    20: (0.1532, 0.1249, 10.22),
    16: (0.1203, 0.0983, 6.73),
    14: (0.0962, 0.0785, 4.51),
    10: (0.0816, 0.06695, 3.65),
    7: (0.0654, 0.0531, 2.873),
}


@pytest.mark.parametrize("nanometres", AT_800_MV)
def test_energies_and_delays_of_every_node(nanometres):
    hp, lp, delay = AT_800_MV[nanometres]
    found = energy_factor(130e-9, nanometres * 1e-9)
    mixed = lp if nanometres in (45, 32) else hp
    assert found.typical == near(mixed / 2.1262, rel=2e-3)
    assert found.low == near(min(hp, lp) / 2.1262, rel=2e-3)
    assert found.high == near(max(hp, lp) / 2.1262, rel=2e-3)
    assert delay_factor(130e-9, nanometres * 1e-9).typical == near(delay / 56.17, rel=2e-3)


@given(*[st.floats(7e-9, 130e-9)] * 3)
def test_there_and_on_is_straight_there(first, second, third):
    for factor in (area_factor, energy_factor, delay_factor):
        on = factor(first, second).typical * factor(second, third).typical
        assert on == near(factor(first, third).typical)
        assert factor(first, first).typical == near(1)
    for factor in (area_factor, energy_factor):
        small, large = sorted((first, second))
        assert factor(large, small).typical <= 1 + 1e-12
    found = energy_factor(first, second)
    assert found.low <= found.typical <= found.high


@pytest.mark.parametrize("node", [6.9e-9, 131e-9, 180e-9, 45, 0.0, -1.0, float("inf")])
def test_other_nodes_are_refused(node):
    for factor in (area_factor, energy_factor, delay_factor):
        with pytest.raises(ValueError, match="node"):
            factor(45e-9, node)
    with pytest.raises(ValueError, match="node of Adder"):
        Adder(node=node)


def test_a_node_must_be_a_number():
    with pytest.raises(TypeError, match="node"):
        area_factor("45 nm", 14e-9)


def test_logic_is_scaled_but_for_its_leakage():
    here, there = Adder(), Adder(node=14e-9)
    for quantity, factor in [("energy", energy_factor), ("area", area_factor)]:
        assert getattr(there, quantity) == getattr(here, quantity) * factor(40e-9, 14e-9)
    assert there.latency == here.latency * delay_factor(40e-9, 14e-9)
    assert here.leakage.typical == 2.4e-6
    assert there.leakage is None
    assert AdderTree(node=28e-9).energy.low == AdderTree(node=28e-9).energy.high
    assert AdderTree(node=14e-9).energy.low < AdderTree(node=14e-9).energy.high


def test_other_circuits_are_scaled_on_request_and_say_how_far_that_is_unsure():
    here, there = TimelyComparator(), AtNode(TimelyComparator(), 14e-9)
    assert there.energy.high == here.energy.typical
    assert there.energy.typical == near(here.energy.typical * energy_factor(65e-9, 14e-9).typical)
    assert there.energy.low < there.energy.typical
    assert there.area.high == here.area.typical
    assert there.area.typical == near(here.area.typical * 0.1735 / 1.505)
    assert there.latency == here.latency
    assert AtNode(NeuRRAMADC(), 14e-9).latency == NeuRRAMADC().latency
    assert AtNode(NeuRRAMADC(), 14e-9).leakage is None
    assert AtNode(HermesADC(), 7e-9).energy is None
    assert AtNode(NeuRRAMADC(), 14e-9).use == "one step"
    assert AtNode(IsaacADC(), 14e-9).leakage_in_energy
    assert "Wan et al." in AtNode(NeuRRAMADC(), 14e-9).source
    larger = AtNode(AlbireoTIA(), 32e-9)
    assert larger.energy.low == AlbireoTIA().energy.low
    assert larger.energy.typical > AlbireoTIA().energy.typical
    own = Given("own", energy=1e-12, node=32e-9)
    assert AtNode(own, 32e-9).energy == own.energy


@pytest.mark.parametrize(
    ("build", "error", "said"),
    [
        (
            lambda: AtNode(Adder(), 14e-9),
            TypeError,
            r"law for other nodes: say Adder\(node=1.4e-08",
        ),
        (lambda: AtNode(RegressionADC(), 14e-9), TypeError, "RegressionADC"),
        (lambda: AtNode(Wire(), 14e-9), TypeError, "Wire"),
        (lambda: AtNode(Given("own", energy=1e-12), 14e-9), TypeError, "must have a node"),
        (lambda: AtNode(Given("own", node=180e-9), 14e-9), ValueError, "180 nm"),
        (lambda: AtNode(TimelyComparator(), 5e-9), ValueError, "node of AtNode.*got 5 nm"),
        (lambda: AtNode("comparator", 14e-9), TypeError, "part of AtNode"),
    ],
)
def test_what_cannot_be_scaled_is_refused(build, error, said):
    with pytest.raises(error, match=said):
        build()
