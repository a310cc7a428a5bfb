"""Samplers, objectives, failures, and stores that know their study."""

import copy
import io
import itertools
import signal

import numpy as np
import optuna
import pytest
import torch

import mho
from mho.analysis import chips as architectures
from mho.study import Integers, Range, accuracy, accuracy_and_cost, sweep
from mho.study.progress import front_said, undominated
from small_studies import HARDWARE, SPACE, evaluate, table

pytestmark = pytest.mark.filterwarnings("ignore:.*chips failed")
MIXED = {
    "adc.bits": Integers(3, 10),
    "array.wires.word": Range(0.01, 10.0, log=True),
    "array.rows": Integers(16, 256, log=True),
    "effects.StuckAt.low": [0.0, 0.05, 0.1, 0.2],
}


def settings_of(outcome):
    return [tuple(record.settings.values()) for record in outcome.records]


def run(space, function=evaluate, **settings):
    return sweep(space, function, **{"hardware": HARDWARE, "workers": 0, **settings})


def bits(hardware, seed, settings):
    return float(hardware.adc.bits)


def test_a_grid_is_the_product_of_its_values():
    found = run({**SPACE, "adc.bits": Integers(4, 6)})
    assert settings_of(found) == list(itertools.product(*SPACE.values()))
    assert [(r.trial, r.seed) for r in found.records] == [(i, 0) for i in range(12)]


@pytest.mark.parametrize("sampler", ["random", "latin_hypercube"])
def test_plans_are_told_by_the_seed(sampler):
    one, two, other = (
        settings_of(run(MIXED, bits, sampler=sampler, trials=40, seed=seed)) for seed in (1, 1, 2)
    )
    assert one == two
    assert one != other
    columns = list(zip(*one, strict=True))
    assert set(columns[0]) <= set(range(3, 11))
    assert all(0.01 <= word <= 10.0 for word in columns[1])
    # Even in the logarithm: its mean is that of the ends, within 4 standard errors.
    logs = np.log(columns[1])
    spread = np.log(1000.0) / 12**0.5
    assert abs(logs.mean() - np.log(0.1**0.5)) < 4 * spread / 40**0.5


def test_a_latin_hypercube_has_every_stratum_once():
    columns = list(
        zip(*settings_of(run(MIXED, bits, sampler="latin_hypercube", trials=40)), strict=True)
    )
    strata = np.floor(40 * np.log(np.array(columns[1]) / 0.01) / np.log(1000.0)).astype(int)
    assert sorted(strata) == list(range(40))
    assert sorted(columns[3]) == sorted([0.0, 0.05, 0.1, 0.2] * 10)
    assert sorted(columns[0]) == sorted(list(range(3, 11)) * 5)


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "gp", optuna.samplers.TPESampler(seed=1)])
def test_adaptive_samplers_come_near_the_best(sampler):
    def near(hardware, seed, settings):
        return -abs(np.log(hardware.array.wires.word)) - abs(hardware.adc.bits - 7)

    space = {path: MIXED[path] for path in ("adc.bits", "array.wires.word")}
    trials = 16 if sampler == "gp" else 60
    found = run(space, near, sampler=sampler, trials=trials)
    assert len(found.records) == trials
    assert max(r.results["accuracy"] for r in found.records) > -1.0


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_adaptive_studies_go_on_as_if_they_had_not_stopped(tmp_path, sampler):
    whole = run(MIXED, bits, sampler=sampler, trials=24)
    parts = [
        run(MIXED, bits, sampler=sampler, trials=n, store=tmp_path / "s.journal") for n in (7, 24)
    ]
    assert table(parts[1]) == table(whole)
    assert table(parts[0]) == table(whole)[:7]


def test_failures_are_recorded_and_the_rest_goes_on():
    with pytest.warns(UserWarning, match="4 of 24 chips failed; the first, seed 1 of trial 4"):
        found = run(SPACE, chips=2)
    failed = [r for r in found.records if r.error is not None]
    assert [r.settings["adc.bits"] for r in failed] == [5] * 4
    assert {r.error for r in failed} == {"RuntimeError: no such converter"}
    assert all(not r.results for r in failed)
    assert len(found.records) == 24


