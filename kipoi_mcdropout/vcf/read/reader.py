"""Records of a VCF, one at a time: plain, gzipped, bgzipped, BCF, or from standard input.

The text of a record is kept as it is, so that it can be written again byte for byte; htslib (by
cyvcf2) judges whether it is well formed. Nothing is written beside the user's file.
"""

from __future__ import annotations

import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import cyvcf2

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.sequence.byte_source import BGZF_END, GZIP_MAGIC
from kipoi_mcdropout.vcf.read.header import N_FIXED_COLUMNS, Header, htslib_text
from kipoi_mcdropout.vcf.read.input_stream import (
    STDIN,
    Tail,
    check_bcf_end,
    check_bgzf_end,
    check_is_input,
    cut_off,
    is_bcf,
    is_bgzf,
    is_stream,
    path_of,
    peek,
    spooled,
)
from kipoi_mcdropout.vcf.read.record import Record
from kipoi_mcdropout.vcf.read.record_reader import RecordReader
from kipoi_mcdropout.vcf.read.region import (
    Region,
    check_region_contig,
    find_index,
    names_in_index,
    offset_of,
    parse_region,
)

_MAX_POSITION = 2**31 - 2
_MAX_DIGITS = 10  # of that


class VcfReader(RecordReader):
    """Stream the records of a VCF in the order of the file.

    Parameters
    ----------
    path : str or Path
        "-" is standard input; a pipe (`<(...)`, a FIFO) is read as that is.
    region : str, optional
        Only records that overlap it, in htslib's style. An index beside the file is used if there is
        one; else the whole file is read.
    contigs : iterable of str
        Names, besides those of the header, that a region may have.
    judged : bool
        The same file was read before, so htslib need not judge each record again.
    raw : binary file, optional
        The bytes of `path`, where it is open already; it stays open.
    margin : int
        Records that lie so many bases beside the region are given too.

    Attributes
    ----------
    asked : Region or None
        The region without the margin.
    path : Path or None
        None for what can be read only once.
    notices : list of str
        What is odd about the header, though it is read.

    Raises
    ------
    InputError
        Naming the file and the line, if it is no VCF or a line is malformed or cut off; and, at the end,
        if the region's contig is neither in the header nor in a record.
    """

    def __init__(
        self,
        path: str | Path,
        region: str | None = None,
        contigs: Iterable[str] = (),
        judged: bool = False,
        raw: IO[bytes] | None = None,
        margin: int = 0,
    ) -> None:
        super().__init__("standard input" if str(path) == STDIN else str(path))
        self._line = 0
        self._judged = judged and region is None
        try:
            self._open(path, raw)
            self._declared = set(self.header.declared("contig"))
            known = self._declared | set(contigs)
            self.asked = None if region is None else parse_region(region, known)
            self.region = None if self.asked is None else self.asked.widened(margin)
            self._others: dict[str, None] = {}  # contigs of records, if not the region's
            self._judge = None if self.bcf is not None or self._judged else self._htslib()
        except BaseException:
            self.close()
            raise
        self.notices = [
            f"{self.name}, line {number}: a header line should be ##key=value; it is kept as it is: "
            f"{line[:80]!r}"
            for number, line in self.header.odd_lines()
        ]

    def _open(self, path: str | Path, raw: IO[bytes] | None) -> None:
        self.path = None if is_stream(path) else Path(path)
        if raw is None:
            check_is_input(path)
            raw = sys.stdin.buffer if str(path) == STDIN else Path(path).open("rb")  # noqa: SIM115
            if raw is not sys.stdin.buffer:
                self._stack.callback(raw.close)
        start = peek(raw)
        if not start:
            raise InputError(f"{self.name} is empty; a VCF is required. Check what wrote it")
        self.bcf: Any = None
        if is_bcf(start):
            self._open_bcf(raw)
            return
        self.compressed = start.startswith(GZIP_MAGIC)
        self._bgzf = is_bgzf(start)
        if self._bgzf and self.path is not None:
            check_bgzf_end(self.path, self.name)
        self._tail = Tail(raw) if self.compressed else None
        self._text: IO[bytes] = raw if self._tail is None else _gunzip(self._tail)
        lines: list[str] = []
        while not lines or lines[-1].startswith("##"):
            line = self._read_line()
            if line is None or not line.startswith("#"):
                break
            lines.append(line)
        self.header = Header(lines, self.name)

    def _open_bcf(self, raw: IO[bytes]) -> None:
        self.compressed = True
        if self.path is None:  # htslib wants the bytes that were read to know the format
            source = path_of(self._stack.enter_context(spooled(raw)))
        else:
            source = str(self.path)
        check_bcf_end(Path(source), self.name)
        try:
            self.bcf = cyvcf2.VCF(source)
            self._stack.callback(self.bcf.close)
            self.header = Header(io.StringIO(self.bcf.raw_header, "\n").readlines(), self.name)
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"{self.name} must be a VCF or BCF; htslib cannot read it: {error}. Check it with "
                "`bcftools view`, and copy or convert it again"
            ) from error

    def _htslib(self) -> Any:
        try:
            judge = cyvcf2.Writer.from_string(os.devnull, self.header.for_htslib())
        except Exception as error:  # cyvcf2 raises plain Exception and OSError
            raise InputError(
                f"{self.name}, lines 1-{len(self.header.lines)}: htslib rejects the header: {error}. "
                "Correct it (bcftools reheader)"
            ) from error
        self._stack.callback(judge.close)
        return judge

    def __iter__(self) -> Iterator[Record]:
        if self.bcf is not None:
            yield from self._bcf_records()
            self._check_region()
            return
        index = find_index(self.path) if self.region and self._bgzf and self.path else None
        if index is not None and self.region is not None:
            self._others = dict.fromkeys(names_in_index(index))
            self._check_region()
            yield from self._indexed(index, self.region)
            return
        while (line := self._read_line()) is not None:
            if (record := self._record(line)) is not None and self._wanted(record):
                yield record
        self._check_region()

    def _check_region(self) -> None:
        """Refuse a region of a contig that neither the header nor a record has."""
        if self.region is not None:
            check_region_contig(self.region, self.name, [*self._declared, *self._others])

    def _indexed(self, index: Path, region: Region) -> Iterator[Record]:
        """Records of a region of a sorted file, from where the index says to where they end."""
        offset = offset_of(index, region)
        if offset is None:
            return
        assert self.path is not None
        with self.path.open("rb") as raw:
            raw.seek(offset >> 16)
            self._tail = None  # the end of the file was looked at before
            self._text = _gunzip(raw)
            self._text.read(offset & 0xFFFF)
            self._line = 0
            while (line := self._read_line()) is not None:
                if line.startswith("#") or (record := self._record(line)) is None:
                    continue
                if record.contig != region.contig or record.pos > region.end:
                    return
                if self._wanted(record):
                    yield record

    def _bcf_records(self) -> Iterator[Record]:
        number = 0
        variants = iter(self.bcf)
        while True:
            number += 1
            try:
                variant = next(variants)
                record = _split(str(variant).rstrip("\n"), number, "\n")
            except StopIteration:
                return
            except Exception as error:
                raise InputError(
                    f"{self.name}, record {number}: htslib cannot read it: {error}. Check it with "
                    "`bcftools view`, and copy or convert it again"
                ) from error
            if self._overlaps(record, variant.start, variant.end):
                yield record

    def _read_line(self) -> str | None:
        try:
            line = self._text.readline()
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InputError(
                f"{self.name}, line {self._line + 1}: the compressed data are cut off or damaged "
                f"({error}). Copy the file again"
            ) from error
        if not line:
            if self._tail is not None and self._bgzf and self._tail.last != BGZF_END:
                raise cut_off(self.name)
            return None
        self._line += 1
        return line.decode("utf-8", "surrogateescape")

    def _record(self, line: str) -> Record | None:
        text = line.rstrip("\r\n")
        where = f"{self.name}, line {self._line}"
        if not text.strip():
            if text or self._text.read(1):
                raise InputError(f"{where}: a record was required; got an empty line. Remove it")
            return None  # an empty line at the very end
        n_fields = text.count("\t") + 1
        if n_fields != self.header.n_columns:
            raise InputError(
                f"{where}: {self.header.n_columns} columns separated by tabs are required, as in the "
                f"header; got {n_fields}: {text[:120]!r}"
            )
        record = _split(text, self._line, line[len(text) :])
        if not 0 <= record.pos <= _MAX_POSITION or "\0" in text:
            raise InputError(
                f"{where}: POS must be a whole number from 0 to {_MAX_POSITION}; got {text[:120]!r}"
            )
        if not record.contig or not record.ref or "" in record.alts:
            raise InputError(f"{where}: CHROM, REF and each ALT must not be empty; got {text[:120]!r}")
        if self._judge is None:
            return record
        fixed = text.split("\t", N_FIXED_COLUMNS)[:N_FIXED_COLUMNS]  # samples are not looked at
        try:
            self._variant = self._judge.variant_from_string(htslib_text("\t".join(fixed)))
        except Exception as error:  # cyvcf2 raises plain Exception
            raise InputError(
                f"{where}: a record of the VCF standard is required; htslib cannot parse "
                f"{text[:120]!r}. Correct or remove it"
            ) from error
        return record

    def _wanted(self, record: Record) -> bool:
        if self.region is None:
            return True
        start, end = record.pos - 1, self._variant.end
        return self._overlaps(record, start, max(end, start + 1))

    def _overlaps(self, record: Record, start: int, end: int) -> bool:
        if self.region is None:
            return True
        self._others.setdefault(record.contig)
        return self.region.overlaps(record.contig, start, end)


def _gunzip(raw: Any) -> IO[bytes]:
    return io.BufferedReader(gzip.GzipFile(fileobj=raw))


def _split(text: str, line: int, line_end: str) -> Record:
    contig, pos, name, ref, alt = text.split("\t", 5)[:5]
    number = int(pos) if pos.isascii() and pos.isdigit() and len(pos) <= _MAX_DIGITS else -1
    return Record(line, text, line_end, contig, number, name, ref, tuple(alt.split(",")))
