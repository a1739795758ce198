"""Instruments from a tidy table of effects, one row per mutant and output."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kipoi_mcdropout.effects.rounding import effect_rounding
from kipoi_mcdropout.effects.row_identity import (
    first_of_each_variant,
    genomic_variants,
    joined_by_colons,
    variant_names,
)
from kipoi_mcdropout.effects.score_names import UNSIGNED_SCORES
from kipoi_mcdropout.effects.single_alleles import check_single_alleles
from kipoi_mcdropout.errors import InputError, TargetError
from kipoi_mcdropout.mr.pairs.instruments import Instruments, SeType

WHERE_COLUMNS = ("sequence", "chrom")  # at least one of them
ALLELE_COLUMNS = ("position", "ref", "alt")
EFFECT_COLUMNS = ("output", "effect_mean", "effect_sd", "effect_mcse", "n_draws")

REPEATED = "same_mutant_in_another_window"


def instruments_from_table(
    table: pd.DataFrame,
    exposure: str,
    outcome: str,
    *,
    draws: NDArray[Any] | None = None,
    se_type: SeType = "sd",
    score: str | None = None,
    n_members: int = 1,
) -> Instruments:
    """Pair the effects of each mutant on two outputs.

    Parameters
    ----------
    table : DataFrame
        Columns `sequence` and/or `chrom`; `position` (bp) or `pos`, `ref`, `alt`; `output`;
        `effect_mean`, `effect_sd`, `effect_mcse`, `n_draws`. Effects are alt against ref. Read where
        they are there: `score`; `chrom` and `pos` (1-based, on the genome) with `strand`, which say
        which mutants are the same; `ref_mean`, `alt_mean`, `ref_var`, `alt_var`, which say what is
        only rounding (`rounding.effect_rounding`).
    exposure, outcome : str
        Values of `output`.
    n_members : int
        Trained networks that the draws are of; draw t is of member t mod n_members.
    draws : array, shape=(n_draws, rows), optional
        Effects of each draw; column i belongs to row i of the table.
    se_type : "sd" or "mcse"
        Which of the two uncertainties becomes the standard error.
    score : str, optional
        Which of the table's scores to use, if it has several; or what its effects are, if it has no
        `score` column. Scores without a sign are refused: an exposure must be able to go down as
        well as up.

    Returns
    -------
    Instruments
        In the order of the exposure's rows. Names are ``chrom:pos:ref:alt`` (pos 1-based, alleles of the
        forward strand) where the table has the place on the genome; a row that is not used because the
        mutant is in another window too has ``@sequence`` after it. Else they are ``SEQUENCE at POSITION
        ref>alt``, POSITION from 0 in the sequence, or, of a table without sequences, its own columns.
        The effect allele is `alt`. Where windows overlap, or one is given twice, a mutant counts once:
        in the window in which it lies nearest to the middle, else the first. The other rows stay with
        ``mr_keep`` False and the reason ``same_mutant_in_another_window``.

    Raises
    ------
    InputError
        Columns missing, a score without a sign, mutants that only one output has, repeated or
        non-finite rows, draws of another table.
    TargetError
        An output that is not in the table.
    """
    table = _with_position(table)
    _check_columns(table)
    check_single_alleles(table, "Mendelian randomization")
    score, usable = _score_rows(table, score)
    where = [name for name in WHERE_COLUMNS if name in table.columns and table[name].notna().any()]
    keys = [*where, *ALLELE_COLUMNS]
    x_rows, y_rows = _paired_rows(table, usable, exposure, outcome, keys)
    x, y = table.iloc[x_rows], table.iloc[y_rows]
    if se_type not in ("sd", "mcse"):
        raise InputError(f"se_type must be 'sd' or 'mcse'; got {se_type!r}.")
    other = "sd" if se_type == "mcse" else "mcse"
    draws = None if draws is None else _check_draws_shape(draws, table)
    fewest, most = _n_draws(x, y)
    both = n_members > 1 or most > fewest
    places = _places(x, where)
    reason = _reasons(x, y, places)
    return Instruments(
        snp=places.names,
        beta_exposure=x["effect_mean"].to_numpy(float),
        se_exposure=x[f"effect_{se_type}"].to_numpy(float),
        beta_outcome=y["effect_mean"].to_numpy(float),
        se_outcome=y[f"effect_{se_type}"].to_numpy(float),
        effect_allele=places.alt,
        other_allele=places.ref,
        exposure=exposure,
        outcome=outcome,
        se_type=se_type,
        n_draws=int(fewest),
        draws_exposure=None if draws is None else draws[:, x_rows],
        draws_outcome=None if draws is None else draws[:, y_rows],
        n_members=n_members,
        other_se_exposure=x[f"effect_{other}"].to_numpy(float) if both else None,
        other_se_outcome=y[f"effect_{other}"].to_numpy(float) if both else None,
        sequence=x[where[0]].to_numpy(str),
        chrom=places.chrom,
        position=places.position,
        mr_keep=reason == "",
        reason=reason,
        zero_variance_rtol=0.0,  # `_reasons` has decided it, by the outputs of each row
        provenance={
            "score": score or "not stated",
            "se_type": se_type,
            "n_mutants": len(x),
            "n_repeated": int((reason == REPEATED).sum()),
        },
    )


class _Places(NamedTuple):
    """Where the mutants are; `chrom` only where `position` is on it, and not in a sequence."""

    names: NDArray[Any]
    ref: NDArray[Any]
    alt: NDArray[Any]
    chrom: NDArray[Any] | None
    position: NDArray[np.int64]
    first: NDArray[np.bool_]  # False where another window has the same mutant


def _places(x: pd.DataFrame, where: list[str]) -> _Places:
    variants = genomic_variants(x)
    if variants is None:
        in_sequence = "sequence" in where
        chrom = x["chrom"].to_numpy(str) if "chrom" in where and not in_sequence else None
        position, first = x["position"].to_numpy(int), np.ones(len(x), bool)
        names = joined_by_colons(x[[*where, *ALLELE_COLUMNS]])
        if in_sequence:  # it must not look like a place on the genome
            at = x["sequence"].astype(str) + " at " + x["position"].astype(int).astype(str)
            names = at + " " + x["ref"].astype(str) + ">" + x["alt"].astype(str)
        return _Places(
            names.to_numpy(str), x["ref"].to_numpy(str), x["alt"].to_numpy(str), chrom, position, first
        )
    names, first = variant_names(variants), first_of_each_variant(x, variants)
    if "sequence" in where:
        names = names.where(first, names + "@" + x["sequence"].astype(str))
    return _Places(
        names.to_numpy(str), variants["ref"].to_numpy(str), variants["alt"].to_numpy(str),
        variants["chrom"].to_numpy(str), variants["pos"].to_numpy(int), first,
    )  # fmt: skip


def _reasons(x: pd.DataFrame, y: pd.DataFrame, places: _Places) -> NDArray[Any]:
    """Why each mutant is not used; "" where it is."""
    reason = np.where(places.first, "", REPEATED).astype(object)
    for side, rows in (("exposure", x), ("outcome", y)):
        least = effect_rounding(rows.reset_index(drop=True))
        is_rounding = rows["effect_sd"].to_numpy(float) <= least
        reason[(reason == "") & is_rounding] = f"zero_variance_{side}"
    return reason


def _with_position(table: pd.DataFrame) -> pd.DataFrame:
    """The table of a VCF has only `pos`: then that is the position."""
    return table.assign(position=table["pos"]) if "pos" in table and "position" not in table else table


def _check_columns(table: pd.DataFrame) -> None:
    missing = [name for name in (*ALLELE_COLUMNS, *EFFECT_COLUMNS) if name not in table.columns]
    if not any(name in table.columns and table[name].notna().any() for name in WHERE_COLUMNS):
        missing.insert(0, "sequence or chrom")
    if missing:
        raise InputError(
            f"the table of effects lacks {', '.join(missing)}; it has "
            f"{', '.join(map(str, table.columns))}. "
            "Write it again with this version and --n_draws 2 or more."
        )


def _score_rows(table: pd.DataFrame, score: str | None) -> tuple[str | None, NDArray[np.bool_]]:
    """The score to use, checked for a sign, and the rows that have it."""
    mask = np.ones(len(table), bool)
    if "score" in table.columns:
        names = table["score"].astype(str)
        there = sorted(names.unique().tolist())
        if score is None and len(there) > 1:
            raise InputError(
                f"effects of one score are required; the table has {', '.join(there)}. Name one."
            )
        score = there[0] if score is None and there else score
        mask = (names == score).to_numpy()
        if not mask.any():
            raise InputError(f"the table has no score {score!r}; it has {', '.join(there)}.")
    if score in UNSIGNED_SCORES:
        raise InputError(
            f"Mendelian randomization requires a score with a sign, as 'diff' or 'logit'; {score!r} "
            f"{UNSIGNED_SCORES[score]}. Use another score, or run ism again with --scores diff or "
            "logit."
        )
    return score, mask


def _paired_rows(
    table: pd.DataFrame,
    usable: NDArray[np.bool_],
    exposure: str,
    outcome: str,
    keys: list[str],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    index = pd.MultiIndex.from_frame(table[keys].astype(str))
    rows = [_rows_of(table, usable, output) for output in (exposure, outcome)]
    x_index, y_index = (index[r] for r in rows)
    for output, own in ((exposure, x_index), (outcome, y_index)):
        if own.has_duplicates:
            again = own[own.duplicated()]
            raise InputError(
                f"one row per mutant is required; {len(again)} rows of {output!r} repeat a mutant, "
                f"first: {':'.join(again[0])}. Give the rows of one run, or remove the repeats."
            )
    at = y_index.get_indexer(x_index)
    alone = int((at < 0).sum()) + len(y_index) - int((at >= 0).sum())
    if alone:
        raise InputError(
            f"both outputs must have the same mutants; {alone} are in only one of {exposure!r} and "
            f"{outcome!r}. Take both from one run, and do not filter its rows."
        )
    return rows[0], rows[1][at]


def _rows_of(table: pd.DataFrame, usable: NDArray[np.bool_], output: str) -> NDArray[np.int64]:
    names = table["output"].astype(str)
    rows = np.flatnonzero((names == output).to_numpy() & usable)
    if not len(rows):
        known = names.unique().tolist()
        close = get_close_matches(output, known, n=3) or known[:5]
        raise TargetError(
            f"there is no output {output!r} among the {len(known)} of the table; "
            f"the nearest are {', '.join(close)}. Names must match exactly."
        )
    return rows


def _n_draws(x: pd.DataFrame, y: pd.DataFrame) -> tuple[int, int]:
    """The fewest and the most draws of a mutant; under --until they differ."""
    ours, theirs = x["n_draws"].to_numpy(), y["n_draws"].to_numpy()
    if (ours != theirs).any():
        i = int(np.flatnonzero(ours != theirs)[0])
        raise InputError(
            "one number of draws is required of both outputs of a mutant; one has "
            f"{ours[i]} and {theirs[i]}. Do not mix runs in one table."
        )
    return int(ours.min()), int(ours.max())


def _check_draws_shape(draws: NDArray[Any], table: pd.DataFrame) -> NDArray[Any]:
    draws = np.asarray(draws)
    if draws.ndim != 2 or draws.shape[1] != len(table):
        raise InputError(
            f"draws must have shape (n_draws, {len(table)}), a column per row of the table; got "
            f"{draws.shape}."
        )
    return draws
