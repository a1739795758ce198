"""Docstrings are plain text with a little Markdown; here they become what Sphinx's autodoc reads.

Tables of Markdown become literal blocks; single backquotes, which name code in this package, literals;
and what reStructuredText would take for markup elsewhere stands for itself.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

_CODE = re.compile(r"(?<![`:\w])`([^`\n]+)`(?![`_])")
_LITERAL = re.compile(r"(``.+?``)")
_MARKUP = re.compile(r"[*|]|(?<=\w)_(?!\w)")


def rewrite(lines: list[str]) -> list[str]:
    r"""The lines of a docstring in reStructuredText.

    >>> print(*rewrite(["`x*` of peak_1, peak_2, peak_, ..."]))
    ``x*`` of peak_1, peak_2, peak\_, ...
    """
    out: list[str] = []
    in_table = False
    for line in lines:
        is_row = line.lstrip().startswith("|")
        if is_row and not in_table:
            out += ["", "::", ""]
        elif in_table and not is_row:
            out.append("")
        in_table = is_row
        out.append("    " + line if is_row else _plain(line))
    return out


def _plain(line: str) -> str:
    parts = _LITERAL.split(_CODE.sub(r"``\1``", line))
    return "".join(p if p.startswith("``") else _MARKUP.sub(r"\\\g<0>", p) for p in parts)


def _process(_app: Sphinx, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    lines[:] = rewrite(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Rewrite before napoleon, which has the default priority 500."""
    app.connect("autodoc-process-docstring", _process, priority=400)
    return {"parallel_read_safe": True}
