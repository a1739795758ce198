"""What all readers of variants have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import TypeVar

from kipoi_mcdropout.vcf.read.header import Header
from kipoi_mcdropout.vcf.read.record import Record

Own = TypeVar("Own", bound="RecordReader")


class RecordReader(ABC):
    """Streams records in the order of a file, as a context that closes what was opened.

    Attributes
    ----------
    name : str
        Of the file, for errors.
    header : Header
    notices : list of str
        What is odd about the file, though it is read.
    """

    header: Header
    notices: list[str]

    def __init__(self, name: str) -> None:
        self.name = name
        self._stack = ExitStack()

    @abstractmethod
    def __iter__(self) -> Iterator[Record]:
        """Give the records, once."""

    def closes(self, stack: ExitStack) -> None:
        """Leave a stack too when this is closed."""
        self._stack.push(stack)

    def close(self) -> None:
        """Close what was opened."""
        self._stack.close()

    def __enter__(self: Own) -> Own:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
