"""A study as tables and files, against sums done by hand and by scipy."""

import json
import math
import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from made_studies import hardware_study, outcome
from mho.study import Outcome

ROWS = [
    ({"adc.bits": 4, "device": "a"}, [{"accuracy": a, "energy": 1.0} for a in (0.8, 0.9)]),
    ({"adc.bits": 8, "device": "b"}, [{"accuracy": 0.9, "energy": 2.0}, "ValueError: no"]),
    ({"adc.bits": 6, "device": "c"}, ["ValueError: no", "MemoryError: all"]),
]  # fmt: skip


def test_the_table_has_means_and_their_errors():
    table = hardware_study().table()
    chips = hardware_study().chips()
    assert len(table) == 60
    assert len(chips) == 240
    for _, row in table.iterrows():
        of = chips[(chips.trial == row.trial) & (chips.error == "")]["accuracy"].to_numpy()
        assert row["accuracy"] == pytest.approx(of.mean())
        assert row["accuracy_std"] == pytest.approx(np.std(of, ddof=1))
        assert row["accuracy_sem"] == pytest.approx(scipy.stats.sem(of))
        assert row["chips"] == len(of)
    assert table.attrs["units"]["energy"] == table.attrs["units"]["energy_sem"] == "J"
    assert list(table["device"].unique()) == ["pcm_joshi", "reram_wan", "alox_hfo2"]


def test_failed_chips_are_counted_and_their_error_is_said():
    table = outcome(ROWS).table()
    assert table["chips"].tolist() == [2, 1, 0]
    assert table["failed"].tolist() == [0, 1, 2]
    assert table["error"][1] == "ValueError: no"
    assert table["error"][2] == "ValueError: no (and 1 other errors)"
    assert table["accuracy"][1] == 0.9
    assert math.isnan(table["accuracy_sem"][1])
    assert math.isnan(table["accuracy"][2])
    assert table["seconds"].tolist() == [1.0, 1.0, 1.0]


def test_results_that_only_some_chips_have_are_means_of_those():
    found = outcome([({"x": 1}, [{"accuracy": 1.0, "area": 2.0}, {"accuracy": 0.0}])])
    table = found.table()
    assert table["area"][0] == 2.0
    assert math.isnan(table["area_std"][0])
    assert table["accuracy"][0] == 0.5


@pytest.mark.parametrize("name", ["study.json", "folder"])
def test_a_study_is_read_back_equal(tmp_path, name):
    found = hardware_study()
    found.save(tmp_path / name)
    assert Outcome.load(tmp_path / name) == found


def test_numbers_that_json_does_not_have_survive(tmp_path):
    rows = [({"x": 1}, [{"accuracy": math.inf, "other": math.nan, "third": None}])]
    found = outcome(rows)
    found.save(tmp_path / "a.json")
    json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail)
    results = Outcome.load(tmp_path / "a.json").records[0].results
    assert results["accuracy"] == math.inf
    assert math.isnan(results["other"])
    assert results["third"] is None


def test_tables_are_written_with_units_for_other_programs(tmp_path):
    found = hardware_study()
    written = found.save(tmp_path / "all")
    assert sorted(path.name for path in written) == ["chips.parquet", "study.json", "table.csv"]
    csv = pd.read_csv(tmp_path / "all" / "table.csv")
    assert np.allclose(csv["energy (J)"], found.table()["energy"], rtol=1e-12, atol=0.0)
    parquet = pd.read_parquet(tmp_path / "all" / "chips.parquet")
    pd.testing.assert_frame_equal(parquet, found.chips())
    assert parquet.attrs["units"]["energy"] == "J"


def test_settings_of_several_kinds_are_one_kind_of_column(tmp_path):
    rows = [({"x": value}, [{"accuracy": 1.0}]) for value in (1, "a", None, 2.5, True, [1, 2])]
    found = outcome(rows)
    found.save(tmp_path / "chips.parquet")
    assert pd.read_parquet(tmp_path / "chips.parquet")["x"].tolist() == [
        "1", "a", "–", "2.5", "True", "[1, 2]",
    ]  # fmt: skip
    assert found.records[3].settings["x"] == 2.5


