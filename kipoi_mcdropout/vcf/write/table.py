"""The tidy table: a row per scored allele, score and model output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import ndtr

from kipoi_mcdropout.effects.columns import (
    BACKGROUND_STATISTICS,
    INTERVAL_STATISTICS,
    MEMBER_REFERENCE_STATISTICS,
    MEMBER_STATISTICS,
    OUTPUT_EPS,
    P_EMPIRICAL,
    quantile_name,
)
from kipoi_mcdropout.effects.rounding import DIFFERENCES, FLOAT32_EPS, difference_rounding
from kipoi_mcdropout.effects.scores import Score
from kipoi_mcdropout.effects.summary import EffectSummary
from kipoi_mcdropout.effects.z import z_ratio
from kipoi_mcdropout.vcf.place.placement import Scored
from kipoi_mcdropout.vcf.read.haplotypes import HaplotypeRecord
from kipoi_mcdropout.vcf.read.record import Record

# Record, number of the ALT (or of the haplotype) from 1, its windows.
ScoredAllele = tuple[Record, int, Scored]

_IDENTITY = ("chrom", "pos", "id", "ref", "alt", "allele", "line", "kind", "flags", "score", "output")
STATISTICS = (
    "ref_mean", "ref_var", "ref_point", "alt_mean", "alt_var", "alt_point", "ref_alt_cov",
    "effect_mean", "effect_sd", "effect_mcse", "effect_point", "z", "p_value", "prob_positive",
)  # fmt: skip
HAPLOTYPE_COLUMNS = {
    "haplotype": pa.dictionary(pa.int32(), pa.string()),
    "n_alleles": pa.int32(),
    "carriers": pa.dictionary(pa.int32(), pa.string()),
    "n_carriers": pa.int32(),
}


def z_and_p(
    statistics: Mapping[str, NDArray[np.float64]], score: Score, eps: float = FLOAT32_EPS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The quotient z = effect_mean / effect_sd, and the two-sided p of an effect of zero.

    Both under the normal approximation of the draws: effects of single draws are taken to be normal
    with this mean and sd. The sd does not shrink with more draws, so neither does p. NaN where the sd
    is 0 or only rounding (`rounding.difference_rounding`).

    Parameters
    ----------
    statistics : mapping of str to array
        `effect_mean`, `effect_sd`, `ref_mean`, `ref_var`, `alt_mean`, `alt_var`, all of one shape.
    score : Score
        Of these effects.
    eps : float
        Relative precision of the model's arithmetic.
    """
    sd, floor = statistics["effect_sd"], np.zeros(())
    if score.name in DIFFERENCES:
        floor = difference_rounding(statistics, DIFFERENCES[score.name], eps)
    z = np.where(sd > floor, z_ratio(statistics["effect_mean"], sd, floor), np.nan)
    return z, 2 * ndtr(-np.abs(z))


def schema_of(
    quantiles: Sequence[float],
    several: bool = False,
    eps: float = 0.0,
    member_columns: Iterable[str] = (),
    ranked: bool = False,
    calibrated: bool = False,
    phased: bool = False,
) -> pa.Schema:
    """Columns of the table: those of members where the model has several, those of a background where
    the effects are ranked, those of intervals where there is a calibration, those of haplotypes
    where these are scored, and `output_eps` where the model computes less precisely than float32;
    `member_columns` are those of each member's mean effect.
    """
    integers = {"pos": pa.int64(), "allele": pa.int32(), "line": pa.int64()}
    text = pa.dictionary(pa.int32(), pa.string())
    fields = [(name, integers.get(name, text)) for name in _IDENTITY]
    fields += HAPLOTYPE_COLUMNS.items() if phased else []
    fields += [(name, pa.float64()) for name in STATISTICS]
    if several:
        parts = (*MEMBER_REFERENCE_STATISTICS, *MEMBER_STATISTICS)
        fields += [(name, pa.float64()) for name in (*parts, *member_columns)]
    if ranked:
        fields += [(name, pa.float64()) for name in BACKGROUND_STATISTICS]
    fields += [(name, pa.float64()) for name in INTERVAL_STATISTICS if calibrated]
    fields += [(quantile_name(q), pa.float64()) for q in quantiles]
    fields += [(name, pa.int32()) for name in ("n_draws", "n_nonfinite", "n_saturated")]
    fields += [(OUTPUT_EPS, pa.float64())] if eps > FLOAT32_EPS else []
    return pa.schema(fields)


