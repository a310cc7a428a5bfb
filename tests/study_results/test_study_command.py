"""``mho study``: from a YAML file to tables, a choice, figures and a page."""

import json
import math
import sys
from pathlib import Path

import pytest
import yaml

import mho
from mho.cli import study_file
from mho.study import Outcome
from mho_cli.app import main

MODEL = '''
import torch
from torch import nn

def task():
    """Four classes of points around the corners of a square, told apart by hand."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 4
    corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    inputs = corners[labels] + 0.45 * torch.randn(60, 2, generator=generator)
    model = nn.Sequential(nn.Linear(2, 4))
    model[0].weight.data, model[0].bias.data = corners.clone(), torch.zeros(4)
    return model, inputs, labels, inputs[:20]
'''
STUDY = {
    "name": "small",
    "model": "small_task:task",
    "hardware": {
        "dac": {"type": "DAC", "bits": 6},
        "adc": {"type": "ADC", "bits": 8},
        "effects": [{"type": "WriteNoise", "sigma": 0.1}],
    },
    "architecture": "generic_22nm",
    "space": {"adc.bits": [4, 6], "tile": [1, 2], "effects.WriteNoise.sigma": [0.0, 0.2]},
    "together": {"tile": ["array.rows", "array.cols"]},
    "objectives": ["accuracy", "energy"],
    "chips": 2,
    "workers": 0,
    "best": {"minimize": "energy", "accuracy_within": 0.05, "reference": "digital"},
    "verify": 3,
    "quick": {"space": {"adc.bits": [4, 6]}, "together": {}, "chips": 1, "verify": 0},
}  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "small_task.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def write(folder, **changes):
    data = {**STUDY, **changes}
    path = folder / "small.yaml"
    path.write_text(
        yaml.safe_dump({k: v for k, v in data.items() if v is not ...}, sort_keys=False)
    )
    return str(path)


def test_a_study_is_run_and_goes_on_where_it_stopped(folder, capsys):
    assert main(["study", write(folder), "--out", "out"]) == 0
    printed = capsys.readouterr().out
    assert "small: 8 configurations, 16 chips" in printed
    assert "least energy, accuracy within 5 points of" in printed
    assert "on 3 new chips: accuracy" in printed
    names = {path.name for path in (folder / "out").iterdir() if not path.name.endswith(".lock")}
    assert names == {
        "study.journal", "study.json", "table.csv", "chips.parquet", "report.html", "study.png",
    }  # fmt: skip
    first = Outcome.load(folder / "out")
    assert main(["study", write(folder), "--out", "out"]) == 0
    # What was evaluated again would have taken another time.
    assert Outcome.load(folder / "out") == first
    assert (
        "http" not in (folder / "out" / "report.html").read_text().split("<body")[0].lower()[:300]
    )


def test_what_stands_together_is_set_together(folder):
    main(["study", write(folder), "--out", "out"])
    table = Outcome.load(folder / "out").table()
    assert list(table.columns[:4]) == ["trial", "adc.bits", "tile", "effects.WriteNoise.sigma"]
    # Arrays of one cell need an ADC for each of the eight weights: more energy than those of 2 × 2.
    few = table[table["tile"] == 2]["energy"].to_numpy()
    many = table[table["tile"] == 1]["energy"].to_numpy()
    assert (many > 1.2 * few).all()
    noisy = table[table["effects.WriteNoise.sigma"] > 0]
    assert (noisy["accuracy_std"] > 0).any()


def test_a_study_of_one_hardware_has_nothing_to_draw(folder, capsys):
    path = write(folder, space={"adc.bits": [6]}, together={}, best=..., verify=0, chips=1)
    assert main(["study", path, "--out", "one"]) == 0
    assert "study.png" not in capsys.readouterr().out
    assert (folder / "one" / "report.html").exists()


