"""The front and the best of a study, against brute force and answers done by hand."""

import math

import numpy as np
import pytest

from made_studies import GOALS, hardware_study, outcome
from mho.study.statistics import undominated


def chips(accuracy, energy, spread=0.0):
    return [{"accuracy": accuracy + s * spread, "energy": energy} for s in (-1.0, 0.0, 1.0)]


def brute(gain):
    n = len(gain)
    return [
        not any((gain[j] >= gain[i]).all() and (gain[j] > gain[i]).any() for j in range(n))
        for i in range(n)
    ]


@pytest.mark.parametrize("columns", [1, 2, 3, 5])
def test_the_front_is_that_of_brute_force(columns):
    rng = np.random.default_rng(columns)
    for count in (1, 2, 30, 80):
        # Few levels: many rows are equal in some columns, and some in all.
        gain = rng.integers(0, 6, (count, columns)).astype(float)
        assert undominated(gain).tolist() == brute(gain)


def test_what_gave_no_number_is_not_on_the_front():
    gain = np.array([[math.nan, 9.0], [1.0, 1.0], [2.0, math.nan]])
    assert undominated(gain).tolist() == [False, True, False]


def test_the_front_of_a_study():
    rows = [
        ({"x": 0}, chips(0.95, 3.0)),
        ({"x": 1}, chips(0.90, 1.0)),
        ({"x": 2}, chips(0.89, 2.0)),  # beaten by 1
        ({"x": 3}, chips(0.97, 5.0)),
        ({"x": 4}, ["MemoryError: x"] * 3),
    ]
    front = outcome(rows).front()
    assert front["trial"].tolist() == [3, 0, 1]
    assert front["chance"].tolist() == [1.0, 1.0, 1.0]  # chips do not differ
    assert outcome(rows).front("energy")["trial"].tolist() == [1]
    assert outcome(rows, objectives={"energy": "minimize"}).front()["trial"].tolist() == [1]


def test_chances_follow_the_error_bars():
    # Two configurations of one energy: the chance that the second is better is that of a
    # difference of two t-distributed means, here by a large sample of them.
    rows = [({"x": 0}, chips(0.90, 1.0, 0.02)), ({"x": 1}, chips(0.89, 1.0, 0.02))]
    front = outcome(rows).front(least_chance=0.01, draws=4000)
    error = 0.02 / math.sqrt(3)
    t = np.random.default_rng(1).standard_t(2, (2, 400_000))
    chance = float((0.01 + error * (t[0] - t[1]) > 0).mean())
    assert front["on_front"].tolist() == [True, False]
    found = front["chance"].tolist()
    assert found[0] == pytest.approx(chance, abs=4 * math.sqrt(0.25 / 4000))
    assert sum(found) == pytest.approx(1.0)


def test_one_chip_has_no_chance():
    rows = [({"x": i}, [{"accuracy": 0.9 + i / 100, "energy": 1.0 + i}]) for i in range(3)]
    front = outcome(rows).front()
    assert len(front) == 3
    assert front["chance"].isna().all()


def test_names_that_are_no_objectives_are_refused():
    with pytest.raises(ValueError, match="objective must be one of 'accuracy', 'energy'"):
        hardware_study().front("latency")
    with pytest.raises(ValueError, match="no objectives"):
        outcome([({"x": 1}, chips(0.9, 1.0))], objectives={}).front()


# ── the best ─────────────────────────────────────────────────────────────────────────────────────


ROWS = [
    ({"x": 0}, chips(0.970, 9.0)),
    ({"x": 1}, chips(0.965, 5.0)),
    ({"x": 2}, chips(0.961, 4.0, 0.01)),  # within a point by its mean alone
    ({"x": 3}, chips(0.900, 1.0)),
]


def test_the_cheapest_within_a_point_of_the_best():
    best = outcome(ROWS).best(minimize="energy", accuracy_within=0.01)
    assert best
    assert best.trial == 1
    assert best.settings == {"x": 1}
    assert best.results == pytest.approx({"accuracy": 0.965, "energy": 5.0})
    assert best.unsure == (2,)
    assert "configuration 1 (of 4" in str(best)
    assert "within 1 point of the best" in str(best)


def test_of_means_alone_if_asked_for():
    assert outcome(ROWS).best(minimize="energy", accuracy_within=0.01, sigmas=0).trial == 2


