"""The first line of our text tables: a comment with the provenance and the number of rows, as JSON."""

from __future__ import annotations

import json
from typing import Any

PROVENANCE_KEY = "kipoi_mcdropout"
ROWS_KEY = "rows"
_START = "# {"


def first_line(provenance: dict[str, Any], n_rows: int | None, width: int = 0) -> str:
    """``# {"kipoi_mcdropout": {...}, "rows": n}`` and a line end.

    Parameters
    ----------
    provenance : dict
    n_rows : int or None
        null where it is not known.
    width : int
        Characters for the number, filled up with spaces, so that it can be written later.
    """
    record = json.dumps({PROVENANCE_KEY: provenance})[:-1]
    return f'# {record}, "{ROWS_KEY}": {json.dumps(n_rows):<{width}}}}\n'


def parse_first_line(line: str) -> dict[str, Any] | None:
    """What `first_line` wrote; None where the line is no such comment.

    Raises
    ------
    ValueError
        It begins like one but is no JSON: the file is damaged.
    """
    if not line.startswith(_START):
        return None
    record = json.loads(line[2:])
    return record if PROVENANCE_KEY in record else {PROVENANCE_KEY: record}
