"""Read results back: the tidy table of effects, the effect of every draw, and the provenance."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from kipoi_mcdropout.effects.columns import (
    BACKGROUND_STATISTICS,
    COUNTS,
    INTERVAL_STATISTICS,
    MEMBER_REFERENCE_STATISTICS,
    MEMBER_STATISTICS,
    MUTANT_STATISTICS,
    OF_EACH,
    OUTPUT_EPS,
    Q_EMPIRICAL,
    REFERENCE_STATISTICS,
)
from kipoi_mcdropout.effects.member_names import asked_columns
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.column_types import to_frame
from kipoi_mcdropout.files.first_line import PROVENANCE_KEY
from kipoi_mcdropout.files.h5ad_read import h5ad_record, is_h5ad
from kipoi_mcdropout.files.member_columns import means_in_table
from kipoi_mcdropout.files.open_hdf5 import check_score, existing, is_hdf5, open_hdf5
from kipoi_mcdropout.files.read_tables import is_parquet, read_header, read_table, reading
from kipoi_mcdropout.files.record import range_of, sequence_name
from kipoi_mcdropout.outputs.targets import select_targets

_STATISTICS = (
    *REFERENCE_STATISTICS, *MEMBER_REFERENCE_STATISTICS, *MUTANT_STATISTICS, *MEMBER_STATISTICS,
    *BACKGROUND_STATISTICS, Q_EMPIRICAL,
    *INTERVAL_STATISTICS,
)  # fmt: skip
_QUANTILE = "effect_q"
EFFECT_COLUMNS = ("output", "score", "effect_mean", "effect_sd", "effect_mcse", "n_draws")


def read_provenance(path: str | Path) -> dict[str, Any]:
    """What is recorded about the run that wrote a result.

    Raises
    ------
    InputError
        If the file is no result of this package.
    """
    path, record = existing(path), None
    if is_hdf5(path):
        with open_hdf5(path) as file, reading(path):
            record = json.loads(file.attrs["provenance"])
    elif is_h5ad(path):
        with reading(path):
            record = h5ad_record(path)
    elif is_parquet(path):
        with reading(path), path.open("rb") as raw:
            text = (pyarrow.parquet.read_schema(raw).metadata or {}).get(PROVENANCE_KEY.encode())
            record = None if text is None else json.loads(text)
    else:
        record = (read_header(path).record or {}).get(PROVENANCE_KEY)
    if record is None:
        raise InputError(
            f"{path} has no provenance: it was not written by kipoi_mcdropout. Give a file that ism, "
            "predict or score_variants has written"
        )
    found: dict[str, Any] = record
    return found


def read_effects(
    path: str | Path,
    outputs: Sequence[str | int] | None = None,
    score: str | None = None,
) -> pd.DataFrame:
    """Effects as a tidy table, a row per substitution, output and score, from any of the formats.

    Parameters
    ----------
    path : str or Path
        .h5, .hdf5, .tsv, .tsv.gz, .parquet, .pq or .h5ad.
    outputs : sequence of str or int, optional
        Outputs to read, by label, index or pattern; all by default.
    score : str, optional
        The score to read; all by default.

    Returns
    -------
    pandas.DataFrame
        Columns of `effect_rows`, of the same types from every format (`column_types`): a
        contig called 1 is the text "1". `position` counts from 0 in the sequence, `pos` from 1 in
        the genome.

    Raises
    ------
    InputError
        If the file is no result of this package, is damaged or cut, is of another version, has no
        effects (as that of `predict`), or lacks the score.
    """
    path = existing(path)
    if is_hdf5(path):
        return _effects_from_hdf5(path, outputs, score)
    if not is_parquet(path):
        read_provenance(path)
    table = read_table(path)
    check_effects(path, table.columns)
    return choose_rows(table, outputs, score, path)


def choose_rows(
    table: pd.DataFrame, outputs: Sequence[str | int] | None, score: str | None, source: str | Path
) -> pd.DataFrame:
    """The rows of some outputs and of a score; `source` is what messages call the table.

    Raises
    ------
    TargetError, InputError
        If there is no such output or score.
    """
    if outputs is not None:
        labels = list(dict.fromkeys(table["output"]))
        table = table[table["output"].isin(select_targets(labels, outputs).labels)]
    if score is not None:
        check_score(score, sorted(set(table["score"])), source)
        table = table[table["score"] == score]
    numbered: pd.DataFrame = table.reset_index(drop=True)
    return numbered


def check_effects(path: Path, columns: Iterable[Any]) -> None:
    """Raise InputError unless the columns of a table are those of effects."""
    names = [str(name) for name in columns]
    missing = [name for name in EFFECT_COLUMNS if name not in names]
    if not missing:
        return
    is_prediction = {"mean", "mcse", "point"} <= set(names)
    what = (
        "is a table of `predict`: it has predictions and no effects"
        if is_prediction
        else (f"has no effects: it lacks the columns {', '.join(missing)} and has {', '.join(names)}")
    )
    raise InputError(f"{path} {what}. Give the result of `ism` or the table of `score_variants`")


def read_draws(
    path: str | Path, outputs: Sequence[str | int] | None = None, score: str = "diff"
) -> NDArray[np.float32]:
    """The effect of every draw, in the order of the rows of `read_effects(path, outputs, score)`.

    Returns
    -------
    numpy.ndarray of float32, shape=(draws, rows)

    Raises
    ------
    InputError
        If the result is not HDF5, or was written without --keep_draws.
    """
    path = existing(path)
    if not is_hdf5(path):
        raise InputError(f"{path} has no draws: only HDF5 does, where --keep_draws was asked for")
    missing = f"{path} was written without --keep_draws; run it again with that flag"
    return _of_each(path, "effect_draws", outputs, score, missing)


def read_member_means(
    path: str | Path, outputs: Sequence[str | int] | None = None, score: str = "diff"
) -> NDArray[np.float32]:
    """The mean effect of each member, in the order of the rows of `read_effects(path, outputs, score)`.

    Returns
    -------
    numpy.ndarray of float32, shape=(members, rows)
        The members in the order of `members` in the provenance.

    Raises
    ------
    InputError
        If the result is a table without them, or its model had one member alone.
    """
    path = existing(path)
    if not is_hdf5(path):
        advice = "write .h5 (of ism), or a table with --member_means"
        return means_in_table(read_effects(path, outputs, score), read_provenance(path), path, advice)
    missing = f"{path} is of one model alone; give its members with --member"
    return _of_each(path, "effect_member_mean", outputs, score, missing)


def _of_each(
    path: Path, name: str, outputs: Sequence[str | int] | None, score: str, missing: str
) -> NDArray[np.float32]:
    """A number for each draw or member, shape=(draws or members, rows)."""
    with open_hdf5(path) as file, reading(path):
        check_score(score, list(file["scores"]), path)
        group = file[f"scores/{score}"]
        if name not in group:
            raise InputError(missing)
        columns = _columns(file, outputs)
        n = len(file["reference"])
        parts = [_sequence_of_each(file, i, name, score, columns) for i in range(n)]
    stacked: NDArray[np.float32] = np.concatenate(parts, axis=1)
    return stacked


def _sequence_of_each(
    file: h5py.File, i: int, name: str, score: str, columns: list[int]
) -> NDArray[np.float32]:
    """The same for one sequence, in the order of `sequence_rows`."""
    group = file[f"scores/{score}"]
    mutated = np.argwhere(_mutated(group["n_nonfinite"][i]))
    values = group[name][i][mutated[:, 0], mutated[:, 1]][:, columns]
    of_each: NDArray[np.float32] = values.reshape(-1, values.shape[-1]).T
    return of_each


def sequence_draws(file: h5py.File, i: int, score: str, columns: list[int]) -> NDArray[np.float32]:
    """The effect of every draw, shape=(draws, rows of `sequence_rows`)."""
    return _sequence_of_each(file, i, "effect_draws", score, columns)


def has_draws(path: str | Path) -> bool:
    """Whether a result holds the effect of every draw."""
    path = existing(path)
    if not is_hdf5(path):
        return False
    with open_hdf5(path) as file, reading(path):
        return all("effect_draws" in group for group in file["scores"].values())


def one_score(table: pd.DataFrame, score: str | None) -> str:
    """The score that is asked for, or the only one that the table has.

    Raises
    ------
    InputError
        If none is asked for and there are several, or none, as there are no rows.
    """
    scores = sorted(set(table["score"].astype(str)))
    if score is not None:
        return score
    if len(scores) != 1:
        raise InputError(
            f"--score must be one of the result's scores: {', '.join(scores) or 'it has no rows'}"
        )
    return scores[0]


def _effects_from_hdf5(
    path: Path, outputs: Sequence[str | int] | None, score: str | None
) -> pd.DataFrame:
    with open_hdf5(path) as file, reading(path):
        scores = list(file["scores"])
        if score is not None:
            check_score(score, scores, path)
            scores = [score]
        record = json.loads(file.attrs["provenance"])
        order = record.get("options", {}).get("scores", scores)  # HDF5 has them by name
        scores.sort(key=lambda score: order.index(score) if score in order else len(order))
        columns = _columns(file, outputs)
        tables = [
            sequence_rows(file, i, name, columns, int(record["n_draws"]))
            for i in range(len(file["reference"]))
            for name in scores
        ]
    return pd.concat(tables, ignore_index=True)


def sequence_rows(file: h5py.File, i: int, score: str, columns: list[int], n_draws: int) -> pd.DataFrame:
    """Rows of `read_effects` for one sequence (by its row) and score of a file of `open_hdf5`."""
    group = file[f"scores/{score}"]
    mutated = np.argwhere(_mutated(group["n_nonfinite"][i]))
    position = file["position"][:][mutated[:, 0]]
    letters, labels = file["alt"].asstr()[:], file["output"].asstr()[:][columns]
    metadata = _metadata(file, i)
    where = range_of(metadata)
    n_outputs = len(columns)
    number = int(file["sequence"][i]) if "sequence" in file else i
    rows: dict[str, Any] = {
        "sequence": number,
        "name": sequence_name(metadata, number),
        "chrom": where.chrom if where else None,
        "pos": np.repeat(where.position_1_based(position), n_outputs) if where else None,
        "strand": where.strand if where else None,
        "position": np.repeat(position, n_outputs),
        "ref": np.repeat(file["reference"][i].astype(str)[mutated[:, 0]], n_outputs),
        "alt": np.repeat(letters[mutated[:, 1]], n_outputs),
        "output": np.tile(labels, len(mutated)),
        "score": score,
    }
    for name in sorted(group, key=_column_order):
        if name in OF_EACH:
            continue
        values = group[name][i]
        per_mutant = values.ndim == 3
        rows[name] = (
            values[mutated[:, 0], mutated[:, 1]][:, columns].ravel()
            if per_mutant
            else np.tile(values[columns], len(mutated))
        )
    for name, member in asked_columns(json.loads(file.attrs["provenance"])).items():
        means = group["effect_member_mean"][i][..., member]
        rows[name] = means[mutated[:, 0], mutated[:, 1]][:, columns].ravel()
    if "n_draws" not in group:  # the same of all mutants
        rows["n_draws"] = n_draws
    if OUTPUT_EPS in group.attrs:
        rows[OUTPUT_EPS] = float(group.attrs[OUTPUT_EPS])
    n = len(mutated) * n_outputs
    columns_of = {
        name: values if isinstance(values, np.ndarray) else [values] * n for name, values in rows.items()
    }
    return to_frame(pa.table(columns_of))


def _column_order(name: str) -> tuple[int, float]:
    """Place of a statistic in the tables: the quantiles stand before the counts."""
    if name.startswith(_QUANTILE):
        return len(_STATISTICS), float(name.removeprefix(_QUANTILE))
    known = (*_STATISTICS, _QUANTILE, *COUNTS)
    return (known.index(name) if name in known else len(known)), 0


def _mutated(n_nonfinite: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which (position, alt) hold a mutant: this count is NaN only where there is none."""
    return np.isfinite(n_nonfinite[..., 0])


def _columns(file: h5py.File, outputs: Sequence[str | int] | None) -> list[int]:
    return list(select_targets(list(file["output"].asstr()[:]), outputs).columns)


def _metadata(file: h5py.File, i: int) -> dict[str, Any]:
    """What the dataloader said of a sequence, flat."""
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim == 1:
            text = h5py.check_string_dtype(item.dtype) is not None
            found[name] = item.asstr()[i] if text else item[i]

    if "metadata" in file:
        file["metadata"].visititems(visit)
    return found
