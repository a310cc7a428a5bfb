"""Reports and figures made of strangers' names: nothing in them is a command."""

import html.parser
import re

import pytest
from matplotlib import pyplot as plt
from matplotlib.text import Text

from mho.plot import interactive, page, study_sheet
from mho.plot.interactive import Series
from mho.plot.page import Cards, Code, Picture, Section, Table
from mho.study import Outcome, Record
from security import ESCAPES, MARKUP

FORMULAS = (r"$\frac{$ $\undefined$", r"$^{$ a_{b \$ $$")


class Page(html.parser.HTMLParser):
    """Collects what a browser would run or load."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.handlers, self.scripts, self._inside = [], [], [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self._inside = tag == "script"
        self.handlers += [name for name, _ in attributes if name.startswith("on")]
        self.links += [value for name, value in attributes if name in ("href", "src", "action")]

    def handle_data(self, data):
        if self._inside:
            self.scripts.append(data)

    def handle_endtag(self, tag):
        self._inside = False


def harmless(text):
    found = Page(text)
    assert not found.handlers
    assert all(link.startswith(("data:image/png", "#")) for link in found.links), found.links
    assert not {"iframe", "object", "embed", "base", "form"} & set(found.tags)
    assert not any(re.match(r"\s*alert\(", script) for script in found.scripts)
    return found


def outcome(name):
    records = tuple(
        Record(
            trial=trial,
            seed=seed,
            settings={name: float(trial), f"b {name}": f"{name} {trial % 2}"},
            results={"accuracy": 0.5 + 0.1 * trial + 0.01 * seed, name: 1.0 + trial},
            error=None,
            seconds=0.1,
        )
        for trial in range(4)
        for seed in range(2)
    )
    units = {name: name, "accuracy": name}
    return Outcome(name, records, {"accuracy": "maximize", name: "minimize"}, units)


def test_a_study_of_hostile_names_reports_text(tmp_path):
    plain = harmless(outcome("plain").report(tmp_path / "plain.html").read_text())
    text = outcome(MARKUP).report(tmp_path / "report.html").read_text()
    found = harmless(text)
    assert found.tags == plain.tags  # no name has become a tag
    assert "alert(1)" in text  # they are there


@pytest.mark.parametrize("text", [MARKUP, "<!--<script>", "]]>", "{{ 7 * 7 }}", "{% raw %}"])
def test_every_part_of_a_page_is_escaped(text):
    figure, _ = plt.subplots()
    picture = page.png(figure)
    plt.close(figure)

    def tags(said):
        parts = [
            said,
            Table((said, said), [(said, said)]),
            Code(said),
            Cards([(said, said, said)]),
            Picture(picture, said),
        ]
        return harmless(page.render(said, [Section(said, parts, said, said)], subtitle=said)).tags

    assert tags(text) == tags("plain")


def test_charts_hold_names_as_data():
    def tags(said):
        axis = interactive.Axis(said, said)
        charts = [
            interactive.lines([Series(said, [1, 2], [1, 2])], x=axis, y=axis),
            interactive.bars([said, "b"], {said: [1, 2], "other": [2, 1]}),
        ]
        return harmless(page.render("one", [Section("two", charts)])).tags

    assert tags(MARKUP) == tags("plain")


@pytest.mark.parametrize("name", [*FORMULAS, MARKUP, ESCAPES])
def test_labels_of_figures_are_text(tmp_path, name):
    sheet = study_sheet(outcome(name))
    for form in ("png", "svg"):
        sheet.savefig(tmp_path / f"a.{form}")
    plt.close(sheet)
    drawn = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "<script" not in drawn
    assert "onerror=" not in re.sub(r"&lt;.*?&gt;|<!--.*?-->", "", drawn, flags=re.DOTALL)


def test_labels_with_dollars_are_shown_as_they_are(tmp_path):
    texts = {text.get_text() for text in study_sheet(outcome("$x$")).findobj(Text)}
    plt.close("all")
    assert any("\\$x\\$" in text or "$x$" in text for text in texts)
