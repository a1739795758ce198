"""Effects of mutants as one object, whether they are in memory or in a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kipoi_mcdropout.arrays.outputs import select_targets
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.atomic import STDOUT, check_free, check_outputs
from kipoi_mcdropout.files.column_types import to_frame
from kipoi_mcdropout.files.effect_rows import effect_tables
from kipoi_mcdropout.files.read import (
    choose_rows,
    has_draws,
    one_score,
    read_draws,
    read_effects,
    read_provenance,
)
from kipoi_mcdropout.files.record import SequenceBlocks, SequenceRecord
from kipoi_mcdropout.files.same_file import check_not_inputs

if TYPE_CHECKING:
    import xarray

Outputs = str | int | Sequence[str | int] | None
_Chosen = Sequence[str | int] | None
_SHOWN = 5
_PREFERRED = (".h5", ".hdf5", ".parquet", ".pq", ".tsv.gz", ".tsv")  # the first may have the draws


class _Source(Protocol):
    """Where effects are."""

    @property
    def path(self) -> Path | None: ...

    def provenance(self) -> dict[str, Any]: ...

    def table(self, outputs: _Chosen, score: str | None) -> pd.DataFrame: ...

    def draws(self, outputs: _Chosen, score: str) -> NDArray[np.float32]: ...

    def has_draws(self) -> bool: ...


class Effects:
    """Effects of mutants on the outputs of a model, with the model's uncertainty.

    `ism`, `score_variants` and `read` return it. What is in a file is read when it is asked for.

    Examples
    --------
    >>> effects = read("ism.h5")                          # doctest: +SKIP
    >>> effects.table(outputs="DNase").nlargest(3, "effect_mean")   # doctest: +SKIP
    """

    def __init__(self, source: _Source) -> None:
        self._source = source

    @classmethod
    def of(cls, sequences: Iterable[SequenceBlocks], provenance: dict[str, Any]) -> Effects:
        """Effects that are in memory."""
        return cls(_InMemory(list(sequences), provenance))

    @classmethod
    def at(cls, paths: Sequence[Path]) -> Effects:
        """Effects in files of one run, of which that with the most in it is read."""
        files = [path for path in paths if str(path) != STDOUT and path.name.endswith(_PREFERRED)]
        ranks = [next(i for i, end in enumerate(_PREFERRED) if p.name.endswith(end)) for p in files]
        return cls(_InFile(files[ranks.index(min(ranks))] if files else None))

    @classmethod
    def in_memory_from(cls, path: Path) -> Effects:
        """Effects in a table, which is read now and not needed afterwards."""
        return cls(_Rows(read_effects(path), read_provenance(path)))

    @property
    def path(self) -> Path | None:
        """The file that the effects are in; None where they are in memory."""
        return self._source.path

    @property
    def provenance(self) -> dict[str, Any]:
        """How the effects were made: versions, model, seed, draws, dropout sites, options."""
        return self._source.provenance()

    @property
    def n_draws(self) -> int:
        """Number of draws; 0 where there are effects with dropout off alone."""
        return int(self.provenance["n_draws"])

    @property
    def scores(self) -> tuple[str, ...]:
        """Names of the scores."""
        return tuple(self.provenance["options"]["scores"])

    @property
    def is_variants(self) -> bool:
        """Whether the mutants are the alleles of a VCF, and not all substitutions of sequences."""
        return "info_prefix" in self.provenance["options"]

    @property
    def has_draws(self) -> bool:
        """Whether the effect of every draw is there."""
        return self._source.has_draws()

    def table(self, outputs: Outputs = None, score: str | None = None) -> pd.DataFrame:
        """A row per mutant, output and score.

        Parameters
        ----------
        outputs : str, int, or sequence of them, optional
            By label, index or shell pattern; all by default.
        score : str, optional
            All by default.

        Returns
        -------
        pandas.DataFrame
            Of the same columns and types wherever the effects come from; see `files.read.read_effects`.

        Raises
        ------
        TargetError, InputError
            If there is no such output or score.
        """
        return self._source.table(_as_list(outputs), score)

    def draws(self, outputs: Outputs = None, score: str | None = None) -> NDArray[np.float32]:
        """The effect of every draw, in the order of the rows of `table(outputs, score)`.

        Returns
        -------
        numpy.ndarray of float32, shape=(draws, rows)

        Raises
        ------
        InputError
            If the draws were not kept, or there are several scores and none is named.
        """
        if score is None and len(self.scores) > 1:
            raise InputError(f"score must be one of {', '.join(self.scores)}; got None")
        return self._source.draws(_as_list(outputs), self.scores[0] if score is None else score)

    def to_xarray(self, outputs: Outputs = None, score: str | None = None) -> xarray.Dataset:
        """The effects of one score as labelled arrays.

        Returns
        -------
        xarray.Dataset
            Dimensions sequence, position (from 0 in the sequence), alt, output, and draw where the draws
            were kept; for the alleles of a VCF variant and output. NaN where nothing is mutated.

        Raises
        ------
        InputError
            If xarray is not installed, or there are several scores and none is named.
        """
        from kipoi_mcdropout.files.to_xarray import sequences_to_xarray, variants_to_xarray

        table = self.table(outputs, score)
        name = one_score(table, score)
        if self.is_variants:
            return variants_to_xarray(table, self.provenance)
        draws = self.draws(outputs, name) if self.has_draws else None
        return sequences_to_xarray(table, draws, self.provenance)

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the effects to a file, as the commands write them.

        Parameters
        ----------
        path : str or Path
            .h5, .tsv, .tsv.gz or .parquet. HDF5 needs sequences of one length, and effects that are in
            memory or in HDF5.
        overwrite : bool
            Replace a file that exists.

        Raises
        ------
        OutputError
            If the file cannot be made.
        InputError
            If the effects cannot be written in this format.
        """
        from kipoi_mcdropout.files.save import SUFFIXES, save_records, save_table

        (target,) = check_outputs([path], SUFFIXES)
        check_free([target], overwrite)
        if self.path is not None:
            check_not_inputs([target], {"the file that is read": self.path})
        if isinstance(self._source, _InMemory):
            save_records(self._source.sequences, self.provenance, target, overwrite)
        else:
            save_table(self, target, overwrite)
        return target

    def __repr__(self) -> str:
        record = self.provenance
        table = self.table(score=self.scores[0])
        labels = list(dict.fromkeys(table["output"]))
        n_mutants = len(table) // max(1, len(labels))
        what = "alleles of a VCF" if self.is_variants else "substitutions"
        if "sequence" in table:
            what += f" of {_count(table['sequence'].nunique(), 'sequence')}"
        if "ledger" in record:
            what += f" ({sum(record['ledger']['skipped'].values())} skipped)"
        shown = ", ".join(labels[:_SHOWN]) + (", ..." if len(labels) > _SHOWN else "")
        draws = _count(self.n_draws, "draw") + (" (kept)" if self.has_draws else "")
        engine = record["options"].get("engine_used")
        lines = [
            f"Effects of {n_mutants} {what}",
            f"  outputs  {len(labels)}: {shown}",
            f"  scores   {', '.join(self.scores)}",
            f"  draws    {draws}, seed {record['seed']}",
            f"  model    {record['model']['name']}, engine {engine}",
            f"  in       {self.path or 'memory'}",
        ]
        return "\n".join(lines)


