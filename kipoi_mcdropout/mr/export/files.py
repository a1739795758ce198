"""Files for the R packages and for other programs.

Numbers are written so that reading them back gives the same float64. Texts are quoted where needed, by
the rules of csv; a missing value is an empty field, as an output may be called NA. Effects are always of
ALT against REF; every R method orients them itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.errors import OutputError, is_machine_failure
from kipoi_mcdropout.mr.export.file_names import safe_file_name
from kipoi_mcdropout.mr.export.readme import readme, sequences_of
from kipoi_mcdropout.mr.pairs.correlation import correlation_of_members, covariance_of_draws
from kipoi_mcdropout.mr.pairs.instruments import Instruments

MAX_MATRIX = (
    1000  # instruments: a matrix beyond is over 20 MB of text, and singular for any usual n_draws
)
Writer = Callable[[Path], None]
# How a file is put in place: of its path, a context that gives the path to write to.
Placing = Callable[[Path], AbstractContextManager[Path]]

DEEPMR_COMMENT = (
    "# X_pred_var and Y_pred_var keep the names that deepmr gave them, but they hold a standard error "
    "and not a variance: {what}. Read with comment.char='#' (R) or comment='#' (pandas)."
)


def export_mr(
    instruments: Instruments,
    folder: str | os.PathLike[str],
    *,
    per_sequence: bool = True,
    overwrite: bool = False,
    placing: Placing = nullcontext,
) -> dict[str, Path]:
    """Write all files for one exposure and outcome.

    Parameters
    ----------
    instruments : Instruments
        `twosamplemr.tsv` gets all rows, with mr_keep; every other file the kept rows.
    folder : path
        Made if it does not exist.
    per_sequence : bool
        With more than one sequence, write the same files for each below ``sequences/``, in a folder
        with its number and name (`file_names.safe_file_name`); the name itself is in README.txt.
    overwrite : bool
    placing : callable
        Given the path of a file, returns a context whose value is the path to write to. By default
        this is the file itself; `files.atomic.atomic_path` writes each file whole or not at all.

    Returns
    -------
    dict of str to Path
        Name of each pooled file, relative to `folder`, and its path.

    Raises
    ------
    InputError
        No instrument is kept.
    OutputError
        A file exists and `overwrite` is False, or the folder cannot be written.
    """
    instruments.kept()
    root = Path(folder)
    jobs = {root: instruments}
    if per_sequence and instruments.sequence is not None:
        parts = instruments.by_sequence()
        if len(parts) > 1:
            jobs |= {
                root / "sequences" / f"{number:04d}_{safe_file_name(name)}": part
                for number, (name, part) in enumerate(parts.items(), start=1)
                if part.n_kept
            }
    plans = {place: _plan(part) for place, part in jobs.items()}
    _check_free([place / name for place, plan in plans.items() for name in plan], overwrite)
    for place, plan in plans.items():
        _write_all(place, plan, placing)
    return {name: root / name for name in plans[root]}


def twosamplemr_table(instruments: Instruments) -> pd.DataFrame:
    """Harmonised data as TwoSampleMR's ``mr()`` takes it, all rows.

    `reason` says why mr_keep is FALSE.

    ``harmonise_data()`` must not be run on it: with unknown allele frequencies, it drops A/T and C/G
    mutants by default, a third of all.
    """
    i = instruments
    columns: dict[str, object] = {"SNP": i.snp}
    for name in ("id", "name"):
        for side in ("exposure", "outcome"):
            columns[f"id.{side}" if name == "id" else side] = getattr(i, side)
    for name in ("beta", "se"):
        for side in ("exposure", "outcome"):
            columns[f"{name}.{side}"] = getattr(i, f"{name}_{side}")
    for name in ("effect_allele", "other_allele"):
        for side in ("exposure", "outcome"):
            columns[f"{name}.{side}"] = getattr(i, name)
    for name in (
        "eaf",
        "samplesize",
    ):  # no population: mutants have no frequency, draws are no samples
        for side in ("exposure", "outcome"):
            columns[f"{name}.{side}"] = np.nan
    for side in ("exposure", "outcome"):
        columns[f"pval.{side}"] = _p(getattr(i, f"beta_{side}"), getattr(i, f"se_{side}"))
    columns["mr_keep"] = np.where(i.mr_keep, "TRUE", "FALSE")
    columns["reason"] = [str(r) if r else None for r in i.reason]
    columns |= {"se_type": i.se_type, "n_draws": i.n_draws, "sequence": i.sequence}
    table: pd.DataFrame = pd.DataFrame(columns)
    return table


def mr_input_table(instruments: Instruments) -> pd.DataFrame:
    """Columns snps, bx, bxse, by, byse, effect_allele, other_allele for MendelianRandomization."""
    used = instruments.kept()
    table: pd.DataFrame = pd.DataFrame(
        {
            "snps": used.snp,
            "bx": used.beta_exposure,
            "bxse": used.se_exposure,
            "by": used.beta_outcome,
            "byse": used.se_outcome,
            "effect_allele": used.effect_allele,
            "other_allele": used.other_allele,
        }
    )
    return table


def radial_table(instruments: Instruments) -> pd.DataFrame:
    """Columns SNP, beta.exposure, beta.outcome, se.exposure, se.outcome for RadialMR."""
    used = instruments.kept()
    table: pd.DataFrame = pd.DataFrame(
        {
            "SNP": used.snp,
            "beta.exposure": used.beta_exposure,
            "beta.outcome": used.beta_outcome,
            "se.exposure": used.se_exposure,
            "se.outcome": used.se_outcome,
        }
    )
    return table


def presso_table(instruments: Instruments) -> pd.DataFrame:
    """Columns SNP, E1_effect, E1_se, Y_effect, Y_se for MR-PRESSO."""
    used = instruments.kept()
    table: pd.DataFrame = pd.DataFrame(
        {
            "SNP": used.snp,
            "E1_effect": used.beta_exposure,
            "E1_se": used.se_exposure,
            "Y_effect": used.beta_outcome,
            "Y_se": used.se_outcome,
        }
    )
    return table


def genal_table(instruments: Instruments, side: str) -> pd.DataFrame:
    """Columns SNP, CHR, POS, EA, NEA, BETA, SE, P, EAF for genal: of the "exposure" or the "outcome".

    CHR and POS are empty where the place on the genome is not known; EAF always is.
    """
    used = instruments.kept()
    beta, se = getattr(used, f"beta_{side}"), getattr(used, f"se_{side}")
    on_genome = used.chrom is not None
    columns: dict[str, object] = {"SNP": used.snp, "CHR": used.chrom}
    columns |= {"POS": used.position if on_genome else None, "EA": used.effect_allele}
    columns |= {"NEA": used.other_allele, "BETA": beta, "SE": se, "P": _p(beta, se), "EAF": np.nan}
    table: pd.DataFrame = pd.DataFrame(columns)
    return table


def deepmr_table(instruments: Instruments) -> pd.DataFrame:
    """The columns of deepmr's scripts: seq_num (from 1), X_pred_mean, X_pred_var, and so for Y."""
    used = instruments.kept()
    number = np.ones(len(used), int)
    if used.sequence is not None:
        number = pd.factorize(used.sequence.astype(str))[0] + 1
    table: pd.DataFrame = pd.DataFrame(
        {
            "seq_num": number,
            "X_pred_mean": used.beta_exposure,
            "X_pred_var": used.se_exposure,
            "Y_pred_mean": used.beta_outcome,
            "Y_pred_var": used.se_outcome,
        }
    )
    return table


