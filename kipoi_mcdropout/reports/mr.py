"""Facts about the results of `kipoi mcdropout mr`, a record per pair of exposure and outcome."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from kipoi_mcdropout.effects.row_identity import sequence_names
from kipoi_mcdropout.effects.score_names import UNSIGNED_SCORES
from kipoi_mcdropout.errors import InputError, McDropoutError
from kipoi_mcdropout.mr import Instruments, instruments_from_table, mr_estimate
from kipoi_mcdropout.mr.checks.leave_one_out import WITHOUT_NONE
from kipoi_mcdropout.mr.estimate_table import GROUP
from kipoi_mcdropout.mr.pairs.instruments import SeType
from kipoi_mcdropout.reports.inputs import Inputs
from kipoi_mcdropout.reports.mr_words import method_words, warning_words

_COMBINED = "(combined)"
_MOVERS = 10


@dataclass(frozen=True)
class MrFacts:
    """One pair.

    Attributes
    ----------
    estimates : DataFrame
        A row per method, as `mr` wrote it, with `words` for the method's name.
    warnings : list of (code, words)
    advice : str
        The answer in words, as `mr` gave it.
    members : DataFrame
        Of `mr --save_instruments`: SNP, ratio, group and group_probability of the mutants that are used.
    n_instruments, n_draws, f_mean, i2_gx : float or None
    across : DataFrame
        Estimates within each sequence, without the combination; empty if not asked for.
    combined : dict or None
        Their combination.
    movers : DataFrame
        Of leave-one-out: the mutants without which the estimate moves most, with `change`, and
        `whole`, the estimate with all.
    n_left_out : int
        Of leave-one-out: mutants in it.
    instruments : Instruments or None
        For the figures, where the effects of the instruments were given too.
    """

    exposure: str
    outcome: str
    estimates: pd.DataFrame
    warnings: list[tuple[str, str]]
    across: pd.DataFrame
    combined: dict[str, Any] | None
    movers: pd.DataFrame
    n_left_out: int
    advice: str = ""
    members: pd.DataFrame = field(default_factory=pd.DataFrame)
    instruments: Instruments | None = None

    @property
    def first(self) -> dict[str, Any]:
        """The first method over all instruments that gave a number."""
        rows = _of_all(self.estimates)
        some = rows[rows["estimate"].notna()]
        return dict((some if len(some) else rows).iloc[0])

    @property
    def shown(self) -> dict[str, Any] | None:
        """The row of the number to show first; None where methods disagree, or mutants form groups."""
        rows = self.estimates[self.estimates["shown"].astype(str).str.upper() == "TRUE"]
        return dict(rows.iloc[0]) if len(rows) else None

    @property
    def group_of(self) -> dict[str, str]:
        """Group of each mutant, where the file of instruments was given."""
        if not len(self.members):
            return {}
        rows = self.members[["SNP", "group"]].dropna().astype(str)
        return dict(rows.itertuples(index=False))

    @property
    def n_draws(self) -> int | None:
        """Draws of the effects, where they come from draws."""
        value = self.first.get("n_draws")
        return None if value is None or pd.isna(value) else int(value)


def gather_mr(inputs: Inputs) -> list[MrFacts]:
    """A record per pair of exposure and outcome in the table of `mr`, in its order.

    Raises
    ------
    InputError
        If tables of leave-one-out or of sequences are there without the estimates they belong to, or
        a pair has the same method twice.
    """
    estimates = inputs.rows("estimates")
    for kind in ("leave_one_out", "across_sequences"):
        if kind in inputs.tables and not len(estimates):
            raise InputError(
                f"{inputs.tables[kind][0][0]} was written by `mr --{kind}`; give the table (-o) of the "
                "same call too"
            )
    if not len(estimates):
        return []
    messages = _messages(inputs)
    facts = []
    for (exposure, outcome), rows in estimates.groupby(["exposure", "outcome"], sort=False):
        if rows["method"].duplicated().any():
            raise InputError(
                f"{exposure} -> {outcome} is in the tables of `mr` twice; give the tables of one call "
                "only"
            )
        facts.append(_pair(inputs, str(exposure), str(outcome), rows, messages))
    return facts


def _pair(
    inputs: Inputs,
    exposure: str,
    outcome: str,
    rows: pd.DataFrame,
    messages: dict[tuple[str, str, str], str],
) -> MrFacts:
    rows = rows.reset_index(drop=True)
    rows = rows.assign(words=[method_words(str(m)) for m in rows["method"]])
    texts = rows["warnings"].dropna().astype(str)
    codes = list(dict.fromkeys(code for text in texts for code in text.split(";") if code))
    first = dict(_of_all(rows).iloc[0])
    warnings = [
        (code, messages.get((exposure, outcome, code)) or warning_words(code, first)) for code in codes
    ]
    across = _of_pair(inputs.rows("across_sequences"), exposure, outcome)
    combined = across[across["sequence"] == _COMBINED] if len(across) else across
    leave = _of_pair(inputs.rows("leave_one_out"), exposure, outcome)
    exported = exported_instruments(_of_pair(inputs.rows("instruments"), exposure, outcome))
    chosen = _of_pair(inputs.rows("chosen"), exposure, outcome)
    left_out = leave.loc[leave["without"] != WITHOUT_NONE, "without"] if len(leave) else None
    _check_one_selection(first, exported, chosen, left_out)
    return MrFacts(
        exposure,
        outcome,
        rows,
        warnings,
        across[across["sequence"] != _COMBINED].reset_index(drop=True) if len(across) else across,
        dict(combined.iloc[0]) if len(combined) else None,
        _movers(leave),
        0 if left_out is None else len(left_out),
        str(first.get("advice") or ""),
        _kept(chosen)[["SNP", "ratio", "group", "group_probability"]] if len(chosen) else chosen,
        exported if exported is not None else _chosen_instruments(chosen),
    )


def _of_all(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows over all instruments, without those of groups."""
    of_group = rows["method"].astype(str).str.startswith(GROUP)
    return rows if of_group.all() else rows[~of_group]


