"""Every example is one command, takes the same options, and leaves a figure."""

import ast

import pytest

from scripts import EXAMPLES, example

SHARED = {"example_options", "models/zoo", "reproductions/common"}  # what others import
OTHERS = ("memtorch/", "xbtorch/")  # scripts of other packages' APIs, run by mho.compat
FOUND = (path.relative_to(EXAMPLES).with_suffix("") for path in EXAMPLES.rglob("*.py"))
NAMES = sorted(
    name for name in map(str, FOUND) if name not in SHARED and not name.startswith(OTHERS)
)
DRAWS = {"save_figure", "bars", "savefig", "finish"}
ELSEWHERE = {"fit_device": "'fit', "}  # `mho fit` draws it


def called(tree):
    """Return the names of all functions and methods that a script calls."""
    functions = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {getattr(f, "attr", getattr(f, "id", "")) for f in functions}


@pytest.mark.parametrize("name", NAMES)
def test_an_example_takes_quick_and_out_and_leaves_a_figure(name):
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    tree = ast.parse(text)
    told, calls = ast.get_docstring(tree), called(tree)
    assert f"python examples/{name}.py " in told
    assert "[--quick]" in told
    # In one way only.
    assert "argparse" not in text
    assert "sys.argv" not in text
    assert calls & {"parsed", "options"}
    assert calls & DRAWS or ELSEWHERE[name] in ast.unparse(tree)
    # --quick acts, or says that there is nothing to make quicker.
    acts = any(isinstance(node, ast.Attribute) and node.attr == "quick" for node in ast.walk(tree))
    assert acts != ('quick="the same: it takes' in text)


def test_the_shared_options(tmp_path, capsys):
    parsed = example("example_options").parsed
    more = {"--chips": {"type": int, "default": 10, "help": "of each"}}
    given = ["--quick", "--out", str(tmp_path / "a" / "b"), "--chips", "3"]
    options = parsed("About.\n\nMore.", "about", given, "less", more)
    assert (options.quick, options.out, options.chips) == (True, tmp_path / "a" / "b", 3)
    assert options.out.is_dir()
    with pytest.raises(SystemExit):
        parsed("About.\n\nMore.", "about", ["--help"], "less of it", more)
    said = capsys.readouterr().out
    assert "About." in said
    assert "More." not in said
    assert "less of it" in said
    assert "(about)" in said


def test_bars_are_drawn_and_written(tmp_path, capsys):
    pytest.importorskip("matplotlib").use("Agg")
    bars = example("example_options").bars
    bars({"one": 1.0, "two": 2.5}, tmp_path / "bars.png", "size (%)", {"one": 0.1, "two": 0.2})
    assert (tmp_path / "bars.png").stat().st_size > 5_000
    assert str(tmp_path / "bars.png") in capsys.readouterr().out