def draws_table(instruments: Instruments) -> pd.DataFrame:
    """Effects of each draw, kept rows: draw (from 0), SNP, effect_exposure, effect_outcome."""
    used = instruments.kept()
    if used.draws_exposure is None or used.draws_outcome is None:
        raise OutputError(
            "there are no draws to write. Run ism with --keep_draws, and pass read_draws(...)."
        )
    n_draws, n = used.draws_exposure.shape
    table: pd.DataFrame = pd.DataFrame(
        {
            "draw": np.repeat(np.arange(n_draws), n),
            "SNP": pd.Categorical.from_codes(
                np.tile(np.arange(n), n_draws), categories=used.snp.tolist()
            ),
            "effect_exposure": used.draws_exposure.ravel(),
            "effect_outcome": used.draws_outcome.ravel(),
        }
    )
    return table


def _plan(instruments: Instruments) -> dict[str, Writer]:
    """The files to write, by name; nothing is written yet."""
    used = instruments.kept()
    plan: dict[str, Writer] = {
        "twosamplemr.tsv": lambda path: _tsv(twosamplemr_table(instruments), path),
        "mr_input.tsv": lambda path: _tsv(mr_input_table(instruments), path),
        "radialmr.tsv": lambda path: _tsv(radial_table(instruments), path),
        "mrpresso.tsv": lambda path: _tsv(presso_table(instruments), path),
        "genal_exposure.tsv": lambda path: _tsv(genal_table(instruments, "exposure"), path),
        "genal_outcome.tsv": lambda path: _tsv(genal_table(instruments, "outcome"), path),
        "deepmr.csv": lambda path: _deepmr(instruments, path),
        "provenance.json": lambda path: _provenance(instruments, path),
    }
    if used.draws_exposure is not None:
        plan["draws.parquet"] = lambda path: _parquet(draws_table(instruments), path)
    for name, matrix in _matrices(used).items():
        plan[name] = lambda path, m=matrix: _matrix(m, used.snp, path)  # type: ignore[misc]
    text = readme(instruments, list(plan), MAX_MATRIX)
    plan["README.txt"] = lambda path: _text(text, path)
    return plan