@pytest.mark.parametrize(
    ("asked", "trial"),
    [
        ({"maximize": "accuracy", "energy_most": 4.5}, 2),
        ({"maximize": "accuracy"}, 0),
        ({"minimize": "energy", "accuracy_least": 0.9}, 3),
        ({"minimize": "energy", "accuracy_within": 0.0}, 0),
        ({"minimize": "energy", "accuracy_within": 0.01, "reference": {"accuracy": 0.91}}, 3),
        ({"maximize": "accuracy", "energy_within": 3.0}, 2),
        ({"maximize": "accuracy", "energy_within": 0.5, "reference": {"energy": 4.6}}, 1),
    ],
)
def test_limits(asked, trial):
    assert outcome(ROWS).best(**asked).trial == trial


def test_the_reference_may_be_another_result():
    rows = [
        ({"x": i}, [{"accuracy": a, "digital": d, "energy": e}] * 2)
        for i, (a, d, e) in enumerate([(0.90, 0.905, 2.0), (0.95, 0.99, 1.0)])
    ]
    found = outcome(rows).best(
        minimize="energy", accuracy_within=0.01, reference={"accuracy": "digital"}
    )
    assert found.trial == 0
    assert "within 1 point of digital" in str(found)


def test_none_is_a_clear_answer():
    best = outcome(ROWS).best(minimize="energy", accuracy_least=0.99)
    assert not best
    assert best.trial is None
    assert best.nearest == 0
    assert "none of 4 configurations does it. The nearest, configuration 0" in str(best)
    nothing = outcome([({"x": 1}, ["ValueError: no"])]).best(minimize="energy")
    assert not nothing
    assert nothing.nearest is None


def test_none_where_nothing_is_known_of_a_limit():
    rows = [({"x": 1}, ["ValueError: no"]), ({"x": 2}, [{"accuracy": 0.9}])]
    assert not outcome(rows).best(minimize="energy")
    rows.append(({"x": 3}, [{"energy": 1.0}]))
    assert not outcome(rows).best(minimize="energy", accuracy_least=0.5)


def test_rivals_are_those_that_chips_cannot_tell_apart():
    rows = [
        ({"x": 0}, chips(0.950, 1.0, 0.01)),
        ({"x": 1}, chips(0.947, 1.0, 0.01)),
        ({"x": 2}, chips(0.900, 1.0, 0.01)),
    ]
    best = outcome(rows).best(maximize="accuracy")
    assert best.trial == 0
    assert best.rivals == (1,)


def test_one_chip_says_so():
    rows = [({"x": i}, [{"accuracy": 0.9 + i / 100, "energy": 1.0 + i}]) for i in range(3)]
    best = outcome(rows).best(minimize="energy", accuracy_within=0.01)
    assert best.trial == 1
    assert "error bars are not known" in str(best)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "either minimize= or maximize="),
        ({"minimize": "energy", "maximize": "accuracy"}, "either minimize= or maximize="),
        ({"minimize": "enrgy"}, "no result 'enrgy'"),
        ({"minimize": "energy", "acuracy_within": 0.1}, "did you mean 'accuracy_within'"),
        ({"minimize": "energy", "accuracy_near": 0.1}, "no limit 'accuracy_near'"),
        ({"minimize": "energy", "accuracy_within": -0.1}, "accuracy_within must be >= 0"),
        ({"minimize": "energy", "accuracy_within": 1}, "one point is 0.01"),
        ({"minimize": "energy", "accuracy_least": 95}, "accuracy is a share"),
        ({"minimize": "energy", "sigmas": -1}, "sigmas must be >= 0"),
        ({"minimize": "energy", "reference": {"accuracy": 0.9}}, "changes nothing"),
        ({"minimize": "energy", "accuracy_within": 0.1, "reference": {"accuracy": "no"}}, "no res"),
    ],
)
def test_mistakes_are_refused(asked, said):
    with pytest.raises(ValueError, match=said):
        outcome(ROWS).best(**asked)


def test_minimised_objectives_are_within_from_above():
    rows = [({"x": i}, chips(0.9, e)) for i, e in enumerate((5.0, 5.5, 7.0))]
    best = outcome(rows, objectives={**GOALS, "latency": "minimize"}).best(
        maximize="energy", energy_within=1.0
    )
    assert best.trial == 1
