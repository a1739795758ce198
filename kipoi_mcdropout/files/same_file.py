"""No output may be a file that is read, nor may two outputs be one file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kipoi_mcdropout.errors import OutputError

_STREAM = "-"  # standard input or standard output
FilePath = str | Path


def check_not_inputs(outputs: Iterable[FilePath], inputs: Mapping[str, FilePath | None]) -> None:
    """Raise OutputError where an output is an input or another output, with `overwrite` too.

    The files themselves are compared, so that symbolic links, hard links and different paths of the same
    file are recognised.

    Parameters
    ----------
    outputs : iterable of str or Path
    inputs : mapping of str to str, Path or None
        From a word for each input, such as "the genome", to its path; those without a path are left out.
    """
    read = {_identity(path): (what, path) for what, path in inputs.items() if _is_path(path)}
    written: dict[Any, FilePath] = {}
    for output in outputs:
        if str(output) == _STREAM:
            continue
        key = _identity(output)
        if key in read:
            what, path = read[key]
            same = "" if str(path) == str(output) else f", the same file as {path}"
            raise OutputError(
                f"output {output} is {what}{same}; an output never replaces an input. Give another "
                "output"
            )
        if key in written:
            raise OutputError(
                f"two outputs must be different files; {written[key]} and {output} are the same file. "
                "Give another output"
            )
        written[key] = output


def named_files(value: Any, what: str) -> dict[str, str]:
    """All texts within nested lists and dicts that are paths of files, by where they stand."""
    if isinstance(value, Mapping):
        parts: Iterable[tuple[str, Any]] = ((f"{what} {key}", part) for key, part in value.items())
    elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        parts = ((f"{what} ({i})", part) for i, part in enumerate(value, start=1))
    else:
        return {what: str(value)} if _is_path(value) and _is_file(value) else {}
    return {key: path for name, part in parts for key, path in named_files(part, name).items()}


def _is_path(value: Any) -> bool:
    return isinstance(value, (str, Path)) and str(value) not in ("", _STREAM)


def _is_file(path: FilePath) -> bool:
    try:
        return os.path.isfile(path)
    except ValueError:  # a text with a NUL byte
        return False


def _identity(path: FilePath | None) -> Any:
    """The same for two paths if, and only if, they are of one file, which need not be there yet."""
    assert path is not None
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return os.path.realpath(path)
    return status.st_dev, status.st_ino
