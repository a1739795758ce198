"""A field of a text table by the rules of csv (RFC 4180), with tabs between fields."""

from __future__ import annotations

import re

NEEDS_QUOTES = r'[\t\r\n"#]'  # a "#" too, for readers that take it for the start of a comment


def quoted(text: str) -> str:
    r"""A text as a field: in quotes where it needs them, with the quotes inside doubled.

    Bytes that were no UTF-8 where they were read (surrogates) become the replacement character.

    >>> print(quoted("rs7"), quoted("#1"), quoted(""))
    rs7 "#1" ""
    """
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if text and not re.search(NEEDS_QUOTES, text):
        return text
    return '"' + text.replace('"', '""') + '"'
