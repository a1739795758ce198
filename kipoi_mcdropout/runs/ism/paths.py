"""The outputs of a run of ISM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kipoi_mcdropout.errors import InputError, OutputError
from kipoi_mcdropout.files import EFFECT_SUFFIXES
from kipoi_mcdropout.files.atomic import STDOUT, check_free, check_outputs
from kipoi_mcdropout.runs.schedule import Shard

FAILED_SUFFIX = ".failed.tsv"


@dataclass(frozen=True)
class IsmPaths:
    """The outputs of a run; of a shard, the outputs of the whole run."""

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
        """The outputs, after a check that they can be written.

        Parameters
        ----------
        outputs : sequence of str or Path
            .h5, .tsv, .tsv.gz, .parquet, .h5ad; "-" is standard output.
        overwrite, resume : bool
            Outputs may exist.
        shard : Shard, optional

        Raises
        ------
        OutputError
            If an output cannot be made or exists, or a shard is to write to standard output.
        InputError
            If a run to standard output alone is to be resumed.
        """
        paths = cls(tuple(check_outputs(outputs, EFFECT_SUFFIXES)), overwrite, shard, resume)
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
