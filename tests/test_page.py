import re

import numpy as np
import pytest

pytest.importorskip("bokeh")
pytest.importorskip("jinja2")

from matplotlib.figure import Figure

from mho.plot import interactive, page, styles
from mho.plot.interactive import Axis, Series
from mho.plot.page import Cards, Code, Picture, Section, Table
from pages import contrast, read

NASTY = "</script><script>alert('x')</script> & <b>"


def chart(name="net"):
    return interactive.lines([Series(name, [1, 2, 3], [0.5, 0.7, 0.9])])


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    figure = Figure()
    figure.subplots().plot([1, 2])
    path = tmp_path_factory.mktemp("page") / "in" / "here.html"
    parts = [
        NASTY + "\n\nA second paragraph.",
        Cards([("accuracy", "97 %", NASTY)]),
        Table(("name", "value"), [(NASTY, 1), ("two", 2.5), ("three", 3)], blocks=(1, 2)),
        Code(NASTY),
        chart(NASTY),
        chart(),
        figure,
    ]
    written = page.write(path, NASTY, [Section(NASTY, parts, NASTY, "place")], subtitle=NASTY)
    assert written == path
    assert [p.name for p in path.parent.iterdir()] == ["here.html"]  # nothing is left beside it
    return path.read_text(encoding="utf-8")


def test_a_page_needs_nothing_else(text):
    found = read(text)
    assert found.loads == []
    assert len(found.images) == 1
    assert len(text.encode()) < 2e6


def test_a_page_without_charts_is_small():
    text = page.render("words", [Section("one", ["two"])])
    assert len(text) < 10_000
    assert "<script" not in text


def test_text_is_escaped_everywhere(text):
    assert "alert('x')" not in text.replace("&#39;", "").replace("&lt;", "")
    assert not re.search(r"<script>\s*alert", text)
    assert "<b>" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)


def test_charts_and_pictures_that_follow_one_another_share_a_row(text):
    assert text.count('<div class="pictures">') == 1
    assert text.count('<div class="chart">') == 2


def test_paragraphs_rows_and_places(text):
    assert "<p>A second paragraph.</p>" in text
    assert text.count("<tbody>") == 2
    assert '<section id="place">' in text


def test_phones_and_paper_are_thought_of(text):
    assert '<meta name="viewport" content="width=device-width' in text
    assert "@media print" in read(text).css


def test_both_modes_have_colours_that_can_be_read(text):
    css = read(text).css
    day, night = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    assert "@media screen and (prefers-color-scheme: dark)" in css
    colours = [dict(re.findall(r"--(\w+): (#\w{6})", mode)) for mode in (day, night)]
    for mode in colours:
        for name in ("ink", "soft", "accent"):
            for ground in ("paper", "tint"):
                least = 7.0 if name == "ink" else 4.5  # WCAG 2: AAA of text, AA of the rest
                assert contrast(mode[name], mode[ground]) > least, (name, ground, mode)
    assert (
        contrast(colours[0]["paper"], "#000000") > 15 > 3 > contrast(colours[1]["paper"], "#000000")
    )


def test_every_colour_of_charts_has_a_twin_in_the_dark_that_can_be_seen():
    night = styles.DARK[styles.PAPER]
    for colour in (*styles.MORE_COLOURS, styles.GREY, styles.INK, styles.SOFT):
        assert contrast(styles.DARK[colour], night) > 4.5, colour
    twins = {twin.lower() for twin in styles.DARK.values()}
    assert len(twins) == len(styles.DARK)  # the way back is one
    assert not twins & {colour.lower() for colour in styles.DARK}


def test_the_page_knows_all_twins(text):
    for pair in styles.DARK.items():
        assert all(colour in text for colour in pair)


