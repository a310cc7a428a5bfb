"""What all components have in common: specs, sums that stay unknown, the listing, one's own."""

import copy
import dataclasses
import pickle
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mho.analysis import components
from mho.analysis.components import (
    LIBRARY,
    Adder,
    AtNode,
    Component,
    Estimate,
    Given,
    HermesADC,
    IsaacADC,
    NeuRRAMADC,
    RegressionADC,
    TimelyDTC,
    table,
    total,
)
from mho.core.spec import Spec
from tolerance import near

ROOT = Path(__file__).parent.parent.parent
QUANTITIES = ("energy", "latency", "area", "leakage")
DATED = re.compile(r"20\d\d|V1\.3|ZigZag-IMC|JSSC|ISSCC|CiMLoop|laws|geometry|physics|survey", re.I)


@pytest.mark.parametrize("kind", LIBRARY, ids=lambda kind: kind.__name__)
def test_every_component_is_a_cited_spec(kind):
    part = kind()
    assert DATED.search(part.source), part.source
    assert part.conditions
    assert part.use
    assert kind.__doc__
    for quantity in QUANTITIES:
        value = getattr(part, quantity)
        assert value is None or isinstance(value, Estimate)
        # What is not known is never told as nothing.
        assert value is None or value.high > 0
    assert any(getattr(part, quantity) is not None for quantity in QUANTITIES)
    assert not (part.leakage_in_energy and part.leakage)
    loaded = Spec.from_dict(yaml.safe_load(yaml.safe_dump(part.to_dict())))
    assert loaded == part
    assert type(loaded) is kind
    assert hash(loaded) == hash(part)
    assert pickle.loads(pickle.dumps(part)) == copy.deepcopy(part) == part
    with pytest.raises(dataclasses.FrozenInstanceError):
        part.source = "mine"


# Node (nm) and parameters of each, as its source has them.
AS_PUBLISHED = {
    "RegressionADC": (32, {"bits": 8.0, "rate": 1e8}),
    "SurveyADC": (None, {"bits": 8, "rate": 1e8}),
    "IsaacADC": (32, {"bits": 8, "rate": 1.28e9}),
    "ZigZagADC": (28, {"bits": 8, "rows": 256, "voltage": 0.9}),
    "NeuroSimADC": (22, {"bits": 5, "resistance": 1e4, "voltage": 0.5}),
    "HermesADC": (14, {"bits": 8}),
    "NeuRRAMADC": (130, {"voltage": 1.8}),
    "TimelyTDC": (65, {"bits": 8}),
    "IsaacDriver": (32, {}),
    "CapacitiveDAC": (40, {"bits": 8, "rate": 1.1e9}),
    "ZigZagDAC": (28, {"bits": 4, "voltage": 0.9}),
    "ResistiveDAC": (22, {"bits": 4, "resistance": 1e4, "voltage": 0.5, "time": 1e-8}),
    "SwitchMatrix": (28, {"bits": 1, "voltage": 0.9}),
    "TimelyDTC": (65, {"bits": 8, "unit": None}),
    "IsaacSampleHold": (32, {}),
    "NeuRRAMSample": (130, {"voltage": 1.8}),
    "NeuRRAMIntegrator": (130, {"voltage": 1.8}),
    "AlbireoTIA": (7, {}),
    "TimelyComparator": (65, {}),
    "TimelyCurrentAdder": (65, {}),
    "ColumnMultiplexer": (28, {"inputs": 8, "voltage": 0.9}),
    "ShiftAdd": (32, {"bits": 16}),
    "NeuRRAMShiftAdd": (130, {"voltage": 1.8}),
    "Adder": (40, {"bits": 32}),
    "AdderTree": (28, {"inputs": 8, "bits": 8, "voltage": 0.9}),
    "Multiplier": (40, {"bits": 32, "by": 32}),
    "Comparator": (40, {"bits": 32}),
    "Counter": (40, {"bits": 32}),
    "Register": (40, {"bits": 1}),
    "ActivationUnit": (32, {}),
    "VectorUnit": (32, {"operation": "add"}),
    "Arithmetic": (45, {"operation": "multiply", "format": "int8"}),
    "SRAM": (32, {"size": 2048}),
    "CacheSRAM": (45, {"size": 8192}),
    "EDRAM": (32, {"size": 65536}),
    "DRAM": (None, {}),
    "Wire": (32, {"length": 1e-3, "voltage": 0.9}),
    "Bus": (32, {"bits": 256}),
    "Router": (32, {"bits": 256}),
    "PumaRouter": (32, {"ports": 4}),
    "CellArray": (22, {"rows": 256, "columns": 256, "factor": 4.0, "layers": 1}),
    "Line": (
        None,
        {
            "cells": 256,
            "voltage": 1.3,
            "supply": 2.2,
            "cell_capacitance": 2.1e-15,
            "end_capacitance": 48e-15,
        },
    ),
    "ProgrammingPulse": (None, {"voltage": 2.0, "current": [1e-5, 1e-4], "width": 1e-7}),
}


