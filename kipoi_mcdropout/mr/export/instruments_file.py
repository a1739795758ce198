"""The instruments of an analysis as a table, and the same choice of mutants taken from it again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.groups.find import Groups
from kipoi_mcdropout.mr.pairs.instruments import Instruments
from kipoi_mcdropout.mr.pairs.selection import use_half

SELECTION_COLUMNS = {"exposure", "outcome", "SNP", "mr_keep", "reason", "select_draws", "beta_exposure"}
_EFFECT_RTOL = 1e-4


def instruments_table(instruments: Instruments, groups: Groups | None = None) -> pd.DataFrame:
    """A row per mutant, used or not.

    Returns
    -------
    DataFrame
        exposure, outcome, SNP, sequence, chrom, position, effect_allele (ALT), other_allele (REF),
        beta and se of both outputs, se_type, n_draws, select_draws ("all" or "half"), mr_keep ("TRUE" or
        "FALSE", as R reads it), reason (why it is not used), ratio, group and group_probability (of
        `find_groups`; empty for what is not used). Of the same form as `export_mr`'s files: effects
        are of ALT against REF.
    """
    i = instruments
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(i.beta_exposure == 0, np.nan, i.beta_outcome / i.beta_exposure)
    table: pd.DataFrame = pd.DataFrame(
        {
            "exposure": i.exposure,
            "outcome": i.outcome,
            "SNP": i.snp,
            "sequence": i.sequence,
            "chrom": i.chrom,
            "position": i.position,
            "effect_allele": i.effect_allele,
            "other_allele": i.other_allele,
            "beta_exposure": i.beta_exposure,
            "se_exposure": i.se_exposure,
            "beta_outcome": i.beta_outcome,
            "se_outcome": i.se_outcome,
            "se_type": i.se_type,
            "n_draws": i.n_draws,
            "select_draws": i.provenance.get("selection", {}).get("select_draws", "all"),
            "mr_keep": np.where(i.mr_keep, "TRUE", "FALSE"),
            "reason": [str(r) or None for r in i.reason],
            "ratio": ratio,
        }
    )
    found = None if groups is None else groups.table.set_index("SNP")
    for column, name in (("group", "group"), ("group_probability", "probability")):
        table[column] = None if found is None else table["SNP"].map(found[name])
    return table


def select_by_table(instruments: Instruments, table: pd.DataFrame, source: str) -> Instruments:
    """Use exactly the mutants that a table of `instruments_table` says, with its reasons.

    Parameters
    ----------
    instruments : Instruments
        All mutants of the result, none selected yet.
    table : DataFrame
        As `instruments_table` gives; rows of other outcomes are passed over.
    source : str
        Name of the table in messages and provenance.

    Raises
    ------
    InputError
        The table has no rows of this exposure and outcome, other mutants than the result, or other
        effects.
    """
    missing = sorted(SELECTION_COLUMNS - set(table.columns))
    if missing:
        raise InputError(
            f"{source} is no table of instruments: it lacks {', '.join(missing)}. Give the file of "
            "`mr --save_instruments`"
        )
    pair = (table["exposure"].astype(str) == instruments.exposure) & (
        table["outcome"].astype(str) == instruments.outcome
    )
    rows = table[pair].set_index("SNP")
    if not len(rows):
        raise InputError(
            f"{source} has no instruments of {instruments.exposure} -> {instruments.outcome}. Run `mr "
            "--save_instruments` with these outputs"
        )
    if set(rows.index) != set(instruments.snp.tolist()) or rows.index.has_duplicates:
        raise InputError(
            f"{source} has other mutants than the result ({len(rows)} and {len(instruments)}). Give the "
            "result that it was made from"
        )
    rows = rows.loc[instruments.snp.tolist()]
    split = str(rows["select_draws"].iloc[0])
    used = use_half(instruments) if split == "half" else instruments
    _check_effects(used.beta_exposure, rows["beta_exposure"].to_numpy(float), source)
    keep = rows["mr_keep"].astype(str).str.upper().to_numpy() == "TRUE"
    reason = rows["reason"].fillna("").astype(str).to_numpy(object)
    selection: dict[str, Any] = {
        "instruments": source, "select_draws": split, "min_z": None, "top_n": None,
        "left_after": {"instruments": int(keep.sum())},
    }  # fmt: skip
    chosen = used.with_keep(keep, reason, {**used.provenance, "selection": selection})
    chosen.kept(1, "the selection of instruments")
    return chosen


def _check_effects(ours: Any, theirs: Any, source: str) -> None:
    if np.abs(ours - theirs).max() > _EFFECT_RTOL * np.abs(ours).max():
        raise InputError(
            f"the effects in {source} are not those of the result: they were made with another score, "
            "other draws or another run. Give the result that it was made from, and the same --score"
        )
