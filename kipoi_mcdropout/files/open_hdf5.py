"""Open an HDF5 result, and say what is wrong where it cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.hdf5 import FORMAT, FORMAT_VERSION, PREDICTION_FORMAT
from kipoi_mcdropout.files.read_tables import reading


def existing(path: str | Path) -> Path:
    """The path, InputError if there is no such file."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no result file {path}. Check the path")
    return path


def is_hdf5(path: Path) -> bool:
    """Whether a result is HDF5, by its name."""
    return path.name.endswith((".h5", ".hdf5"))


def open_hdf5(path: Path) -> h5py.File:
    """An HDF5 result of this version; else InputError."""
    try:
        # Results appear under their name when they are whole, so no lock is needed to read one; and
        # network file systems often have none.
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        if "unable to lock" in str(error) or "file locking flag" in str(error):
            raise OSError(
                f"{path} cannot be locked: {error}. The file itself may be sound. Another program has "
                "it open, or the file system (NFS, Lustre) has no locks: set HDF5_USE_FILE_LOCKING=FALSE"
            ) from error
        raise InputError(
            f"{path} cannot be read as HDF5: {error}. It is damaged, cut, or no HDF5 file. Write or "
            "copy it again"
        ) from error
    with reading(path):
        kind, version = file.attrs.get("format"), file.attrs.get("format_version")
    if kind == PREDICTION_FORMAT:
        file.close()
        raise InputError(
            f"{path} is a result of `predict`: it has predictions and no effects. Give the result of "
            "`ism`"
        )
    if kind != FORMAT or version != FORMAT_VERSION:
        file.close()
        raise InputError(
            f"{path} must be a {FORMAT!r} file of version {FORMAT_VERSION}; got {kind!r}, version "
            f"{version}. Write it again with this version of kipoi_mcdropout"
        )
    return file


def check_score(score: str, known: Sequence[str], path: str | Path) -> None:
    """InputError unless a result has the score."""
    if score not in known:
        raise InputError(f"score {score!r} is not in {path}; it has {', '.join(known)}")