def test_a_page_replaces_another_only_when_it_is_whole(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("older")
    with pytest.raises(TypeError, match=r"a part of a page must be text.*got int"):
        page.write(path, "title", [Section("one", ["text", 3])])
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]
    page.write(path, "title", [])
    assert "title" in path.read_text()


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (Table(("a", "b"), [(1,)]), "row 0 must have 2 cells, got 1"),
        (Table(("a",), [(1,), (2,)], blocks=(1,)), "blocks must add up to 2 rows, got 1"),
        (b"GIF89a", "bytes of a PNG"),
        (Picture(b""), "bytes of a PNG"),
    ],
)
def test_mistakes_are_named(part, said):
    with pytest.raises(ValueError, match=said):
        page.render("title", [Section("one", [part])])


# ---- charts --------------------------------------------------------------------------------------


def of(plot, kind):
    return [r for r in plot.renderers if type(getattr(r, "glyph", None)).__name__ == kind]


def test_values_are_shown_with_the_prefix_that_suits_them():
    plot = interactive.lines(
        [Series("", [1e-9, 2e-8], [0.2, 0.4])], x=Axis("energy", "J", log=True), y=Axis("a", "%")
    )
    assert plot.xaxis[0].axis_label == "energy (nJ)"
    assert plot.yaxis[0].axis_label == "a (%)"
    (line,) = of(plot, "Line")
    np.testing.assert_allclose(line.data_source.data["x"], [1.0, 20.0])
    np.testing.assert_allclose(line.data_source.data["y"], [0.2, 0.4])


def test_bands_and_error_bars_end_where_they_are_said_to():
    series = Series("net", [1.0, 2.0], [5.0, 6.0], [4.0, 5.0], [7.0, 8.0], [0.5, 1.5], [1.5, 2.5])
    (band,) = of(interactive.lines([series]), "VArea")
    assert (band.data_source.data["low"] == [4.0, 5.0]).all()
    plot = interactive.scatter([series])
    bars = {(r.glyph.x0, r.glyph.y0, r.glyph.x1, r.glyph.y1) for r in of(plot, "Segment")}
    assert bars == {("x", "low", "x", "high"), ("x_low", "y", "x_high", "y")}
    assert (of(plot, "Segment")[0].data_source.data["x_high"] == [1.5, 2.5]).all()


def test_stacked_bars_lie_on_one_another():
    plot = interactive.bars(["a", "b"], {"one": [1, 2], "two": [3, 4]}, stacked=True)
    first, second = (r.data_source.data for r in of(plot, "VBar"))
    assert (first["top"] == [1, 2]).all()
    assert (second["bottom"] == [1, 2]).all()
    assert (second["top"] == [4, 6]).all()


def test_the_first_row_of_a_heat_map_is_at_the_top():
    plot = interactive.heat_map([[1e-6, 2e-6], [3e-6, 4e-6]], value=Axis("conductance", "S"))
    (image,) = of(plot, "Image")
    assert plot.y_range.start == 1.5 > plot.y_range.end == -0.5
    np.testing.assert_allclose(image.data_source.data["image"][0], [[1, 2], [3, 4]])
    assert image.glyph.y == -0.5
    upwards = interactive.heat_map([[1, 2], [3, 4]], edges=(0, 1, 1, 0))
    (image,) = of(upwards, "Image")
    assert (image.data_source.data["image"][0] == [[3, 4], [1, 2]]).all()


