"""Charts for pages: zoomed by mouse, touch and keyboard, light and dark, as wide as there is room.

Functions return bokeh figures, which `mho.plot.page` puts on a page. A click on a name in the
legend hides what it names. The wheel zooms with Ctrl, two fingers zoom without, so that both a
wheel and a finger still scroll the page. Buttons are reached by Tab and pressed by Enter.

Needs bokeh: ``pip install "mho[viz]"``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mho.core import checks
from mho.plot.canvas import (
    Axis,
    Column,
    Scaled,
    array,
    column,
    empty,
    models,
    name_all,
    scaled,
    tell,
    verbatim,
    whiskers,
)
from mho.plot.styles import GREY, INK, MORE_COLOURS, PAPER, SOFT

if TYPE_CHECKING:
    from bokeh.plotting import figure
    from numpy.typing import ArrayLike

__all__ = ["Axis", "Series", "bars", "heat_map", "lines", "scatter"]

_BELOW = 0.5  # of the lowest value: where bands and bars end that reach 0 on a logarithmic axis
_MARKS = ("circle", "square", "diamond", "triangle", "inverted_triangle", "hex", "star")


class Series(NamedTuple):
    """Numbers drawn in one colour.

    Attributes:
        name: in the legend; none if empty.
        x: ``[points]``.
        y: ``[points]``.
        low: lower end of each point's band (of lines) or error bar (of scatter), in units of y.
        high: upper end of it.
        x_low: lower end of each point's error bar along x; of scatter alone.
        x_high: upper end of it.
        said: what else is shown of a point under the pointer: texts or numbers by name.
        colour: ``"#RRGGBB"``; the next of mho's if None. Those of mho have a twin in the dark.
        dashed: whether the line is dashed and its points are hollow.
        joined: whether points of a scatter are joined by a thin line, as those of a front are.
        size: of the points, in pixels; 0: none are drawn.
    """

    name: str
    x: ArrayLike
    y: ArrayLike
    low: ArrayLike | None = None
    high: ArrayLike | None = None
    x_low: ArrayLike | None = None
    x_high: ArrayLike | None = None
    said: Mapping[str, Sequence[Any]] | None = None
    colour: str | None = None
    dashed: bool = False
    joined: bool = False
    size: float = 7.0


def lines(
    series: Sequence[Series],
    *,
    x: Axis | str = "",
    y: Axis | str = "",
    title: str = "",
    references: Mapping[str, float | tuple[float, str]] | None = None,
    height: int = 340,
) -> figure:
    """Draw lines through points, each over its band.

    Args:
        series: what to draw.
        x: what runs to the right.
        y: what runs upwards.
        title: above.
        references: heights of dotted horizontal lines, or heights and colours, by name.
        height: in pixels.

    Raises:
        ValueError: if columns of a series differ in length, or a value on a logarithmic axis is
            not > 0. Ends of bands and bars may be: they are drawn to below the lowest value.
    """
    return _drawn(series, (x, y), title, references or {}, height, scattered=False)


def scatter(
    series: Sequence[Series],
    *,
    x: Axis | str = "",
    y: Axis | str = "",
    title: str = "",
    references: Mapping[str, float | tuple[float, str]] | None = None,
    height: int = 400,
) -> figure:
    """Draw points with error bars along either axis; the pointer is told what they are.

    Args:
        series: what to draw.
        x: what runs to the right.
        y: what runs upwards.
        title: above.
        references: heights of dotted horizontal lines, or heights and colours, by name.
        height: in pixels.

    Raises:
        ValueError: if columns of a series differ in length, or a value on a logarithmic axis is
            not > 0. Ends of bands and bars may be: they are drawn to below the lowest value.
    """
    return _drawn(series, (x, y), title, references or {}, height, scattered=True)


def bars(
    groups: Sequence[str],
    values: Mapping[str, ArrayLike],
    *,
    errors: Mapping[str, ArrayLike] | None = None,
    y: Axis | str = "",
    title: str = "",
    stacked: bool = False,
    height: int = 340,
) -> figure:
    """Draw a bar for every group and name, side by side or on top of one another.

    Args:
        groups: names along x.
        values: by name, ``[groups]``.
        errors: of the values, half the length of their error bars; of bars side by side.
        y: what runs upwards; linear.
        title: above.
        stacked: whether bars of one group lie on top of one another.
        height: in pixels.

    Raises:
        ValueError: if there is not one value a group, groups share a name, stacked bars have
            errors, or the axis is logarithmic: the length of a bar says nothing there.
    """
    stacked = checks.truth("stacked", stacked)
    groups, errors = list(map(str, groups)), errors or {}
    if strangers := set(errors) - set(values):
        raise ValueError(f"errors must be of {list(values)}, got {sorted(strangers)}")
    if stacked and errors:
        raise ValueError("errors are of bars side by side, not of stacked ones")
    if len(set(groups)) != len(groups):
        raise ValueError(f"groups must have names of their own, got {groups}")
    if isinstance(y, Axis) and y.log:
        raise ValueError("y must be linear: the length of a bar says nothing on a logarithmic axis")
    held = {name: column(f"values[{name!r}]", v, len(groups)) for name, v in values.items()}
    up = scaled(y, [sum(held.values(), np.zeros(len(groups)))] if stacked else held.values(), "y")
    plot: Any = empty(
        title, Scaled(Axis(""), 1.0, ""), up, height, x_range=models.FactorRange(*groups)
    )
    plot.xgrid.visible = False
    items, floor = [], np.zeros(len(groups))
    width = 0.8 if stacked else 0.8 / max(len(held), 1)
    for k, (name, found) in enumerate(held.items()):
        bottom, top = floor, floor + found / up.size
        floor = top if stacked else floor
        shift = 0.0 if stacked else (k - (len(held) - 1) / 2) * width
        source = models.ColumnDataSource({
            "place": [(group, shift) for group in groups], "group": groups,
            "name": [name] * len(groups), "value": found / up.size, "top": top, "bottom": bottom,
        })  # fmt: skip
        colour = MORE_COLOURS[k % len(MORE_COLOURS)]
        drawn = [
            plot.vbar(
                "place", 0.92 * width, "top", "bottom", source=source,
                fill_color=colour, line_color=None,
            )
        ]  # fmt: skip
        tell(
            plot, drawn[0], [("", "@group, @name"), (up.axis.label or "value", _said("value", up))]
        )
        if name in errors:
            half = column(f"errors[{name!r}]", errors[name], len(groups)) / up.size
            source.data["low"], source.data["high"] = top - half, top + half
            drawn.append(whiskers(plot, source, ("place", "low", "place", "high"), INK))
        items.append(models.LegendItem(label=name, renderers=drawn))
    if up.axis.ends is None and all((v >= 0).all() for v in held.values()):
        plot.y_range.start = 0.0
    name_all(plot, items if len(items) > 1 else [])
    return plot


def heat_map(
    values: ArrayLike,
    *,
    x: Axis | str = "",
    y: Axis | str = "",
    value: Axis | str = "",
    title: str = "",
    edges: tuple[float, float, float, float] | None = None,
    height: int = 360,
) -> figure:
    """Draw a matrix in colours, its first row at the top, and a scale beside it.

    Args:
        values: ``[rows, cols]``; what is not finite is grey.
        x: what runs along the columns.
        y: what runs along the rows.
        value: what the colours show; its ``ends`` are those of the scale.
        title: above.
        edges: left, right, top and bottom of the matrix; half a cell around whole numbers, from 0
            on, if None.
        height: in pixels.

    Raises:
        ValueError: if values are no matrix, or the scale is logarithmic.
    """
    matrix = array(values)
    if matrix.ndim != 2 or not matrix.size:
        raise ValueError(f"values must have shape [rows, cols], got {list(matrix.shape)}")
    shown = scaled(value, [matrix], "values")
    if shown.axis.log:
        raise ValueError("value must be linear: take the logarithm of the values")
    rows, cols = matrix.shape
    left, right, top, bottom = edges or (-0.5, cols - 0.5, -0.5, rows - 0.5)
    across, along = scaled(x, [], "x"), scaled(y, [], "y")
    plot: Any = empty(title, across, along, height, x_range=(left, right), y_range=(bottom, top))
    finite = matrix[np.isfinite(matrix)]
    low, high = shown.axis.ends or (
        (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    )
    colours = models.LinearColorMapper(
        "Viridis256", low=low / shown.size, high=high / shown.size, nan_color=GREY
    )
    # Bokeh puts the first row at the lower end of y.
    upward = matrix if top < bottom else matrix[::-1]
    image = plot.image(
        [np.ascontiguousarray(upward / shown.size)],
        x=left, y=min(top, bottom), dw=right - left, dh=abs(top - bottom), color_mapper=colours,
    )  # fmt: skip
    whole = "{0}" if edges is None else "{0.[000]}"
    tell(
        plot,
        image,
        [
            (across.axis.label or "column", f"$x{whole} {verbatim(across.unit)}"),
            (along.axis.label or "row", f"$y{whole} {verbatim(along.unit)}"),
            (shown.axis.label or "value", _said("image", shown)),
        ],
    )
    scale = models.ColorBar(
        color_mapper=colours, title=shown.label, background_fill_color=None, width=12,
        title_text_color=INK, title_text_font_size="12px", title_text_font_style="normal",
        major_label_text_color=SOFT, major_label_text_font_size="12px", bar_line_color=None,
        major_tick_line_color=None, title_standoff=8,
    )  # fmt: skip
    plot.add_layout(scale, "right")
    plot.grid.visible = False
    return plot


def _drawn(
    series: Sequence[Series],
    axes: tuple[Axis | str, Axis | str],
    title: str,
    references: Mapping[str, float | tuple[float, str]],
    height: int,
    *,
    scattered: bool,
) -> figure:
    for one in series:
        checks.instance("series", one, Series)
    held = [_columns(one) for one in series]
    for axis, name, ends in ((axes[0], "x", ("x_low", "x_high")), (axes[1], "y", ("low", "high"))):
        if isinstance(axis, Axis) and axis.log:
            _raise_ends(held, name, ends)
    along = scaled(axes[0], _all(held, "x", "x_low", "x_high"), "x")
    marks = {n: at if isinstance(at, tuple) else (at, GREY) for n, at in references.items()}
    heights = [*_all(held, "y", "low", "high"), np.array([at for at, _ in marks.values()])]
    up = scaled(axes[1], heights, "y")
    plot: Any = empty(title, along, up, height)
    items, marked = [], dict[str, str]()
    for k, (one, columns) in enumerate(zip(series, held, strict=True)):
        sizes = {"x": along.size, "y": up.size, "low": up.size, "high": up.size}
        sizes |= {"x_low": along.size, "x_high": along.size}
        data: dict[str, Any] = {name: c / sizes[name] for name, c in columns.items()}
        data |= {f"said_{n}": list(v) for n, v in enumerate((one.said or {}).values())}
        data["name"] = [one.name] * len(data["x"])
        colour = one.colour or MORE_COLOURS[k % len(MORE_COLOURS)]
        mark = marked.setdefault(colour, _MARKS[len(marked) % len(_MARKS)])
        draw = _points if scattered else _line
        drawn = draw(plot, models.ColumnDataSource(data), one, colour, mark)
        said = [("", "@name")] if one.name else []
        said += [(name, f"@{{said_{n}}}") for n, name in enumerate(one.said or ())]
        said += [(s.axis.label or c, _said(c, s)) for c, s in (("x", along), ("y", up))]
        if "low" in columns:
            said.append(("from – to", f"{_said('low', up)} – {_said('high', up)}"))
        tell(plot, drawn[-1], said)
        if one.name:
            items.append(models.LegendItem(label=one.name, renderers=drawn))
    first = next((c["x"][0] / along.size for c in held if len(c["x"])), 1.0)
    for name, (at, colour) in marks.items():
        items.append(_reference(plot, name, (first, at / up.size), colour))
    name_all(plot, items)
    return plot


def _columns(one: Series) -> dict[str, Column]:
    count = len(np.atleast_1d(array(one.x)))
    who = one.name or "series"
    for low, high in (("low", "high"), ("x_low", "x_high")):
        if (getattr(one, low) is None) != (getattr(one, high) is None):
            raise ValueError(f"{who}: {low} and {high} go together, got one of them")
    for name, values in (one.said or {}).items():
        if len(values) != count:
            raise ValueError(f"{who}: said[{name!r}] must have {count} values, got {len(values)}")
    names = [n for n in ("x", "y", "low", "high", "x_low", "x_high") if getattr(one, n) is not None]
    return {n: column(f"{who}: {n}", getattr(one, n), count) for n in names}


def _raise_ends(held: Sequence[dict[str, Column]], name: str, ends: tuple[str, str]) -> None:
    # Errors may be as large as values; a logarithmic axis has no place for what is not > 0.
    values = [c[name][np.isfinite(c[name]) & (c[name] > 0)] for c in held]
    least = min((float(v.min()) for v in values if v.size), default=1.0)
    for columns in held:
        for end in ends:
            if end in columns:
                columns[end] = np.where(columns[end] <= 0, _BELOW * least, columns[end])


def _all(held: Sequence[dict[str, Column]], *names: str) -> list[Column]:
    return [columns[name] for columns in held for name in names if name in columns]


def _line(plot: Any, source: Any, one: Series, colour: str, mark: str) -> list[Any]:
    drawn: list[Any] = []
    if "low" in source.data:
        band: dict[str, Any] = {"fill_color": colour, "fill_alpha": 0.18}
        drawn.append(plot.varea("x", "low", "high", source=source, **band))
    dash = "dashed" if one.dashed else "solid"
    drawn.append(
        plot.line("x", "y", source=source, line_color=colour, line_width=2, line_dash=dash)
    )
    return [*drawn, *_marked(plot, source, one, colour, mark)]


def _points(plot: Any, source: Any, one: Series, colour: str, mark: str) -> list[Any]:
    drawn: list[Any] = []
    if one.joined:
        drawn.append(plot.line("x", "y", source=source, line_color=colour, line_width=1.5))
    if "low" in source.data:
        drawn.append(whiskers(plot, source, ("x", "low", "x", "high"), colour))
    if "x_low" in source.data:
        drawn.append(whiskers(plot, source, ("x_low", "y", "x_high", "y"), colour))
    return [*drawn, *_marked(plot, source, one, colour, mark)]


def _marked(plot: Any, source: Any, one: Series, colour: str, mark: str) -> list[Any]:
    if one.size == 0:
        return []
    look: dict[str, Any] = {"line_color": colour, "fill_color": PAPER if one.dashed else colour}
    return [plot.scatter("x", "y", source=source, marker=mark, size=one.size, **look)]


def _reference(plot: Any, name: str, place: tuple[float, float], colour: str) -> Any:
    look: dict[str, Any] = {"line_color": colour, "line_dash": "dotted", "line_width": 2}
    x, y = place
    plot.add_layout(models.Span(location=y, dimension="width", **look))
    # A span has no place in a legend and none in the data's range: a line of no length has both.
    return models.LegendItem(label=name, renderers=[plot.line([x, x], [y, y], **look)])


def _said(name: str, shown: Scaled) -> str:
    return f"@{name}{{%.4g}} {verbatim(shown.unit)}".rstrip()
