"""Effects of mutants as one object, whether they are in memory or in a file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.atomic import STDOUT, check_free, check_outputs
from kipoi_mcdropout.files.effect_sources import InFile, InMemory, InRows, Source
from kipoi_mcdropout.files.provenance import has_own_draws
from kipoi_mcdropout.files.read import (
    one_score,
    read_effects,
    read_provenance,
)
from kipoi_mcdropout.files.record import SequenceBlocks
from kipoi_mcdropout.files.same_file import check_not_inputs

if TYPE_CHECKING:
    import anndata
    import xarray

    from kipoi_mcdropout.significance.background import Background

Outputs = str | int | Sequence[str | int] | None
_SHOWN = 5
# The first may have the draws.
_PREFERRED = (".h5", ".hdf5", ".parquet", ".pq", ".tsv.gz", ".tsv", ".h5ad")


class Effects:
    """Effects of mutants on the outputs of a model, with the model's uncertainty.

    `ism`, `score_variants` and `read` return it. What is in a file is read when it is asked for.

    Examples
    --------
    >>> effects = read("ism.h5")                          # doctest: +SKIP
    >>> effects.table(outputs="DNase").nlargest(3, "effect_mean")   # doctest: +SKIP
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    @classmethod
    def of(cls, sequences: Iterable[SequenceBlocks], provenance: dict[str, Any]) -> Effects:
        """Effects that are in memory."""
        return cls(InMemory(list(sequences), provenance))

    @classmethod
    def at(cls, paths: Sequence[Path]) -> Effects:
        """Effects in files of one run, of which that with the most in it is read."""
        files = [path for path in paths if str(path) != STDOUT and path.name.endswith(_PREFERRED)]
        ranks = [next(i for i, end in enumerate(_PREFERRED) if p.name.endswith(end)) for p in files]
        return cls(InFile(files[ranks.index(min(ranks))] if files else None))

    @classmethod
    def in_memory_from(cls, path: Path) -> Effects:
        """Effects in a table, which is read now and not needed afterwards."""
        return cls(InRows(read_effects(path), read_provenance(path)))

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
        """Number of draws, under `until` the most; 0 where there are effects with dropout off alone."""
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

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the members of the model, in their order; none where it has one alone."""
        return tuple(member["name"] for member in self.provenance.get("members", ()))

    def member_means(self, outputs: Outputs = None, score: str | None = None) -> NDArray[np.float32]:
        """The mean effect of each member, in the order of the rows of `table(outputs, score)`.

        Returns
        -------
        numpy.ndarray of float32, shape=(members, rows)

        Raises
        ------
        InputError
            If the model had one member alone, the effects are in a table and not in HDF5 or memory, or
            there are several scores and none is named.
        """
        if score is None and len(self.scores) > 1:
            raise InputError(f"score must be one of {', '.join(self.scores)}; got None")
        name = self.scores[0] if score is None else score
        return self._source.member_means(_as_list(outputs), name)

    def significance(self, background: str | Path | Background) -> pd.DataFrame:
        """The rows of `table()`, compared with the effects of a background.

        The columns are those of a run with `background`: p-values, percentiles, q-values and the
        probability of the sign. The sds of the percentiles need the draws (`has_draws`).

        Parameters
        ----------
        background : str, Path or Background
            From `background`; of the same model, draws, scores and positions.

        Raises
        ------
        InputError
            If it is not, with what differs.
        """
        from kipoi_mcdropout.files.significance import with_significance

        kept = self.has_draws
        pieces = [
            (self.table(score=score), self.draws(score=score) if kept else None)
            for score in self.scores
        ]
        return with_significance(pieces, self.provenance, background)

    def to_xarray(self, outputs: Outputs = None, score: str | None = None) -> xarray.Dataset:
        """The effects of one score as labelled arrays.

        Returns
        -------
        xarray.Dataset
            Dimensions sequence, position (from 0 in the sequence), alt, output, and draw where the draws
            were kept; for the alleles of a VCF variant and output. NaN where nothing is mutated. With
            several members there is `effect_member_mean` too, with the dimension member (their names),
            where the effects are in memory or in HDF5.

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
        means = None
        if self.members:
            with contextlib.suppress(InputError):  # a table has none
                means = self.member_means(outputs, name)
        return sequences_to_xarray(table, draws, self.provenance, means, self.members)

    def to_anndata(self, outputs: Outputs = None, score: str | None = None) -> anndata.AnnData:
        """The effects as annotated matrices: a row for each mutant, a column for each output and score.

        Returns
        -------
        anndata.AnnData
            `X` is `effect_mean`. The other statistics are `layers`, and so is `z` (`effects.z`), also
            where the table has none. `obs` says where each mutant is: `chrom` and `pos` (from 1, as in a
            VCF) where the place on the genome is known, `ref`, `alt`; of a sequence its number
            `sequence`, `name` and `strand`, and `position` (from 0 in it); of a VCF `id`, `allele` (from
            1), `line`, `kind`, `flags`. `var` has `output` and `score`. `uns["kipoi_mcdropout"]` is the
            provenance as JSON text. It has no draws: these are in `draws` and `to_xarray`.

        Raises
        ------
        InputError
            If anndata is not installed, or rows are missing or were put in another order.
        """
        from kipoi_mcdropout.files.save import arrow_rows
        from kipoi_mcdropout.files.to_anndata import to_anndata

        pieces = self._source.pieces(_as_list(outputs), score)
        return to_anndata(map(arrow_rows, pieces), self.provenance)

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the effects to a file, as the commands write them.

        Parameters
        ----------
        path : str or Path
            .h5, .tsv, .tsv.gz, .parquet or .h5ad (AnnData). HDF5 (.h5) needs sequences of one length,
            and effects that are in memory or in HDF5.
        overwrite : bool
            Replace a file that exists.

        Raises
        ------
        OutputError
            If the file cannot be made.
        InputError
            If the effects cannot be written in this format.
        """
        from kipoi_mcdropout.files.save import EFFECT_SUFFIXES, save_records, save_table

        (target,) = check_outputs([path], EFFECT_SUFFIXES)
        check_free([target], overwrite)
        if self.path is not None:
            check_not_inputs([target], {"the file that is read": self.path})
        if isinstance(self._source, InMemory):
            save_records(self._source.sequences, self.provenance, target, overwrite)
        else:
            save_table(self, self._source.pieces(None, None), target, overwrite)
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
        draws = f"at most {draws}" if has_own_draws(self.provenance) else draws
        of_members = f" of {len(self.members)} members" if self.members else ""
        engine = record["options"].get("engine_used")
        lines = [
            f"Effects of {n_mutants} {what}",
            f"  outputs  {len(labels)}: {shown}",
            f"  scores   {', '.join(self.scores)}",
            f"  draws    {draws}{of_members}, seed {record['seed']}",
            f"  model    {record['model']['name']}, engine {engine}",
            f"  in       {self.path or 'memory'}",
        ]
        return "\n".join(lines)


def read(path: str | Path) -> Effects:
    """Effects from a file of `ism`, `score_variants` or `Effects.save`: .h5, .tsv, .tsv.gz,
    .parquet, .h5ad.

    Raises
    ------
    InputError
        If the file is not there, or is no result of this package.
    """
    read_provenance(path)
    return Effects(InFile(Path(path)))


def _as_list(outputs: Outputs) -> list[str | int] | None:
    if outputs is None:
        return None
    return [outputs] if isinstance(outputs, (str, int, np.integer)) else list(outputs)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


