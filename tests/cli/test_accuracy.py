"""`mho accuracy` and `mho card`: from a device's file to a network's accuracy."""

import json
import sys

import pytest
import torch

import mho
from mho import study
from mho.cli import given
from mho.devices import PCM, ExponentialDevice, LinearDevice
from mho.study.network import ages, ideal_cells
from mho_cli.app import main
from pages import read

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
pytest.importorskip("bokeh")

OWN = """
import torch

def task():
    g = torch.Generator().manual_seed(0)
    inputs = torch.randn(300, 6, generator=g)
    model = torch.nn.Sequential(torch.nn.Linear(6, 3)).train()
    with torch.no_grad():
        model[0].weight.copy_(torch.randn(3, 6, generator=g)); model[0].bias.zero_()
    labels = model(inputs).argmax(1)
    return model, inputs[:200], labels[:200], inputs[200:]

def wrong():
    return torch.nn.Linear(2, 2), torch.ones(3, 2)

def uneven():
    return torch.nn.Linear(2, 2), torch.ones(3, 2), torch.ones(4), torch.ones(3, 2)

def numpy():
    model, *data = task()
    inputs, labels, calibration = (part.numpy() for part in data)
    return model, inputs.astype("float64"), labels, calibration.astype("float64")

def pandas():
    import pandas

    model, inputs, labels, calibration = numpy()
    frame = pandas.DataFrame(inputs, index=range(7, 207))
    return model, frame, pandas.Series(labels), pandas.DataFrame(calibration)

def loaders():
    from torch.utils.data import DataLoader, TensorDataset

    model, inputs, labels, calibration = task()
    return model, DataLoader(TensorDataset(inputs, labels), 32), None, DataLoader(calibration, 32)

def narrow():
    model, inputs, labels, calibration = task()
    return model, inputs[:, :4], labels, calibration[:, :4]

def shifted():
    model, inputs, labels, calibration = task()
    return model, inputs, labels + 1, calibration
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "own_network.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("own_network", None)


def run(*arguments):
    return main(["accuracy", *arguments, "--model", "own_network:task", "--out", "out"])


def numbers():
    with open("out/numbers.json", encoding="utf-8") as file:
        return json.load(file)["models"]["own_network:task"]


def test_ones_own_network_on_a_device_of_ones_own(folder, capsys):
    ExponentialDevice(g_min=1e-6, g_max=1e-4, c2c=0.03, levels=64).save("mine.yaml")
    assert run("mine.yaml", "--chips", "3") == 0
    said = capsys.readouterr().out
    found = numbers()
    assert found["digital"] == 1.0
    assert len(found["ideal"]) == len(found["chips"]) == 3
    assert all(0.5 < a < 1.0 for (a,) in found["chips"])
    mean = 100 * sum(a for (a,) in found["chips"]) / 3
    assert f"{mean:.1f} ±" in said
    page = (folder / "out" / "report.html").read_text()
    assert f"{mean:.1f} ±" in page
    assert read(page).loads == []
    assert page.count('<div class="chart">') == 3 - (len(found["chips"][0]) == 1)
    assert (folder / "out" / "accuracy.png").read_bytes().startswith(b"\x89PNG")
    hardware = mho.load_hardware("out/hardware.yaml")
    assert hardware.device == ExponentialDevice(g_min=1e-6, g_max=1e-4, c2c=0.03, levels=64)


@pytest.mark.usefixtures("folder")
def test_the_numbers_are_those_of_ones_own_loop():
    assert run("pcm_joshi", "--chips", "2", "--adc-bits", "0", "--seed", "4") == 0
    model, inputs, labels, calibration = given.task("own_network:task")
    hardware = mho.Hardware(device=mho.devices.presets.get("pcm_joshi"), array=mho.Array(64, 64))
    from mho.core import random

    for k in range(2):
        chip = mho.convert(model, hardware, seed=0)
        mho.fabricate(chip, random.derive(4, "chip", k))
        mho.calibrate(chip, calibration)
        with torch.no_grad():
            right = (chip(inputs).argmax(1) == labels).float().mean()
            assert numbers()["chips"][k][0] == pytest.approx(float(right), abs=1e-6)
            mho.age(chip, 3600.0)
            right = (chip(inputs).argmax(1) == labels).float().mean()
            assert numbers()["chips"][k][1] == pytest.approx(float(right), abs=1e-6)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("form", ["numpy", "pandas", "loaders"])
def test_a_task_may_hold_its_data_in_any_form(form):
    if form == "pandas":
        pytest.importorskip("pandas")
    expected, found = given.task("own_network:task"), given.task(f"own_network:{form}")
    for a, b in zip(expected[1:], found[1:], strict=True):
        assert torch.equal(a, b)
        assert a.dtype == b.dtype


@pytest.mark.usefixtures("folder")
def test_a_whole_hardware_is_taken_as_it_is(capsys):
    hardware = mho.Hardware(device=LinearDevice(), adc=mho.ADC(bits=3), dac=mho.DAC(bits=4))
    mho.save_hardware(hardware, "chip.yaml")
    assert run("chip.yaml", "--chips", "1") == 0
    assert mho.load_hardware("out/hardware.yaml") == hardware
    assert len(numbers()["times"]) == 1  # nothing ages
    capsys.readouterr()
    assert run("chip.yaml", "--adc-bits", "6") == 1
    assert "its own converters" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing.yaml"], "No such file"),
        (["nothing"], "no preset 'nothing'"),
        (["pcm_josh"], "did you mean 'pcm_joshi'?"),
        (["adc.yaml"], "it is a ADC"),
        (["ideal", "--model", "own_network"], "module:function"),
        (["ideal", "--model", "own_network:none"], "no function 'none'"),
        (["ideal", "--model", "own_network:wrong"], "must return (model, inputs, labels"),
        (
            ["ideal", "--model", "own_network:uneven"],
            "own_network:uneven: inputs and labels must be as many, at least one, got 3 and 4",
        ),
        (["ideal", "--model", "own_network:narrow"], "does not take inputs of shape [1, 4]"),
        (["ideal", "--model", "own_network:shifted"], "that the model has scores of, 0…2, got 3"),
        (["ideal", "--model", "no_such_module:f"], "there is no module 'no_such_module' in the"),
        (["ideal", "--model", "own_network.py:task"], "not as a file: own_network:task in "),
        (["ideal", "--out", "adc.yaml"], "adc.yaml is a file, not a folder"),
    ],
)
def test_what_is_refused(arguments, words, capsys):
    mho.core.files.save(mho.ADC(bits=4), "adc.yaml")
    assert main(["accuracy", *arguments]) == 1
    error = capsys.readouterr().err
    assert words in error
    assert len(error.splitlines()) == 1


def test_a_card_is_drawn_from_a_file_and_from_a_name(folder, capsys):
    PCM().save("mine.yaml")
    assert main(["card", "mine.yaml"]) == 0
    assert (folder / "mine.png").read_bytes().startswith(b"\x89PNG")
    assert main(["card", "ag_a_si", "--out", "card.svg"]) == 0
    assert "<svg" in (folder / "card.svg").read_text()[:500]
    assert main(["card", "ag_a_si", "--out", "no_ending"]) == 0
    assert (folder / "no_ending").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    assert main(["card", "ag_a_si", "--out", "card.xyz"]) == 1
    assert "a picture must end in .avif" in capsys.readouterr().err
    mho.save_hardware(mho.Hardware(), "chip.yaml")
    assert main(["card", "chip.yaml"]) == 1
    assert "must describe a device" in capsys.readouterr().err


def test_the_study_alone():
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 3)
    x = torch.randn(60, 4)
    y = model(x).argmax(1)
    hardware = mho.Hardware(device=PCM(), effects=(mho.effects.StuckAt(low=0.3),))
    assert ages(hardware)
    assert not ages(ideal_cells(hardware))
    found = study.accuracy(
        model.train(), hardware, x, y, calibration=x[:20], seeds=range(3), times=(0.0, 1e6)
    )
    assert model.training  # left as it was
    assert found.chips.shape == found.recalibrated.shape == (3, 2)
    assert torch.equal(found.chips[:, 0], found.recalibrated[:, 0])
    loss, error = found.loss
    difference = found.ideal - found.chips[:, 0]
    assert loss == pytest.approx(float(difference.mean()))
    assert error == pytest.approx(float(difference.std()) / 3**0.5)
    assert loss > 0.0
    for times in ((), (1.0,), (0.0, 2.0, 2.0)):
        with pytest.raises(ValueError, match="times must rise from 0"):
            study.accuracy(model, hardware, x, y, calibration=x, seeds=[0], times=times)
    with pytest.raises(ValueError, match="as many"):
        study.accuracy(model, hardware, x, y[:3], calibration=x, seeds=[0])


def test_reads_and_what_only_they_change():
    torch.manual_seed(0)
    model = torch.nn.Linear(16, 8)
    x = torch.randn(200, 16)
    y = model(x).argmax(1)
    worn = mho.Hardware(effects=(mho.effects.ReadDisturb(reads=1e3),))
    trapped = mho.Hardware(effects=(mho.effects.TelegraphNoise(0.3, tau=1.0),))
    assert not ages(worn)
    assert ages(trapped)
    given = {"calibration": x[:20], "seeds": [0, 1]}
    unread = study.accuracy(model, worn, x, y, **given)
    assert unread.times == (0.0,)
    assert "ReadDisturb" in unread.note
    assert "reads_per_second" in unread.to_dict()["note"]
    read = study.accuracy(model, worn, x, y, times=(0.0, 3600.0), reads_per_second=1.0, **given)
    assert read.note == ""
    assert float(read.chips[:, 1].mean()) < float(read.chips[:, 0].mean()) - 0.1
    for rate, error in ((1.0, ValueError), (-1.0, ValueError), ("1", TypeError)):
        with pytest.raises(error, match="reads_per_second"):
            study.accuracy(model, trapped, x, y, reads_per_second=rate, **given)
    with pytest.raises(ValueError, match="seeds must hold at least one"):
        study.accuracy(model, worn, x, y, calibration=x, seeds=[])


@pytest.mark.usefixtures("folder")
def test_reads_on_the_command_line(capsys):
    worn = mho.Hardware(effects=(mho.effects.ReadDisturb(reads=1e3),))
    mho.save_hardware(worn, "chip.yaml")
    assert run("chip.yaml", "--chips", "2") == 0
    assert "none are counted here" in capsys.readouterr().out
    assert run("chip.yaml", "--chips", "2", "--reads-per-second", "0.1") == 0
    assert "0.1 reads a second" in capsys.readouterr().out
    assert all(later < chip for chip, *_, later in numbers()["chips"])
    assert run("ideal", "--reads-per-second", "0.1") == 1
    assert "would change nothing" in capsys.readouterr().err


def test_what_was_written_stands_until_all_is_written(folder, monkeypatch):
    card = folder / "card.png"
    card.write_text("before")

    def fails(*_, **__):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure.savefig", fails)
        assert main(["card", "ag_a_si", "--out", str(card)]) == 1
    assert card.read_text() == "before"
    assert run("ideal", "--chips", "1") == 0
    before = {one.name: one.read_bytes() for one in (folder / "out").iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr("mho.save_hardware", fails)
        assert run("pcm_joshi", "--chips", "1") == 1
    assert {one.name: one.read_bytes() for one in (folder / "out").iterdir()} == before
    assert not list(folder.glob(".*.draft*"))
