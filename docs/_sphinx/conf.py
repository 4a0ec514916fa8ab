"""How Sphinx makes the site of the Markdown pages and the docstrings: `python3 docs`.

The source is the whole repository, so that a link is the same in the site and in the repository.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.application import Sphinx

import conformal_plugin

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

project = "conformal-plugin"
version = release = conformal_plugin.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "command_help",
    "public_names",
]

# --- pages

root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "docs/api/*.md", "docs/recipes/*.md", "examples/*.md"]
# Other folders need not be walked.
exclude_patterns = [
    *(".*", "build", "dist", "runs", "conformal_plugin", "adapters", "benchmarks", "tests"),
    "docs/_*",
]
myst_heading_anchors = 4  # as repository hosts make them

# --- docstrings

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]  # a list, as of the parameters
python_maximum_signature_line_length = 120  # with the modules of types, which are not shown
toc_object_entries_show_parents = "hide"

# --- links

nitpicky = True
nitpick_ignore = [
    # Made and passed on by the library alone.
    ("py:class", "conformal_plugin.adapters.patching._placing.Place"),
    ("py:class", "conformal_plugin.calibration._units.Unit"),
    ("py:class", "conformal_plugin.precision._path_counts.PathCounts"),
    ("py:class", "conformal_plugin.reporting._halves.Halves"),
    # Said in the docstrings that name it.
    ("py:class", "LabelledMaps"),
]
nitpick_ignore_regex = [
    # Other projects' names: the site is built without a network to look them up.
    ("py:.*", r"(abc|collections|hypothesis|np|numpy|os|pathlib|_pytest|torch)\..*|Tensor|Path"),
    # Type variables: their own names say as much as there is to say.
    ("py:(class|obj)", r"conformal_plugin\..*\.(_Counted|_Counter|Losses|T|U)"),
]

# --- looks

html_theme = "furo"
html_title = f"{project} {version}"
html_extra_path = ["index.html"]  # leads to the README's page
html_static_path = ["static"]
html_css_files = ["wide.css"]
html_copy_source = False
html_show_copyright = False  # LICENSE says it


NAVIGATION = {root_doc: HERE / "navigation.md", "docs/api/README": HERE / "navigation_of_api.md"}
"""The blocks that make the sidebar; in the pages themselves, a repository would show code."""


def prepare(app: Sphinx, docname: str, source: list[str]) -> None:
    """Keep a number and its spread on one line; put a page's part of the sidebar below its text."""
    source[0] = source[0].replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")
    if docname in NAVIGATION:
        app.env.note_dependency(str(NAVIGATION[docname]))
        source[0] += "\n" + NAVIGATION[docname].read_text(encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Connect what is above."""
    app.connect("source-read", prepare)
