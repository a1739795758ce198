"""Compares predicted with measured effects: if they agree, and if the sd tells which are right.

Correlations, the share of right signs, and the precision at labels say how good the effects are. Then
the variants are put in order, the most certain first: by |effect|, by |z|, by the sd, or by the share of
draws that agree on the sign. A useful uncertainty has fewer errors at the top of its order than the
order by |effect|, which needs no draws. All values have intervals by the bootstrap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.significance.agreement import (
    average_precision,
    pearson,
    share_right,
    sign_right,
    spearman,
)
from kipoi_mcdropout.significance.calibration import with_spread
from kipoi_mcdropout.significance.cautions import Caution
from kipoi_mcdropout.significance.cluster_bootstrap import Statistic, bootstrap, interval
from kipoi_mcdropout.significance.evaluation_sample import (
    EffectsOfMutants,
    Sample,
    one_output,
    sample_of,
)
from kipoi_mcdropout.significance.evaluation_words import cautions_of, sentences
from kipoi_mcdropout.significance.matched_effects import MIN_VARIANTS
from kipoi_mcdropout.significance.risk_coverage import RiskCoverage

Spread = Literal["total", "within", "between"]
COLUMNS = ("quantity", "order", "minus", "coverage", "value", "lower", "upper", "level", "n")
COVERAGES = tuple(round(0.05 * step, 2) for step in range(1, 21))
# The orders that need no draws: the largest effects first, whose signs are the surest; and the smallest
# first, whose errors are the smallest.
BASELINE, SQUARED_BASELINE = "effect", "small"


@dataclass(frozen=True)
class EvaluationOptions:
    """How an evaluation is made.

    Parameters
    ----------
    coverage : float
        The share of variants, the most certain, in which the orders are compared.
    min_measured : float
        Measured effects of at most this size have no sign: they are left out where signs are compared.
    block_bp : int
        Variants in the same stretch of so many bases are drawn together in the bootstrap. Not used if
        there is a column of clusters, or names say no place.
    n_bootstrap : int
        Samples of the bootstrap.
    seed : int
    level : float
        Of the intervals.
    sd : "total", "within" or "between"
        Which spread is the sd, for a model with several members.
    """

    coverage: float = 0.5
    min_measured: float = 0.0
    block_bp: int = 20
    n_bootstrap: int = 2000
    seed: int = 0
    level: float = 0.95
    sd: Spread = "total"

    def __post_init__(self) -> None:
        for name in ("coverage", "level"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(f"{name} must lie between 0 and 1; got {getattr(self, name)}.")
        if not self.min_measured >= 0:
            raise InputError(f"min_measured must be 0 or more; got {self.min_measured}.")
        for name, least in (("block_bp", 1), ("n_bootstrap", 100), ("seed", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} must be {least} or more; got {getattr(self, name)}.")
        if self.sd not in ("total", "within", "between"):
            raise InputError(f"sd must be total, within or between; got {self.sd!r}.")


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """What `evaluate` found.

    Attributes
    ----------
    table : DataFrame
        A row per number. `quantity`: pearson, spearman, sign_accuracy, mean_squared_error, auprc (area
        under the curve of precision and recall), label_share (auprc of a random order), and
        area_sign_error and area_squared_error (areas under risk-coverage curves). `order`: what the
        variants are ordered by; empty where no order matters. `minus`: the order whose value is
        subtracted: effect, or small (smallest |effect| first) for squared errors. `coverage`: the share
        that is kept, the most certain first; 1 for all. `value`, `lower`, `upper`: the number and its
        interval, of the level `level`. `n`: variants that it is of.
    target, score : str
        Output and score that were evaluated; "" where the table of effects has none.
    n, n_only_measured, n_only_predicted, n_repeated : int
        Variants used; those that only one of the tables has; rows left out because another window has
        the same variant.
    n_without_sign : int
        Variants whose measured effect is 0, or at most `min_measured`.
    n_predicted_zero : int
        Variants whose predicted effect is 0. In the sign accuracy they count half.
    n_clusters : int
        What the bootstrap draws from.
    line : (float, float) or None
        Intercept and slope of measured on predicted effects (least squares). The squared errors are
        those from this line, since the two scales may differ.
    cautions : tuple of Caution
    options : EvaluationOptions
    """

    table: pd.DataFrame
    target: str
    score: str
    n: int
    n_only_measured: int
    n_only_predicted: int
    n_repeated: int
    n_without_sign: int
    n_predicted_zero: int
    n_clusters: int
    line: tuple[float, float] | None
    cautions: tuple[Caution, ...]
    options: EvaluationOptions

    @property
    def sentences(self) -> list[str]:
        """Whether the orders differ, in words."""
        return sentences(self.table)

    def provenance(self) -> dict[str, Any]:
        """What to record beside the table."""
        counts = (
            "target", "score", "n", "n_only_measured", "n_only_predicted", "n_repeated",
            "n_without_sign", "n_predicted_zero", "n_clusters", "line",
        )  # fmt: skip
        return {
            **{name: getattr(self, name) for name in counts},
            "options": asdict(self.options),
            "cautions": [list(caution) for caution in self.cautions],
            "sentences": self.sentences,
        }


@dataclass(frozen=True)
class _Quantity:
    """A number, or one for each of `coverages`."""

    name: str
    order: str
    statistic: Statistic
    n: int
    coverages: tuple[float, ...] = ()
    baseline: str = BASELINE


def evaluate(
    effects: pd.DataFrame | EffectsOfMutants,
    measured: pd.DataFrame,
    *,
    target: str | None = None,
    score: str | None = None,
    label: str | None = None,
    cluster: str | None = None,
    options: EvaluationOptions = EvaluationOptions(),
) -> EvaluationResult:
    """Compare predicted effects with measured effects, or with labels, variant by variant.

    Parameters
    ----------
    effects : Effects or DataFrame
        Predicted effects; columns as of `calibration.calibrate`, and `prob_positive` for the order by
        sign.
    measured : DataFrame
        Columns `variant` (``chrom:pos:ref:alt``, unique) and `effect`. `effect` may be missing if there
        are labels.
    target, score : str, optional
        Needed where the effects have several outputs or scores.
    label : str, optional
        A column of `measured`: 1 for variants that are to be found (such as those that change
        expression), 0 for the others.
    cluster : str, optional
        A column of `measured`: what is drawn together in the bootstrap, such as the element that a
        variant lies in. By default stretches of `options.block_bp` bases.
    options : EvaluationOptions

    Returns
    -------
    EvaluationResult

    Raises
    ------
    InputError
        Fewer than 10 variants in both tables, or fewer than 10 with a sign; columns missing, names
        repeated, numbers not finite; all measured or all predicted effects equal; labels that are not
        yes or no, or all the same; a score without a sign.
    """
    if not isinstance(measured, pd.DataFrame):
        raise InputError(f"measured must be a table (pandas.DataFrame); got {type(measured).__name__}")
    predicted, output, score_name = one_output(effects, target, score)
    predicted = _with_sd(predicted, options.sd)
    sample, pairs = sample_of(predicted, measured, label, cluster, options.block_bp)
    line = None if sample.effect is None else _line(sample.mean, sample.effect)
    quantities = list(_quantities(sample, line, options))
    rows = list(_rows(quantities, sample, options))
    right = (
        None if sample.effect is None else sign_right(sample.mean, sample.effect, options.min_measured)
    )
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    cautions = tuple(cautions_of(table, sample))
    return EvaluationResult(
        table=table, target=output, score=score_name, n=len(sample.mean),
        n_only_measured=pairs.n_only_measured, n_only_predicted=pairs.n_only_predicted,
        n_repeated=pairs.n_repeated, n_without_sign=0 if right is None else int(np.isnan(right).sum()),
        n_predicted_zero=int((sample.mean == 0).sum()), n_clusters=sample.n_clusters, line=line,
        cautions=cautions, options=options,
    )  # fmt: skip


def _with_sd(predicted: pd.DataFrame, sd: Spread) -> pd.DataFrame:
    """With the part of the spread that is asked for; the draws' signs are those of the total."""
    if sd == "total":
        return predicted
    part: pd.DataFrame = with_spread(predicted, sd).drop(columns="prob_positive", errors="ignore")
    return part