def read(path: str | Path) -> Effects:
    """Effects from a file of `ism`, `score_variants` or `Effects.save`: .h5, .tsv, .tsv.gz, .parquet.

    Raises
    ------
    InputError
        If the file is not there, or is no result of this package.
    """
    read_provenance(path)
    return Effects(_InFile(Path(path)))


class _InMemory:
    """Effects of sequences that were computed just now."""

    path: Path | None = None

    def __init__(self, sequences: list[SequenceBlocks], record: dict[str, Any]) -> None:
        self.sequences = sequences
        self._record: dict[str, Any] = json.loads(json.dumps(record))

    def provenance(self) -> dict[str, Any]:
        return self._record

    def table(self, outputs: _Chosen, score: str | None) -> pd.DataFrame:
        self._check_score(score)
        labels = self._labels(outputs)
        parts = []
        for sequence in self.sequences:
            for piece in effect_tables(sequence):
                if score is None or piece.column("score")[0].as_py() == score:
                    frame = to_frame(piece)
                    parts.append(frame if labels is None else frame[frame["output"].isin(labels)])
        return pd.concat(parts, ignore_index=True)

    def draws(self, outputs: _Chosen, score: str) -> NDArray[np.float32]:
        self._check_score(score)
        if not self.has_draws():
            raise InputError("the draws were not kept; run again with MutationOptions(keep_draws=True)")
        columns = list(select_targets(self._first().effects.targets.labels, outputs).columns)
        parts = []
        for record in self._records():
            kept = next(s.draws for s in record.effects.summaries if s.score.name == score)
            assert kept is not None
            parts.append(kept[:, :, columns].reshape(len(kept), -1))
        return np.concatenate(parts, axis=1)

    def has_draws(self) -> bool:
        return all(summary.draws is not None for summary in self._first().effects.summaries)

    def _records(self) -> Iterator[SequenceRecord]:
        for sequence in self.sequences:
            yield from sequence.blocks()

    def _first(self) -> SequenceRecord:
        return next(self._records())

    def _labels(self, outputs: _Chosen) -> set[str] | None:
        labels = self._first().effects.targets.labels
        return None if outputs is None else set(select_targets(labels, outputs).labels)

    def _check_score(self, score: str | None) -> None:
        names = [summary.score.name for summary in self._first().effects.summaries]
        if score is not None and score not in names:
            raise InputError(f"score must be one of {', '.join(names)}; got {score!r}")