def _kept(chosen: pd.DataFrame) -> pd.DataFrame:
    rows = chosen["mr_keep"].astype(str).str.upper() == "TRUE"
    kept: pd.DataFrame = chosen[rows].reset_index(drop=True)
    return kept


def _chosen_instruments(chosen: pd.DataFrame) -> Instruments | None:
    """Instruments from the rows of one pair in the file of `mr --save_instruments`."""
    if not len(chosen):
        return None
    sides = {f"{n}_{side}": f"{n}.{side}" for n in ("beta", "se") for side in ("exposure", "outcome")}
    return exported_instruments(chosen.rename(columns=sides))


def _check_one_selection(
    first: dict[str, Any],
    exported: Instruments | None,
    chosen: pd.DataFrame,
    left_out: pd.Series | None,
) -> None:
    """Refuse tables of two selections: figures would not show what the estimates are of."""
    counts = {"the estimates of `mr`": int(first["n_instruments"])}
    names: list[set[str]] = []
    if exported is not None:
        counts["the files of `export_mr`"] = exported.n_kept
        names.append(set(exported.kept().snp.tolist()))
    if len(chosen):
        kept = _kept(chosen)
        counts["the file of `mr --save_instruments`"] = len(kept)
        names.append(set(kept["SNP"].astype(str)))
    if left_out is not None and len(left_out):
        counts["the table of `mr --leave_one_out`"] = len(left_out)
        names.append(set(left_out.astype(str)))
    if len(set(counts.values())) == 1 and all(mutants == names[0] for mutants in names):
        return
    found = ", ".join(f"{n:,} in {what}" for what, n in counts.items())
    raise InputError(
        f"{first['exposure']} -> {first['outcome']}: the files have different sets of instruments: "
        f"{found}. Write one file of instruments with `mr --save_instruments`, and give it to the other "
        "commands (--instruments)"
    )


def _messages(inputs: Inputs) -> dict[tuple[str, str, str], str]:
    """The warnings in full, where the table's record has them."""
    return {
        (str(exposure), str(outcome), str(code)): str(message)
        for record in inputs.mr_records
        for exposure, outcome, code, message in record.get("warnings", [])
    }


