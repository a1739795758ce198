"""The variants of an evaluation: what was predicted and measured of each, and how certain it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.effects.score_names import UNSIGNED_SCORES
from kipoi_mcdropout.effects.z import z_ratio
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.significance.cluster_bootstrap import blocks_of_places, numbered
from kipoi_mcdropout.significance.matched_effects import Pairs, pair, require

_YES, _NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")


class EffectsOfMutants(Protocol):
    """What is asked of effects: `kipoi_mcdropout.Effects` has it."""

    def table(self, outputs: Any = None, score: str | None = None) -> pd.DataFrame:
        """A row per mutant, output and score."""
        ...


@dataclass(frozen=True, eq=False)
class Sample:
    """Variants that were predicted and measured.

    Attributes
    ----------
    mean : array, shape=(n,)
        Predicted effect; 0 where it is only rounding.
    effect : array, shape=(n,), or None
        Measured effect.
    labels : array of bool, shape=(n,), or None
    certainty : dict of str to array, shape=(n,)
        By the name of the order, largest first: effect (|mean|), z (|mean / sd|), sd (its negative),
        sign (share of the draws that have the sign of most of them).
    cluster : array of int, shape=(n,)
        What is drawn together.
    has_places : bool
        Whether the clusters are stretches of the genome, or those of a column.
    """

    mean: FloatArray
    effect: FloatArray | None
    labels: NDArray[np.bool_] | None
    certainty: dict[str, FloatArray]
    cluster: NDArray[np.int64]
    has_places: bool

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return int(self.cluster.max()) + 1


def one_output(
    effects: pd.DataFrame | EffectsOfMutants, target: str | None, score: str | None
) -> tuple[pd.DataFrame, str, str]:
    """Rows of one output and a score with a sign, and the names of both.

    Raises
    ------
    InputError
        If there are several and none is named, or the score has no sign.
    """
    table = effects if isinstance(effects, pd.DataFrame) else effects.table(target, score)
    names = []
    for column, wanted in (("output", target), ("score", score)):
        if column not in table:
            names.append("" if wanted is None else wanted)
            continue
        known = list(dict.fromkeys(table[column].astype(str)))
        name = known[0] if wanted is None and len(known) == 1 else wanted
        if name not in known and len(known) == 1 and not isinstance(effects, pd.DataFrame):
            name = known[0]  # it was named by its number or a pattern
        if name not in known:
            shown = ", ".join(known[:5]) + (", ..." if len(known) > 5 else "")
            raise InputError(f"one {column} is required, of {shown or 'none'}; got {wanted!r}. Name it")
        table = table[table[column].astype(str) == name]
        names.append(name)
    output, score_name = names
    if score_name in UNSIGNED_SCORES:
        raise InputError(
            f"an evaluation requires a score with a sign; {score_name} {UNSIGNED_SCORES[score_name]}. "
            "Use diff or logit: run ism or score_variants again with --scores"
        )
    return table, output, score_name


def sample_of(
    predicted: pd.DataFrame,
    measured: pd.DataFrame,
    label: str | None,
    cluster: str | None,
    block_bp: int,
) -> tuple[Sample, Pairs]:
    """The variants of both tables as arrays.

    Parameters
    ----------
    predicted : DataFrame
        Of one output and score.
    measured, label, cluster, block_bp
        As of `evaluation.evaluate`.

    Raises
    ------
    InputError
        See `evaluation.evaluate`.
    """
    _check_draws(predicted)
    pairs = pair(*_columns(measured, predicted, label, cluster))
    table = pairs.table
    least = table["least"].to_numpy(float)
    mean, sd = (_without_rounding(table[name].to_numpy(float), least) for name in ("mean", "sd"))
    if np.ptp(mean) == 0:
        raise InputError(
            f"predicted effects that differ are required; all {len(mean)} are {mean[0]:g}. Is this the "
            "right output? Does the model see these positions?"
        )
    certainty = {"effect": np.abs(mean), "z": np.abs(z_ratio(mean, sd)), "sd": -sd}
    if "prob_positive" in table and table["prob_positive"].notna().all():
        positive = np.where((mean == 0) & (sd == 0), 0.5, table["prob_positive"].to_numpy(float))
        certainty["sign"] = np.maximum(positive, 1 - positive)
    effect = table["effect"].to_numpy(float) if "effect" in table else None
    if effect is not None and np.ptp(effect) == 0:
        raise InputError(
            f"measured effects that differ are required; all {len(effect)} are {effect[0]:g}. Check the "
            "column effect"
        )
    labels = None if label is None else _labels(table["label"], table["variant"], label)
    clusters, has_places = _clusters(table, cluster, block_bp)
    return Sample(mean, effect, labels, certainty, clusters, has_places), pairs


def _check_draws(predicted: pd.DataFrame) -> None:
    require(predicted, ("effect_mean", "effect_sd"), "the table of predicted effects")
    if len(predicted) and predicted["effect_sd"].isna().all():
        raise InputError(
            "an evaluation requires effects with an sd; these have none, as of a run with --n_draws 0. "
            "Run ism or score_variants again with draws"
        )


def _columns(
    measured: pd.DataFrame, predicted: pd.DataFrame, label: str | None, cluster: str | None
) -> tuple[pd.DataFrame, pd.DataFrame, None, list[str]]:
    """Both tables with columns of fixed names, and those that are needed."""
    named = {"label": label, "cluster": cluster}
    asked = {name: column for name, column in named.items() if column is not None}
    effect = ["effect"] if "effect" in measured or label is None else []
    require(measured, ["variant", *effect, *asked.values()], "the table of measured effects")
    own = ["variant", *effect, *(["se"] if "se" in measured else [])]
    table = measured[own].assign(**{name: measured[column] for name, column in asked.items()})
    return table, predicted, None, ["variant", *effect, *asked]


def _without_rounding(values: FloatArray, least: FloatArray) -> FloatArray:
    return np.where(np.abs(values) <= least, 0.0, values)


def _labels(column: pd.Series, variants: pd.Series, name: str) -> NDArray[np.bool_]:
    words = column.astype(str).str.strip().str.lower()
    positive = words.isin(_YES).to_numpy(bool)
    unknown = ~(positive | words.isin(_NO).to_numpy(bool))
    if unknown.any():
        first = int(np.argmax(unknown))
        raise InputError(
            f"labels must be 1 or 0, yes or no, true or false; {int(unknown.sum())} of the column "
            f"{name} are not, first: '{column.iloc[first]}' of {variants.iloc[first]}. Write 1 for the "
            "variants to be found and 0 for the others"
        )
    if positive.all() or not positive.any():
        raise InputError(
            f"labels of both kinds are required; all {len(positive)} of the column {name} are "
            f"{int(positive[0])}. Add variants of the other kind"
        )
    return positive


def _clusters(table: pd.DataFrame, column: str | None, block_bp: int) -> tuple[NDArray[np.int64], bool]:
    if column is not None:
        if table["cluster"].isna().any():
            raise InputError(
                f"the column {column} must name the cluster of every variant; "
                f"{int(table['cluster'].isna().sum())} have none. Fill it"
            )
        return numbered(table["cluster"].astype(str)), True
    blocks = blocks_of_places(table["variant"], block_bp)
    return (np.arange(len(table)), False) if blocks is None else (blocks, True)
