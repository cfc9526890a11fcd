"""The documentation as a site (Sphinx): `make docs`.

Its pages are the Markdown files of the repository where they lie, README.md first, so that links are written once and
lead somewhere in a checkout too. What is made from the program, and notebooks, become pages in `docs/generate`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(DOCS / "generate")]

from command_line import command_line_page
from notebooks import notebook_page
from python_api import python_api_page

import verifier

project = "relu-verifier"
release = verifier.__version__
author = "The relu-verifier authors"
copyright = author
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "README"
include_patterns = ["*.md", "docs/**.md", "examples/**.md", "examples/**.ipynb"]
exclude_patterns = [".*", "build", "dist", "site", "benchmarks", "encoders", "tests", "verifier", "**/.*"]
suppress_warnings = ["misc.highlighting_failure"]
nitpicky = False
default_role = "code"
add_module_names = False
python_use_unqualified_type_names = True
maximum_signature_line_length = 90
autodoc_typehints = "signature"
autodoc_type_aliases = {name: name for name in ("npt.ArrayLike", "Box")}  # not the unions that they stand for
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline"]

html_theme = "furo"
html_title = "relu-verifier"
html_favicon = "assets/icon.svg"
html_static_path = ["assets"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b7d6e", "color-brand-content": "#0b7d6e"},
    "dark_css_variables": {"color-brand-primary": "#3ec9b6", "color-brand-content": "#3ec9b6"},
}

CONTENTS = {
    "Start": ["docs/tutorial", "docs/how-to/install", "docs/export"],
    "How to": [
        *(f"docs/how-to/{name}" for name in ("gate", "ci", "pytest", "campaign", "report", "cluster", "properties")),
        *(f"docs/how-to/{name}" for name in ("certificates", "evidence", "benchmark-a-defence", "attacks", "points")),
        *(f"docs/how-to/{name}" for name in ("inputs-that-occur", "transformations", "hardware", "gpu")),
    ],
    "Examples": ["examples/notebooks/own_model", "examples/notebooks/defence", "examples/ci/README"],
    "Reference": [
        *(f"docs/reference/{name}" for name in ("questions", "answers", "models", "command-line", "python", "api")),
        *("docs/reference/schemas", "docs/certificate-format"),
    ],
    "Theory": [
        *("docs/theory/1-the-question", "docs/theory/2-bounds", "docs/theory/3-search"),
        *("docs/limits", "docs/glossary"),
    ],
    "Project": [
        *("PERFORMANCE", "docs/referee", "ARCHITECTURE", "docs/decisions/README", "docs/lab-book", "docs/tests"),
        *("SECURITY", "CHANGELOG"),
    ],
}
"""What stands beside every page."""

MADE = {"docs/reference/command-line": command_line_page, "docs/reference/api": python_api_page}
"""Pages that are made from the program; in a checkout they say so."""


LINK = re.compile(r"\[([^\]]+)\]\(([^)\s#]+)\)")


def contents(groups: dict[str, list[str]]) -> str:
    """Tables of contents in MyST, which show beside the page only."""
    tables = (
        "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *(f"/{page}" for page in pages), "```", ""])
        for caption, pages in groups.items()
    )
    return "\n".join(["", *tables])


def on_source_read(app: Sphinx, page: str, source: list[str]) -> None:
    """Put in what is made, and the tables of contents; a folder is no page to link to."""
    if page in MADE:
        source[0] = MADE[page]()
    elif page == root_doc:
        source[0] += contents(CONTENTS)
    elif page == "docs/decisions/README":
        decisions = sorted(path.stem for path in (DOCS / "decisions").glob("[0-9]*.md"))
        source[0] += contents({"Decisions": [f"docs/decisions/{stem}" for stem in decisions]})
    folder = (ROOT / page).parent
    source[0] = LINK.sub(lambda found: found[1] if (folder / found[2]).is_dir() else found[0], source[0])


def on_docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Bars are bars in docstrings, not substitutions."""
    lines[:] = [line.replace("|", r"\|") for line in lines]


class NotebookParser(MystParser):
    """Notebooks as they are saved; none is run."""

    supported = ("ipynb",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        super().parse(notebook_page(inputstring), document)


class Translator(HTML5Translator):
    """Files of the repository open in the browser."""

    def visit_download_reference(self, node: nodes.Element) -> None:
        super().visit_download_reference(node)
        self.body[-1] = self.body[-1].replace(' download=""', "")


def setup(app: Sphinx) -> None:
    app.add_source_suffix(".ipynb", "ipynb")
    app.add_source_parser(NotebookParser)
    app.set_translator("html", Translator)
    app.connect("source-read", on_source_read)
    app.connect("autodoc-process-docstring", on_docstring)
