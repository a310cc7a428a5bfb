"""What a stranger may do to a study: odd errors, names and values, folders, damaged stores."""

import math
import os
import pickle

import pytest

from mho.study import FailedChipsError, Range, sweep, with_settings
from small_studies import HARDWARE, SPACE, evaluate, table

quietly = pytest.mark.filterwarnings("ignore:.*chips failed")


class SilentError(Exception):
    """Cannot say what it is."""

    def __str__(self):
        raise RuntimeError("no words")


def silent(hardware, seed, settings):
    if hardware.adc.bits == 5:
        raise SilentError
    return 1.0


@quietly
def test_an_error_that_cannot_be_said_ends_no_study():
    found = sweep({"adc.bits": [4, 5, 6]}, silent, hardware=HARDWARE, workers=0)
    assert [record.error for record in found.records] == [None, "SilentError", None]


def unwritable(hardware, seed, settings):
    raise FileNotFoundError("caf\udce9\0")  # a name of a file that is no UTF-8


@quietly
@pytest.mark.parametrize("name", ["a.journal", "a.db"])
def test_what_files_cannot_hold_is_said_in_other_characters(tmp_path, name):
    settings = {"hardware": HARDWARE, "workers": 0, "store": tmp_path / name}
    found = sweep({"adc.bits": [4]}, unwritable, **settings)
    assert found.records[0].error == "FileNotFoundError: caf\\udce9\\x00"
    found.save(tmp_path / "saved")
    assert found.load(tmp_path / "saved") == found


def wandering(hardware, seed, settings):
    os.chdir(settings["folder"])
    return evaluate(hardware, 0, settings)


@pytest.mark.parametrize("name", ["a.journal", "a.db"])
def test_a_store_stays_where_it_is_when_the_folder_changes(tmp_path, monkeypatch, name):
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    space = {"adc.bits": [4, 6], "folder": [str(tmp_path / "other")]}
    for _ in range(2):
        os.chdir(tmp_path)
        found = sweep(space, wandering, hardware=HARDWARE, workers=0, store=name, free=["folder"])
        assert len(found.records) == 2
    assert not list((tmp_path / "other").iterdir())


def test_two_names_of_one_field_are_refused():
    both = {"effects.StuckAt.low": [0.0, 0.1], "effects.0.low": [0.5]}
    told = "'effects.0.low' is the same field as 'effects.StuckAt.low'"
    with pytest.raises(ValueError, match=told):
        sweep(both, evaluate, hardware=HARDWARE, workers=0)
    with pytest.raises(ValueError, match=told):
        with_settings(HARDWARE, {path: values[0] for path, values in both.items()})


def test_an_effect_and_a_field_of_it_are_set_under_any_names():
    new = HARDWARE.effects[0].replace(high=0.3)
    found = with_settings(HARDWARE, {"effects.0": new, "effects.StuckAt.low": 0.2})
    assert found.effects == (new.replace(low=0.2), HARDWARE.effects[1])
    # of another class than is named it would be another field
    with pytest.raises(ValueError, match="is refused: WriteNoise is chosen in its place"):
        with_settings(HARDWARE, {"effects.0": HARDWARE.effects[1], "effects.StuckAt.low": 0.2})


@pytest.mark.parametrize(
    ("values", "kind", "told"),
    [
        ([math.nan, 1.0], ValueError, "values of 'x' must not be NaN"),
        ([(1.0, math.nan)], ValueError, "values of 'x' must not be NaN"),
        ([object()], TypeError, "values of 'x' must be numbers, texts, specs, or lists"),
        ([HARDWARE.adc, print], TypeError, "values of 'x' must be numbers, texts, specs"),
    ],
)
def test_values_that_a_store_cannot_keep_are_refused(values, kind, told):
    with pytest.raises(kind, match=told):
        sweep({"x": values}, evaluate, hardware=HARDWARE, workers=0, free=["x"])