@pytest.mark.parametrize("kind", LIBRARY, ids=lambda kind: kind.__name__)
def test_without_arguments_a_circuit_is_as_published(kind):
    nanometres, parameters = AS_PUBLISHED[kind.__name__]
    part = kind()
    found = part.to_dict()
    assert found.pop("type") == kind.__name__
    found.pop("node", None)
    assert found == parameters
    node = getattr(part, "node", None)
    assert node == (None if nanometres is None else near(nanometres * 1e-9))


# Where the numbers of each hold; all nodes but those named are 7 to 130 nm.
LIMITS = {
    "bits": {
        "RegressionADC": (4, 14),
        "SurveyADC": (1, 16),
        "IsaacADC": (4, 10),
        "ZigZagADC": (1, 12),
        "NeuroSimADC": (1, 12),
        "HermesADC": (1, 12),
        "TimelyTDC": (1, 10),
        "TimelyDTC": (1, 10),
        "CapacitiveDAC": (1, 10),
        "ZigZagDAC": (1, 8),
        "ResistiveDAC": (1, 12),
        "SwitchMatrix": (1, 4),
    },
    "voltage": {
        "ZigZagADC": (0.5, 1.2),
        "ZigZagDAC": (0.5, 1.2),
        "SwitchMatrix": (0.5, 1.2),
        "ColumnMultiplexer": (0.5, 1.2),
        "AdderTree": (0.5, 1.2),
        "NeuRRAMADC": (1.2, 1.8),
        "NeuRRAMSample": (1.2, 1.8),
        "NeuRRAMIntegrator": (1.2, 1.8),
        "NeuRRAMShiftAdd": (1.2, 1.8),
    },
    "size": {"SRAM": (256, 2048), "CacheSRAM": (8192, 1048576)},
    "node": {"RegressionADC": (7e-9, 180e-9)}
    | {
        kind.__name__: (7e-9, 130e-9)
        for kind in LIBRARY
        if "node" in kind.__dataclass_fields__
        and kind.__name__ not in ("RegressionADC", "NeuroSimADC", "CellArray")
    },
}
LIMITED = [(n, kind, *ends) for n, kinds in LIMITS.items() for kind, ends in kinds.items()]


@pytest.mark.parametrize(("name", "kind", "least", "most"), LIMITED)
def test_the_limits_of_a_circuit(name, kind, least, most):
    kind = getattr(components, kind)
    step = 1 if isinstance(least, int) else 0.01 * least
    for value in (least, most):
        assert getattr(kind(**{name: value}), name) == value
    for value in (least - step, most + step):
        with pytest.raises(ValueError, match=name):
            kind(**{name: value})


@pytest.mark.parametrize("kind", LIBRARY, ids=lambda kind: kind.__name__)
def test_every_field_acts(kind):
    others = {
        "bits": 5,
        "voltage": 1.2,
        "node": 65e-9,
        "rate": 5e8,
        "resistance": 3e3,
        "unit": 1e-9,
    }
    others |= {"inputs": 5, "rows": 64, "columns": 64, "by": 7, "size": 512, "operation": "divide"}
    others |= {"format": "int32", "length": 5e-3, "cells": 33, "current": 3e-6, "width": 3e-9}
    others |= {"cell_capacitance": 1e-15, "end_capacitance": 1e-15, "ports": 8, "factor": 12.0}
    others |= {"time": 5e-9, "layers": 3, "supply": 3.0}
    special = {("EDRAM", "size"): 131072, ("CacheSRAM", "size"): 65536, ("SwitchMatrix", "bits"): 3}
    special |= {("Arithmetic", "operation"): "add", ("AdderTree", "bits"): 9}
    special |= {("NeuroSimADC", "bits"): 7}
    part = kind()
    for field in dataclasses.fields(kind):
        value = special.get((kind.__name__, field.name), others[field.name])
        changed = part.replace(**{field.name: value})
        assert any(
            getattr(changed, quantity) != getattr(part, quantity) for quantity in QUANTITIES
        ), field.name


def test_numbers_of_numpy_and_torch_do():
    part = RegressionADC(bits=np.int64(8), rate=torch.tensor(1e8), node=np.float64(32e-9))
    assert part == RegressionADC()
    assert type(part.to_dict()["bits"]) is int
    assert Adder(bits=np.int32(32)) == Adder()
    assert Given("own", energy=np.float64(1e-12)).energy == Estimate.exact(1e-12)


@given(*[st.floats(0, 1e6)] * 6, st.floats(0, 1e3))
def test_estimates_keep_their_order(a, b, c, d, e, f, factor):
    first, second = Estimate(*sorted((a, b, c))), Estimate(*sorted((d, e, f)))
    for result in (first + second, first * factor, factor * first, first * second):
        assert result.low <= result.typical <= result.high
    assert (first + second).high == first.high + second.high
    assert (first * second).low == first.low * second.low
    assert Estimate.covering(b, a, c) == Estimate(min(a, b, c), b, max(a, b, c))


