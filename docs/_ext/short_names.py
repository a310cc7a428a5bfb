"""Names in docstrings lead somewhere without their whole path: `Crossbar` is `mho.Crossbar`.

What names nothing on the site (a parameter, a name of torch) stays what it is, in code letters.
"""

from __future__ import annotations

from docutils import nodes
from docutils.nodes import Element, Node
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: Element) -> Node | None:
    """Find the object whose name ends with the one that is asked for, the shortest if several."""
    if node.get("refdomain") != "py":
        return None
    domain = env.domains["py"]
    target = node["reftarget"].removesuffix("()")
    ends = [name for name in domain.objects if f".{name}".endswith(f".{target}")]
    if not ends:
        return None
    name = min(ends, key=lambda found: (found.count("."), found))
    found = domain.objects[name]
    builder = app.builder
    uri = builder.get_relative_uri(node["refdoc"], found.docname)
    link = nodes.reference("", "", internal=True, refuri=f"{uri}#{found.node_id}", reftitle=name)
    link.append(text)
    return link


def setup(app: Sphinx) -> dict[str, object]:
    """Tell Sphinx."""
    app.connect("missing-reference", resolve)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
