"""Records of what is no VCF, one at a time: a table, BED, or names of variants."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from typing import IO

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.sequence.byte_source import BGZF_END, GZIP_MAGIC
from kipoi_mcdropout.vcf.read.header import COLUMNS, Header
from kipoi_mcdropout.vcf.read.input_stream import Tail, cut_off, is_bgzf, peek
from kipoi_mcdropout.vcf.read.record import Record
from kipoi_mcdropout.vcf.read.record_reader import RecordReader
from kipoi_mcdropout.vcf.read.region import check_region_contig, parse_region
from kipoi_mcdropout.vcf.read.rows import RowParser
from kipoi_mcdropout.vcf.read.variant_names import RowError, Variant

_FILEFORMAT = "##fileformat=VCFv4.2"


def lines_of(raw: IO[bytes], name: str) -> Iterator[bytes]:
    """The lines of a file that may be gzipped.

    Raises
    ------
    InputError
        At the end, if the file is bgzipped and cut off between two blocks.
    """
    start = peek(raw)
    if not start.startswith(GZIP_MAGIC):
        yield from raw
        return
    tail = Tail(raw)
    yield from io.BufferedReader(gzip.GzipFile(fileobj=tail))  # type: ignore[call-overload]
    if is_bgzf(start) and tail.last != BGZF_END:
        raise cut_off(name)


class RowReader(RecordReader):
    """Stream the variants of a file that is no VCF as records, in the order of the file.

    The text of a record is the line that it would have in a VCF, without INFO.

    Parameters
    ----------
    name : str
        For errors.
    lines : iterable of bytes
    parse : RowParser
        From `rows.parser_of`.
    region : str, optional
        Only variants whose REF overlaps it, in htslib's style.
    contigs : iterable of str
        Names that a region may have.
    noun : str
        What a line is called in errors.

    Attributes
    ----------
    header : Header
        Of the VCF that the records would be; it declares no contigs.
    notices : list of str
        Always empty.

    Raises
    ------
    InputError
        While it is read, naming the file and the line, if a line is malformed or the data are cut off;
        and, at the end, if the region's contig is in no row.
    """

    def __init__(
        self,
        name: str,
        lines: Iterable[bytes],
        parse: RowParser,
        region: str | None = None,
        contigs: Iterable[str] = (),
        noun: str = "line",
    ) -> None:
        super().__init__(name)
        self._lines, self._parse, self._noun = lines, parse, noun
        self.region = None if region is None else parse_region(region, contigs)
        self.header = Header([_FILEFORMAT, COLUMNS], name)
        self.notices = []

    def __iter__(self) -> Iterator[Record]:
        seen: dict[str, None] = {}
        for number, text in self._numbered():
            try:
                variant = self._parse(text)
            except RowError as error:
                raise InputError(f"{self.name}, {self._noun} {number}: {error}") from error
            if variant is None:
                continue
            seen.setdefault(variant.contig)
            start = variant.pos - 1
            if self.region is None or self.region.overlaps(
                variant.contig, start, start + len(variant.ref)
            ):
                yield _as_record(number, variant)
        if self.region is not None:
            check_region_contig(self.region, self.name, seen)

    def _numbered(self) -> Iterator[tuple[int, str]]:
        """Lines with their numbers, from 1, without line ends and without a byte order mark."""
        number = 0
        try:
            for number, line in enumerate(self._lines, start=1):
                text = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
                yield number, text.removeprefix("\ufeff") if number == 1 else text
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InputError(
                f"{self.name}, line {number + 1}: the compressed data are cut off or damaged ({error}). "
                "Copy the file again"
            ) from error


def _as_record(line: int, variant: Variant) -> Record:
    contig, pos, ref, alts, name = variant
    text = "\t".join([contig, str(pos), name, ref, ",".join(alts), ".", ".", "."])
    return Record(line, text, "\n", contig, pos, name, ref, alts)
