"""Small things that Sphinx shows otherwise than they are meant.

* A dataclass's default that a function makes prints as ``<factory>``, which is no Python: with
  ``...`` in its place Sphinx reads the signature and links its types.
* The docstring of a property is text, though napoleon takes what is before its first colon for a
  type.
* A number stays on one line with its percent sign, and in a table's cell with its error.
"""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx


def signature(
    app: Sphinx,
    what: str,
    name: str,
    item: object,
    options: object,
    arguments: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Return a signature that is Python."""
    return arguments and arguments.replace("<factory>", "..."), returns


def text(
    app: Sphinx, what: str, name: str, item: object, options: object, lines: list[str]
) -> None:
    """Begin with an empty comment: napoleon looks for a type in the first line alone."""
    if what == "property":
        lines[:0] = ["..", ""]


def keep_together(app: Sphinx, tree: nodes.document, *_: object) -> None:
    """Let no line end within a number with its percent sign, and in a table with its error."""
    cells = [text for cell in tree.findall(nodes.entry) for text in cell.findall(nodes.Text)]
    inside = {id(text) for text in cells}
    for text in list(tree.findall(nodes.Text)):
        if isinstance(text.parent, nodes.literal | nodes.FixedTextElement | nodes.math):
            continue
        together = re.sub(r"(?<=\d) (?=%)", "\u00a0", text)
        if id(text) in inside:
            together = re.sub(r"(?<=\d) ± (?=\d)", "\u00a0±\u00a0", together)
        if together != text:
            text.parent.replace(text, nodes.Text(together))


def setup(app: Sphinx) -> dict[str, object]:
    """Tell Sphinx."""
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-process-docstring", text, priority=450)  # before napoleon, at 500
    app.connect("doctree-resolved", keep_together)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
