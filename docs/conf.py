"""Sphinx: python -m sphinx -W -b html docs docs/_build."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

import kipoi_mcdropout

project = "kipoi_mcdropout"
author = "kipoi_mcdropout developers"
release = version = kipoi_mcdropout.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "command_line",
    "plain_docstrings",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"{project} {release}"

myst_heading_anchors = 3
# Fences of other languages than those that Pygments knows stand as plain text.
suppress_warnings = ["misc.highlighting_failure"]

autodoc_typehints = "none"  # the NumPy docstrings say types, shapes and units
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True


def setup(app: Sphinx) -> None:
    """The picture of the folders stands as its text: GitHub draws it, Sphinx would need JavaScript."""
    app.add_lexer("mermaid", TextLexer)
