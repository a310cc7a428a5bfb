"""Records and outcomes made by hand are looked at; what they are asked wrongly changes nothing."""

import copy
import json

import numpy as np
import pytest

import made_studies
from mho.study import Outcome, Record

GOOD = {"trial": 0, "seed": 1, "settings": {"adc.bits": 4}, "results": {"accuracy": 0.5}}
BAD = (None, "3", -1, float("nan"), 10**400, True, 1j, object(), (), {}, ["a"], [3])
WRONG = {
    "trial": (None, "3", -1, 0.5, True, float("nan")),
    "seed": (None, "3", -1, 0.5, True),
    "settings": (None, "3", 3, [1], {3: 4}),
    "results": (None, "3", 0.5, {3: 0.5}, {"accuracy": "high"}, {"accuracy": [1]}),
    "error": (3, ["wrong"], object()),
    "seconds": (None, "3", -1.0, float("nan"), True),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_record_s_parts_are_refused_by_name(name):
    for wrong in WRONG[name]:
        with pytest.raises((TypeError, ValueError), match=rf"{name.removesuffix('s')}"):
            Record(**{**GOOD, name: wrong})


def test_numbers_of_numpy_are_taken():
    Record(**{**GOOD, "seed": np.int64(2), "results": {"accuracy": np.float32(0.5), "no": None}})


@pytest.mark.parametrize(("name", "wrong", "said"), [
    ("name", 3, "name must be str"), ("records", {Record: 1}, "records must be tuple or list"),
    ("records", (3,), "every record must be Record"), ("objectives", "accuracy", "objectives must"),
    ("objectives", {"accuracy": "best"}, "objective accuracy must be one of"),
    ("units", ["J"], "units must be Mapping"), ("units", {"energy": 3}, "unit of energy must be"),
])  # fmt: skip
def test_an_outcome_s_parts_are_refused_by_name(name, wrong, said):
    given = {"name": "a", "records": (Record(**GOOD),), "objectives": {"accuracy": "maximize"}}
    with pytest.raises((TypeError, ValueError), match=said):
        Outcome(**{**given, name: wrong})


def test_records_in_a_list_are_a_tuple_of_them():
    made = [
        Outcome("a", kind([Record(**GOOD)]), {"accuracy": "maximize"}) for kind in (list, tuple)
    ]
    assert made[0] == made[1]


@pytest.mark.parametrize("name", ["seed", "settings", "results", "seconds", "records", "units"])
def test_a_file_of_wrong_parts_is_no_study(tmp_path, name):
    path = tmp_path / "a.json"
    Outcome("a", (Record(**GOOD),), {"accuracy": "maximize"}).save(path)
    data = json.loads(path.read_text())
    there = data if name in data else data["records"][0]
    for wrong in (None, "b", -1, True, ["a"], {"a": 10**400}):
        if (name, wrong) != ("settings", {"a": 10**400}):
            there[name] = wrong
            path.write_text(json.dumps(data))
            with pytest.raises(ValueError, match=r"a\.json is no study: "):
                Outcome.load(path)
    del there[name]
    path.write_text(json.dumps(data))
    if name == "seconds":  # is not asked for
        assert Outcome.load(path)
        return
    with pytest.raises(ValueError, match=rf"a\.json is no study: .*{name}"):
        Outcome.load(path)


QUESTIONS = {
    "front least_chance": lambda it, v: it.front(least_chance=v),
    "front draws": lambda it, v: it.front(draws=v),
    "front objectives": lambda it, v: it.front(v),
    "sensitivity result": lambda it, v: it.sensitivity(v),
    "sensitivity seed": lambda it, v: it.sensitivity(seed=v),
    "to_xarray fill": lambda it, v: it.to_xarray(fill=v),
    "save path": lambda it, v: it.save(v),
    "report path": lambda it, v: it.report(v),
    "report choice": lambda it, v: it.report("page.html", choice=v),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_what_is_refused_has_changed_nothing(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found, refused = made_studies.hardware_study(chips=2), 0
    before = copy.deepcopy(found)
    for bad in BAD:
        try:
            QUESTIONS[name](found, bad)
        except (TypeError, ValueError):
            refused += 1
        assert found == before
    assert refused