def _line(mean: FloatArray, effect: FloatArray) -> tuple[float, float]:
    """Intercept and slope of measured on predicted effects."""
    centred = mean - mean.mean()
    slope = float(centred @ effect / (centred @ centred))
    return float(effect.mean() - slope * mean.mean()), slope


def _quantities(
    sample: Sample, line: tuple[float, float] | None, options: EvaluationOptions
) -> Iterator[_Quantity]:
    grid = tuple(sorted({*COVERAGES, options.coverage}))
    n = len(sample.mean)
    if sample.effect is not None and line is not None:
        wrong = 1 - sign_right(sample.mean, sample.effect, options.min_measured)
        n_signed = int(np.isfinite(wrong).sum())
        if n_signed < MIN_VARIANTS:
            raise InputError(
                f"at least {MIN_VARIANTS} variants with a measured effect larger than "
                f"{options.min_measured:g} are required; {n_signed} are. Lower min_measured"
            )
        squared = (sample.effect - line[0] - line[1] * sample.mean) ** 2
        yield _Quantity("pearson", "", pearson(sample.mean, sample.effect), n)
        yield _Quantity("spearman", "", spearman(sample.mean, sample.effect), n)
        yield _Quantity("sign_accuracy", "", share_right(1 - wrong), n_signed)
        for order, certainty in sample.certainty.items():
            signs = RiskCoverage(wrong, certainty)
            yield _Quantity("sign_accuracy", order, _one_minus(signs.risk(grid)), n_signed, grid)
            yield _Quantity("area_sign_error", order, signs.area(), n_signed)
        small = {SQUARED_BASELINE: -sample.certainty["effect"]}
        for order, certainty in {**small, **sample.certainty}.items():
            errors, base = RiskCoverage(squared, certainty), SQUARED_BASELINE
            yield _Quantity("mean_squared_error", order, errors.risk(grid), n, grid, base)
            yield _Quantity("area_squared_error", order, errors.area(), n, baseline=base)
    if sample.labels is not None:
        yield _Quantity("label_share", "", share_right(sample.labels.astype(float)), n)
        for order, certainty in sample.certainty.items():
            yield _Quantity("auprc", order, average_precision(sample.labels, certainty), n)