def test_an_interrupted_study_says_how_to_go_on(folder, capsys, monkeypatch):
    from mho.study.evaluations import AccuracyAndCost

    evaluate, calls = AccuracyAndCost.__call__, []

    def interrupted(self, *arguments):
        calls.append(arguments)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return evaluate(self, *arguments)

    monkeypatch.setattr(AccuracyAndCost, "__call__", interrupted)
    path = write(folder)
    assert main(["study", path, "--out", "out"]) == 130
    assert f"mho study {path} --out out goes on" in capsys.readouterr().out
    assert main(["study", path, "--out", "out"]) == 0
    # Sixteen chips and three new ones, and the one that was interrupted once more.
    assert len(calls) == 20
    found = Outcome.load(folder / "out")
    assert main(["study", path, "--out", "whole"]) == 0
    whole = Outcome.load(folder / "whole")
    assert [r.results for r in found.records] == [r.results for r in whole.records]


def test_the_quick_study_is_another_one(folder, capsys):
    path = write(folder)
    assert main(["study", path, "--quick", "--out", "out"]) == 0
    assert "small quick: 2 configurations, 2 chips" in capsys.readouterr().out
    assert main(["study", write(folder, quick=...), "--quick"]) == 1
    assert "has no quick study" in capsys.readouterr().err


def test_ranges_other_samplers_and_no_costs(folder, capsys):
    path = write(
        folder,
        space={
            "effects.WriteNoise.sigma": {"low": 0.01, "high": 0.5, "log": True},
            "adc.bits": {"low": 4, "high": 8, "step": 2},
        },
        together=...,
        architecture=...,
        objectives=...,
        best={"maximize": "accuracy"},
        sampler="random",
        trials=5,
        verify=...,
    )
    assert main(["study", path, "--out", "out"]) == 0
    settings = [record.settings for record in Outcome.load(folder / "out").records]
    assert all(0.01 <= s["effects.WriteNoise.sigma"] <= 0.5 for s in settings)
    assert {s["adc.bits"] for s in settings} <= {4, 6, 8}
    assert "most accuracy, without a limit" in capsys.readouterr().out


def test_the_network_may_stand_beside_the_study(folder, monkeypatch):
    beside = folder / "elsewhere"
    beside.mkdir()
    (beside / "task_beside.py").write_text(MODEL)
    path = write(beside, model="task_beside:task", quick={"chips": 1})
    monkeypatch.setattr("sys.path", list(sys.path))
    assert main(["study", path, "--quick", "--out", "out"]) == 0
    assert Outcome.load("out").records


