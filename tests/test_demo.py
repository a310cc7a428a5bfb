import json
import warnings

import numpy as np
import pytest
import torch

import mho

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
pytest.importorskip("bokeh")

from mho.demo.data import mnist1d
from mho.demo.models import MODELS, build
from mho.demo.results import Curve, Results, tolerance_rows
from mho.demo.run import run
from mho.demo.sweeps import ADC_BITS, STUCK, SWEEPS, chip, shorter
from pages import read


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("demo") / "made" / "on the way"


@pytest.fixture(scope="module")
def results(out):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing may be left digital or be stale
        return run(out, seed=3, quick=True)


def mean(results, curve, model):
    (found,) = (c for c in results.curves if c.sweep.name == curve)
    return found.accuracies[model].mean(0).tolist()


@pytest.mark.parametrize("model", MODELS)
def test_numbers_make_physical_sense(results, model):
    digital = results.digital[model]
    assert digital > 0.9
    assert results.base[model].mean() > digital - 0.04
    few, middle, many = mean(results, "ADC resolution", model)
    assert few < digital - 0.05  # two bits are three levels
    assert few + 0.03 < middle <= many + 0.01
    none, some, most = mean(results, "stuck cells", model)
    assert none > digital - 0.02
    assert most + 0.01 < some <= none + 0.01
    none, some, most = mean(results, "write noise", model)
    assert most + 0.02 < some <= none + 0.01
    second, day, decade = mean(results, "time", model)
    assert decade < day < second
    again = mean(results, "time, recalibrated", model)
    assert again[0] == pytest.approx(second, abs=0.02)
    assert again[1] > day
    assert again[2] > decade


def test_the_base_chip_is_one_point_of_the_curves(results):
    curve = next(c for c in results.curves if c.sweep.name == "ADC resolution")
    for model, base in results.base.items():
        assert torch.equal(curve.accuracies[model][:, -1], base)


def test_the_folder_holds_what_it_names(results, out):
    names = {path.name for path in out.iterdir()}
    figures = {"accuracy.png", "cells.png", "programming.png"}
    assert names == {"report.html", "hardware.yaml", "numbers.json", *figures}
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in figures)
    assert mho.load_hardware(out / "hardware.yaml") == chip()
    assert json.loads((out / "numbers.json").read_text()) == results.to_dict()


@pytest.mark.usefixtures("results")
def test_the_report_needs_nothing_else(out):
    page = (out / "report.html").read_text(encoding="utf-8")
    found = read(page)
    assert found.loads == []
    assert len(found.images) == 2  # the two arrays
    assert page.count('<div class="chart">') == 4 + 3
    assert len(page.encode()) < 2e6
    for text in ("MLP", "CNN", "WriteNoise", "nu_spread: 0.02", "What each network tolerates"):
        assert text in page


def test_same_seed_same_numbers(results, tmp_path):
    again = run(tmp_path, seed=3, quick=True)
    assert again.to_dict() == results.to_dict()


def test_models_are_seeded_and_leave_torch_alone():
    before = torch.random.get_rng_state()
    a, b, c = build("MLP", 1), build("MLP", 1), build("MLP", 2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(a[0].weight, b[0].weight)
    assert not torch.equal(a[0].weight, c[0].weight)


def test_shorter_keeps_the_ends():
    for sweep in SWEEPS:
        short = shorter(sweep, 3)
        assert short.values[::2] == (sweep.values[0], sweep.values[-1])


@pytest.mark.parametrize(
    ("sweep", "mean", "said"),
    [
        (shorter(ADC_BITS, 3), (0.1, 0.95, 0.96), "≥ 5 bits"),
        (shorter(ADC_BITS, 3), (0.95, 0.1, 0.96), "≥ 8 bits"),
        (shorter(STUCK, 3), (0.97, 0.95, 0.8), "≤ 4 %"),
        (shorter(STUCK, 3), (0.97, 0.96, 0.95), "all shown, to 10 %"),
        (shorter(STUCK, 3), (0.9, 0.96, 0.95), "none shown"),
    ],
)
def test_tolerance_goes_to_the_first_value_that_costs_too_much(sweep, mean, said):
    curve = Curve(sweep, {"net": torch.tensor([mean, mean])})
    base = {"net": torch.tensor([0.96, 0.96])}
    results = Results(0, 2, {"net": 1}, {"net": 0.97}, base, (curve,))
    assert [row.cells for row in tolerance_rows(results)] == [(said,)]


def test_generated_signals_are_the_same_again_and_disturb_no_generator():
    pytest.importorskip("mnist1d")
    np.random.seed(3)  # noqa: NPY002 (whose state must stay)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = mnist1d(seed=1, count=100), mnist1d(seed=1, count=100)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    assert first.train_x.shape == (80, 40)
    assert first.test_x.shape == (20, 40)
    assert torch.equal(first.train_x, second.train_x)
    assert not torch.equal(first.train_x, mnist1d(seed=2, count=100).train_x)
