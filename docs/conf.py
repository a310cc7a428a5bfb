"""How the site is built: ``make docs``, or ``python -m sphinx -b html docs docs/build/html``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "src"))  # these sources, whatever else is installed
sys.path.insert(0, str(HERE / "_ext"))
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("TQDM_DISABLE", "1")

import rooms  # noqa: E402

import mho  # noqa: E402

project = "mho"
author = "The mho developers"
copyright = "The mho developers, Apache-2.0"
version = release = mho.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "equations",
    "short_names",
]
root_doc = "index"
templates_path = ["_templates"]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}

exclude_patterns = ["build", "learn", "gallery", "_*", "**/GALLERY_HEADER.*", "generated/**/*.py"]
exclude_patterns += ["sg_execution_times.rst", "generated/**/sg_execution_times.rst"]
suppress_warnings = ["config.cache", "ref.python"]

# Markdown: headings are anchors, as on a code host; equations in dollars.
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "amsmath", "fieldlist"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

# Every public name: the pages are generated from the rooms' ``__all__``.
autosummary_generate = rooms.write(HERE / "api" / "index.rst", HERE / "generated" / "api")
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Class attributes", "params_style")]
default_role = "py:obj"
python_use_unqualified_type_names = True
add_module_names = False
python_maximum_signature_line_length = 88  # a parameter a line where they are many
toc_object_entries = False

# Tutorials and pictures are scripts; they run when the site is built.
galleries = [name for name in ("learn", "gallery") if list((HERE / name).glob("GALLERY_HEADER.*"))]
sphinx_gallery_conf = {
    "examples_dirs": galleries,
    "gallery_dirs": [f"generated/{name}" for name in galleries],
    "filename_pattern": r"\.py$",
    "ignore_pattern": r"__init__\.py|/_",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 0,
    "nested_sections": True,
    "image_scrapers": ("matplotlib",),
    "reset_modules": ("matplotlib",),
    "capture_repr": (),
}

html_theme = "pydata_sphinx_theme"
html_title = "mho"
html_static_path = ["_static"]
html_css_files = ["mho.css"]
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": True,
    "header_links_before_dropdown": 6,
    "navbar_align": "left",
    "secondary_sidebar_items": ["page-toc", "sourcelink"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_toc_level": 2,
    "collapse_navigation": True,
    "navigation_depth": 2,
}
html_context = {"default_mode": "auto"}
# Pages without pages below them need no column for these.
html_sidebars = {name: [] for name in ("start", "glossary", "changelog", "contributing")}
html_show_sourcelink = True
html_copy_source = True
copybutton_exclude = ".linenos, .gp, .go"

# ``make links`` asks for what other sites serve; publishers refuse robots.
linkcheck_timeout = 20
linkcheck_retries = 2
linkcheck_ignore = [r"https?://localhost.*"]
linkcheck_allowed_redirects = {r"https://doi\.org/.*": r".*"}
