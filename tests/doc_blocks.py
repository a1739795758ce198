"""The code blocks of a Markdown page, and what is to be done with each.

A comment in the line before a fence says what is special about it:

    <!-- not run: REASON -->   it is not run, for a reason that the test prints
    <!-- file: PATH -->        its text is put into a file
    <!-- prints -->            lines that the block before it prints
    <!-- needs: NAMES -->      it is run where there are these programs and Python packages

and one on a line of its own, anywhere in the page, that its blocks need the files of another page:

    <!-- continues: tutorial.md -->
"""

from __future__ import annotations

import importlib.util
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RUN = ("sh", "python", "r")
_FENCE = re.compile(r"^( *)```(\S*)(?: .*)?$")
_CONTINUES = re.compile(r"^<!-- continues: (.*) -->$", re.MULTILINE)
_COMMENT = re.compile(r"^<!-- (not run|file|prints|needs)(?:: (.*))? -->$")


@dataclass(frozen=True)
class Block:
    """One fenced block; `action` is run, not run, file, prints, or text."""

    line: int  # of the opening fence, from 1
    language: str
    text: str
    action: str
    detail: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def continues(page: Path) -> Path | None:
    """The page whose files this one needs."""
    found = _CONTINUES.search(page.read_text())
    return None if found is None else (page.parent / found[1]).resolve()


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page but the directives of MyST, whose language is in braces.

    Raises
    ------
    ValueError
        If a block is of no kind that is known here, or a fence is not closed.
    """
    lines = page.read_text().splitlines()
    found = []
    number = 0
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        if fence is None:
            number += 1
            continue
        end = next((i for i in range(number + 1, len(lines)) if lines[i] == fence[1] + "```"), None)
        if end is None:
            raise ValueError(f"{page}:{number + 1}: the fence is not closed")
        if not fence[2].startswith("{"):
            text = "\n".join(lines[number + 1 : end]) + "\n"
            comment = _COMMENT.match(lines[number - 1]) if number else None
            found.append(_block(page, number + 1, fence[2], text, comment, indented=bool(fence[1])))
        number = end + 1
    return found


def _is_here(name: str) -> bool:
    """Whether there is a program or a Python package of this name."""
    return shutil.which(name) is not None or importlib.util.find_spec(name) is not None


def _block(
    page: Path, line: int, language: str, text: str, comment: re.Match[str] | None, indented: bool
) -> Block:
    if indented:
        raise ValueError(f"{page}:{line}: a block must not be indented")
    if comment is not None and comment[1] == "needs":
        missing = [name for name in comment[2].split() if not _is_here(name)]
        if language not in RUN or not missing:
            return _block(page, line, language, text, None, indented)
        return Block(line, language, text, "not run", f"there is no {', '.join(missing)} here")
    if comment is not None:
        return Block(line, language, text, comment[1], comment[2] or "")
    if language in RUN:
        return Block(line, language, text, "run")
    if language == "text":
        return Block(line, language, text, "text")
    raise ValueError(
        f"{page}:{line}: a block must be {', '.join(RUN)} or text, or have a comment before it that "
        f"says what it is; got {language or 'no language'!r}"
    )
