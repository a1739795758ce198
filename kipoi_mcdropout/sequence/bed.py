"""BED and narrowPeak files, read as text, so that names are not mistaken for numbers, quotes or
comments.

Coordinates are 0-based and half-open.
"""

from __future__ import annotations

import gzip
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from kipoi_mcdropout.errors import InputError, InputWarning, is_machine_failure

_GZIP = b"\x1f\x8b"
_HEADER_WORDS = ("track", "browser")  # lines for the UCSC genome browser
_POSITION = re.compile(r"[0-9]{1,12}")
_OFFSET = re.compile(r"-1|[0-9]{1,12}")
_BLOCKS = re.compile(r"[0-9]+(,[0-9]+)*,?")
_NARROWPEAK = 10  # columns; the last is the summit
_BED12 = 12  # columns; the tenth is a number of blocks
_SHOWN = 80  # characters of a line in a message


class Interval(NamedTuple):
    """One line: [start, end) of a contig, the position of its summit or of its middle, name, strand."""

    chrom: str
    start: int
    end: int
    summit: int
    name: str = ""
    strand: str = ""  # the text of the sixth column, whatever it is


def read_intervals(path: str | Path) -> pd.DataFrame:
    """The rows of `read_rows` as a table."""
    rows = read_rows(path)
    table: pd.DataFrame = pd.DataFrame(rows, columns=list(Interval._fields))
    return table


def read_rows(path: str | Path, with_summits: bool = True) -> list[Interval]:
    """Intervals of a BED or narrowPeak file, plain or gzipped, in the order of the file.

    `summit` is the position that the tenth column of a narrowPeak file gives, else the middle of the
    interval. A line is one of narrowPeak if it has ten columns; in BED12 the tenth is a number of
    blocks. `name` is the fourth column, "" where there is none, or a dot. `strand` is the text of the
    sixth, "" where there is none; it is not looked at here, since many files have something else there.
    Columns are separated by tabs, or by spaces where a line has no tab. Further columns, of any number,
    are not looked at. Lines that are empty, begin with #, or with the words track or browser, are passed
    over.

    Parameters
    ----------
    with_summits : bool
        If False, the tenth column is not looked at either, and `summit` is always the middle.

    Raises
    ------
    InputError
        If the file cannot be read or has no interval, or a line is no interval; it names the line.

    Warns
    -----
    InputWarning
        If lines have more than ten columns without being BED12: no summit is read from them.
    """
    rows: list[Interval] = []
    n_odd = 0
    for number, line in enumerate(_lines(Path(path)), start=1):
        text = line.rstrip("\r\n")
        fields = text.split("\t") if "\t" in text else text.split()
        if not text.strip() or text.startswith("#") or text.split()[0] in _HEADER_WORDS:
            continue
        rows.append(_interval(fields, f"{path}, line {number}", with_summits))
        n_odd += len(fields) > _NARROWPEAK and not _is_bed12(fields)
    if not rows:
        raise InputError(
            f"{path} has no interval. A BED file is required: chrom, start, end. Check the path"
        )
    if n_odd and with_summits:
        warnings.warn(
            f"{n_odd} lines of {path} have more than ten columns and are not BED12. No summit is read "
            "from them; the middle of the interval is used. A narrowPeak file has ten columns",
            InputWarning,
            stacklevel=2,
        )
    return rows


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as raw:
            is_gzip = raw.read(2) == _GZIP
        opener = gzip.open if is_gzip else open
        with opener(path, "rt", encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
            yield from lines
    except (OSError, EOFError) as error:
        if is_machine_failure(error):
            raise
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read as BED: {reason}. Check the file") from error


def _interval(fields: list[str], where: str, with_summits: bool) -> Interval:
    """The interval of a line; InputError where it is none."""
    bounds = fields[1:3]
    numbers = [field for field in bounds if _POSITION.fullmatch(field.strip(" "))]
    if len(numbers) < 2 or not fields[0].strip():
        raise InputError(
            f"{where}: chrom, start and end are required, separated by tabs, with start and end whole "
            f"numbers written in digits (BED); got {chr(9).join(fields)[:_SHOWN]!r}"
        )
    start, end = map(int, bounds)
    if start >= end:
        raise InputError(f"{where}: start < end is required (BED); got start {start}, end {end}")
    middle = (start + end) // 2
    name = fields[3].strip() if len(fields) > 3 and fields[3].strip() != "." else ""
    strand = fields[5].strip() if len(fields) > 5 else ""
    if len(fields) != _NARROWPEAK or not with_summits:
        return Interval(fields[0], start, end, middle, name, strand)
    offset = fields[9].strip(" ")
    if not _OFFSET.fullmatch(offset) or int(offset) >= end - start:
        raise InputError(
            f"{where}: the tenth of ten columns is a narrowPeak's summit, counted from start: a whole "
            f"number below {end - start}, the length of the peak, or -1 for none; got {offset!r}. If "
            "the file has another format, leave out this column (cut -f 1-9)"
        )
    summit = middle if offset == "-1" else start + int(offset)
    return Interval(fields[0], start, end, summit, name, strand)


def _is_bed12(fields: list[str]) -> bool:
    """Whether columns 10 to 12 are a number of blocks, their sizes and their starts."""
    return len(fields) >= _BED12 and all(_BLOCKS.fullmatch(field) for field in fields[9:12])
