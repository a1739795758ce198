"""File names for labels and names of sequences, which may have any characters in them."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

_LONGEST = 150  # file systems allow 255 bytes, and a suffix may follow
_EMPTY = "%"


def safe_file_name(name: str) -> str:
    """A file name that no other label gets.

    Letters and digits of ASCII and ``_ - . ~`` stay; every other byte of UTF-8 becomes ``%`` and two hex
    digits, as in a URL, and so does a dot at the beginning. Of a name that gets longer than 150
    characters the first 150 stay, then come ``%~`` and 16 hex digits of its SHA-256. A name without
    characters becomes ``%``.

    >>> safe_file_name("a/b"), safe_file_name("a_b"), safe_file_name(".."), safe_file_name("50 %")
    ('a%2Fb', 'a_b', '%2E.', '50%20%25')
    """
    safe = quote(name, safe="", errors="surrogatepass") or _EMPTY
    if safe.startswith("."):
        safe = "%2E" + safe[1:]
    if len(safe) <= _LONGEST:
        return safe
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{safe[:_LONGEST]}%~{digest}"