def test_a_finger_scrolls_and_two_zoom():
    plot = chart()
    assert plot.toolbar.active_drag is None
    wheel = plot.toolbar.active_scroll
    assert type(wheel).__name__ == "WheelZoomTool"
    assert wheel.modifiers == {"ctrl": True}
    assert plot.sizing_mode == "stretch_width"
    kinds = {type(tool).__name__ for tool in plot.tools}
    assert {"ZoomInTool", "ZoomOutTool", "ResetTool", "HoverTool"} <= kinds


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda: interactive.lines([Series("net", [1, 2], [1])]), r"net: y must have 2 values"),
        (lambda: interactive.lines([Series("net", [1], [1], low=[0])]), "low and high go together"),
        (
            lambda: interactive.scatter([Series("", [0, 1], [1, 1])], x=Axis("e", log=True)),
            "x must be > 0 on a logarithmic axis, got 0",
        ),
        (
            lambda: interactive.scatter([Series("n", [1], [1], said={"b": [1, 2]})]),
            r"said\['b'\] must have 1 values, got 2",
        ),
        (lambda: interactive.bars(["a", "a"], {}), "groups must have names of their own"),
        (lambda: interactive.bars(["a"], {"x": [1]}, y=Axis("", log=True)), "y must be linear"),
        (
            lambda: interactive.bars(["a"], {"x": [1]}, errors={"x": [1]}, stacked=True),
            "not of stacked ones",
        ),
        (
            lambda: interactive.bars(["a"], {"x": [1]}, errors={"y": [1]}),
            r"errors must be of \['x'\]",
        ),
        (
            lambda: interactive.lines([], x=Axis("e", log=True, ends=(0, 1))),
            "ends of x must be > 0 on a logarithmic axis",
        ),
        (lambda: page.render("t", [Section("a", [once := chart(), once])]), "same chart twice"),
        (lambda: interactive.heat_map([1, 2]), r"\[rows, cols\], got \[2\]"),
    ],
)
def test_charts_refuse_what_cannot_be_drawn(draw, said):
    with pytest.raises(ValueError, match=said):
        draw()


def test_nothing_and_what_is_not_finite_are_drawn():
    page.render("empty", [Section("", [interactive.lines([]), interactive.scatter([]),
                                       interactive.bars([], {}),
                                       interactive.heat_map([[np.nan, np.inf]]),
                                       interactive.lines([Series("a", [], [])])])])  # fmt: skip
    page.render("nan", [Section("", [interactive.lines([Series("a", [1, 2], [np.nan, 1])])])])


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda: interactive.lines([("net", [1], [1])]), "series must be Series"),
        (lambda: page.render("t", [("a", ["text"])]), "section must be Section"),
        (lambda: page.render("t", [Section("a", "text")]), "parts of section 'a' must be a list"),
    ],
)
def test_charts_and_pages_refuse_what_is_of_another_kind(draw, said):
    with pytest.raises(TypeError, match=said):
        draw()


def test_ends_that_a_logarithmic_axis_has_no_place_for_lie_below_all_values():
    energy = Axis("energy", "J", log=True)
    points = Series("a", [2e-9, 1e-6], [1, 2], x_low=[-1e-9, 5e-7], x_high=[4e-9, 2e-6])
    data = of(interactive.scatter([points], x=energy), "Segment")[0].data_source.data
    np.testing.assert_allclose(data["x_low"], [1e-3, 0.5])  # µJ
    band = Series("a", [1, 2], [1e-3, 1.0], low=[0.0, 0.5], high=[1.0, 2.0])
    data = of(interactive.lines([band], y=Axis("y", log=True)), "VArea")[0].data_source.data
    np.testing.assert_allclose(data["low"], [5e-4, 0.5])
    with pytest.raises(ValueError, match="y must be > 0 on a logarithmic axis"):
        interactive.lines([Series("a", [1, 2], [0.0, 1.0])], y=Axis("y", log=True))


def test_a_unit_is_no_html_and_no_name_for_what_the_pointer_is_told():
    unit = "<img src=x onerror=alert(1)> @name $x"
    axis = Axis("a", unit)
    plots = [
        interactive.lines([Series("a", [1, 2], [1, 2], [0, 1], [2, 3])], x=axis, y=axis),
        interactive.bars(["a"], {"b": [1.0]}, y=axis),
        interactive.heat_map([[1.0, 2.0]], x=axis, y=axis, value=axis),
    ]
    for plot in plots:
        for tool in plot.hover:
            for _, told in tool.tooltips:
                assert "<" not in told
                assert "@name $" not in told


def test_values_and_groups_come_as_they_are():
    import torch

    y = torch.tensor([1.0, 2.0], requires_grad=True)
    (line,) = of(interactive.lines([Series("a", y, y)]), "Line")
    np.testing.assert_allclose(line.data_source.data["x"], [1.0, 2.0])
    bits = interactive.bars([4, 8], {"accuracy": [0.5, 0.9]})
    assert bits.x_range.factors == ["4", "8"]
