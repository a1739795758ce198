"""The first lines of an input, which will be read again, from files and pipes alike."""

from __future__ import annotations

import io
import zlib
from typing import IO, Any

from kipoi_mcdropout.sequence.byte_source import GZIP_MAGIC

_MOST_BYTES = 2**16
_COMMENT = b"#"


class Prefixed(io.RawIOBase):
    """A stream with the bytes that were taken from it put back in front."""

    def __init__(self, start: bytes, raw: Any) -> None:
        self._start, self._raw = start, raw

    def readable(self) -> bool:
        """As a stream that is read is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what was put back, then what follows it."""
        if not self._start:
            return int(self._raw.readinto1(buffer))
        n = min(len(buffer), len(self._start))
        buffer[:n], self._start = self._start[:n], self._start[n:]
        return n


def first_bytes(raw: Any) -> tuple[IO[bytes], bytes]:
    """The input as if nothing was read of it, and its first bytes, packed as they are.

    So many are read that a whole line without a leading "#" is among them, or that the first line says
    that it is a VCF; at most 64 kB. A pipe is not waited for longer than that takes.
    """
    start = b""
    while len(start) < _MOST_BYTES and not _is_enough(unpacked_start(start)):
        if not (more := raw.read1(_MOST_BYTES)):
            break
        start += more
    if raw.seekable():
        raw.seek(0)
        return raw, start
    return io.BufferedReader(Prefixed(start, raw)), start


def unpacked_start(start: bytes) -> bytes:
    """The begin of a file, unpacked as far as it goes, where it is gzipped."""
    if not start.startswith(GZIP_MAGIC):
        return start
    found, unpack = b"", zlib.decompressobj(wbits=31)
    try:
        while start and len(found) < _MOST_BYTES:  # bgzip writes one block after the other
            found += unpack.decompress(start)
            start, unpack = unpack.unused_data, zlib.decompressobj(wbits=31)
    except zlib.error:  # the reader says what is wrong with it
        pass
    return found


def _is_enough(text: bytes) -> bool:
    *lines, _ = text.split(b"\n")
    return bool(lines) and (
        text.startswith(b"##") or any(line.strip() and not line.startswith(_COMMENT) for line in lines)
    )