@pytest.mark.parametrize("name", ["s.journal", "s.db"])
def test_what_failed_is_tried_again_if_asked(tmp_path, name):
    calls = []

    def mended(hardware, seed, settings):
        calls.append(seed)
        return 1.0

    mended.__qualname__ = "evaluate"
    given = {"chips": 2, "store": tmp_path / name}
    before = run(SPACE, **given)
    assert table(run(SPACE, mended, **given)) == table(before)
    assert not calls
    for _ in range(2):
        found = run(SPACE, mended, retry=True, **given)
        assert calls == [1] * 4
        same = [(a, b) for a, b in zip(table(before), table(found), strict=True) if a == b]
        assert len(same) == 20
        assert not [r for r in found.records if r.error]
    assert table(run(SPACE, mended, **given)) == table(found)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"accuracy": 1.0}, "energy is not known"),
        ({"accuracy": 1.0, "energy": None}, "energy is not known"),
        ({"accuracy": 1.0, "energy": float("nan")}, "finite"),
        ({"accuracy": "high", "energy": 1.0}, "must be a number"),
        (1.0, "by name"),
    ],
)
def test_an_objective_that_is_not_known_is_a_failure(value, told):
    goals = {"accuracy": "maximize", "energy": "minimize"}
    found = run({"adc.bits": [4]}, lambda h, s, t: value, objectives=goals)
    assert told in found.records[0].error


def test_other_results_are_recorded_where_they_are_known():
    results = {"accuracy": torch.tensor(0.5), "area": None, "time": np.float32(2.0)}
    found = run({"adc.bits": [4]}, lambda h, s, t: results)
    assert found.records[0].results == {"accuracy": 0.5, "time": 2.0}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"space": {"adc.bits": [4, 5, 7]}}, "space.adc.bits"),
        ({"chips": 2}, "chips"),
        ({"objectives": {"accuracy": "minimize"}}, "objectives.accuracy"),
        ({"evaluate": bits}, "evaluate"),
        ({"hardware": HARDWARE.replace(bias="array")}, "hardware.bias"),
        ({"seed": 1}, "seed"),
        ({"sampler": "random", "trials": 3}, "sampler"),
    ],
)
def test_a_store_of_another_study_is_refused(tmp_path, change, told):
    given = {"space": {"adc.bits": [4, 5, 6]}, "evaluate": evaluate, "hardware": HARDWARE}
    given.update(workers=0, store=tmp_path / "s.journal")
    sweep(**given)
    with pytest.raises(ValueError, match=f"holds another study 'study': {told}"):
        sweep(**{**given, **change})
    sweep(**{**given, **change, "name": "another"})
    assert len(sweep(**given).records) == 3


@pytest.mark.parametrize("name", ["table.csv", "table.db"])
def test_files_of_others_are_left_alone(tmp_path, name):
    path = tmp_path / name
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="left as it is"):
        run(SPACE, store=path)
    assert path.read_text() == "a,b\n1,2\n"
    with pytest.raises(IsADirectoryError):
        run(SPACE, store=tmp_path)
    with pytest.raises(ValueError, match="PostgreSQL"):
        run(SPACE, store="mysql://me:secret@host/base")


def test_interrupted_it_is_whole(tmp_path, monkeypatch):
    def stop(hardware, seed, settings):
        if hardware.adc.bits == 5 and not (tmp_path / "stopped").exists():
            (tmp_path / "stopped").touch()
            signal.raise_signal(signal.SIGINT)
        return evaluate(hardware, seed, settings)

    monkeypatch.setattr("mho.runs.loop.time.sleep", lambda _: pytest.fail("it waits for itself"))
    # As a notebook keeps the last error, and with it all that was running.
    with pytest.raises(KeyboardInterrupt) as kept:
        run(SPACE, stop, store=tmp_path / "s.journal")
    assert table(run(SPACE, stop, store=tmp_path / "s.journal")) == table(run(SPACE))
    del kept


