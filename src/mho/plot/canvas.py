"""What interactive charts are drawn on: axes in units, tools, legends, what the pointer is told."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mho.core.extras import need
from mho.plot.styles import HAIR, INK, PAPER, PREFIXED, SOFT, unit

if TYPE_CHECKING:
    from bokeh.plotting import figure
    from numpy.typing import ArrayLike

# Their types say nothing of legends, spans and scales.
models, plotting = need("bokeh.models", "viz"), need("bokeh.plotting", "viz")
Column = npt.NDArray[np.float64]

_PRINTED = re.compile(r"(@\w+)\{%")
_LEGEND_ROW = 22  # pixels
_SHORT_TITLE = 20  # characters: so many and six buttons fit a telephone
_LETTER = 7  # pixels
_LONG_NAME = 22  # characters: two such names stand side by side on a telephone


class Axis(NamedTuple):
    """What an axis shows.

    Attributes:
        label: in words.
        unit: of the values given; one of the SI is shown with the prefix that suits the values.
        log: whether the axis is logarithmic; all values must be > 0.
        ends: of the axis, in the unit given; where the data end if None.
        ticks: texts by value, instead of numbers.
    """

    label: str
    unit: str = ""
    log: bool = False
    ends: tuple[float, float] | None = None
    ticks: Mapping[float, str] | None = None


class Scaled(NamedTuple):
    """An axis and the SI prefix its values are shown with: they are divided by ``size``."""

    axis: Axis
    size: float
    unit: str

    @property
    def label(self) -> str:
        """The axis's label, with the unit in brackets."""
        words = self.axis.label
        return f"{words} ({self.unit})" if self.unit and words else words or self.unit


def scaled(axis: Axis | str, values: Iterable[Column], name: str) -> Scaled:
    """Choose the prefix of an axis by the values on it.

    Raises:
        ValueError: if the axis is logarithmic and a value is not > 0.
    """
    axis = Axis(axis) if isinstance(axis, str) else axis
    columns = [v[np.isfinite(v)] for v in values]
    if axis.log and any((v <= 0).any() for v in columns):
        least = min(float(v.min()) for v in columns if len(v))
        raise ValueError(f"{name} must be > 0 on a logarithmic axis, got {least:g}")
    if axis.log and axis.ends is not None and min(axis.ends) <= 0:
        raise ValueError(f"ends of {name} must be > 0 on a logarithmic axis, got {axis.ends}")
    if axis.unit not in PREFIXED:
        return Scaled(axis, 1.0, axis.unit)
    size, prefix = unit(max((float(np.abs(v).max()) for v in columns if v.size), default=0.0))
    return Scaled(axis, size, prefix + axis.unit)


def array(values: ArrayLike) -> Column:
    """Return values as numbers, from wherever they live."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    return np.asarray(values, dtype=np.float64)


def column(name: str, values: ArrayLike, count: int) -> Column:
    """Return values as numbers, one a point.

    Raises:
        ValueError: if there are not so many.
    """
    found = array(values)
    if found.shape != (count,):
        raise ValueError(f"{name} must have {count} values, got shape {list(found.shape)}")
    return found


def empty(title: str, x: Scaled, y: Scaled, height: int, **ranges: Any) -> figure:
    """Return a figure without anything in it: as wide as its place, with tools and mho's look."""
    for name, one in (("x_range", x), ("y_range", y)):
        if one.axis.ends is not None and name not in ranges:
            ranges[name] = tuple(end / one.size for end in one.axis.ends)
    wheel = models.WheelZoomTool(modifiers={"ctrl": True}, visible=False)  # always on
    plot: Any = plotting.figure(
        title=title or None,
        height=height,
        sizing_mode="stretch_width",
        x_axis_type="log" if x.axis.log else "auto",
        y_axis_type="log" if y.axis.log else "auto",
        x_axis_label=x.label,
        y_axis_label=y.label,
        tools=[
            models.BoxZoomTool(),
            models.PanTool(),
            wheel,
            models.ZoomInTool(),
            models.ZoomOutTool(),
            models.ResetTool(),
            models.SaveTool(),
        ],
        # A page makes the box zoom active where there is a mouse: a finger scrolls the page.
        active_drag=None,
        active_scroll=wheel,
        toolbar_location="above",
        toolbar_sticky=len(title) <= _SHORT_TITLE,  # beside the title, or above it
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
        min_border_right=14,
        **ranges,
    )
    plot.toolbar.logo = None
    for axis, shown in ((plot.xaxis[0], x), (plot.yaxis[0], y)):
        _dress(axis, shown)
    plot.grid.grid_line_color = HAIR
    if plot.title is not None:
        plot.title.text_color, plot.title.text_font_size = INK, "15px"
    return plot


def _dress(axis: Any, shown: Scaled) -> None:
    axis.axis_label_text_font_size, axis.major_label_text_font_size = "13px", "12px"
    axis.axis_label_text_font_style = "normal"
    axis.axis_label_text_color, axis.major_label_text_color = INK, SOFT
    axis.axis_line_color = axis.major_tick_line_color = SOFT
    axis.minor_tick_line_color = None
    if shown.axis.ticks is not None:
        texts = {value / shown.size: text for value, text in shown.axis.ticks.items()}
        axis.ticker = list(texts)
        axis.major_label_overrides = texts
        axis.major_label_policy = models.NoOverlap(min_distance=6)
    elif shown.axis.log:
        axis.ticker.num_minor_ticks = 0
        axis.formatter = models.LogTickFormatter(min_exponent=5)  # 100 rather than 10²


def tell(plot: Any, renderer: Any, said: Sequence[tuple[str, str]], mode: str = "mouse") -> None:
    """Say what the pointer is told over something drawn."""
    printed = {name: "printf" for _, text in said for name in _PRINTED.findall(text)}
    tool = models.HoverTool(
        renderers=[renderer], tooltips=list(said), mode=mode, formatters=printed
    )
    tool.visible = False  # no button: it is always on
    plot.add_tools(tool)


def verbatim(text: str) -> str:
    """Return a text as it may stand in what the pointer is told: no HTML, no name of a column."""
    return html.escape(text).replace("@", "&#64;").replace("$", "&#36;")


def whiskers(plot: Any, source: Any, ends: tuple[str, str, str, str], colour: str) -> Any:
    """Draw error bars between two ends a point: names of the columns x0, y0, x1, y1."""
    return plot.segment(*ends, source=source, line_color=colour, line_width=1.5)


def name_all(plot: Any, items: Sequence[Any]) -> None:
    """Put a legend below the chart; a click on a name hides what it names."""
    if not items:
        return
    longest = max(len(item.label.value) for item in items)
    across = min(len(items), 2 if longest <= _LONG_NAME else 1)
    plot.height += _LEGEND_ROW * -(-len(items) // across)  # what it takes, beside the chart's own
    legend = models.Legend(
        items=list(items),
        ncols=across,
        location="left",
        spacing=0,
        label_width=min(_LETTER * longest, 300) + 8,
        click_policy="hide",
        background_fill_color=PAPER,
        background_fill_alpha=0.0,
        border_line_color=None,
        inactive_fill_color=PAPER,
        inactive_fill_alpha=0.6,
        label_text_color=INK,
        label_text_font_size="12px",
        padding=4,
        margin=2,
    )
    plot.add_layout(legend, "below")
