"""Pictures and the page of a study show what was found."""

import re
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest

from made_studies import hardware_study, outcome
from mho import plot

mpl.use("Agg")


@pytest.fixture(scope="module")
def found():
    return hardware_study()


@pytest.fixture(scope="module")
def best(found):
    return found.best(minimize="energy", accuracy_within=0.01)


@pytest.fixture(autouse=True)
def _closed():
    yield
    mpl.pyplot.close("all")


def test_a_result_against_a_setting_is_the_median_and_the_line_through_the_choice(found, best):
    ax = plot.result_against(found, "adc.bits", choice=best)
    table = found.table()
    lines = [line for line in ax.lines if len(line.get_xdata()) == 5]
    median = table.groupby("adc.bits")["accuracy"].median() * 100
    assert np.allclose(lines[0].get_ydata(), median)
    row = table.set_index("trial").loc[best.trial]
    mine = table[(table["tile"] == row["tile"]) & (table["device"] == row["device"])]
    assert np.allclose(lines[1].get_ydata(), mine["accuracy"] * 100)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["4", "5", "6", "7", "8"]
    assert ax.get_ylabel() == "accuracy (%)"


def test_the_picture_of_the_front_is_the_front(found, best):
    ax = plot.pareto_front(found, choice=best)
    front = found.front().sort_values("energy")
    line = next(line for line in ax.lines if len(line.get_xdata()) == len(front))
    assert np.allclose(line.get_xdata(), front["energy"] * 1e9)
    assert np.allclose(line.get_ydata(), front["accuracy"] * 100)
    star = next(line for line in ax.lines if line.get_marker() == "*")
    assert star.get_xdata()[0] == pytest.approx(best.results["energy"] * 1e9)
    assert ax.get_xscale() == "log"
    assert ax.get_xlabel() == "energy (nJ)"


def test_every_configuration_is_a_line(found, best):
    ax = plot.parallel_coordinates(found, choice=best)
    (lines,) = ax.collections
    assert np.shape(lines.get_segments()) == (60, 3, 2)
    # Coloured by accuracy, the best last: over the others.
    assert np.allclose(lines.get_array(), sorted(100 * found.table()["accuracy"]))
    chosen = next(line for line in ax.lines if len(line.get_xdata()) == 3)
    assert chosen.get_ydata().tolist() == pytest.approx([0.75, 2 / 3, 0.0])


def test_bars_are_the_indices(found):
    shares = found.sensitivity()
    ax = plot.sensitivity_bars(shares)
    widths = [bar.get_width() for bar in ax.patches]
    assert widths == pytest.approx([*shares.first, *shares.total])


def test_what_too_few_chips_cannot_tell_has_words_and_no_bar(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        ({"a": a, "b": b}, [{"accuracy": 0.9 + 0.01 * z} for z in rng.standard_normal(3)])
        for a in range(4)
        for b in range(3)
    ]
    study = outcome(rows, objectives={"accuracy": "maximize"})
    ax = plot.sensitivity_bars(study.sensitivity())
    assert [bar.get_width() for bar in ax.patches] == [0.0] * 4
    assert [text.get_text() for text in ax.texts] == ["too few chips"] * 4
    assert "too few chips, their scatter" in study.report(tmp_path / "page.html").read_text("utf-8")


def test_many_values_of_a_setting_are_drawn_in_bins():
    rng = np.random.default_rng(0)
    rows = [({"x": float(x)}, [{"accuracy": float(x) ** 2}]) for x in rng.random(200)]
    study = outcome(rows, objectives={"accuracy": "maximize"})
    ax = plot.result_against(study, "x")
    x, y = ax.lines[0].get_xdata(), ax.lines[0].get_ydata()
    assert len(x) == 8
    assert np.abs(y / 100 - x**2).max() < 0.02
    plot.parallel_coordinates(study)


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda o: plot.result_against(o, "adc.bit"), "no setting 'adc.bit'"),
        (lambda o: plot.result_against(o, "tile", result="speed"), "no result 'speed'"),
        (lambda o: plot.pareto_front(o, objectives=("accuracy",)), "two objectives"),
        (lambda o: plot.pareto_front(o, objectives=("accuracy", "area")), "two objectives"),
        (lambda o: plot.study_sheet(replace(o, records=())), "nothing was varied"),
        (lambda o: plot.parallel_coordinates(replace(o, records=o.records[:4])), "nothing was v"),
    ],
)
def test_what_cannot_be_drawn_is_refused(found, draw, said):
    with pytest.raises(ValueError, match=said):
        draw(found)