def test_the_bar_says_the_best_so_far(monkeypatch):
    shown = io.StringIO()
    shown.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", shown)
    run(SPACE, bits, label="which ADC", chips=2)
    assert "which ADC: 100%" in shown.getvalue()
    assert "best accuracy 6 (trial 8)" in shown.getvalue()
    assert "24/24" in shown.getvalue()


def test_the_front_is_what_nothing_dominates():
    goals = {"accuracy": "maximize", "energy": "minimize"}
    found = [(0, (0.9, 2.0)), (1, (0.8, 1.0)), (2, (0.8, 2.0)), (3, (0.5, 0.5)), (4, (0.5, 0.5))]
    costs = np.array([(-a, e) for _, (a, e) in found])
    assert undominated(costs).tolist() == [True, True, False, True, True]
    assert front_said(found, goals) == "front 4: accuracy 0.5…0.9, energy 0.5…2"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"trials": 3}, "has 12 configurations"),
        ({"sampler": "random"}, "trials must be given"),
        ({"sampler": "best"}, "sampler must be one of"),
        ({"chips": 0}, "chips"),
        ({"chips": [1, 1]}, "different seeds"),
        ({"chips": True}, "chips"),
        ({"objectives": {"accuracy": "up"}}, "maximize"),
        ({"objectives": {}}, "at least one"),
        ({"workers": -1}, "workers"),
        ({"executor": 3, "workers": 1}, "Executor"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_is_refused(change, told):
    with pytest.raises((ValueError, TypeError), match=told):
        run(SPACE, **change)


@pytest.fixture(scope="module")
def digits():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(16, 12), torch.nn.ReLU(), torch.nn.Linear(12, 4))
    x = torch.randn(120, 16)
    return model.eval(), x, model(x).argmax(1), x[:40]


def test_accuracy_and_cost_makes_the_chips_of_accuracy(digits):
    model, x, y, calibration = digits
    found = run({"adc.bits": [4, 8]}, accuracy_and_cost(model, x, y, calibration), chips=[0, 7])
    for i, bits in enumerate((4, 8)):
        hardware = HARDWARE.replace(adc=mho.ADC(bits=bits))
        alone = accuracy(model, hardware, x, y, calibration=calibration, seeds=[0, 7])
        mine = [r.results["accuracy"] for r in found.records if r.trial == i]
        assert mine == alone.chips[:, 0].tolist()


def test_costs_are_objectives_where_all_is_counted(digits):
    model, x, y, calibration = digits
    around = architectures.get("generic_22nm")
    hardware = mho.Hardware(dac=mho.DAC(bits=6), adc=mho.ADC(bits=8))
    both = accuracy_and_cost(model, x, y, calibration, architecture=around)
    found = sweep({"adc.bits": [8]}, both, hardware=hardware, workers=0)
    assert found.objectives == {"accuracy": "maximize", "energy": "minimize"}
    assert found.units["energy"] == "J"
    assert found.records[0].error is None
    chip = mho.convert(model, hardware)
    mho.calibrate(chip, calibration)
    alone = mho.analysis.cost(chip, calibration[:32], around)
    assert found.records[0].results["energy"] == pytest.approx(alone.energy.typical, rel=0.05)
    unknown = accuracy_and_cost(model, x, y, calibration, objectives=["accuracy", "energy"])
    with pytest.raises(ValueError, match="energy is no objective here"):
        sweep({"adc.bits": [8]}, unknown, hardware=hardware, workers=0)
    with pytest.raises(ValueError, match=r"in \[4, 14\].*of the first configuration: adc.bits=3"):
        sweep({"adc.bits": [3, 8]}, both, hardware=hardware, workers=0)


def test_another_model_is_another_study(digits, tmp_path):
    model, x, y, calibration = digits
    store = tmp_path / "s.journal"
    run({"adc.bits": [8]}, accuracy_and_cost(model, x, y, calibration), store=store)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[0].weight.add_(1e-6)
    with pytest.raises(ValueError, match=r"given\.model"):
        run({"adc.bits": [8]}, accuracy_and_cost(other, x, y, calibration), store=store)