def rows(
    alleles: Sequence[ScoredAllele],
    owner: NDArray[np.int64],
    labels: Sequence[str],
    summaries: Sequence[EffectSummary],
    quantiles: Sequence[float],
    member_columns: Mapping[str, int],
) -> Iterator[pa.RecordBatch]:
    """The rows of some scored alleles, a batch per score; see `schema_of`."""
    several = any(s.member_means is not None for s in summaries)
    for summary in summaries:
        ranked = P_EMPIRICAL in summary.mutant
        calibrated = INTERVAL_STATISTICS[0] in summary.mutant
        phased = bool(alleles) and isinstance(alleles[0][0], HaplotypeRecord)
        schema = schema_of(quantiles, several, summary.eps, member_columns, ranked, calibrated, phased)
        columns = {**_identity(alleles, labels, summary.score.name)}
        columns.update(_statistics(summary, owner))
        columns.update({quantile_name(q): summary.quantiles[q].ravel() for q in quantiles})
        if summary.member_means is not None:
            columns.update({k: summary.member_means[i].ravel() for k, i in member_columns.items()})
        columns["n_draws"] = np.full(len(alleles) * len(labels), summary.n_draws, np.int32)
        columns[OUTPUT_EPS] = np.full(len(alleles) * len(labels), summary.eps)
        columns.update({name: summary.counts[name].ravel() for name in summary.counts})
        arrays = [
            _as_array(columns[field.name], field.type) for field in schema
        ]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _statistics(summary: EffectSummary, owner: NDArray[np.int64]) -> dict[str, Any]:
    values = {name: array[owner].ravel() for name, array in summary.reference.items()}
    values.update({name: array.ravel() for name, array in summary.mutant.items()})
    values["z"], values["p_value"] = z_and_p(values, summary.score, summary.eps)
    return values


def _identity(alleles: Sequence[ScoredAllele], labels: Sequence[str], score: str) -> dict[str, Any]:
    def of_allele(values: list[Any]) -> tuple[list[Any], int, int]:
        return values, len(labels), 1

    numbers = [
        record.haplotypes[number - 1].own if isinstance(record, HaplotypeRecord) else number
        for record, number, _ in alleles
    ]
    found = {
        "chrom": of_allele([record.contig for record, _, _ in alleles]),
        "pos": of_allele([record.pos for record, _, _ in alleles]),
        "id": of_allele([record.id for record, _, _ in alleles]),
        "ref": of_allele([record.ref for record, _, _ in alleles]),
        "alt": of_allele([r.alts[n - 1] for (r, _, _), n in zip(alleles, numbers, strict=True)]),
        "allele": of_allele(numbers),
        "line": of_allele([record.line for record, _, _ in alleles]),
        "kind": of_allele([placed.kind for _, _, placed in alleles]),
        "flags": of_allele(["&".join(placed.flags) for _, _, placed in alleles]),
        "score": ([score], len(alleles) * len(labels), 1),
        "output": (list(labels), 1, len(alleles)),
    }
    haplotypes = [r.haplotypes[n - 1] for r, n, _ in alleles if isinstance(r, HaplotypeRecord)]
    if haplotypes:
        found["haplotype"] = of_allele([h.name for h in haplotypes])
        found["n_alleles"] = of_allele([len(h.alleles) for h in haplotypes])
        found["carriers"] = of_allele([",".join(map(str, h.carriers)) for h in haplotypes])
        found["n_carriers"] = of_allele([len(h.carriers) for h in haplotypes])
    return found


def _as_array(values: Any, kind: pa.DataType) -> pa.Array:
    """An Arrow array of values, or of (values, repeats of each, repeats of all)."""
    if not isinstance(values, tuple):
        return pa.array(values, type=kind)
    distinct, each, times = values
    if not pa.types.is_dictionary(kind):
        return pa.array(np.tile(np.repeat(np.asarray(distinct), each), times), type=kind)
    words = {word: code for code, word in enumerate(dict.fromkeys(distinct))}
    codes = np.array([words[word] for word in distinct], np.int32)
    indices = pa.array(np.tile(np.repeat(codes, each), times))
    return pa.DictionaryArray.from_arrays(indices, pa.array([_clean(w) for w in words], pa.string()))


def _clean(word: str) -> str:
    """Text that is no UTF-8 in the file, made fit for Arrow."""
    return word.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