def _of_pair(table: pd.DataFrame, exposure: str, outcome: str) -> pd.DataFrame:
    if not len(table):
        return table
    rows = (table["exposure"].astype(str) == exposure) & (table["outcome"].astype(str) == outcome)
    chosen: pd.DataFrame = table[rows].reset_index(drop=True)
    return chosen


def _movers(leave: pd.DataFrame) -> pd.DataFrame:
    if not len(leave):
        return leave
    whole = leave.loc[leave["without"] == WITHOUT_NONE, "estimate"]
    rows = leave[leave["without"] != WITHOUT_NONE].copy()
    rows["whole"] = whole.iloc[0] if len(whole) else rows["estimate"].median()
    rows["change"] = rows["estimate"] - rows["whole"]
    order = rows["change"].abs().sort_values(ascending=False, kind="stable").index
    table: pd.DataFrame = rows.loc[order].head(_MOVERS).reset_index(drop=True)
    return table


def exported_instruments(table: pd.DataFrame) -> Instruments | None:
    """Instruments from the rows of one pair in `twosamplemr.tsv`; None where there are none."""
    if not len(table):
        return None
    return Instruments(
        snp=table["SNP"].to_numpy(str),
        beta_exposure=table["beta.exposure"].to_numpy(float),
        se_exposure=table["se.exposure"].to_numpy(float),
        beta_outcome=table["beta.outcome"].to_numpy(float),
        se_outcome=table["se.outcome"].to_numpy(float),
        exposure=str(table["exposure"].iloc[0]),
        outcome=str(table["outcome"].iloc[0]),
        se_type=_one(table, "se_type"),
        n_draws=_one(table, "n_draws"),
        mr_keep=table["mr_keep"].astype(str).str.upper().to_numpy() == "TRUE",
        reason=table["reason"].fillna("").to_numpy(str),
        sequence=table["sequence"].to_numpy(str) if table["sequence"].notna().all() else None,
    )


def instruments_of_result(
    pieces: Iterable[pd.DataFrame], leave: pd.DataFrame, facts: MrFacts
) -> Instruments | None:
    """Instruments named by a table of leave-one-out, with the effects of the result they are from.

    Parameters
    ----------
    pieces : iterable of DataFrame
        Of the result, as `read_stream.iter_effects` gives them.
    leave : DataFrame
        Rows of the pair in the table of leave-one-out.
    facts : MrFacts
        Of the pair.

    Returns
    -------
    Instruments or None
        None unless IVW over them is the estimate that the table gives for all instruments: the result
        is then another one, or the effects are those of half of the draws.
    """
    whole = leave.loc[leave["without"] == WITHOUT_NONE, "estimate"]
    names = set(leave["without"]) - {WITHOUT_NONE}
    found = [piece[piece["output"].isin([facts.exposure, facts.outcome])] for piece in pieces]
    table = pd.concat(found, ignore_index=True) if found else pd.DataFrame()
    if not len(table) or not len(whole):
        return None
    if "sequence" in table:
        table["sequence"] = sequence_names(table)
    if "chrom" in table:
        table["chrom"] = table["chrom"].where(table["chrom"] != "", None)
    for score in dict.fromkeys(table["score"]):
        instruments = _named_instruments(table[table["score"] == score], score, names, facts)
        if instruments is None:
            continue
        if np.isclose(mr_estimate(instruments, "ivw").estimate, whole.iloc[0], rtol=1e-4):
            return instruments
    return None


def _named_instruments(
    table: pd.DataFrame, score: str, names: set[str], facts: MrFacts
) -> Instruments | None:
    """Those of the names; None where the table has not all of them."""
    if score in UNSIGNED_SCORES:
        return None
    se_type: SeType = "mcse" if facts.first.get("se_type") == "mcse" else "sd"
    try:
        everything = instruments_from_table(
            table, facts.exposure, facts.outcome, score=score, se_type=se_type
        )
    except McDropoutError:  # of another run: an output is missing, for one
        return None
    chosen = np.isin(everything.snp, list(names)) & everything.mr_keep
    return everything.take(chosen) if chosen.sum() == len(names) else None


def _one(table: pd.DataFrame, name: str) -> Any:
    values = table[name].dropna().unique()
    if len(values) != 1:
        return None
    return values[0].item() if isinstance(values[0], np.generic) else values[0]
