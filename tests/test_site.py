"""What the site adds to Sphinx: pages from ``__all__``, equations that keep their lines."""

import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest

from mho.devices import VTEAM

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture
def extension(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    yield importlib.import_module
    for name in ("rooms", "equations", "readable", "short_names"):
        sys.modules.pop(name, None)


def own_names(page):
    """Return what a module's page lists with a page of its own."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^   :toctree: \.\n\n((?:   \w+\n)+)", text, re.MULTILINE)
    return "".join(blocks).split()


def test_every_public_name_has_one_page_and_is_named_wherever_it_is_offered(extension, tmp_path):
    rooms = extension("rooms")
    index = DOCS / "api" / "index.rst"
    pages = {Path(p).stem: Path(p) for p in rooms.write(index, tmp_path)}
    objects = []
    for module, page in pages.items():
        own, text = own_names(page), page.read_text(encoding="utf-8")
        found = importlib.import_module(module)
        objects += [id(getattr(found, name)) for name in own]
        for name in set(found.__all__) - set(own):
            item = getattr(found, name)
            if not inspect.ismodule(item):
                assert f".{name}`" in text, f"{module}.{name}"
    assert len(objects) == len(set(objects))
    assert len(objects) > 300


def test_the_page_is_under_the_shortest_path(extension, tmp_path):
    rooms = extension("rooms")
    rooms.write(DOCS / "api" / "index.rst", tmp_path)
    assert "ADC" in own_names(tmp_path / "mho.rst")
    assert "ADC" not in own_names(tmp_path / "mho.periphery.rst")
    assert "* :py:obj:`mho.ADC`" in (tmp_path / "mho.periphery.rst").read_text(encoding="utf-8")


def test_pages_that_say_the_same_are_not_written_again(extension, tmp_path):
    rooms = extension("rooms")
    pages = [Path(p) for p in rooms.write(DOCS / "api" / "index.rst", tmp_path)]
    before = [p.stat().st_mtime_ns for p in pages]
    rooms.write(DOCS / "api" / "index.rst", tmp_path)
    assert [p.stat().st_mtime_ns for p in pages] == before


def test_equations_keep_their_lines_and_sections_stay(extension):
    pytest.importorskip("sphinx")
    keep_lines = extension("equations").keep_lines
    lines = inspect.getdoc(VTEAM).splitlines()
    kept = keep_lines(lines)
    first = next(n for n, line in enumerate(kept) if line.startswith("    dw/dt"))
    assert kept[first - 3 : first] == ["", "::", ""]
    assert kept.count("::") == 1  # attributes are indented, too, and are not equations
    assert [line for line in kept if line != "::"].count("") == lines.count("") + 1


@pytest.mark.parametrize(
    "lines",
    [
        ["A list:", "", "* one", "", "    and more of it"],
        ["Run it::", "", "    code"],
        [".. note::", "", "    said"],
        ["Title.", "", "Args:", "    x: a number.", "", "        not an equation"],
    ],
)
def test_what_is_introduced_already_is_left_alone(extension, lines):
    pytest.importorskip("sphinx")
    assert extension("equations").keep_lines(lines) == lines


def test_properties_keep_their_colons_and_signatures_are_python(extension):
    pytest.importorskip("sphinx")
    readable = extension("readable")
    napoleon = pytest.importorskip("sphinx.ext.napoleon")
    said = "All that acts: the device, then the effects."
    lines = [said, "", "Raises:", "    ValueError: if not."]
    readable.text(None, "property", "x", None, None, lines)
    config = napoleon.Config(napoleon_use_ivar=True)
    found = napoleon.GoogleDocstring(lines, config, what="property", name="x", obj=int)
    assert found.lines()[:4] == ["..", "", said, ""]
    assert ":raises ValueError: if not." in found.lines()
    said = readable.signature(None, "class", "x", None, None, "(a: A = <factory>, b=1)", None)
    assert said == ("(a: A = ..., b=1)", None)
    assert readable.signature(None, "data", "x", None, None, None, None) == (None, None)


def test_a_number_and_its_error_stay_on_one_line_of_a_table(extension):
    nodes = pytest.importorskip("docutils.nodes")
    cell = nodes.entry("", nodes.paragraph("", "95.6 ± 0.3, ±0.2 ± x"))
    text, code = nodes.paragraph("", "1 ± 2 %"), nodes.literal("", "2 % 2")
    tree = nodes.document(None, None, "", cell, text, code)
    extension("readable").keep_together(None, tree, "page")
    assert cell.astext() == "95.6\u00a0±\u00a00.3, ±0.2 ± x"
    assert text.astext() == "1 ± 2\u00a0%"
    assert code.astext() == "2 % 2"


def test_the_picture_of_a_crossbars_life_is_drawn_in_both_looks(monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(DOCS / "life"))
    picture = importlib.import_module("picture")
    sys.modules.pop("picture")
    monkeypatch.setattr(picture, "FOLDER", tmp_path)
    picture.main()
    light, dark = ((tmp_path / f"life-{look}.svg").read_text("utf-8") for look in ("light", "dark"))
    assert picture.DARK["ink"].lower() in dark.lower()
    assert picture.DARK["ink"].lower() not in light.lower()
    picture.main()
    assert (tmp_path / "life-light.svg").read_text("utf-8") == light
