"""Shares of the variance, against the closed form of Ishigami's function.

T. Ishigami, T. Homma, ISUMA 1990: y = sin a + 7 sin² b + 0.1 c⁴ sin a, all three uniform in ±π.
"""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from SALib.sample import sobol

from made_studies import outcome
from mho.study import Range, sweep

A, B = 7.0, 0.1
_V1 = 0.5 * (1 + B * math.pi**4 / 5) ** 2
_V2 = A**2 / 8
_V13 = B**2 * math.pi**8 * (1 / 18 - 1 / 50)
_V = _V1 + _V2 + _V13
FIRST = np.array([_V1, _V2, 0.0]) / _V
TOTAL = np.array([_V1 + _V13, _V2, _V13]) / _V


def ishigami(x):
    a, b, c = np.moveaxis(np.asarray(x), -1, 0)
    return np.sin(a) + A * np.sin(b) ** 2 + B * c**4 * np.sin(a)


def study(points, noise=0.0, chips=1, seed=0, shared=0.0):
    rng = np.random.default_rng(seed)
    values = ishigami(points)
    own = shared * rng.standard_normal((chips, 3))  # what a chip is in all configurations
    rows = [
        (
            dict(zip("abc", map(float, x), strict=True)),
            [
                {"accuracy": float(y + noise * rng.standard_normal() + x @ own[k])}
                for k in range(chips)
            ],
        )
        for x, y in zip(np.asarray(points), values, strict=True)
    ]
    return outcome(rows, objectives={"accuracy": "maximize"})


def saltelli(samples):
    problem = {"num_vars": 3, "names": list("abc"), "bounds": [[-math.pi, math.pi]] * 3}
    return sobol.sample(problem, samples, calc_second_order=False, seed=1)


def test_the_closed_form_is_that_of_the_literature():
    assert pytest.approx([0.3139, 0.4424, 0.0], abs=1e-4) == FIRST
    assert pytest.approx([0.5576, 0.4424, 0.2437], abs=1e-4) == TOTAL


def test_saltellis_design_is_known_by_its_shape():
    found = study(saltelli(256)).sensitivity()
    assert found.method.startswith("Saltelli")
    assert found.configurations == 1280
    assert (np.abs(found.first - FIRST) < np.maximum(1.5 * found.first_error, 0.02)).all()
    assert (np.abs(found.total - TOTAL) < np.maximum(1.5 * found.total_error, 0.02)).all()
    assert (found.first_error < 0.2).all()


def evaluate(hardware, seed, settings):
    return float(ishigami([settings[name] for name in "abc"]))


def run(trials):
    space = {name: Range(-math.pi, math.pi) for name in "abc"}
    return sweep(space, evaluate, free=list("abc"), sampler="sobol", trials=trials, workers=0)