def test_estimates_refuse_what_is_none():
    with pytest.raises(ValueError, match="typical of an Estimate"):
        Estimate(2.0, 1.0, 3.0)
    with pytest.raises(ValueError, match="low of an Estimate"):
        Estimate(-1.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="factor of an Estimate"):
        Estimate.exact(1.0) * -2.0
    with pytest.raises(TypeError):
        Estimate.exact(1.0) + 1.0
    with pytest.raises(TypeError, match="factor of an Estimate"):
        Estimate.exact(1.0) * "2"
    loaded = Spec.from_dict(yaml.safe_load(yaml.safe_dump(Estimate(1.0, 2.0, 3.0).to_dict())))
    assert loaded == Estimate(1.0, 2.0, 3.0)


def test_a_sum_with_something_unknown_is_unknown():
    known = [Adder().energy, Adder().energy * 3]
    assert total(known) == Adder().energy * 4
    assert total([*known, HermesADC().energy]) is None
    assert total([]) == Estimate.exact(0.0)


def test_given():
    own = Given("flash", energy=(1e-12, 2e-12), area=1e-9, leakage=(1e-6, 2e-6, 4e-6), source="us")
    assert own.energy == Estimate(1e-12, 1.5e-12, 2e-12)
    assert own.area == Estimate.exact(1e-9)
    assert own.leakage == Estimate(1e-6, 2e-6, 4e-6)
    assert own.latency is None
    assert own.source == "us"
    assert own.replace(energy=None).energy is None
    loaded = Spec.from_dict(yaml.safe_load(yaml.safe_dump(own.to_dict())))
    assert loaded == own
    assert isinstance(loaded.energy, Estimate)
    written = {"type": "Given", "name": "flash", "energy": [1e-12, 2e-12], "area": 1e-9}
    assert Spec.from_dict(written).energy == own.energy
    written["energy"] = torch.tensor([1e-12, 2e-12])
    Given("slow", latency=1e-6).check_rate(1e6)
    with pytest.raises(ValueError, match=r"rate must be at most 1e\+06/s.*got 2e\+06/s"):
        Given("slow", latency=1e-6).check_rate(2e6)
    Given("of no time").check_rate(1e12)


@pytest.mark.parametrize(
    ("values", "error", "said"),
    [
        ({"energy": -1.0}, ValueError, "energy of own"),
        ({"energy": (2.0, 1.0)}, ValueError, "energy of own.*ascending"),
        ({"energy": (1.0,)}, ValueError, "energy of own.*one number"),
        ({"energy": "1 pJ"}, TypeError, "energy of own"),
        ({"area": float("inf")}, ValueError, "area of own"),
        ({"leakage": True}, TypeError, "leakage of own"),
        ({"source": 2026}, TypeError, "source of Given"),
        ({"leakage": 1e-6, "leakage_in_energy": True}, ValueError, "leakage of own must not"),
        ({"leakage_in_energy": "no"}, TypeError, "leakage_in_energy"),
        ({"node": 0.0}, ValueError, "node of Given"),
    ],
)
def test_given_refuses(values, error, said):
    with pytest.raises(error, match=said):
        Given("own", **values)


@dataclass(frozen=True)
class Own(Component):
    """A converter of one's own."""

    bits: int = 4

    source = "own measurement, 2026"
    use = "one conversion"
    node = 28e-9

    @property
    def energy(self):
        return Estimate.exact(50e-15 * 2**self.bits)


def test_a_component_of_ones_own_is_like_any_other():
    part = Own(bits=6)
    assert part.energy.typical == near(3.2e-12)
    assert part.area is None
    assert Spec.from_dict(yaml.safe_load(yaml.safe_dump(part.to_dict()))) == part
    assert AtNode(part, 14e-9).energy.high == part.energy.typical
    scaled = AtNode(part, 14e-9)
    assert Spec.from_dict(yaml.safe_load(yaml.safe_dump(scaled.to_dict()))) == scaled
    lines = table(part, scaled).splitlines()
    assert len(lines) == 4
    assert "one conversion" in lines[3]
    assert "own measurement" in lines[2]


def test_the_listing():
    lines = table().splitlines()
    assert len(lines) == len(LIBRARY) + 2
    row = next(line for line in lines if line.startswith("NeuRRAMADC"))
    assert re.search(r"130 nm +300 fJ \(250 fJ … 300 fJ\) +300 ns +400 µm² +10 nW", row)
    row = next(line for line in lines if line.startswith("HermesADC"))
    assert re.search(r"14 nm +– +76.8 ns +– +–", row)
    assert "in the energy" in table(IsaacADC())
    assert "TimelyDTC(bits=4)" in table(TimelyDTC(bits=4))
    assert "flash" in table(Given("flash", energy=1e-12))
    with pytest.raises(TypeError, match="components must be Component"):
        table(NeuRRAMADC)


def test_the_library_lists_all_there_is():
    public = [getattr(components, name) for name in components.__all__]
    kinds = {kind for kind in public if isinstance(kind, type) and issubclass(kind, Component)}
    assert kinds - {Component, Given, AtNode} == set(LIBRARY)


def test_the_pages_table_is_the_listing():
    page = (ROOT / "docs" / "components.md").read_text(encoding="utf-8")
    assert table() in page
