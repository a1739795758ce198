"""Where effects are: computed just now, as rows in memory, or in a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kipoi_mcdropout.effects.member_names import asked_columns
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.column_types import to_frame
from kipoi_mcdropout.files.effect_pieces import effect_pieces
from kipoi_mcdropout.files.effect_rows import effect_tables
from kipoi_mcdropout.files.member_columns import means_in_table
from kipoi_mcdropout.files.read import (
    choose_rows,
    has_draws,
    read_draws,
    read_effects,
    read_member_means,
    read_provenance,
)
from kipoi_mcdropout.files.record import SequenceBlocks, SequenceRecord
from kipoi_mcdropout.outputs.targets import select_targets

if TYPE_CHECKING:  # results are read without torch
    from kipoi_mcdropout.effects.summary import EffectSummary

Chosen = Sequence[str | int] | None


class Source(Protocol):
    """Where effects are."""

    @property
    def path(self) -> Path | None:
        """The file; None for what is in memory."""
        ...

    def provenance(self) -> dict[str, Any]:
        """How the effects were made."""
        ...

    def table(self, outputs: Chosen, score: str | None) -> pd.DataFrame:
        """A row for each mutant, output and score."""
        ...

    def pieces(self, outputs: Chosen, score: str | None) -> Iterator[pd.DataFrame]:
        """The rows of `table` in pieces, in the order of the run."""
        ...

    def draws(self, outputs: Chosen, score: str) -> NDArray[np.float32]:
        """The effect of every draw, shape=(draws, rows of `table`)."""
        ...

    def has_draws(self) -> bool:
        """Whether the effect of every draw was kept."""
        ...

    def member_means(self, outputs: Chosen, score: str) -> NDArray[np.float32]:
        """The mean effect of each member, shape=(members, rows of `table`)."""
        ...


class InMemory:
    """Effects of sequences that were computed just now."""

    path: Path | None = None

    def __init__(self, sequences: list[SequenceBlocks], record: dict[str, Any]) -> None:
        self.sequences = sequences
        self._record: dict[str, Any] = json.loads(json.dumps(record))

    def provenance(self) -> dict[str, Any]:
        """How the effects were made."""
        return self._record

    def table(self, outputs: Chosen, score: str | None) -> pd.DataFrame:
        """A row for each mutant, output and score."""
        table: pd.DataFrame = pd.concat(self.pieces(outputs, score), ignore_index=True)
        return table

    def pieces(self, outputs: Chosen, score: str | None) -> Iterator[pd.DataFrame]:
        """The rows of `table` in pieces, in the order of the run."""
        self._check_score(score)
        labels = self._labels(outputs)
        columns = asked_columns(self._record)
        for sequence in self.sequences:
            for piece in effect_tables(sequence, columns):
                if score is None or piece.column("score")[0].as_py() == score:
                    frame = to_frame(piece)
                    yield frame if labels is None else frame[frame["output"].isin(labels)]

    def draws(self, outputs: Chosen, score: str) -> NDArray[np.float32]:
        """The effect of every draw, shape=(draws, rows of `table`)."""
        self._check_score(score)
        if not self.has_draws():
            raise InputError("the draws were not kept; run again with MutationOptions(keep_draws=True)")
        return self._of_each(outputs, score, lambda summary: summary.draws)

    def member_means(self, outputs: Chosen, score: str) -> NDArray[np.float32]:
        """The mean effect of each member, shape=(members, rows of `table`)."""
        self._check_score(score)
        if self._first().effects.summaries[0].member_means is None:
            raise InputError("the effects are of one model alone; give its members in a list to Model")
        return self._of_each(outputs, score, lambda summary: summary.member_means)

    def _of_each(
        self, outputs: Chosen, score: str, pick: Callable[[EffectSummary], NDArray[Any] | None]
    ) -> NDArray[np.float32]:
        columns = list(select_targets(self._first().effects.targets.labels, outputs).columns)
        parts = []
        for record in self._records():
            kept = next(pick(s) for s in record.effects.summaries if s.score.name == score)
            assert kept is not None
            parts.append(kept[:, :, columns].reshape(len(kept), -1).astype(np.float32))
        return np.concatenate(parts, axis=1)

    def has_draws(self) -> bool:
        """Whether the effect of every draw was kept."""
        return all(summary.draws is not None for summary in self._first().effects.summaries)

    def _records(self) -> Iterator[SequenceRecord]:
        for sequence in self.sequences:
            yield from sequence.blocks()

    def _first(self) -> SequenceRecord:
        return next(self._records())

    def _labels(self, outputs: Chosen) -> set[str] | None:
        labels = self._first().effects.targets.labels
        return None if outputs is None else set(select_targets(labels, outputs).labels)

    def _check_score(self, score: str | None) -> None:
        names = [summary.score.name for summary in self._first().effects.summaries]
        if score is not None and score not in names:
            raise InputError(f"score must be one of {', '.join(names)}; got {score!r}")


class InRows:
    """Effects as rows in memory: those of the alleles of a VCF."""

    path: Path | None = None

    def __init__(self, rows: pd.DataFrame, record: dict[str, Any]) -> None:
        self._rows = rows
        self._record = record

    def provenance(self) -> dict[str, Any]:
        """How the effects were made."""
        return self._record

    def table(self, outputs: Chosen, score: str | None) -> pd.DataFrame:
        """A row for each mutant, output and score."""
        table: pd.DataFrame = choose_rows(self._rows, outputs, score, "the result").copy()
        return table

    def pieces(self, outputs: Chosen, score: str | None) -> Iterator[pd.DataFrame]:
        """The rows of `table` in one piece."""
        yield choose_rows(self._rows, outputs, score, "the result")

    def draws(self, _outputs: Chosen, _score: str) -> NDArray[np.float32]:
        """The effect of every draw, shape=(draws, rows of `table`)."""
        raise InputError("the effects of a VCF have no draws; give ism regions around the variants")

    def member_means(self, outputs: Chosen, score: str) -> NDArray[np.float32]:
        """The mean effect of each member, shape=(members, rows of `table`)."""
        advice = "ask for them with VcfOptions(member_means=True)"
        return means_in_table(self.table(outputs, score), self._record, "the effects", advice)

    def has_draws(self) -> bool:
        """Whether the effect of every draw was kept."""
        return False


class InFile:
    """Effects in a file of any of the formats; without a file where only others were written."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._record: dict[str, Any] | None = None

    @property
    def path(self) -> Path | None:
        """The file; None for what is in memory."""
        return self._path

    def provenance(self) -> dict[str, Any]:
        """How the effects were made."""
        if self._record is None:
            self._record = read_provenance(self._file())
        return self._record

    def table(self, outputs: Chosen, score: str | None) -> pd.DataFrame:
        """A row for each mutant, output and score."""
        return read_effects(self._file(), outputs, score)

    def pieces(self, outputs: Chosen, score: str | None) -> Iterator[pd.DataFrame]:
        """The rows of `table` in pieces, in the order of the run."""
        return effect_pieces(self._file(), outputs, score)

    def draws(self, outputs: Chosen, score: str) -> NDArray[np.float32]:
        """The effect of every draw, shape=(draws, rows of `table`)."""
        return read_draws(self._file(), outputs, score)

    def member_means(self, outputs: Chosen, score: str) -> NDArray[np.float32]:
        """The mean effect of each member, shape=(members, rows of `table`)."""
        return read_member_means(self._file(), outputs, score)

    def has_draws(self) -> bool:
        """Whether the effect of every draw was kept."""
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
