"""One folder for all temporary files of a run; what a killed run left is removed by the next one."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "kipoi_mcdropout_"
_LOCK = "owner.lock"  # its owner holds a lock on it, which ends with the process however that ends


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new folder in the directory for temporary files, removed at the end."""
    _remove_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}"))
    try:
        with (folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            folder = folder.rename(folder.with_name(folder.name[1:]))  # seen by others once it is locked
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned() -> None:
    """Remove the folders whose owner is gone; those of other users stay."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), (folder / _LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
