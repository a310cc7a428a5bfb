"""Reports: one HTML file that needs nothing else, figures and all."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, NamedTuple

from mho import plot
from mho.core.extras import need

if TYPE_CHECKING:
    from matplotlib.figure import Figure

jinja2 = need("jinja2", "viz")


class Picture(NamedTuple):
    """A figure, ready for HTML."""

    title: str
    caption: str
    data: str


def png(figure: Figure) -> bytes:
    """Draw a figure in mho's style."""
    buffer = io.BytesIO()
    with plot.style():
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def picture(title: str, caption: str, image: bytes) -> Picture:
    """Make a picture of a PNG."""
    return Picture(title, caption, base64.b64encode(image).decode("ascii"))


def render(template: str, **values: object) -> str:
    """Fill in one of the templates of this folder, which extend ``page.html.j2``."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mho.demo", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page: str = environment.get_template(template).render(**values)
    return page
