"""``mho convert-config``: the account, the files, and one line for every mistake."""

import json

import pytest

import mho
from configs.texts import AIHWKIT, LIGHTNING, PARAM, crosssim
from mho.compat.configs import from_aihwkit
from mho.train import Recipe
from mho_cli.app import main


@pytest.fixture
def files(tmp_path):
    found = {name: tmp_path / name for name in ("a.txt", "l.txt", "c.json", "Param.cpp", "h.yaml")}
    found["a.txt"].write_text(AIHWKIT)
    found["l.txt"].write_text(LIGHTNING)
    found["c.json"].write_text(json.dumps(crosssim()))
    found["Param.cpp"].write_text(PARAM)
    return {name: str(path) for name, path in found.items()}


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("a.txt", ["--from", "aihwkit"], "forward.out_noise"),
        ("l.txt", ["--from", "lightning", "--device", "pcm_joshi"], "PCM"),
        ("c.json", ["--from", "crosssim"], "xbar.device.Rmin"),
        ("Param.cpp", ["--from", "neurosim", "--flags", "--vari 0.1"], "WriteNoise(0.1"),
    ],
)
def test_every_tool_becomes_hardware(files, capsys, name, options, says):
    assert main(["convert-config", files[name], *options, "--out", files["h.yaml"]]) == 0
    out = capsys.readouterr().out
    assert "settings with a counterpart" in out
    assert "without one" in out
    assert f"written: {files['h.yaml']}" in out
    hardware = mho.load_hardware(files["h.yaml"])
    assert says in out + str(hardware)


def test_recipes_are_written(files, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    assert (
        main(["convert-config", files["a.txt"], "--from", "aihwkit", "--recipe", str(recipe)]) == 0
    )
    assert Recipe.load(recipe) == from_aihwkit(AIHWKIT).recipe


@pytest.mark.parametrize(
    ("line", "says", "status"),
    [
        (["none.txt", "--from", "aihwkit"], "no file none.txt", 1),
        (["c.json", "--from", "aihwkit"], "no printed configuration", 1),
        (["a.txt", "--from", "crosssim"], "is not JSON", 1),
        (["a.txt", "--from", "neurosim"], "found no parameter of NeuroSim", 1),
        (["a.txt", "--from", "memtorch"], "memtorch", 2),
        (["a.txt", "--from", "aihwkit", "--flags", "--vari 1"], "--flags are of neurosim", 1),
        (["c.json", "--from", "crosssim", "--device", "pcm"], "--device is for lightning", 1),
        (["c.json", "--from", "crosssim", "--recipe", "r.yaml"], "nothing of training", 1),
        (["a.txt"], "--from", 2),
    ],
)
def test_mistakes_are_said_in_one_line(files, capsys, line, says, status):
    line = [files.get(text, text) for text in line]
    assert main(["convert-config", *line]) == status
    error = capsys.readouterr().err.strip()
    assert says in error
    assert "\n" not in error


def test_strict_refuses_what_is_lost_and_writes_nothing(files, capsys, tmp_path):
    lossy = tmp_path / "lossy.txt"
    lossy.write_text(AIHWKIT.replace("inp_res=", "inp_noise=0.1, inp_res="))
    out = tmp_path / "none.yaml"
    line = ["convert-config", str(lossy), "--from", "aihwkit", "--strict", "--out", str(out)]
    assert main(line) == 1
    assert "forward.inp_noise" in capsys.readouterr().err
    assert not out.exists()
    assert main([*line[:1], files["a.txt"], *line[2:]]) == 0
    assert out.exists()
