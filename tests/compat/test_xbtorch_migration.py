"""The migration guide: its names exist, its mho code runs."""

import importlib
import re
from pathlib import Path

import pytest
import torch

FILE = Path(__file__).parents[2] / "docs" / "migration_xbtorch.md"
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


def test_samples_run():
    code = re.findall(r"```python\n(.*?)```", GUIDE, re.S)
    samples = [block for block in code if "mho" in block and "mho.compat" not in block]
    assert len(samples) == 2
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3))
    names = {"model": model, "x": torch.randn(5, 6)}
    for code in samples:
        exec(code, names)
    assert names["output"].shape == (5, 3)
    torch.nn.functional.mse_loss(model(names["x"]), torch.zeros(5, 3)).backward()
    names["optimizer"].step()
