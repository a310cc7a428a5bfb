"""The gallery shows everything that draws, and every preset."""

import ast
import re
from pathlib import Path

import pytest

import mho.plot
from mho.devices import presets

plt = pytest.importorskip("matplotlib.pyplot")
plt.switch_backend("agg")

FOLDER = Path(__file__).parents[1] / "docs" / "gallery"
SCRIPTS = sorted(FOLDER.glob("plot_*.py"))
QUICK = ("crossbar", "wires", "switching", "converters", "cores", "layers")


def used(path):
    """Return all names that a script takes from others."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return found | {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def test_every_picture_is_in_the_gallery():
    everywhere = set().union(*map(used, SCRIPTS))
    # A style is no picture.
    assert set(mho.plot.__all__) - {"style"} - everywhere == set()


def test_every_preset_has_its_card():
    text = "".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    carded = set(re.findall(r'device_card\(presets\.get\("(\w+)"\)', text))
    assert {preset.name for preset in presets.list()} == carded


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_says_what_is_seen(path):
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    title, rule, *rest = said.splitlines()
    assert rule == "=" * len(title)
    assert len(" ".join(rest)) > 60


@pytest.mark.parametrize("name", QUICK)
def test_quick_ones_run_and_draw(name):
    plt.close("all")
    path = FOLDER / f"plot_{name}.py"
    code = path.read_text(encoding="utf-8")
    exec(compile(code, str(path), "exec"), {"__name__": "__main__"})
    assert plt.get_fignums()
    plt.close("all")
