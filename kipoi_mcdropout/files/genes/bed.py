"""Genes of a BED file: one a line."""

from __future__ import annotations

import re
from pathlib import Path

from kipoi_mcdropout.files.genes.genes import Gene, union
from kipoi_mcdropout.files.genes.lines import Near, numbered_lines, wrong_line

_NUMBER = re.compile(r"[0-9]{1,12}")
_NUMBERS = re.compile(r"[0-9]+(,[0-9]+)*,?")
_HEADER_WORDS = ("track", "browser")
_BED12 = 12
_NAME, _STRAND = 3, 5


def genes_of_bed(path: Path, near: Near) -> list[Gene]:
    """Each line as a gene: its name is in the fourth column, its exons are the blocks of BED12.

    Raises
    ------
    InputError
        If a line is no BED or has no name; it names the line.
    """
    genes = []
    for number, line in numbered_lines(path, "BED"):
        if not line.strip() or line.startswith("#") or line.split()[0] in _HEADER_WORDS:
            continue
        fields = line.split("\t") if "\t" in line else line.split()
        if len(fields) <= _NAME or fields[_NAME].strip() in ("", "."):
            required = "chrom, start, end and the gene's name are required, apart by tabs (BED4-BED12)"
            raise wrong_line(path, number, line, required)
        chrom, first, last, name = fields[:4]
        if not _NUMBER.fullmatch(first) or not _NUMBER.fullmatch(last) or int(first) >= int(last):
            raise wrong_line(path, number, line, "start < end, whole numbers, are required (BED)")
        start, end = int(first), int(last)
        strand = fields[_STRAND] if len(fields) > _STRAND and fields[_STRAND] in ("+", "-") else ""
        exons: tuple[tuple[int, int], ...] = ()
        if len(fields) >= _BED12 and near.has(chrom, start, end):
            exons = _blocks(path, number, line, fields, start)
        genes.append(Gene(name.strip(), chrom, start, end, strand, exons))
    return genes


def _blocks(
    path: Path, number: int, line: str, fields: list[str], start: int
) -> tuple[tuple[int, int], ...]:
    count, sizes, starts = fields[9:12]
    if _NUMBERS.fullmatch(sizes) and _NUMBERS.fullmatch(starts):
        lengths, offsets = ([int(n) for n in text.rstrip(",").split(",")] for text in (sizes, starts))
        if str(len(lengths)) == str(len(offsets)) == count.strip():
            return union((start + o, start + o + n) for o, n in zip(offsets, lengths, strict=True))
    required = "columns 10 to 12 of BED12 must be the number of blocks, their sizes and their starts"
    raise wrong_line(path, number, line, required)
