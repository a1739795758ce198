"""The rows of a file that is no VCF: a table with named columns, BED, or a name a line."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.vcf.read.columns import Columns, looks_like_names
from kipoi_mcdropout.vcf.read.variant_names import (
    RowError,
    Variant,
    checked,
    is_name,
    parse_name,
    position_of,
)

InputFormat = Literal["auto", "vcf", "table", "bed", "names"]
FORMATS = get_args(InputFormat)
RowParser = Callable[[str], Variant | None]  # None for a line that holds no variant

_VCF_SUFFIXES = (".vcf", ".bcf")
_PACKED = (".gz", ".bgz")
_COMMENT = "#"
_BED_HEADS = ("track", "browser")


def format_of(name: str, text: str) -> str:
    """What a file is, by its name and its first lines.

    Parameters
    ----------
    text : str
        The begin of the file, unpacked; a line may be cut off.

    Raises
    ------
    InputError
        If it is no format that is known here, and does not look like a VCF either.
    """
    for suffix in _PACKED:
        name = name.removesuffix(suffix)
    first = text.lstrip("\ufeff")
    if name.endswith(_VCF_SUFFIXES) or first.startswith("##") or not first.strip() or "\0" in text:
        return "vcf"
    if name.endswith(".bed"):
        return "bed"
    lines = [line for line in first.splitlines() if line.strip()]
    if first.startswith("# {"):  # the provenance of one of our own tables, which may be long
        return "table"
    for line in lines[:20]:
        if looks_like_names(_words(line)):
            return "table"
        if not line.startswith(_COMMENT):
            if is_name(line.strip()):
                return "names"
            break
    raise InputError(
        f"{name}: the format is not clear. A VCF begins with ##fileformat=VCF, a table with a line of "
        "column names (chrom, pos, ref, alt), and a file of names has lines such as chr1:1000:A>G; the "
        f"name of a BED file ends in .bed. The file has {lines[0][:80]!r}. Say what it is with "
        "input_format (--input_format)"
    )


def parser_of(form: str, columns: Mapping[str, str]) -> RowParser:
    """What reads the lines of a file of one of FORMATS, in order."""
    if form == "table":
        return _TableRows(columns)
    check_no_columns(columns, form)
    return _bed_row if form == "bed" else _name_row


def check_no_columns(columns: Mapping[str, str], form: str) -> None:
    """Refuse columns of what is no table."""
    if columns:
        raise InputError(f"columns (--columns) are those of a table; the variants come as {form}")


def _words(line: str) -> list[str]:
    """The cells of a line that may be anything; none where its quotes are not those of csv."""
    try:
        return _split(line, _delimiter(line))
    except RowError:
        return []


def _delimiter(line: str) -> str | None:
    return next((letter for letter in "\t," if letter in line), None)


def _split(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return line.split()
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        raise RowError(f"the quotes must be those of csv: {error}") from error


class _TableRows:
    """The rows under a line of column names; comments may stand before that line."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given
        self._columns: Columns | None = None
        self._delimiter: str | None = None

    def __call__(self, line: str) -> Variant | None:
        if not line.strip():
            return None
        if self._columns is not None:
            return self._columns.variant(_split(line, self._delimiter))
        if line.startswith(_COMMENT) and not self._is_head(line):
            return None
        self._delimiter = _delimiter(line)
        self._columns = Columns(_split(line, self._delimiter), self._given)
        return None

    def _is_head(self, line: str) -> bool:
        words = [] if line.startswith("##") else _words(line)
        names = {word.strip().lstrip(_COMMENT) for word in words}
        return looks_like_names(words) or (bool(self._given) and names >= set(self._given.values()))


def _bed_row(line: str) -> Variant | None:
    """One of chrom start end ref alt [name], or chrom start end ref>alt; 0-based and half-open."""
    cells = line.split("\t") if "\t" in line else line.split()
    if not cells or line.startswith(_COMMENT) or cells[0] in _BED_HEADS:
        return None
    if len(cells) < 4:
        raise RowError(
            "a line of BED must have chrom, start, end, REF and ALT, or REF>ALT in the fourth column; "
            f"got {len(cells)} columns"
        )
    start, end = (position_of(cell, 0) for cell in cells[1:3])
    ref, alt, name = _bed_alleles(cells)
    if end - start != len(ref):
        raise RowError(
            f"REF {ref[:40]} must be as long as the region, which is 0-based and half-open: "
            f"{cells[1]} to {cells[2]} has {end - start} bases. If the file counts from 1, give it as a "
            "table with a line of column names"
        )
    return checked(cells[0], start + 1, ref, alt, name)


def _bed_alleles(cells: Sequence[str]) -> tuple[str, str, str]:
    if ">" in cells[3] and not cells[3].startswith("<"):
        ref, _, alt = cells[3].partition(">")
        return ref, alt, "."
    if len(cells) < 5:
        raise RowError(
            "the fourth column must be REF>ALT, or REF with ALT in the fifth; got "
            f"{cells[3][:40]!r} alone"
        )
    return cells[3], cells[4], cells[5] if len(cells) > 5 and cells[5] not in ("+", "-") else "."


def _name_row(line: str) -> Variant | None:
    text = line.strip()
    return None if not text or text.startswith(_COMMENT) else parse_name(text)
