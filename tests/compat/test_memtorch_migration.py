"""The migration guide: its names exist, its mho code runs."""

import ast
import importlib
import re
from pathlib import Path

import pytest
import torch
from torch.distributions import Normal

import mho

FILE = Path(__file__).parents[2] / "docs" / "migration_memtorch.md"
GUIDE = FILE.read_text(encoding="utf-8") if FILE.exists() else ""
pytestmark = pytest.mark.skipif(not GUIDE, reason=f"there is no {FILE}")


def resolve(name):
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise AssertionError(name)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\bmho(?:\.\w+)+", GUIDE))))
def test_names_exist(name):
    resolve(name)


def calls():
    """Calls in the right-hand columns that stand for themselves, and their names."""
    rooms = (mho.circuit, mho.devices, mho.effects, mho.encoding)
    names = {"mho": mho, "Normal": Normal}
    for room in rooms:
        names.update({name: getattr(room, name) for name in room.__all__})
    cells = [line.strip("| ").split(" | ")[1:] for line in GUIDE.splitlines() if " | " in line]
    for span in re.findall(r"`([^`]+)`", " ".join(" ".join(cell) for cell in cells)):
        text = span.removeprefix("array=").removeprefix("adc=").removeprefix("dac=")
        text = text.removeprefix("encoding=")
        try:
            tree = ast.parse(text, mode="eval")
        except SyntaxError:
            continue
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        if isinstance(tree.body, ast.Call) and used <= set(names):
            yield text, names


def test_calls_in_the_tables_are_possible():
    found = list(calls())
    for text, names in found:
        eval(text.replace("(p)", "(1)").replace("(p, j)", "(1, 1.0)"), names)
    assert len(found) >= 10


def test_code_runs_in_order():
    blocks = re.findall(r"```python\n(import mho\n.*?)```", GUIDE, re.DOTALL)
    assert len(blocks) == 2
    model = torch.nn.Sequential(torch.nn.Linear(20, 12), torch.nn.ReLU(), torch.nn.Linear(12, 3))
    names = {"model": model.eval(), "x": torch.rand(64, 20), "torch": torch}
    for block in blocks:
        exec(block, names)
    ideal = model(names["x"])
    error = (names["output"] - ideal).detach().norm() / ideal.detach().norm()
    assert float(error) < 0.1
    assert torch.isfinite(names["faulty"](names["x"])).all()
