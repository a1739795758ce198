"""Records of a VCF, one at a time: plain, gzipped, bgzipped, BCF, or from standard input.

The text of a record is kept as it is, so that it can be written again byte for byte; htslib (by
cyvcf2) judges whether it is well formed. Nothing is written beside the user's file.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import cyvcf2

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.vcf.header import Header
from kipoi_mcdropout.vcf.region import Region, find_index, offset_of, parse_region

STDIN = "-"
_GZIP = b"\x1f\x8b"
_BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
_MAX_POSITION = 2**31 - 2


@dataclass(frozen=True)
class Record:
    """One line of a VCF."""

    line: int  # number in the file, from 1; of the record in a BCF
    text: str  # without its line end
    line_end: str
    contig: str
    pos: int  # 1-based, as in the file
    id: str
    ref: str
    alts: tuple[str, ...]


class VcfReader:
    """Stream the records of a VCF in the order of the file.

    Parameters
    ----------
    path : str or Path
        "-" is standard input.
    region : str, optional
        Only records that overlap it, in htslib's style. An index beside the file is used if there is
        one; else the whole file is read.

    Raises
    ------
    InputError
        Naming the file and the line, if it is no VCF or a line is malformed or cut off.
    """

    def __init__(self, path: str | Path, region: str | None = None) -> None:
        self.name = "standard input" if str(path) == STDIN else str(path)
        self._stack = ExitStack()
        self._line = 0
        try:
            self._open(path)
            self.region = (
                None if region is None else parse_region(region, self.header.declared("contig"))
            )
            self._judge = self._htslib()
        except BaseException:
            self.close()
            raise

    def _open(self, path: str | Path) -> None:
        raw: IO[bytes]
        if str(path) == STDIN:
            raw = sys.stdin.buffer
            self.path = None
        else:
            self.path = Path(path)
            if not self.path.is_file():
                raise InputError(f"the input must be a VCF file; {path} is not there. Check the path")
            raw = self._stack.enter_context(self.path.open("rb"))
        start = raw.peek(1024)[:1024]  # type: ignore[attr-defined]
        if not start:
            raise InputError(f"{self.name} is empty; a VCF is required. Check what wrote it")
        self.bcf: Any = None
        if _first_bytes(start).startswith(b"BCF"):
            self._open_bcf(raw)
            return
        self.compressed = start.startswith(_GZIP)
        self._bgzf = self.compressed and start[3:4] == b"\x04" and start[12:14] == b"BC"
        if self._bgzf and self.path is not None:
            self._check_end(self.path)
        self._text: IO[bytes] = io.BufferedReader(gzip.GzipFile(fileobj=raw)) if self.compressed else raw  # type: ignore[arg-type]
        lines: list[str] = []
        while not lines or lines[-1].startswith("##"):
            line = self._read_line()
            if line is None or not line.startswith("#"):
                break
            lines.append(line.rstrip("\r\n"))
        self.header = Header(lines, self.name)

    def _open_bcf(self, raw: IO[bytes]) -> None:
        self.compressed = True
        if self.path is None:  # htslib wants the bytes that were read to know the format
            folder = tempfile.mkdtemp(prefix="kipoi_mcdropout_")
            self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
            path = Path(folder) / "stdin.bcf"
            with path.open("wb") as copy:
                shutil.copyfileobj(raw, copy)
        else:
            path = self.path
        try:
            self.bcf = cyvcf2.VCF(str(path))
        except OSError as error:
            raise InputError(
                f"{self.name} must be a VCF or BCF; htslib cannot read it: {error}. Check it with "
                "`bcftools view`, and copy or convert it again"
            ) from error
        self._stack.callback(self.bcf.close)
        self.header = Header(self.bcf.raw_header.rstrip("\n").split("\n"), self.name)

    def _check_end(self, path: Path) -> None:
        with path.open("rb") as file:
            file.seek(-min(len(_BGZF_END), path.stat().st_size), os.SEEK_END)
            if file.read() != _BGZF_END:
                raise InputError(
                    f"{path} is cut off: the marker that ends a bgzipped file is missing. Copy it again"
                )

    def _htslib(self) -> Any:
        try:
            judge = cyvcf2.Writer.from_string(os.devnull, "\n".join(self.header.lines) + "\n")
        except Exception as error:  # cyvcf2 raises plain Exception and OSError
            raise InputError(
                f"{self.name}, lines 1-{len(self.header.lines)}: htslib rejects the header: {error}. "
                "Mend it (bcftools reheader)"
            ) from error
        self._stack.callback(judge.close)
        return judge

    def __iter__(self) -> Iterator[Record]:
        if self.bcf is not None:
            yield from self._bcf_records()
            return
        index = find_index(self.path) if self.region and self._bgzf and self.path else None
        if index is not None and self.region is not None:
            yield from self._indexed(index, self.region)
            return
        while (line := self._read_line()) is not None:
            if (record := self._record(line)) is not None and self._wanted(record):
                yield record

    def _indexed(self, index: Path, region: Region) -> Iterator[Record]:
        """Records of a region of a sorted file, from where the index says to where they end."""
        offset = offset_of(index, region)
        if offset is None:
            return
        assert self.path is not None
        with self.path.open("rb") as raw:
            raw.seek(offset >> 16)
            self._text = io.BufferedReader(gzip.GzipFile(fileobj=raw))  # type: ignore[arg-type]
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
            except StopIteration:
                return
            except Exception as error:
                raise InputError(
                    f"{self.name}, record {number}: htslib cannot read it: {error}. Check it with "
                    "`bcftools view`, and copy or convert it again"
                ) from error
            record = _split(str(variant).rstrip("\n"), number, "\n")
            if self.region is None or self.region.overlaps(record.contig, variant.start, variant.end):
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
                f"{where}: {self.header.n_columns} columns apart by tabs are required, as in the "
                f"header; got {n_fields}: {text[:120]!r}"
            )
        record = _split(text, self._line, line[len(text) :])
        digits = text.split("\t", 2)[1]
        if not (digits.isascii() and digits.isdigit()) or record.pos > _MAX_POSITION or "\0" in text:
            raise InputError(f"{where}: POS must be a whole number from 0; got {text[:120]!r}")
        if not record.contig or not record.ref or "" in record.alts:
            raise InputError(f"{where}: CHROM, REF and each ALT must not be empty; got {text[:120]!r}")
        try:
            self._variant = self._judge.variant_from_string(text)
        except Exception as error:  # cyvcf2 raises plain Exception
            raise InputError(
                f"{where}: a record of the VCF standard is required; htslib cannot parse "
                f"{text[:120]!r}. Mend or remove it"
            ) from error
        return record

    def _wanted(self, record: Record) -> bool:
        start, end = record.pos - 1, self._variant.end
        return self.region is None or self.region.overlaps(record.contig, start, max(end, start + 1))

    def close(self) -> None:
        """Close what was opened."""
        self._stack.close()

    def __enter__(self) -> VcfReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _first_bytes(start: bytes) -> bytes:
    if not start.startswith(_GZIP):
        return start
    try:
        return zlib.decompressobj(wbits=31).decompress(start, 16)
    except zlib.error:
        return b""


def _split(text: str, line: int, line_end: str) -> Record:
    contig, pos, name, ref, alt = text.split("\t", 5)[:5]
    number = int(pos) if pos.isascii() and pos.isdigit() else -1
    return Record(line, text, line_end, contig, number, name, ref, tuple(alt.split(",")))
