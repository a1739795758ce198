"""A lock on an output file or folder: two runs never write the same one at once."""

from __future__ import annotations

import contextlib
from pathlib import Path

import filelock

from kipoi_mcdropout.errors import OutputError


def hidden(path: Path, kind: str) -> Path:
    """The hidden file or folder of a kind that belongs to an output, beside it: `.NAME.KIND`."""
    return path.with_name(f".{path.name}.{kind}")


class OutputLock:
    """Holds `.NAME.lock` beside an output until `release`; the system frees it when the process dies.

    Parameters
    ----------
    path : Path
        The output. It need not exist.

    Raises
    ------
    OutputError
        If another run holds the lock, or the folder cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = hidden(path, "lock")
        self._lock = filelock.FileLock(self.path, timeout=0, thread_local=False)
        try:
            self._lock.acquire()
        except filelock.Timeout as error:
            if not self.path.exists():  # it could not be made, which filelock takes for a race
                raise _cannot_write(path, "no file can be made there") from error
            raise OutputError(
                f"another run is writing {path} now. Wait until it has finished, or choose another "
                "output"
            ) from error
        except OSError as error:
            raise _cannot_write(path, error.strerror) from error
        except BaseException:  # Ctrl-C, perhaps when the file was there and not yet locked
            with contextlib.suppress(OSError, filelock.Timeout):
                self._lock.acquire()
            self.release()
            raise

    def release(self) -> None:
        """Remove the lock file and release the lock; does nothing the second time."""
        if self._lock.is_locked:
            # Removed while it is held: whoever opened it meanwhile sees that the file has no name.
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
            self._lock.release()

    def __del__(self) -> None:
        self.release()


def _cannot_write(path: Path, why: str | None) -> OutputError:
    return OutputError(
        f"output {path} needs a folder that can be written to; {path.parent}: {why}. Choose another "
        "place or name"
    )
