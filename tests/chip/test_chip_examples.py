"""The chip's examples run, and their generators are what they say."""

import csv
import importlib.util
import os
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch

from scripts import example

matplotlib.use("Agg")


def test_double_yin_yang_points():
    module = example("double_yin_yang")
    points, label = module.double_yin_yang(8000, seed=3)
    first, second = points[:4000], points[4000:]
    assert torch.allclose(first + 1.0, second)
    assert torch.equal(label[:4000], label[4000:])
    assert float(torch.hypot(*(first - 0.5).T).max()) <= 0.5
    assert torch.equal(module.classes(*points.T), label)
    for kind in range(3):
        count = int((label[:4000] == kind).sum())
        assert abs(count - 4000 / 3) < 5 * (4000 * 2 / 9) ** 0.5
    # Yin and yang are each other turned by half a turn.
    turned = module.classes(*(1.0 - first).T)
    assert torch.equal(torch.where(label[:4000] == 2, 2, 1 - label[:4000]), turned)
    again, _ = module.double_yin_yang(8000, seed=3)
    assert torch.equal(points, again)


@pytest.mark.skipif("MHO_LEA_DATA" not in os.environ, reason="published data not at hand")
def test_double_yin_yang_is_the_published_task():
    module = example("double_yin_yang")
    path = Path(os.environ["MHO_LEA_DATA"]) / "figure_5" / "a" / "double_yinyang_dataset.txt"
    x, y, label = torch.from_numpy(np.loadtxt(path))
    assert torch.equal(module.classes(x, y), label.long())
    mine, kinds = module.double_yin_yang(10_000)
    for kind in range(3):  # the same regions: means and spreads agree within standard errors
        for ours, theirs in ((mine[:, 0], x), (mine[:, 1], y)):
            a, b = ours[kinds == kind].double(), theirs[label == kind]
            error = (a.var() / len(a) + b.var() / len(b)).sqrt()
            assert abs(float(a.mean() - b.mean())) < 5 * float(error)


@pytest.mark.slow
def test_double_yin_yang_runs(tmp_path, capsys):
    arguments = ["--quick", "--chips", "1", "--steps", "200", "--out", str(tmp_path)]
    rows = example("double_yin_yang").main(arguments)
    assert ("LEA", 2, 1) in rows
    assert (tmp_path / "double_yin_yang.png").stat().st_size > 10_000
    assert "placed at random" in capsys.readouterr().out


@pytest.mark.slow
def test_layer_ensemble_runs(tmp_path):
    module = example("layer_ensemble")
    rows = module.main(["--quick", "--out", str(tmp_path)])
    with open(tmp_path / "layer_ensemble.csv", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(rows) == 6 * 2 * 2
    assert (tmp_path / "layer_ensemble.png").stat().st_size > 10_000
    errors = {
        (r["method"], r["copies"]): float(r["mapping_error"]) for r in table if r["stuck"] == "0.2"
    }
    assert errors["average", "3"] < errors["average", "1"]
    assert errors["LEA-2", "3"] < errors["LEA", "3"] * 1.02
    assert errors["inner fault tolerance", "3"] < errors["without foresight", "3"]
    # Every member of a committee is as far off as one copy.
    assert errors["committee", "3"] == pytest.approx(errors["average", "1"], rel=0.1)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="needs transformers")
def test_resnet_on_cores_runs(tmp_path, capsys):
    found = example("resnet_on_cores").main(["--quick", "--out", str(tmp_path)])
    assert "too few: the network needs" in capsys.readouterr().out
    assert found["copied"].turns == 1
    assert max(found["copied"].copies) > 10
    assert found["in turns"].turns > 1
    assert found["decoder"].cores_used <= 64
    pictures = sorted(path.stem for path in tmp_path.glob("*.png"))
    assert len(pictures) == 7
    assert all(path.stat().st_size > 10_000 for path in tmp_path.glob("*.png"))
