"""Reports: one HTML file that needs nothing else, light and dark, for a desk, a telephone, paper.

A page is made of sections, and a section of parts: text, tables, charts of `mho.plot.interactive`,
pictures. Text is escaped whatever it says.

Needs jinja2, and bokeh for charts: ``pip install "mho[viz]"``.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, Union

from matplotlib.figure import Figure

from mho.core import checks
from mho.core.extras import need
from mho.core.files import drafts
from mho.plot.styles import BLUE, DARK, HAIR, INK, PAPER, SOFT, style

if TYPE_CHECKING:
    import jinja2
    from bokeh.models import Model
    from markupsafe import Markup
else:
    jinja2, Markup = need("jinja2", "viz"), need("markupsafe", "viz").Markup

__all__ = ["Cards", "Code", "Picture", "Section", "Table", "png", "render", "write"]

_PNG = b"\x89PNG\r\n\x1a\n"


class Table(NamedTuple):
    """Rows of text under a head.

    Attributes:
        head: of the columns.
        rows: as many texts (or numbers, as they print) each as the head has.
        left: how many columns, from the first, are flush left; the others are flush right.
        blocks: rows of how many at a time are ruled off; all of them are one block if empty.
    """

    head: Sequence[Any]
    rows: Sequence[Sequence[Any]]
    left: int = 1
    blocks: Sequence[int] = ()


class Code(NamedTuple):
    """Text whose spaces and line ends count.

    Attributes:
        text: as it is to stand there.
    """

    text: str


class Cards(NamedTuple):
    """A few numbers that matter, large.

    Attributes:
        cards: what it is, the number as text, and a remark (or ``""``) of each.
    """

    cards: Sequence[tuple[str, str, str]]


class Picture(NamedTuple):
    """A PNG with words for those who do not see it.

    Attributes:
        data: of the file.
        alt: what it shows; the section's title if empty.
    """

    data: bytes
    alt: str = ""


Part: TypeAlias = Union[str, bytes, Table, Code, Cards, Picture, Figure, "Model"]
"""Text (paragraphs are parted by an empty line), a PNG's bytes, or one of the others.

Figures of matplotlib become PNGs, models of bokeh charts; pictures and charts that follow one
another stand side by side where there is room.
"""


class Section(NamedTuple):
    """A part of a page under a title of its own.

    Attributes:
        title: above; none if empty.
        parts: what it holds, in order.
        caption: below, smaller.
        anchor: by which links find it (``page.html#anchor``).
    """

    title: str
    parts: Sequence[Part]
    caption: str = ""
    anchor: str = ""


def write(path: str | Path, title: str, sections: Sequence[Section], *, subtitle: str = "") -> Path:
    """Write a page. It takes the place of an older one only when it is whole.

    Args:
        path: of the file; its folder is made if need be.
        title: of the page.
        sections: what it holds.
        subtitle: below the title, paler.

    Returns:
        The path.

    Raises:
        TypeError: if a part is none of those that a page may hold.
        ValueError: if a table's row is shorter or longer than its head.
    """
    path = checks.path("path", path)
    text = render(title, sections, subtitle=subtitle)
    with drafts(path) as (draft,):
        draft.write_text(text, encoding="utf-8")
    return path


def render(title: str, sections: Sequence[Section], *, subtitle: str = "") -> str:
    """Return a page as text; see `write`."""
    shown = [_section(section) for section in sections]
    charts = [part for one in shown for kind, group in one["parts"] if kind == "pictures"
              for part in group if "chart" in part]  # fmt: skip
    resources, script, divs = _embedded([part["chart"] for part in charts])
    for part, div in zip(charts, divs, strict=True):
        part["div"] = div
    colours = {"ink": INK, "soft": SOFT, "hair": HAIR, "paper": PAPER, "accent": BLUE}
    return _template().render(
        title=title,
        subtitle=subtitle,
        sections=shown,
        resources=resources,
        script=script,
        dark=DARK,
        **colours,
    )


def png(figure: Figure) -> bytes:
    """Return a figure of matplotlib as the bytes of a PNG."""
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _template() -> jinja2.Template:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("mho.plot", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("page.html.j2")


def _section(section: Section) -> dict[str, Any]:
    # Pictures and charts that follow one another become one part.
    checks.instance("section", section, Section)
    if isinstance(section.parts, (str, bytes)) or not isinstance(section.parts, Sequence):
        raise TypeError(
            f"parts of section {section.title!r} must be a list of them, got "
            f"{type(section.parts).__name__}"
        )
    parts: list[tuple[str, Any]] = []
    prepared = [p for part in section.parts for p in _part(part)]
    for kind, group in groupby(prepared, key=lambda pair: pair[0]):
        members = [part for _, part in group]
        parts += [(kind, members)] if kind == "pictures" else [(kind, part) for part in members]
    return {**section._asdict(), "parts": parts}


def _part(part: Part) -> list[tuple[str, Any]]:
    if isinstance(part, str):
        if isinstance(part, Markup):  # written by the caller as HTML
            return [("text", part)]
        return [("text", text) for text in part.strip().split("\n\n") if text]
    if isinstance(part, bytes):
        return _part(Picture(part))
    if isinstance(part, Picture):
        if not part.data.startswith(_PNG):
            raise ValueError("a picture must be the bytes of a PNG")
        data = base64.b64encode(part.data).decode("ascii")
        return [("pictures", {"data": data, "alt": part.alt})]
    if isinstance(part, Table):
        return [("table", _table(part))]
    if isinstance(part, Code):
        return [("code", part)]
    if isinstance(part, Cards):
        return [("cards", part)]
    if _is_chart(part):
        return [("pictures", {"chart": part})]
    if isinstance(part, Figure):
        return _part(Picture(png(part)))
    raise TypeError(
        "a part of a page must be text, the bytes of a PNG, a Table, Code, Cards, a Picture, a "
        f"figure of matplotlib or a model of bokeh, got {type(part).__name__}"
    )


def _is_chart(part: object) -> bool:
    return any(kind.__module__.startswith("bokeh.") for kind in type(part).__mro__)


def _table(table: Table) -> dict[str, Any]:
    rows = [tuple(row) for row in table.rows]
    for number, row in enumerate(rows):
        if len(row) != len(table.head):
            raise ValueError(f"row {number} must have {len(table.head)} cells, got {len(row)}")
    sizes = list(table.blocks) or [len(rows)]
    if sum(sizes) != len(rows):
        raise ValueError(f"blocks must add up to {len(rows)} rows, got {sum(sizes)}")
    remaining = iter(rows)
    blocks = [[next(remaining) for _ in range(size)] for size in sizes]
    return {"head": list(table.head), "left": table.left, "blocks": blocks}


def _embedded(charts: Sequence[Any]) -> tuple[Markup, Markup, list[Markup]]:
    # What the head loads, what the body runs, and where each chart stands.
    if not charts:
        return Markup(), Markup(), []
    if len({id(chart) for chart in charts}) < len(charts):
        raise ValueError("a chart must have one place on a page, got the same chart twice")
    embed, sources = need("bokeh.embed", "viz"), need("bokeh.resources", "viz")
    # Charts need the core alone: no widgets, no WebGL, no formulas (3 MB more).
    resources = sources.Resources(mode="inline", components=["bokeh"])
    script, divs = embed.components(tuple(charts))
    return Markup(resources.render_js()), Markup(script), [Markup(div) for div in divs]