class _Rows:
    """Effects as rows in memory: those of the alleles of a VCF."""

    path: Path | None = None

    def __init__(self, rows: pd.DataFrame, record: dict[str, Any]) -> None:
        self._rows = rows
        self._record = record

    def provenance(self) -> dict[str, Any]:
        return self._record

    def table(self, outputs: _Chosen, score: str | None) -> pd.DataFrame:
        return choose_rows(self._rows, outputs, score, "the result").copy()

    def draws(self, outputs: _Chosen, score: str) -> NDArray[np.float32]:
        raise InputError("the effects of a VCF have no draws; give ism regions around the variants")

    def has_draws(self) -> bool:
        return False


class _InFile:
    """Effects in a file of any of the formats; without a file where only others were written."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._record: dict[str, Any] | None = None

    @property
    def path(self) -> Path | None:
        return self._path

    def provenance(self) -> dict[str, Any]:
        if self._record is None:
            self._record = read_provenance(self._file())
        return self._record

    def table(self, outputs: _Chosen, score: str | None) -> pd.DataFrame:
        return read_effects(self._file(), outputs, score)

    def draws(self, outputs: _Chosen, score: str) -> NDArray[np.float32]:
        return read_draws(self._file(), outputs, score)

    def has_draws(self) -> bool:
        return has_draws(self._file())

    def _file(self) -> Path:
        if self._path is None:
            raise InputError(
                "the effects were written to a VCF or to standard output, which are not read back. Give "
                "a table as an output too, such as output=['out.vcf.gz', 'out.parquet']"
            )
        if not self._path.is_file():
            raise InputError(
                f"there is no result file {self._path}. Where it is made in shards, "
                "`kipoi mcdropout merge` writes it when all are done"
            )
        return self._path


def _as_list(outputs: Outputs) -> list[str | int] | None:
    if outputs is None:
        return None
    return [outputs] if isinstance(outputs, (str, int, np.integer)) else list(outputs)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


