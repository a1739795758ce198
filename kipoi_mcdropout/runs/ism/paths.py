"""The outputs of a run of ISM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kipoi_mcdropout.errors import InputError, OutputError
from kipoi_mcdropout.files import SUFFIXES
from kipoi_mcdropout.files.atomic import STDOUT, check_free, check_outputs
from kipoi_mcdropout.runs.schedule import Shard

FAILED_SUFFIX = ".failed.tsv"


@dataclass(frozen=True)
class IsmPaths:
    """The outputs of a run, or of which it is a shard."""

    outputs: tuple[Path, ...]
    overwrite: bool = False
    shard: Shard | None = None
    resume: bool = False

    @classmethod
    def check(
        cls,
        outputs: Sequence[str | Path],
        overwrite: bool,
        shard: Shard | None = None,
        resume: bool = False,
    ) -> IsmPaths:
        """Paths that can be made.

        Raises
        ------
        OutputError
            If one cannot be made, or exists, or a shard has no file.
        InputError
            If a run to standard output alone is to be resumed.
        """
        paths = cls(tuple(check_outputs(outputs, SUFFIXES)), overwrite, shard, resume)
        check_free(paths.outputs, overwrite or resume)
        if shard is not None and STDOUT in map(str, paths.outputs):
            raise OutputError("a shard needs files, not standard output; give names with -o")
        if resume and paths.first is None:
            raise InputError("a run to standard output alone cannot be resumed; give a file with -o")
        return paths

    @property
    def first(self) -> Path | None:
        """The first output that is a file."""
        return next((path for path in self.outputs if str(path) != STDOUT), None)

    @property
    def failed(self) -> Path | None:
        """The table of the sequences that could not be computed, if there are any."""
        return self.first and self.first.with_name(self.first.name + FAILED_SUFFIX)
