"""Several files written at once, that appear together or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from kipoi_mcdropout.writers.atomic import STDOUT, AtomicFile, check_free, check_outputs

Item = TypeVar("Item", contravariant=True)


class Writer(Protocol[Item]):
    """Writes items as they come."""

    def write(self, item: Item, /) -> None:
        """Append an item."""
        ...

    def close(self) -> None:
        """Finish the file."""
        ...


class _Stdout:
    """Standard output in the place of a file: what is written is out at once."""

    temporary: Path | None = None

    def commit(self) -> None:
        """Nothing is left to do."""

    def discard(self) -> None:
        """Nothing can be undone."""


class FileGroup(Generic[Item]):
    """Writes every item to all files.

    Use as a context: leaving it normally puts the files in place, leaving it by an exception removes
    everything.

    Parameters
    ----------
    paths : sequence of str or Path
    suffixes : sequence of str
        Those allowed.
    open_one : callable
        (name of the file, temporary path) -> writer; the path is None for standard output.
    overwrite : bool

    Raises
    ------
    OutputError
        If a file cannot be made, or exists and overwrite is not set.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        suffixes: Sequence[str],
        open_one: Callable[[str, Path | None], Writer[Item]],
        overwrite: bool = False,
    ) -> None:
        checked = check_outputs(paths, suffixes)
        check_free(checked, overwrite)
        self._files: list[AtomicFile | _Stdout] = []
        self._writers: list[Writer[Item]] = []
        try:
            for path in checked:
                file = _Stdout() if str(path) == STDOUT else AtomicFile(path, overwrite)
                self._files.append(file)
                self._writers.append(open_one(path.name, file.temporary))
        except BaseException:
            self._discard()
            raise

    def __enter__(self) -> FileGroup[Item]:
        return self

    def write(self, item: Item) -> None:
        """Append an item to every file."""
        for writer in self._writers:
            writer.write(item)

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            for writer in self._writers:
                writer.close()
            for file in self._files:
                file.commit()
        except BaseException:
            self._discard()
            raise

    def _discard(self) -> None:
        for writer in self._writers:
            try:
                writer.close()
            except (
                OSError,
                RuntimeError,
                ValueError,
            ):  # e.g. the disk is full; the file goes anyway
                continue
        for file in self._files:
            file.discard()
