"""Random access to the bytes of a file, or to the uncompressed bytes of a bgzipped file.

Reading never moves a position that others share, so a source may be used after a fork.
"""

from __future__ import annotations

import bisect
import os
import struct
import zlib
from pathlib import Path
from typing import Protocol

from kipoi_mcdropout.errors import InputError

GZIP_MAGIC = b"\x1f\x8b"
BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
_HEADER_BYTES = 18  # of a block whose only extra field is its size


class ByteSource(Protocol):
    """Random access to the uncompressed bytes of a file."""

    size: int  # bytes, uncompressed

    def read_at(self, offset: int, n: int) -> bytes:
        """Up to `n` bytes from `offset`; fewer at the end."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class PlainFile:
    """The bytes of a file as they are."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self._fd).st_size

    def read_at(self, offset: int, n: int) -> bytes:
        """Up to `n` bytes from `offset`; fewer at the end."""
        parts = []
        while n > 0 and (data := os.pread(self._fd, n, offset)):
            parts.append(data)
            offset, n = offset + len(data), n - len(data)
        return b"".join(parts)

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class BgzfFile:
    """What a bgzipped file holds, uncompressed (SAM specification, section 4.1).

    The sizes of its blocks are read once, from their headers; no .gzi index is needed.

    Raises
    ------
    InputError
        If the file is gzipped but not in blocks, damaged, or cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = PlainFile(path)
        self._begins: list[int] = [0]  # of each block, uncompressed
        self._places: list[int] = [0]  # of each block in the file
        self._last: tuple[int, bytes] = (-1, b"")
        try:
            self._find_blocks()
        except BaseException:
            self._file.close()
            raise
        self.size = self._begins[-1]

    def _find_blocks(self) -> None:
        place, end = 0, self._file.size
        while place < end:
            n_bytes = bgzf_block_bytes(self._file.read_at(place, _HEADER_BYTES))
            if n_bytes is None and place == 0:
                raise InputError(
                    f"{self.path} must be plain or bgzipped; it is compressed by gzip, which cannot be "
                    f"read from the middle. Run: gunzip {self.path}"
                )
            if n_bytes is None or place + n_bytes > end:
                raise InputError(f"{self.path} is cut off or damaged at byte {place}. Copy it again")
            (n_uncompressed,) = struct.unpack("<I", self._file.read_at(place + n_bytes - 4, 4))
            place += n_bytes
            self._begins.append(self._begins[-1] + n_uncompressed)
            self._places.append(place)
        if self._file.read_at(end - len(BGZF_END), len(BGZF_END)) != BGZF_END:
            raise InputError(
                f"{self.path} is cut off: the marker that ends a bgzipped file is missing. Copy it again"
            )

    def read_at(self, offset: int, n: int) -> bytes:
        """Up to `n` bytes from `offset`; fewer at the end."""
        parts = []
        end = min(offset + n, self.size)
        while offset < end:
            number = bisect.bisect_right(self._begins, offset) - 1
            first = offset - self._begins[number]
            piece = self._block(number)[first : first + end - offset]
            parts.append(piece)
            offset += len(piece)
        return b"".join(parts)

    def _block(self, number: int) -> bytes:
        if self._last[0] != number:
            place = self._places[number]
            packed = self._file.read_at(place, self._places[number + 1] - place)
            try:
                block = zlib.decompress(packed, wbits=31)
            except zlib.error as error:
                raise InputError(f"{self.path} is damaged at byte {place}: {error}") from error
            if len(block) != self._begins[number + 1] - self._begins[number]:
                raise InputError(f"{self.path} is damaged at byte {place}. Copy it again")
            self._last = number, block
        return self._last[1]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def bgzf_block_bytes(header: bytes) -> int | None:
    """Size of a bgzipped block by its first 18 bytes; None if they begin no such block."""
    if len(header) < _HEADER_BYTES or header[:2] != GZIP_MAGIC or not header[3] & 4:
        return None
    if header[12:16] != b"BC\x02\x00":
        return None
    block_bytes: int | None = struct.unpack_from("<H", header, 16)[0] + 1
    return block_bytes


def open_source(path: Path) -> PlainFile | BgzfFile:
    """The uncompressed bytes of a file, by its content, not by its name."""
    with path.open("rb") as file:
        packed = file.read(2) == GZIP_MAGIC
    return BgzfFile(path) if packed else PlainFile(path)