def test_a_sheet_has_all_of_them(found, best):
    figure = plot.study_sheet(found, best)
    axes = [ax for part in figure.subfigs for ax in part.axes]
    assert [ax.get_xlabel() for ax in axes][:5] == [
        "energy (nJ)", "share of the variance of accuracy", "adc.bits", "tile", "device",
    ]  # fmt: skip


def test_the_page_needs_nothing_else_and_says_the_answer(found, best, tmp_path):
    text = found.report(tmp_path / "page.html", choice=best).read_text("utf-8")
    # Nothing is fetched: no address of a script, a style, a font or a picture.
    tags = re.sub("<script.*?</script>", "<script>", text, flags=re.DOTALL)
    assert not re.search(r"""(src|href)=["']?https?:""", tags)
    assert "Least energy, accuracy within 1 point of the best found" in text
    for section in ("The answer", "The front", "Accuracy against each setting", "What failed"):
        assert f">{section}</h2>" in text
    assert "MemoryError: too large" in text
    assert f"Configuration {best.trial} of 60" in text


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [({"x": 1}, ["ValueError: <b>no</b>"])],
        [({"x": 1}, [{"accuracy": 0.5, "energy": 1.0}])],
        [({"x": i}, [{"accuracy": 0.5, "energy": 1.0}]) for i in range(3)],
        [({"x": i, "y": None}, [{"accuracy": 0.1 * i, "energy": 0.0}]) for i in range(3)],
        [({"x": i}, [{"accuracy": 0.1 * i, "energy": 10.0**i}, "KeyError: x"]) for i in range(5)],
    ],
)
def test_pages_of_odd_studies_are_written(tmp_path, rows):
    study = outcome(rows, units={"energy": "J"})
    best = study.best(minimize="energy", accuracy_least=0.3)
    text = study.report(tmp_path / "a.html", choice=best).read_text("utf-8")
    study.report(tmp_path / "b.html")
    str(study), str(best)
    assert "<b>no</b>" not in text


def test_names_are_no_formulas_and_no_html(tmp_path):
    nasty = "</script><img src=x onerror=alert(1)> $a_$b{"
    rows = [
        ({nasty: nasty, "b": k}, [{"a $c_$": 0.5 + k, "<b>": 1.0 + k}] * 2) for k in range(3)
    ] + [({nasty: "x", "b": 1}, [nasty, {"a $c_$": 0.1, "<b>": 7.0}])]
    goals = {"a $c_$": "maximize", "<b>": "minimize"}
    found = outcome(rows, objectives=goals, units={"<b>": nasty}, name=nasty)
    text = found.report(tmp_path / "page.html").read_text()
    assert "<img src=x" not in text
    assert "<b>" not in text.split("<body>")[1].split("<script")[0]
    plot.study_sheet(found).canvas.draw()


def test_infinite_results_and_bars_down_to_nothing_are_shown(tmp_path):
    infinite = outcome(
        [({"x": k}, [{"accuracy": y, "energy": e}] * 2)
         for k, (y, e) in enumerate([(0.5, 1e-9), (np.inf, 1e-7), (0.7, np.inf), (0.8, 1e-5)])]
    )  # fmt: skip
    assert infinite.report(tmp_path / "a.html").exists()
    plot.study_sheet(infinite)
    # Of three chips one alone has an error rate: its mean is as large as its standard error.
    rates = outcome(
        [({"x": k}, [{"accuracy": 0.5 + k / 9, "energy": e} for e in chips])
         for k, chips in enumerate([(0.0, 0.0, 1e-4), (0.0, 0.0, 3e-2), (0.1, 0.1, 0.1)])]
    )  # fmt: skip
    assert rates.report(tmp_path / "b.html").exists()