def test_the_sampler_runs_the_design():
    found = run(5 * 16)
    assert found.sensitivity().method == "Saltelli's design, 16 samples"
    # The same samples as SALib's own, so that its estimates mean what they say.
    problem = {"num_vars": 3, "names": list("abc"), "bounds": [[-math.pi, math.pi]] * 3}
    points = sobol.sample(problem, 16, calc_second_order=False, seed=0)
    mine = [[record.settings[name] for name in "abc"] for record in found.records]
    np.testing.assert_allclose(mine, points, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("trials", [5 * 15, 79, 1])
def test_designs_that_are_not_whole_are_refused(trials):
    with pytest.raises(ValueError, match="power of two times 5"):
        run(trials)


def test_samples_of_which_a_part_is_missing_do_not_count():
    points = saltelli(64)
    whole = study(points)
    rows = [
        (record.settings, ["ValueError: no"] if i == 7 else [record.results])
        for i, record in enumerate(whole.records)
    ]
    part = outcome(rows[:-2], objectives={"accuracy": "maximize"}).sensitivity()
    assert part.configurations == 5 * 62
    kept = [i for i in range(5 * 63) if i // 5 != 1]
    same = study(points[kept]).sensitivity()
    np.testing.assert_allclose(part.first, same.first)


def test_of_a_full_grid_both_are_sums():
    # Midpoints of equal cells: the sums go to the integrals as the square of the cells' size.
    steps = (np.arange(20) + 0.5) / 20 * 2 * math.pi - math.pi
    found = study(list(itertools.product(steps, steps, steps))).sensitivity()
    assert found.method == "a full grid"
    assert np.abs(found.first - FIRST).max() < 0.01
    assert np.abs(found.total - TOTAL).max() < 0.01
    assert np.isnan(found.first_error).all()
    assert math.isnan(found.scatter)


@pytest.mark.parametrize(("noise", "shared"), [(5.0, 0.0), (0.0, 1.0)])
def test_the_scatter_of_chips_is_left_out_of_a_grid(noise, shared):
    steps = (np.arange(7) + 0.5) / 7 * 2 * math.pi - math.pi
    points = list(itertools.product(steps, steps, steps))
    exact = study(points).sensitivity()
    drawn = [study(points, noise, 4, s, shared).sensitivity() for s in range(16)]
    for name in ("first", "total"):
        values = np.array([getattr(one, name) for one in drawn])
        error = values.std(axis=0, ddof=1) / math.sqrt(len(drawn))
        assert (np.abs(values.mean(axis=0) - getattr(exact, name)) < 4 * error).all()
        # The stated intervals are those that repetition shows; of no effect they are wider.
        said = np.array([getattr(one, f"{name}_error") for one in drawn]).mean(axis=0)
        ratio = said / (scipy.stats.t.ppf(0.975, 3) * values.std(axis=0, ddof=1))
        assert (ratio > 0.5).all()
        assert (ratio < 3.0).all()
    assert 0.1 < np.mean([one.scatter for one in drawn]) < 0.6


def nothing_but_scatter():
    """Return a study whose chips differ, and whose settings change nothing."""
    rng = np.random.default_rng(0)
    rows = [
        ({"a": a, "b": b}, [{"accuracy": 0.9 + 0.01 * z} for z in rng.standard_normal(3)])
        for a, b in itertools.product(range(4), range(3))
    ]
    return outcome(rows, objectives={"accuracy": "maximize"})


def test_where_chips_scatter_as_much_as_settings_nothing_is_claimed():
    found = nothing_but_scatter().sensitivity()
    assert (found.first_error >= 1.0).all()
    assert (found.total_error >= 1.0).all()
    assert str(found).count("too few chips") == 4


def test_other_data_give_first_order_alone():
    points = np.random.default_rng(2).uniform(-math.pi, math.pi, (600, 3))
    found = study(points).sensitivity()
    assert "RBD-FAST" in found.method
    assert (np.abs(found.first - FIRST) < 2 * found.first_error).all()
    assert np.isnan(found.total).all()
    assert "not known" in str(found)


def test_categories_count_too():
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(300):
        device, x = rng.choice(["p", "q", "r"]), float(rng.random())
        value = {"p": 0.0, "q": 1.0, "r": 2.0}[device] + x
        rows.append(({"device": str(device), "x": x}, [{"accuracy": value}]))
    found = outcome(rows, objectives={"accuracy": "maximize"}).sensitivity()
    shares = np.array([2 / 3, 1 / 12])
    assert found.names == ("device", "x")
    assert np.abs(found.first - shares / shares.sum()).max() < 0.07


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([({"x": 1}, [{"accuracy": 0.5}])], "nothing was varied"),
        ([({"x": i}, [{"accuracy": 0.5}]) for i in range(3)], "the same in all"),
        ([({"x": i, "y": i}, [{"accuracy": float(i)}]) for i in range(9)], "at least 40"),
    ],
)
def test_too_little_is_refused(rows, said):
    with pytest.raises(ValueError, match=said):
        outcome(rows, objectives={"accuracy": "maximize"}).sensitivity()


def test_unknown_results_are_refused():
    with pytest.raises(ValueError, match="no result 'area'"):
        study(saltelli(8)).sensitivity("area")
