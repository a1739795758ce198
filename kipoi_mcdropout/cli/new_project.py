"""A new folder to start from: a small network, a genome, regions, a VCF, and the commands for them."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.atomic import replace_file

_OTHERWISE = "To write down what a model is, give -o: init MODEL -o PATH"


def new_project(folder: Path) -> list[Path]:
    """Make the folder; returns the paths of its files.

    Raises
    ------
    InputError
        If the folder has files already, if what it is to be made in is not there, or if its name is
        that of a file.
    """
    if folder.suffix or ":" in folder.name:
        raise InputError(
            f"FOLDER must be a name without a dot or a colon, for a new folder; got {folder}. "
            f"{_OTHERWISE}"
        )
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(
            f"FOLDER must be new or empty; {folder} exists, and nothing in it was changed. {_OTHERWISE}"
        )
    if not folder.parent.is_dir():
        raise InputError(
            f"FOLDER must be in a folder that exists; there is no {folder.parent}. {_OTHERWISE}"
        )
    folder.mkdir(exist_ok=True)
    return [_copy(name, folder) for name in project_files()]


def project_files() -> list[str]:
    """Names of the files of a new project."""
    kept = files("kipoi_mcdropout.cli") / "project"
    return sorted(path.name for path in kept.iterdir() if path.is_file())


def _copy(name: str, folder: Path) -> Path:
    path = folder / name
    replace_file(path, [(files("kipoi_mcdropout.cli") / "project" / name).read_bytes()])
    return path
