# SPDX-License-Identifier: GPL-2.0-or-later
"""The documentation site: ``make docs`` builds it from README.md, CONTRIBUTING.md, CHANGELOG.md and docs/ with Sphinx.

The source directory is the checkout, so that the same links work here and where the files are read as they are.
Every warning is an error: a link to a page, file or heading that does not exist among them.
"""

import re
from importlib.metadata import version as installed

from sphinx.application import Sphinx

project = "dmasafe"
copyright = "the dmasafe authors"
version = release = installed("dmasafe")
extensions = ["myst_parser", "sphinx_click"]
root_doc = "docs/index"
include_patterns = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md"]
exclude_patterns = [".*", "build", "harness", "images", "kernel-configs", "out", "tests"]
man_pages = [("docs/commands", "dmasafe", "may DMA touch this buffer?", "the dmasafe authors", 1)]
highlight_language = "text"
html_theme = "furo"
html_title = "dmasafe"
templates_path = ["."]
html_additional_pages = {"index": "redirect.html"}
html_show_copyright = False
html_copy_source = False
# Help texts have options: "--kernel" keeps its two dashes.
smartquotes = False
# Anchors of headings as GitHub makes them.
myst_heading_anchors = 4


def setup(app: Sphinx) -> None:
    """Help texts are plain text: what reStructuredText would read as markup is escaped, examples are literal blocks."""
    for part in ("description", "options"):
        app.connect(f"sphinx-click-process-{part}", _plain)
    app.connect("sphinx-click-process-epilog", _literal)


def _plain(_app: Sphinx, _context: object, lines: list[str]) -> None:
    lines[:] = [
        line if line.lstrip().startswith((".. ", ":")) else re.sub(r"([*`|_@])", r"\\\1", line) for line in lines
    ]


def _literal(_app: Sphinx, _context: object, lines: list[str]) -> None:
    if any(lines):
        lines[:] = ["::", "", *(f"   {line}" for line in lines), ""]
