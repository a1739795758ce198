"""Files that get their name only when they are complete and on the disk.

This is the one place in the package where files are put in place: the data are written to a temporary
name in the same folder, synced, renamed, and the folder is synced.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from kipoi_mcdropout.errors import OutputError
from kipoi_mcdropout.files.first_line import first_line
from kipoi_mcdropout.files.lock import OutputLock, hidden
from kipoi_mcdropout.files.standard_output import results

if TYPE_CHECKING:
    import pandas as pd

STDOUT = "-"  # as the name of an output: tab-separated text on standard output
_TEMPORARY = ("partial", "rows")  # kinds of hidden files of an output that is being made
_ADDED_TO_NAME = len("..failed.tsv.partial")  # the most that a hidden file's name is longer


class AtomicFile:
    """A file written as `.NAME.partial` in the same folder, then renamed. It is locked meanwhile.

    Where the path is a symbolic link, the file that it points to is replaced.

    Parameters
    ----------
    path : str or Path
    overwrite : bool
        Replace a file that exists.
    fresh : bool
        Remove what a killed run has left of this output.

    Attributes
    ----------
    temporary : Path
        Where the data are to be written.
    rows : Path
        A second temporary file, for writers that need one.

    Raises
    ------
    OutputError
        If the folder does not exist or cannot be written to, if the file exists and `overwrite` was
        not asked for, or if another run is writing it.
    """

    def __init__(self, path: str | Path, overwrite: bool = False, fresh: bool = True) -> None:
        self.path = Path(path)
        self.overwrite = overwrite
        check_free([self.path], overwrite)
        self.target = Path(os.path.realpath(self.path))
        self.temporary, self.rows = (hidden(self.target, kind) for kind in _TEMPORARY)
        self._lock = OutputLock(self.target)
        if fresh:
            self.remove_leftovers()

    def remove_leftovers(self) -> None:
        """Remove the temporary files, also those of a run that was killed."""
        self.temporary.unlink(missing_ok=True)
        self.rows.unlink(missing_ok=True)

    def seal(self) -> None:
        """The data are whole: make sure that they are on the disk."""
        check_free([self.path], self.overwrite)  # another program may have created it meanwhile
        sync(self.temporary)

    def rename(self) -> None:
        """Give the sealed file its name."""
        os.replace(self.temporary, self.target)
        sync_folder(self.target.parent)

    def commit(self) -> None:
        """Put the finished file in its place."""
        self.seal()
        self.rename()
        self.discard()

    def discard(self) -> None:
        """Remove the unfinished file, if there is one, and release the lock."""
        self.remove_leftovers()
        self.release()

    def release(self) -> None:
        """Let go of the lock; temporary files stay."""
        self._lock.release()


@contextlib.contextmanager
def atomic_path(path: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """A temporary path to write to; the file has its name when the context is left without an error."""
    file = AtomicFile(path, overwrite)
    try:
        yield file.temporary
        file.commit()
    except BaseException:
        file.discard()
        raise


def replace_file(path: Path, pieces: Iterable[bytes], durable: bool = True) -> None:
    """Write a small internal file atomically, and sync it.

    `durable=False` leaves the syncing out.
    """
    temporary = path.with_name(path.name + ".new")
    try:
        with temporary.open("wb") as file:
            file.writelines(pieces)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def sync(path: Path) -> None:
    """Wait until the data of a file are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk; some file systems cannot say."""
    with contextlib.suppress(OSError):
        sync(folder)


def write_tsv(
    table: pd.DataFrame,
    path: str | Path,
    overwrite: bool = False,
    provenance: dict[str, Any] | None = None,
) -> None:
    """Write a small table whole.

    Provenance, if any, and the number of rows become a first line of comment, as JSON.
    To standard output where the path is "-".
    """
    if str(path) == STDOUT:
        _write_tsv(table, results(), provenance)
        results().flush()
        return
    with atomic_path(path, overwrite) as temporary, temporary.open("w", encoding="utf-8") as text:
        _write_tsv(table, text, provenance)


def _write_tsv(table: pd.DataFrame, text: IO[str], provenance: dict[str, Any] | None) -> None:
    if provenance is not None:
        text.write(first_line(provenance, len(table)))
    table.to_csv(text, sep="\t", index=False)


def check_free(paths: Iterable[Path], overwrite: bool) -> None:
    """Raise OutputError unless every path can be created in an existing folder."""
    for path in paths:
        if str(path) == STDOUT:
            continue
        if not path.parent.is_dir():
            raise OutputError(
                f"output {path} needs an existing folder; there is no {path.parent}. Create it first"
            )
        longest = os.pathconf(path.parent, "PC_NAME_MAX") - _ADDED_TO_NAME
        if len(os.fsencode(path.name)) > longest:
            raise OutputError(
                f"the name of an output must have at most {longest} bytes, because hidden files beside "
                f"it have longer names; got {path.name}"
            )
        if path.is_dir():
            raise OutputError(f"output {path} is a folder; give the name of a file")
        if path.exists() and not overwrite:
            raise OutputError(f"output {path} exists; add --overwrite to replace it")


def check_outputs(paths: Sequence[str | Path], suffixes: Sequence[str]) -> list[Path]:
    """The paths, each with one of the suffixes and no two the same; else OutputError.

    One may be "-", standard output, if it can have text, .tsv.
    """
    checked = [Path(path) for path in paths]
    for path in checked:
        if str(path) == STDOUT and ".tsv" in suffixes:
            continue
        if not path.name.endswith(tuple(suffixes)):
            raise OutputError(
                f"output {path} must end in one of {', '.join(suffixes)}, which sets its format"
            )
    if len({path.absolute() for path in checked}) < len(checked):
        raise OutputError(f"outputs must differ; got {', '.join(map(str, paths))}")
    return checked
