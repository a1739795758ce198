"""Measured and predicted effects of the same variants, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.effects.rounding import effect_rounding
from kipoi_mcdropout.effects.row_identity import (
    first_of_each_variant,
    genomic_variants,
    joined_by_colons,
    sequence_names,
    variant_names,
)
from kipoi_mcdropout.effects.single_alleles import check_single_alleles
from kipoi_mcdropout.errors import InputError

MIN_VARIANTS = 10
_NAME_COLUMNS = ("chrom", "position", "ref", "alt")


@dataclass(frozen=True, eq=False)
class Matched:
    """Effects of the variants that both tables have, in the order of the measured ones.

    Attributes
    ----------
    effect, se : array, shape=(n,)
        Measured; se is 0 where the table has none.
    mean, sd : array, shape=(n,)
        Predicted.
    n_only_measured, n_only_predicted, n_no_spread, n_repeated : int
        What was left out; see `calibration.CalibrationResult`.
    n_sequences : int
        Sequences that the variants lie in; 0 where the table has none.
    """

    effect: FloatArray
    se: FloatArray
    mean: FloatArray
    sd: FloatArray
    n_only_measured: int
    n_only_predicted: int
    n_no_spread: int
    n_repeated: int
    n_sequences: int = 0


@dataclass(frozen=True, eq=False)
class Pairs:
    """The variants that two tables have, in the order of the measured ones.

    Attributes
    ----------
    table : DataFrame
        `variant`; of the measured table `effect` and `se` (0 where it has none), and the columns that
        were asked for; of the predicted one `mean`, `sd`, `least` (what is only rounding), `sequence`
        (None where it has none), and `prob_positive` where it has it.
    n_only_measured, n_only_predicted, n_repeated : int
        What was left out; see `calibration.CalibrationResult`.
    """

    table: pd.DataFrame
    n_only_measured: int
    n_only_predicted: int
    n_repeated: int


def match(
    measured: pd.DataFrame, predicted: pd.DataFrame, output: str | None, *, all_spreads: bool = False
) -> Matched:
    """The variants of both tables that have an interval; see `calibration.calibrate` for the columns.

    With `all_spreads`, variants without a spread are kept.

    Raises
    ------
    InputError
        Columns missing, names repeated, numbers not finite, or fewer than 10 variants.
    """
    pairs = pair(measured, predicted, output)
    wide = _has_spread(pairs.table)
    used = pairs.table if all_spreads else pairs.table[wide]
    columns = {name: used[name].to_numpy(np.float64) for name in ("effect", "se", "mean", "sd")}
    return Matched(
        **columns, n_only_measured=pairs.n_only_measured, n_only_predicted=pairs.n_only_predicted,
        n_no_spread=int((~wide).sum()), n_repeated=pairs.n_repeated,
        n_sequences=used["sequence"].nunique(),
    )  # fmt: skip


def pair(
    measured: pd.DataFrame,
    predicted: pd.DataFrame,
    output: str | None,
    columns: Sequence[str] = ("variant", "effect"),
) -> Pairs:
    """The variants of both tables, side by side; see `calibration.calibrate` for their columns.

    Parameters
    ----------
    measured, predicted : DataFrame
    output : str or None
        As of `calibration.calibrate`.
    columns : sequence of str
        Columns that the measured table must have, `variant` one of them.

    Raises
    ------
    InputError
        Columns missing, names repeated, numbers not finite, or fewer than 10 variants.
    """
    left = _measured(measured, columns)
    right, n_repeated = _predicted(predicted, output)
    for table, what in ((left, "measured"), (right, "predicted")):
        again = table["variant"][table["variant"].duplicated()]
        if len(again):
            raise InputError(
                f"each variant may occur once; {len(again)} {what} rows repeat a variant, first: "
                f"{again.iloc[0]}. Average these rows, or keep one."
            )
    both = left.merge(right, on="variant", validate="one_to_one")
    if len(both) < MIN_VARIANTS:
        raise InputError(
            f"at least {MIN_VARIANTS} variants in both tables are required; {len(both)} are. Measured "
            f"names look like {_example(left)}, predicted names like {_example(right)}: do they have "
            "the same form?"
        )
    _check_numbers(both)
    return Pairs(both, len(left) - len(both), len(right) - len(both), n_repeated)


def require(table: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    """Raise InputError unless the table has the columns."""
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise InputError(
            f"{what} must have columns {', '.join(columns)}; it lacks {', '.join(missing)} and has "
            f"{', '.join(map(str, table.columns))}. Rename its columns."
        )


def _measured(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    require(table, columns, "the table of measured effects")
    se = table["se"] if "se" in table.columns else 0.0
    measured: pd.DataFrame = table[list(columns)].assign(variant=table["variant"].astype(str), se=se)
    return measured


def _predicted(table: pd.DataFrame, output: str | None) -> tuple[pd.DataFrame, int]:
    """The columns of `Pairs.table` that are of predictions, and the number of rows left out."""
    require(table, ("effect_mean", "effect_sd"), "the table of predicted effects")
    check_single_alleles(table, "the comparison with measured effects")
    table = _one_output(table, output)
    first = np.ones(len(table), bool)
    if "variant" in table.columns:
        names = table["variant"].astype(str)
    elif (variants := genomic_variants(table)) is not None:
        names, first = variant_names(variants), first_of_each_variant(table, variants)
    else:
        require(table, _NAME_COLUMNS, "the table of predicted effects, without 'variant',")
        if table["chrom"].isna().any():
            raise InputError(
                "the predicted effects have no coordinates (chrom is empty), so they cannot be matched "
                "with measured effects by name. Run ism with a dataloader that gives ranges, or add a "
                "column variant."
            )
        names = joined_by_colons(table[list(_NAME_COLUMNS)])
    rows = pd.DataFrame(
        {"variant": names, "mean": table["effect_mean"], "sd": table["effect_sd"]}
    ).assign(least=effect_rounding(table))
    rows["sequence"] = sequence_names(table) if "sequence" in table else None
    if "prob_positive" in table.columns:
        rows["prob_positive"] = table["prob_positive"]
    return rows[first], int((~first).sum())


def _one_output(predicted: pd.DataFrame, output: str | None) -> pd.DataFrame:
    if "output" not in predicted.columns:
        return predicted
    names = predicted["output"].astype(str)
    known = names.unique().tolist()
    if output is None and len(known) == 1:
        return predicted
    if output not in known:
        raise InputError(
            f"one output is required, of {', '.join(known[:5])}{' ...' if len(known) > 5 else ''}; "
            f"got {output!r}."
        )
    table: pd.DataFrame = predicted[names == output]
    return table


def _example(table: pd.DataFrame) -> str:
    return repr(table["variant"].iloc[0]) if len(table) else "nothing"


def _check_numbers(both: pd.DataFrame) -> None:
    numbers = [name for name in ("effect", "mean", "sd", "se") if name in both]
    values = both[numbers].to_numpy(float)
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        raise InputError(
            f"effects, sd and se must be finite; they are not for {bad.sum()} variants, first: "
            f"{both['variant'][bad].iloc[0]}. Remove these."
        )
    wrong = (both["sd"] < 0) | (both["se"] < 0)
    if wrong.any():
        raise InputError(
            f"sd and se must not be negative; this fails for {wrong.sum()} variants, first: "
            f"{both['variant'][wrong].iloc[0]}. Remove these."
        )


def _has_spread(both: pd.DataFrame) -> NDArray[np.bool_]:
    """Which variants have an interval."""
    spread = np.hypot(both["sd"].to_numpy(float), both["se"].to_numpy(float))
    wide: NDArray[np.bool_] = spread > both["least"].to_numpy(float)
    if wide.sum() < MIN_VARIANTS:
        raise InputError(
            f"at least {MIN_VARIANTS} variants whose effects vary over the draws are required; got "
            f"{wide.sum()}. Is there a dropout between the mutations and the output? See `audit`"
        )
    return wide
