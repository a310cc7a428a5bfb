"""The site's tutorials run as plain scripts, and draw."""

import ast
import runpy
import warnings
from pathlib import Path

import pytest
import torch

plt = pytest.importorskip("matplotlib.pyplot")
pytest.importorskip("sklearn")

FOLDER = Path(__file__).parent.parent / "docs" / "learn"
SCRIPTS = sorted(FOLDER.glob("*/*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_tutorial_runs_prints_and_draws(script, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    plt.switch_backend("agg")
    plt.close("all")
    state = torch.get_rng_state()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            runpy.run_path(str(script), run_name="__main__")
        drawn = [plt.figure(number) for number in plt.get_fignums()]
    finally:
        torch.set_rng_state(state)
        plt.close("all")
    assert capsys.readouterr().out.count("\n") >= 3
    assert any(ax.has_data() for figure in drawn for ax in figure.axes)


def test_every_path_has_tutorials_and_says_whose_it_is():
    folders = [path for path in FOLDER.iterdir() if path.is_dir() and path.name != "__pycache__"]
    for folder in folders:
        assert (folder / "GALLERY_HEADER.rst").exists()
        assert len(list(folder.glob("plot_*.py"))) >= 3
    assert len(folders) == 4


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_tutorial_begins_with_a_title_and_has_sections(script):
    text = script.read_text(encoding="utf-8")
    title, rule = (ast.get_docstring(ast.parse(text)) or "\n").splitlines()[:2]
    assert title
    assert rule == "=" * len(title)
    assert text.count("\n# %%\n") >= 3
