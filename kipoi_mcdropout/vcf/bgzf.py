"""Write the blocked gzip format of htslib (SAM specification, section 4.1), whole blocks at a time."""

from __future__ import annotations

import struct
import zlib
from typing import IO

_BLOCK_BYTES = 0xFF00  # of text in a block, as in htslib
END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
_LEVEL = 6


class BgzfWriter:
    """Compress what is written in blocks; the bytes depend only on what is written and flushed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._waiting = bytearray()

    def write(self, data: bytes) -> None:
        """Take bytes in; whole blocks are written."""
        self._waiting += data
        while len(self._waiting) >= _BLOCK_BYTES:
            self._file.write(_block(bytes(self._waiting[:_BLOCK_BYTES])))
            del self._waiting[:_BLOCK_BYTES]

    def flush(self) -> None:
        """End the block, so that all that was taken in is in the file."""
        if self._waiting:
            self._file.write(_block(bytes(self._waiting)))
            self._waiting.clear()
        self._file.flush()

    def finish(self) -> None:
        """Write the rest and the marker that ends the file."""
        self.flush()
        self._file.write(END)
        self._file.flush()


def _block(data: bytes) -> bytes:
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -15)
    body = deflate.compress(data) + deflate.flush()
    size = len(body) + 25  # of the block, less one: 18 bytes before the body and 8 after it
    head = struct.pack("<4BI2BH2BHH", 31, 139, 8, 4, 0, 0, 255, 6, 66, 67, 2, size)
    return head + body + struct.pack("<II", zlib.crc32(data), len(data))