def test_values_without_end_are_kept(tmp_path):
    space = {"x": [math.inf, -math.inf, 0, None]}
    settings = {"workers": 0, "free": ["x"], "store": tmp_path / "a.journal"}
    for _ in range(2):
        found = sweep(space, lambda h, s, t: 1.0, **settings)
        assert [record.settings["x"] for record in found.records] == space["x"]


def test_a_range_that_no_number_spans_is_refused():
    with pytest.raises(ValueError, match="Range high - low must be finite"):
        Range(-1e308, 1e308)


def named(hardware, seed, settings):
    return {"error": seed / 10, "accuracy": 1.0, "chance": 2.0, "adc.bits": 3.0, "accuracy_std": 5}


def test_results_and_columns_of_one_name_are_kept_apart(tmp_path):
    found = sweep(
        {"adc.bits": [4, 6]},
        named,
        hardware=HARDWARE,
        workers=0,
        chips=3,
        objectives={"error": "minimize"},
    )
    rows = found.table()
    assert rows["result.error"].tolist() == pytest.approx([0.1, 0.1])
    assert rows["result.error_std"].tolist() == pytest.approx([0.1, 0.1])
    assert rows["error"].tolist() == ["", ""]
    assert rows["adc.bits"].tolist() == [4, 6]
    assert rows["result.adc.bits"].tolist() == [3, 3]
    assert rows["accuracy_std"].tolist() == [0, 0]
    assert rows["result.accuracy_std"].tolist() == [5, 5]
    front = found.front()
    assert front["on_front"].tolist() == [True, True]
    assert front["result.chance"].tolist() == [2, 2]
    found.save(tmp_path / "saved")
    assert found.load(tmp_path / "saved") == found


@pytest.mark.parametrize("name", ["a.journal", "a.db"])
def test_a_damaged_store_is_told_by_its_name(tmp_path, name):
    store = tmp_path / name
    sweep(SPACE, evaluate_all, hardware=HARDWARE, workers=0, store=store)
    whole = store.read_bytes()
    store.write_bytes(whole + b"no line\n" if name == "a.journal" else whole[: len(whole) // 2])
    with pytest.raises((ValueError, OSError), match=rf"store '.*{name}' (is damaged|cannot be)"):
        sweep(SPACE, evaluate_all, hardware=HARDWARE, workers=0, store=store)


def test_a_sampler_of_ones_own_does_not_begin_again_where_a_study_goes_on(tmp_path):
    optuna = pytest.importorskip("optuna")
    for trials in (4, 8):
        found = sweep(
            {"x": Range(0.0, 1.0)},
            lambda hardware, seed, settings: settings["x"],
            sampler=optuna.samplers.RandomSampler(seed=0),
            trials=trials,
            store=tmp_path / "a.journal",
            free=["x"],
            workers=0,
        )
    assert len({record.settings["x"] for record in found.records}) == 8


def evaluate_all(hardware, seed, settings):
    return hardware.adc.bits / 7 + seed


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files")
@pytest.mark.parametrize(("name", "sizes"), [("a.journal", (500, 1500)), ("a.db", (8192, 106_000))])
def test_a_full_disk_loses_nothing(tmp_path, name, sizes):
    resource = pytest.importorskip("resource")
    settings = {"hardware": HARDWARE, "workers": 0}
    space = {"adc.bits": [4, 5, 6]}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for most in sizes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
        try:
            with pytest.raises(OSError, match=r"File too large|disk") as error:
                sweep(space, evaluate_all, store=tmp_path / name, **settings)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert name in str(error.value)
    again = sweep(space, evaluate_all, store=tmp_path / name, **settings)
    assert table(again) == table(sweep(space, evaluate_all, **settings))


def test_the_error_of_failed_chips_travels():
    error = FailedChipsError({1: 0.5}, {2: "ValueError: no"}, kept=True)
    again = pickle.loads(pickle.dumps(error))
    assert (again.found, again.errors, str(again)) == (error.found, error.errors, str(error))
