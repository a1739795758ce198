"""Where the bytes of a VCF come from, and whether all of them came."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import sys
import tempfile
import zlib
from pathlib import Path
from typing import IO

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.sequence.byte_source import BGZF_END, GZIP_MAGIC, PlainFile, bgzf_block_bytes

STDIN = "-"
_PEEKED_BYTES = 1024
_BCF_MAGIC = b"BCF\x02"


def is_stream(path: str | Path) -> bool:
    """Whether a path is standard input or a pipe, which can be read only once."""
    if str(path) == STDIN:
        return True
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def check_is_input(path: str | Path) -> None:
    """Refuse what cannot be opened as an input.

    Raises
    ------
    InputError
        If it is not there, closed, a folder, or may not be read.
    """
    if str(path) == STDIN:
        if sys.stdin is None:  # so it is where the caller closed it (<&-)
            raise InputError("standard input is closed; send a VCF to it, or give the path of a file")
        return
    try:
        folder = stat.S_ISDIR(os.stat(path).st_mode)
    except OSError as error:
        reason = "is not there" if isinstance(error, FileNotFoundError) else f": {error.strerror}"
        raise InputError(
            f"the input must be a VCF or another file of variants; {path} {reason}. Check the path"
        ) from error
    if folder or not os.access(path, os.R_OK):
        reason = "is a folder" if folder else "is not readable"
        raise InputError(
            f"the input must be a VCF or another file of variants; {path} {reason}. Check the path")


class Tail:
    """Reads from a binary file and remembers the last bytes, as wide as the end marker of bgzip."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        """Read as the file does."""
        data = self._raw.read(size)
        self.last = (self.last + data)[-len(BGZF_END) :]
        return data


def cut_off(name: str) -> InputError:
    """The error of a bgzipped input that is not whole."""
    return InputError(
        f"{name} is cut off: the marker that ends a bgzipped file is missing. Copy or make it again"
    )


def is_bgzf(start: bytes) -> bool:
    """Whether a file that begins so is bgzipped, not gzipped in another way."""
    return bgzf_block_bytes(start[:18]) is not None


def is_bcf(start: bytes) -> bool:
    """Whether a file that begins so is a BCF, compressed or not."""
    if start.startswith(GZIP_MAGIC):
        try:
            start = zlib.decompressobj(wbits=31).decompress(start, 16)
        except zlib.error:
            return False
    return start.startswith(_BCF_MAGIC)


def peek(raw: IO[bytes]) -> bytes:
    """The first bytes, which will be read again."""
    return raw.peek(_PEEKED_BYTES)[:_PEEKED_BYTES]  # type: ignore[attr-defined,no-any-return]


def check_bgzf_end(path: Path, name: str) -> None:
    """Refuse a bgzipped file without its end marker."""
    with path.open("rb") as file:
        file.seek(-min(len(BGZF_END), path.stat().st_size), os.SEEK_END)
        if file.read() != BGZF_END:
            raise cut_off(name)


def spooled(raw: IO[bytes]) -> IO[bytes]:
    """A copy of a stream in a file without a name, which is gone with this process."""
    copy = tempfile.TemporaryFile()  # noqa: SIM115
    shutil.copyfileobj(raw, copy)
    copy.flush()
    copy.seek(0)
    return copy


def path_of(file: IO[bytes]) -> str:
    """A path by which another library can open a file that may have no name."""
    return f"/dev/fd/{file.fileno()}"


def check_bcf_end(path: Path, name: str) -> None:
    """Refuse a BCF that is cut off: its end marker, or its last record, is missing.

    The format is that of BCFv2 of samtools/hts-specs: lengths stand before the header and each record.
    """
    source = PlainFile(path)
    try:
        if source.read_at(0, 2) == GZIP_MAGIC:
            if source.read_at(source.size - len(BGZF_END), len(BGZF_END)) != BGZF_END:
                raise cut_off(name)
            return
        place, head = 0, source.read_at(0, 9)
        if len(head) == 9:
            place = 9 + struct.unpack_from("<I", head, 5)[0]
            while len(lengths := source.read_at(place, 8)) == 8:
                place += 8 + sum(struct.unpack("<II", lengths))
        if place != source.size:
            raise InputError(f"{name} is cut off: its last record is not whole. Copy or make it again")
    finally:
        source.close()
