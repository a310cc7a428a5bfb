"""MemTorch's tutorials as scripts: each runs by ``python -m mho.compat``, and says something."""

import re
import sys
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch

import mho.compat
from mho.compat.__main__ import main

matplotlib.use("Agg")
EXAMPLES = Path(__file__).parents[2] / "examples" / "memtorch"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != "digits_data")


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run an example in this process, as the command would, and return what it printed."""
    monkeypatch.chdir(tmp_path)
    for name in ("path", "argv"):
        monkeypatch.setattr(sys, name, list(getattr(sys, name)))
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    before = [name for name in ("memtorch", "xbtorch") if mho.compat.installed(name)]

    def run_one(name, *arguments):
        with torch.random.fork_rng():
            main([str(EXAMPLES / f"{name}.py"), "--quick", *arguments])
        return capsys.readouterr().out

    yield run_one
    plt.close("all")
    sys.modules.pop("digits_data", None)
    for name in ("memtorch", "xbtorch"):
        if name not in before:
            mho.compat.uninstall(name)


def rows(text, first=r"[\d.]+ ?%?"):
    """Numbers of every line that is a row of numbers."""
    number = r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?"
    lines = [line for line in text.splitlines() if re.match(rf"\s*{first}\s", line)]
    ended = [line for line in lines if re.search(r"\d\s*%?$", line)]
    return [[float(n) for n in re.findall(number, line)] for line in ended]


def accuracies(text, name):
    """The numbers behind a name at the beginning of a line."""
    line = next(line for line in text.splitlines() if line.strip().startswith(name))
    return [float(n) for n in re.findall(r"(?<![\w.])\d+\.\d+", line.replace(name, ""))]


def test_the_tutorials_are_here():
    assert set(NAMES) == {
        "custom_device",
        "exemplar_grid",
        "fault_tolerance",
        "hardware_aware_training",
        "inference_mlp",
        "nonlinear_and_input_encoding",
        "retention_endurance",
    }
    for name in NAMES:
        text = (EXAMPLES / f"{name}.py").read_text()
        assert f"python -m mho.compat examples/memtorch/{name}.py" in text
        assert re.search(r"^import memtorch$", text, re.MULTILINE)
        assert 40 <= len(text.splitlines()) <= 130, name


def test_inference(run):
    said = run("inference_mlp")
    digital = accuracies(said, "digital network:")[0]
    assert digital > 85
    for way in ("whole arrays", "single columns", "tiles of 32 x 32", "tiles, 8-bit"):
        assert abs(accuracies(said, way)[0] - digital) < 2, way
    assert accuracies(said, "whole arrays")[1] < 0.1  # error of the logits, %
    assert 0.1 < accuracies(said, "tiles, 8-bit converters")[1] < 3


def test_exemplar_grid(run, tmp_path):
    said = run("exemplar_grid", "--out", str(tmp_path / "figures"))
    assert (tmp_path / "figures" / "exemplar_grid.png").stat().st_size > 10_000
    table = rows(said)
    assert len(table) == 2 * 2 * 2
    cells = {tuple(row[:3]): row[3:] for row in table}
    assert all(0 <= value <= 100 for row in cells.values() for value in row)
    best, worst = cells[0.0, 32.0, 0.0][1], cells[30.0, 4.0, 5.0][0]
    assert best > 85
    assert worst < best - 10


def test_custom_device(run):
    said = run("custom_device")
    old, new = (accuracies(said, f"10 pulses, {who}'s way:")[0] for who in ("MemTorch", "mho"))
    # g_max - (g_max - g_min) exp(-10 · 0.1), in µS.
    assert old == pytest.approx(100 - 90 * 2.718281828**-1, abs=0.01)
    assert new == pytest.approx(old, abs=0.01)
    digital = accuracies(said, "digital")[0]
    assert abs(accuracies(said, "an object for each")[0] - digital) < 1
    assert abs(accuracies(said, "tensors")[0] - digital) < 1
    before, after = accuracies(said, "five reset pulses")
    assert after == pytest.approx(10 + (before - 10) * 2.718281828**-0.5, abs=0.1)


def test_nonlinear_and_input_encoding(run):
    said = run("nonlinear_and_input_encoding")
    errors = {row[0]: row[2] for row in rows(said) if row[0] in (0.1, 2.0) and len(row) == 3}
    assert errors[0.1] < 2 < 20 < errors[2.0]
    encoded = [line.split()[-4:] for line in said.splitlines() if "naive_scale" in line]
    assert encoded == [["0.000", "0.075", "0.150", "0.300"], ["0.000", "0.050", "0.100", "0.200"]]


def test_retention_and_endurance(run):
    said = run("retention_endurance")
    as_it_is, tuned = accuracies(said, "1 year")
    assert tuned > as_it_is + 2
    first = accuracies(said, "1 hour")
    assert first[0] > 80
    assert accuracies(said, "1.4 V:")[-1] > accuracies(said, "1.2 V:")[-1]


def test_hardware_aware_training(run):
    said = run("hardware_aware_training")
    for way in ("in software", "software, best epoch on crossbars", "through the hardware (mho)"):
        digital, mean, _ = accuracies(said, way)
        assert digital > 70
        assert mean > 30


def test_fault_tolerance(run):
    said = run("fault_tolerance")
    table = {row[0]: row[1:] for row in rows(said)}
    digital = accuracies(said, "digital")[0]
    as_it_is, _, three, seven, two_copies, three_copies = table[5.0]
    assert max(three, seven) > as_it_is
    assert two_copies > as_it_is
    assert three_copies > digital - 2
