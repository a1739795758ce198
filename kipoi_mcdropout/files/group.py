"""Several output files that get their names together or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Generic, Protocol, TypeVar

from kipoi_mcdropout.files.atomic import STDOUT, AtomicFile

Item = TypeVar("Item", contravariant=True)


class Writer(Protocol[Item]):
    """Writes items as they come."""

    def write(self, item: Item, /) -> None:
        """Append an item."""
        ...

    def close(self) -> None:
        """Finish the file."""
        ...


class OutputGroup:
    """The outputs of a run: each locked and hidden until all are whole. Standard output has no file.

    Use as a context: leaving it by an exception removes what is unfinished. `commit` gives all files
    their names.

    Parameters
    ----------
    paths : sequence of Path
    overwrite : bool
        Replace files that exist.
    fresh : bool
        Remove what a killed run has left of these outputs.

    Attributes
    ----------
    is_naming : bool
        Whether the files are getting their names; from here on an interrupted run can be completed.

    Raises
    ------
    OutputError
        If a file cannot be made, exists and overwrite is not set, or is being written by another run.
    """

    def __init__(self, paths: Sequence[Path], overwrite: bool = False, fresh: bool = True) -> None:
        self.files: dict[Path, AtomicFile] = {}
        self.is_naming = False
        try:
            for path in paths:
                if str(path) != STDOUT:
                    self.files[path] = AtomicFile(path, overwrite, fresh)
        except BaseException:
            self.discard()
            raise

    def add(self, path: Path) -> Path:
        """Another output, which replaces one that exists; returns where it is to be written."""
        self.files[path] = AtomicFile(path, overwrite=True)
        return self.files[path].temporary

    def temporary(self, path: Path) -> Path | None:
        """Where the data of an output are to be written; None for standard output."""
        return self.files[path].temporary if path in self.files else None

    def names(self) -> list[list[str]]:
        """Temporary and final path of each file."""
        return [[str(file.temporary), str(file.target)] for file in self.files.values()]

    def commit(self, announce: Callable[[], None] = lambda: None) -> None:
        """Give all files their names; `announce` is called when all are whole and none has its name."""
        for file in self.files.values():
            file.seal()
        announce()
        self.is_naming = True
        for file in self.files.values():
            file.rename()
        self.is_naming = False

    def discard(self) -> None:
        """Remove unfinished files, unless the files were getting their names; release the locks."""
        for file in self.files.values():
            if not self.is_naming:
                file.remove_leftovers()
            file.release()
        self.files.clear()

    def __enter__(self) -> OutputGroup:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.discard()


class Writers(Generic[Item]):
    """Writes every item to several writers."""

    def __init__(self) -> None:
        self._writers: list[Writer[Item]] = []

    def add(self, writer: Writer[Item]) -> None:
        """One more."""
        self._writers.append(writer)

    def write(self, item: Item) -> None:
        """Append an item to every file."""
        for writer in self._writers:
            writer.write(item)

    def close(self) -> None:
        """Finish all files."""
        while self._writers:
            self._writers.pop(0).close()

    def abandon(self) -> None:
        """Close all files, whatever their state: they are to be removed."""
        while self._writers:
            with contextlib.suppress(OSError, RuntimeError, ValueError):  # e.g. the disk is full
                self._writers.pop(0).close()


@contextlib.contextmanager
def open_writers(
    group: OutputGroup, paths: Sequence[Path], open_one: Callable[[str, Path | None], Writer[Item]]
) -> Iterator[Writers[Item]]:
    """A writer for each output of a group; closed when the context is left.

    Parameters
    ----------
    open_one : callable
        (name of the file, temporary path) -> writer; the path is None for standard output.
    """
    writers: Writers[Item] = Writers()
    try:
        for path in paths:
            writers.add(open_one(path.name, group.temporary(path)))
        yield writers
        writers.close()
    except BaseException:
        writers.abandon()
        raise
