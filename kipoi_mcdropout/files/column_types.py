"""Types of the columns of our tables: text or whole numbers, decided by the name of the column.

A contig 1, an output 007 and a sequence NA are texts. A reader that guesses types from the values would
turn them into numbers and missing values.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kipoi_mcdropout.effects.columns import (
    BACKGROUND_STATISTICS,
    INTERVAL_STATISTICS,
    MEMBER_REFERENCE_STATISTICS,
    MEMBER_STATISTICS,
    MUTANT_STATISTICS,
    Q_EMPIRICAL,
    REFERENCE_STATISTICS,
    SHRINKAGE_STATISTICS,
)
from kipoi_mcdropout.effects.member_names import MEAN_COLUMN

# An empty one of these is a name that is empty; of other texts it is a missing value.
_NAMES = frozenset(
    {
        "name", "id", "ref", "alt", "kind", "flags", "output", "score", "sequence", "without",
        "method", "convention", "exposure", "outcome", "id.exposure", "id.outcome", "SNP", "variant",
        "haplotype", "carriers",
    }
)  # fmt: skip
_OTHER_TEXTS = frozenset(
    {
        "chrom", "strand", "reason", "detail", "note", "warnings", "se_type", "cautions", "align",
        "effect_allele.exposure", "other_allele.exposure",
        "effect_allele.outcome", "other_allele.outcome",
        "effect_allele", "other_allele", "group", "select_draws", "advice", "answer", "ci_parts",
    }
)  # fmt: skip
_INTEGERS = frozenset(
    {
        "sequence", "pos", "position", "start", "end", "allele", "line",
        "n_draws", "n_nonfinite", "n_saturated", "n_alleles", "n_carriers",
    }
)  # fmt: skip
_STATISTICS = frozenset(
    {
        *REFERENCE_STATISTICS, *MUTANT_STATISTICS, *MEMBER_REFERENCE_STATISTICS, *MEMBER_STATISTICS,
        *BACKGROUND_STATISTICS, Q_EMPIRICAL,
        "z", "p_value", "q_value", "mean", "var", "sd", "mcse", "point", "var_within", "var_between",
        *INTERVAL_STATISTICS, *SHRINKAGE_STATISTICS,
    }
)  # fmt: skip
_OF_EFFECTS, _OF_PREDICTIONS = {"output", "effect_mean"}, {"output", "mean", "mcse"}


def types_of(columns: Iterable[str]) -> dict[str, pa.DataType]:
    """Types of the columns of a text table, by name; those not named are found out by the reader.

    `ism` and `predict` write float32, `score_variants` float64. A sequence has a number where there is a
    column `name` too; in the tables of `mr` it is the name.
    """
    names = list(columns)
    is_run = set(names) >= _OF_EFFECTS or set(names) >= _OF_PREDICTIONS
    texts = _NAMES | _OTHER_TEXTS
    types: dict[str, pa.DataType] = {}
    for name in names:
        if (name == "sequence" and "name" in names) or (is_run and name in _INTEGERS - {"sequence"}):
            types[name] = pa.int64()
        elif name in texts:
            types[name] = pa.string()
        elif (is_run and name in _STATISTICS) or name.startswith(("effect_q", MEAN_COLUMN)):
            types[name] = pa.float32() if "sequence" in names else pa.float64()
    return types


def to_frame(table: pa.Table) -> pd.DataFrame:
    """A table for pandas: texts as str, whole numbers as int64 (float64 where some are missing)."""
    types = types_of(table.column_names)
    for i, name in enumerate(table.column_names):
        column, kind = table.column(i), types.get(name)
        if kind is not None and pa.types.is_string(kind):
            column = pc.cast(column, kind)
            if name not in _NAMES:
                column = pc.if_else(pc.equal(column, ""), pa.scalar(None, kind), column)
        elif kind is not None and pa.types.is_integer(kind) and not _is_text(column.type):
            column = pc.cast(column, pa.float64() if column.null_count else kind)
        elif pa.types.is_null(column.type):
            column = pc.cast(column, pa.float64())
        table = table.set_column(i, name, column)
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _is_text(kind: pa.DataType) -> bool:
    is_plain: bool = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return is_plain or bool(pa.types.is_dictionary(kind))