def _one_minus(statistic: Statistic) -> Statistic:
    return lambda counts: 1 - statistic(counts)


def _rows(
    quantities: list[_Quantity], sample: Sample, options: EvaluationOptions
) -> Iterator[tuple[Any, ...]]:
    """The rows of the table, differences after what they are of."""
    statistics = {f"{q.name} {q.order}": q.statistic for q in quantities}
    values = {name: f(np.ones((1, len(sample.mean)))) for name, f in statistics.items()}
    drawn = bootstrap(statistics, sample.cluster, options.n_bootstrap, options.seed)
    for q in quantities:
        key, base = f"{q.name} {q.order}", f"{q.name} {q.baseline}"
        value, samples = (x[key].reshape(len(x[key]), -1) for x in (values, drawn))
        for i, coverage in enumerate(q.coverages or (1.0,)):
            limits = interval(samples[:, i], options.level)
            yield (q.name, q.order, "", coverage, float(value[0, i]), *limits, options.level, q.n)
        if q.order in ("", q.baseline):
            continue
        value, samples = (x[key] - x[base] for x in (values, drawn))
        i = q.coverages.index(options.coverage) if q.coverages else 0
        value, samples = (x.reshape(len(x), -1)[:, i] for x in (value, samples))
        coverage = options.coverage if q.coverages else 1.0
        limits = interval(samples, options.level)
        yield (q.name, q.order, q.baseline, coverage, float(value[0]), *limits, options.level, q.n)
