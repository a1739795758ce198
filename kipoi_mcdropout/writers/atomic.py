"""Files that appear under their name only when they are whole."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from kipoi_mcdropout.errors import OutputError
from kipoi_mcdropout.first_line import PROVENANCE_KEY as PROVENANCE_KEY
from kipoi_mcdropout.first_line import first_line
from kipoi_mcdropout.standard_output import results

if TYPE_CHECKING:
    import pandas as pd

STDOUT = "-"  # as the name of an output: tab-separated text on standard output


class AtomicFile:
    """A file written under a temporary name in the same folder, then renamed.

    Raises
    ------
    OutputError
        If the folder does not exist or cannot be written to, or if the file exists and `overwrite`
        was not asked for.
    """

    def __init__(self, path: str | Path, overwrite: bool = False) -> None:
        self.path = Path(path)
        self.overwrite = overwrite
        check_free([self.path], overwrite)
        try:
            handle, name = tempfile.mkstemp(
                prefix=f".{self.path.name}.", suffix=".partial", dir=self.path.parent
            )
        except OSError as error:
            raise _no_folder(self.path, error) from error
        os.close(handle)
        self.temporary = Path(name)

    def commit(self) -> None:
        """Put the finished file in its place."""
        umask = os.umask(0)
        os.umask(umask)
        self.temporary.chmod(0o666 & ~umask)  # mkstemp's files are private
        check_free([self.path], self.overwrite)  # somebody may have made it meanwhile
        os.replace(self.temporary, self.path)

    def discard(self) -> None:
        """Remove the unfinished file; nothing where it is gone already."""
        self.temporary.unlink(missing_ok=True)


def write_tsv(
    table: pd.DataFrame,
    path: str | Path,
    overwrite: bool = False,
    provenance: dict[str, Any] | None = None,
) -> None:
    """Write a small table whole; provenance, if any, and the number of rows become a first line of
    comment, as JSON.

    To standard output where the path is "-".
    """
    if str(path) == STDOUT:
        _write_tsv(table, results(), provenance)
        results().flush()
        return
    file = AtomicFile(path, overwrite)
    try:
        with file.temporary.open("w", encoding="utf-8") as text:
            _write_tsv(table, text, provenance)
        file.commit()
    except BaseException:
        file.discard()
        raise


def _write_tsv(table: pd.DataFrame, text: IO[str], provenance: dict[str, Any] | None) -> None:
    if provenance is not None:
        text.write(first_line(provenance, len(table)))
    table.to_csv(text, sep="\t", index=False)


def make_folder_beside(output: Path, name: str) -> Path:
    """A folder next to an output, made if it is not there; OutputError where it cannot be made."""
    folder = output.parent / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _no_folder(output, error) from error
    return folder


def _no_folder(output: Path, error: OSError) -> OutputError:
    return OutputError(
        f"output {output} needs a folder that can be written to; {output.parent}: {error.strerror}. "
        "Choose another place with -o"
    )


def check_free(paths: Iterable[Path], overwrite: bool) -> None:
    """Raise OutputError unless every path can be created in an existing folder."""
    for path in paths:
        if str(path) == STDOUT:
            continue
        if not path.parent.is_dir():
            raise OutputError(
                f"output {path} needs an existing folder; there is no {path.parent}. Create it first"
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
                f"output {path} must end in one of {', '.join(suffixes)}, which say its format"
            )
    if len({path.absolute() for path in checked}) < len(checked):
        raise OutputError(f"outputs must differ; got {', '.join(map(str, paths))}")
    return checked