def _matrices(used: Instruments) -> dict[str, FloatArray]:
    if len(used) > MAX_MATRIX:
        return {}
    matrices: dict[str, FloatArray] = {}
    if used.draws_exposure is not None:
        covariance = covariance_of_draws(used)
        matrices |= {f"covariance_{name}.tsv": matrix for name, matrix in covariance.items()}
        for side, name in (("exposure", "xx"), ("outcome", "yy")):
            sd = np.sqrt(np.diag(covariance[name]))
            matrices[f"correlation_{side}.tsv"] = covariance[name] / np.outer(sd, sd)
            if used.n_members > 1:
                draws, of_mean = getattr(used, f"draws_{side}"), used.se_type == "mcse"
                matrix = correlation_of_members(draws, used.n_members, of_mean)
                matrices[f"correlation_{side}.tsv"] = matrix
    if used.correlation is not None:
        matrices["correlation_outcome.tsv"] = used.correlation
    return matrices


def _write_all(place: Path, plan: dict[str, Writer], placing: Placing) -> None:
    try:
        place.mkdir(parents=True, exist_ok=True)
        for name, write in plan.items():
            with placing(place / name) as path:
                write(path)
    except OSError as error:
        if is_machine_failure(error):
            raise
        raise OutputError(
            f"the export to {place} failed: {error}. Choose a folder that can be written."
        ) from error


def _check_free(paths: list[Path], overwrite: bool) -> None:
    there = [path for path in paths if path.exists()]
    if there and not overwrite:
        raise OutputError(
            f"{len(there)} of the files to write already exist, first: {there[0]}. Choose another "
            "folder, or allow overwriting."
        )


def _tsv(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, sep="\t", index=False)


def _parquet(table: pd.DataFrame, path: Path) -> None:
    with path.open("wb") as file:  # opened here, as Arrow takes every name for UTF-8
        table.to_parquet(file, index=False)


def _matrix(matrix: FloatArray, names: np.ndarray, path: Path) -> None:
    pd.DataFrame(matrix, index=names, columns=names).to_csv(path, sep="\t", index_label="SNP")


def _deepmr(instruments: Instruments, path: Path) -> None:
    what = {
        "sd": "the standard deviation of the effect over draws (ddof=1; deepmr's had ddof=0)",
        "mcse": "the Monte Carlo standard error of the mean effect"
        + (", sd / sqrt(n_draws)" if instruments.n_members == 1 else ""),
        None: "the standard error that was given with the effects",
    }[instruments.se_type]
    table = deepmr_table(instruments).to_csv(index=False)
    _text(DEEPMR_COMMENT.format(what=what) + "\n" + table, path)


def _provenance(instruments: Instruments, path: Path) -> None:
    content = {
        "exposure": instruments.exposure,
        "outcome": instruments.outcome,
        "sequences": sequences_of(instruments),
        "se_type": instruments.se_type,
        "n_draws": instruments.n_draws,
        "n_members": instruments.n_members,
        "n_rows": len(instruments),
        "n_kept": instruments.n_kept,
        **instruments.provenance,
    }
    _text(json.dumps(content, indent=2, default=str) + "\n", path)


def _text(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")


def _p(beta: FloatArray, se: FloatArray) -> FloatArray:
    z = np.divide(np.abs(beta), se, out=np.full(len(se), np.nan), where=se > 0)
    p_values: FloatArray = 2 * stats.norm.sf(z)
    return p_values