def test_files_are_looked_for_beside_the_study(folder, monkeypatch):
    beside = folder / "files"
    beside.mkdir()
    mho.save_hardware(mho.Hardware(adc=mho.ADC(bits=5)), beside / "mine.yaml")
    mho.core.files.save(mho.devices.LinearDevice(), beside / "cell.yaml")
    path = write(
        beside, hardware="mine.yaml", space={"device": ["cell.yaml", "reram_wan"]}, together={}
    )
    asked = study_file.load(path)
    assert asked.hardware_of().adc.bits == 5
    assert asked.space_of()["device"][0] == mho.devices.LinearDevice()
    named = study_file.load(write(beside, hardware={"device": "reram_wan"}))
    assert named.hardware_of().device == mho.devices.presets.get("reram_wan")
    alone = study_file.load(write(beside, hardware="cell.yaml", architecture="neurram"))
    device, chip = alone.hardware_of(), mho.analysis.chips.get("neurram")
    assert device.device == mho.devices.LinearDevice()
    assert (device.array.rows, device.adc.bits) == (chip.rows, 8)
    preset = study_file.load(write(beside, hardware="pcm_joshi", architecture=None)).hardware_of()
    assert preset.device == mho.devices.presets.get("pcm_joshi")
    assert asked.out_of(None) == beside / "small"
    assert asked.store_of(beside / "small") == str(beside / "small" / "study.journal")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"smapler": "grid"}, "has no key 'smapler': did you mean 'sampler'?"),
        ({"quick": {"chps": 1}}, "did you mean 'chips'?"),
        ({"space": {"adc.bits": {"lo": 4, "high": 8}}}, "has no key 'lo': did you mean 'low'?"),
        ({"space": {"adc.bits": {"low": 4}}}, "must say low and high"),
        ({"space": {}}, "at least one thing to vary"),
        ({"space": {"adc.bitz": [4]}, "together": {}}, "did you mean 'adc.bits'?"),
        ({"space": {"device": ["epirm"]}, "together": {}}, "no preset 'epirm'"),
        ({"together": {"tiles": ["array.rows"]}}, "'tiles', which is not in the space"),
        ({"together": {"tile": ["array.rowz"]}}, "array.rowz"),
        (
            {"space": {"tile": [16], "array.rows": [8, 32]}},
            "sets 'array.rows', and so 'array.rows' would change nothing",
        ),
        (
            {
                "space": {"tile": [16], "all": [8]},
                "together": {"tile": ["dac"], "all": ["dac.bits"]},
            },
            "sets 'dac', and so 'dac.bits' would change nothing",
        ),
        ({"objectives": {"energy": "maximize"}}, "objective energy must be 'minimize'"),
        ({"objectives": ["speed"]}, "every objective must be one of"),
        ({"architecture": "generic_22"}, "no architecture 'generic_22'"),
        ({"model": "demo:RNN"}, "model must be demo, demo:MLP, demo:CNN or module:function"),
        ({"model": "no_such:task"}, "no_such"),
        ({"chips": 0}, "chips must be >= 1"),
        ({"chips": "four"}, "chips"),
        ({"after": -1}, "after must be >= 0"),
        ({"verify": -1}, "verify must be >= 0"),
        ({"sampler": "gird"}, "sampler must be one of"),
        ({"best": {"minimize": "enrgy"}}, "no result 'enrgy'"),
        ({"best": {"minimize": "energy", "acuracy_within": 1}}, "did you mean 'accuracy_within'"),
        ({"architecture": None, "objectives": "accuracy"}, "no result 'energy'"),
        ({"name": ""}, "name must be said"),
        ({"space": {"adc.bits": {"low": 4, "high": 8}}, "together": {}}, "step: 1"),
        ({"best": {"minimise": "energy"}}, "either minimize= or maximize="),
        ({"hardware": {"adc": {"type": "ADC", "bitts": 4}}}, "ADC has no parameter 'bitts'"),
    ],
)
def test_mistakes_are_one_line_and_come_before_the_work(folder, capsys, monkeypatch, changes, said):
    from mho.study.evaluations import AccuracyAndCost

    monkeypatch.setattr(AccuracyAndCost, "__call__", lambda *a: pytest.fail("began to evaluate"))
    quick = ["--quick"] if "quick" in changes else []
    assert main(["study", write(folder, **changes), "--out", "out", *quick]) == 1
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "\n" not in error


def test_no_such_study(folder, capsys):
    assert main(["study", "which_hardwar"]) == 1
    assert "did you mean 'which_hardware'?" in capsys.readouterr().err
    assert main(["study", "none.yaml"]) == 1
    assert "none.yaml" in capsys.readouterr().err
    Path("list.yaml").write_text("- 1\n")
    assert main(["study", "list.yaml"]) == 1
    assert "describes no study" in capsys.readouterr().err
    mho.save_hardware(mho.Hardware(), "chip.yaml")
    assert main(["study", "chip.yaml"]) == 1
    assert "chip.yaml must describe a study, it is a Hardware" in capsys.readouterr().err


def test_the_built_in_study_asks_what_it_says():
    whole, quick = study_file.load("which_hardware"), study_file.load("which_hardware", quick=True)
    spaces = [one.space_of() for one in (whole, quick)]
    assert [math.prod(map(len, space.values())) for space in spaces] == [300, 36]
    assert (whole.chips, quick.chips) == (4, 2)
    for path, values in spaces[1].items():
        assert all(value in spaces[0][path] for value in values)
    json.dumps(whole.best)
    whole.architecture_of()
    whole.hardware_of()
