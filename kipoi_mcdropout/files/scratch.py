"""A temporary folder of a run. If the run is killed, the next run removes it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import filelock

_PREFIX = "kipoi_mcdropout_"
_LOCK = "lock"  # held by the process that the folder belongs to


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder for temporary files; those of this user's runs that were killed are removed."""
    _remove_abandoned(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    lock = filelock.FileLock(folder / _LOCK, timeout=0, thread_local=False)
    try:
        lock.acquire()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def _remove_abandoned(place: Path) -> None:
    for folder in place.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError, filelock.Timeout):
            if folder.stat().st_uid == os.getuid() and (folder / _LOCK).exists():
                with filelock.FileLock(folder / _LOCK, timeout=0):
                    shutil.rmtree(folder)