def test_an_older_file_stays_if_the_new_one_cannot_be_written(tmp_path, monkeypatch):
    path = tmp_path / "study.json"
    outcome(ROWS).save(path)
    before = path.read_bytes()

    def fail(*arguments, **options):
        raise OSError("the disk is full")

    monkeypatch.setattr(json, "dumps", fail)
    with pytest.raises(OSError, match="full"):
        hardware_study().save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["study.json"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "{}", "does not say format"),
        ("a.json", "no", "is no study"),
        ("a.json", '{"format": "mho study 1"}', "lacks name, objectives, records, units"),
        ("a.csv", "", "loaded from its JSON"),
    ],
)
def test_other_files_are_refused(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=said):
        Outcome.load(tmp_path / name)


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must end in"):
        outcome(ROWS).save(tmp_path / "a.xlsx")


def test_columns_of_one_name_are_kept_apart():
    rows = [({"accuracy": 1, "seed": 5}, [{"accuracy": 0.5}])]
    table = outcome(rows).table()
    assert table["accuracy"][0] == 1
    assert table["result.accuracy"][0] == 0.5
    chips = outcome(rows).chips()
    assert chips["accuracy"][0] == 1
    assert chips["result.accuracy"][0] == 0.5
    assert chips["seed"][0] == 0
    assert chips["setting.seed"][0] == 5


def test_objectives_go_one_way_or_the_other():
    with pytest.raises(ValueError, match="objective accuracy must be one of"):
        replace(outcome(ROWS), objectives={"accuracy": "max"})


def test_a_grid_holds_every_chip_at_its_place():
    found = hardware_study()
    grid = found.to_xarray()
    assert dict(grid.sizes) == {"adc.bits": 5, "tile": 4, "device": 3, "chip": 4}
    for record in found.records[::7]:
        place = {"adc.bits": record.settings["adc.bits"], "tile": record.settings["tile"]}
        cell = grid["accuracy"].sel(place).sel(chip=record.seed)
        row = found.table().set_index("trial").loc[record.trial]
        value = float(cell.sel(device=row["device"]))
        if record.error is None:
            assert value == record.results["accuracy"]
        else:
            assert math.isnan(value)
    assert grid["energy"].attrs["units"] == "J"
    means = grid["accuracy"].mean("chip").to_numpy().ravel()
    assert np.allclose(means, found.table()["accuracy"])


def test_a_grid_with_gaps_is_refused_or_filled():
    found = hardware_study()
    part = replace(found, records=tuple(r for r in found.records if r.trial != 11))
    with pytest.raises(ValueError, match="1 of 60 combinations"):
        part.to_xarray()
    filled = part.to_xarray(fill=True)["accuracy"]
    assert int(np.isnan(filled).sum()) == 4 + 1  # one configuration, and the failed chip


def test_configurations_of_the_same_settings_have_no_grid():
    rows = [({"x": 1}, [{"accuracy": 1.0}]), ({"x": 1}, [{"accuracy": 0.0}])]
    with pytest.raises(ValueError, match="configurations 0 and 1 have the same settings"):
        outcome(rows).to_xarray(fill=True)


def test_a_grid_far_larger_than_what_was_run_is_refused():
    rows = [({f"x{k}": i for k in range(4)}, [{"accuracy": 1.0}]) for i in range(100)]
    with pytest.raises(ValueError, match="100,000,000 combinations"):
        outcome(rows).to_xarray(fill=True)


def test_a_study_of_nothing_prints_and_has_empty_tables():
    found = outcome([])
    assert str(found) == "made: 0 configurations, 0 chips"
    assert len(found.table()) == len(found.chips()) == 0
    with pytest.raises(ValueError, match="no chips yet"):
        found.to_xarray()
    with pytest.raises(ValueError, match="no chips yet"):
        found.front()
