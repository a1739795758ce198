"""Write the VCF again with what was found, in INFO; all else byte for byte as it came in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.effects.columns import INTERVAL_STATISTICS
from kipoi_mcdropout.effects.summary import EffectSummary
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.significance.add_intervals import ConformalOptions, without_tables
from kipoi_mcdropout.vcf.place.placement import FLAGS, Outcome, Scored
from kipoi_mcdropout.vcf.read.alleles import REASONS, Skip
from kipoi_mcdropout.vcf.read.header import Header, quoted
from kipoi_mcdropout.vcf.read.record import Record
from kipoi_mcdropout.vcf.write.table import z_and_p

_INFO_COLUMN = 7
_MISSING = "."
_PREFIX = re.compile(r"[A-Za-z_][0-9A-Za-z_]*\Z")
_DRAWS = "n_draws"
MAX_FIELDS = 400  # in one VCF, unless they are asked for by name

# What can be written for each score and output, with what it says in the header.
VCF_STATISTICS = {
    "effect_mean": "mean of the effect over the draws",
    "effect_sd": "standard deviation of the effect over the draws: the model's uncertainty",
    "effect_mcse": "Monte Carlo standard error of the mean effect",
    "effect_point": "effect with dropout off",
    "prob_positive": "share of the draws with an effect above 0; an effect of 0 counts half",
    "z": "mean effect divided by its standard deviation",
    "p_value": "two-sided p of z, normal approximation",
    "ref_mean": "mean prediction for REF over the draws",
    "ref_var": "variance of the prediction for REF over the draws",
    "alt_mean": "mean prediction for ALT over the draws",
    "alt_var": "variance of the prediction for ALT over the draws",
    "ref_alt_cov": "covariance of the predictions for REF and ALT over the draws",
    "effect_sd_within": "standard deviation of the effect over the masks of one member",
    "effect_sd_between": "standard deviation of the effect between members",
    "p_empirical": "p against the background: (1 + number of its effects at least as large) / (1 + "
    "number of all); of single substitutions",
    "p_empirical_signed": "the same by direction: twice the smaller p of the two directions, at most 1",
    "percentile": "percentage of the background effects that are smaller in size",
    "percentile_signed": "percentage of the background effects that are below the effect",
    "percentile_sd": "standard deviation of the percentile over the draws",
    "percentile_signed_sd": "standard deviation of the signed percentile over the draws",
    "sign_probability": "share of the draws with the sign of the mean effect; a draw of 0 counts half",
    "sign_probability_mcse": "Monte Carlo standard error of that share",
    "sign_agreement": "share of the members whose mean effect has the sign of the overall mean",
}
# The same for the outputs that have a calibration.
_INTERVALS = {
    "ci_lower": "lower end of the interval that holds {level:g} of measured effects, by a calibration",
    "ci_upper": "upper end of the interval that holds {level:g} of measured effects, by a calibration",
    "sign_probability_calibrated": "probability, by a calibration, that a measured effect has the sign "
    "of the mean effect",
}
DEFAULT_STATISTICS = (
    "effect_mean",
    "effect_sd",
    "effect_point",
    "prob_positive",
    "ref_mean",
    "alt_mean",
)
DEFAULT_RANKED = ("p_empirical", "percentile", "percentile_sd", "sign_probability")  # in addition


@dataclass(frozen=True)
class InfoField:
    """One INFO field: a number for each ALT allele."""

    id: str
    score: str
    target: int  # column in the summaries
    label: str  # of the output
    statistic: str
    level: float | None = None  # of an interval

    def line(self) -> str:
        """Declaration in the header; `header.unquoted` gives the label back from Output."""
        if self.statistic == _DRAWS:
            text = "Number of draws of the ALT allele, for all its outputs and scores"
            return f"##INFO=<ID={self.id},Number=A,Type=Integer,Description={quoted(text)}>"
        words = {**VCF_STATISTICS, **_INTERVALS}[self.statistic].format(level=self.level)
        text = f"Score {self.score}, model output {self.label}: {words}"
        return (
            f"##INFO=<ID={self.id},Number=A,Type=Float,Description={quoted(text)},"
            f"Output={quoted(self.label)},Score={quoted(self.score)},Statistic={quoted(self.statistic)}>"
        )


def draws_field(prefix: str, score: str) -> InfoField:
    """The field of the number of draws, where alleles have different numbers; `score` is any of them."""
    return InfoField(f"{prefix}_{_DRAWS.upper()}", score, 0, "", _DRAWS)


def info_fields(
    prefix: str,
    scores: Sequence[str],
    labels: Sequence[str],
    columns: Sequence[int],
    statistics: Sequence[str],
) -> list[InfoField]:
    """The fields of an annotated VCF, with IDs that the standard allows and that differ.

    Parameters
    ----------
    labels : sequence of str
        Of all outputs that are computed.
    columns : sequence of int
        Those that go into the VCF.

    Raises
    ------
    InputError
        If the prefix or a statistic is not allowed.
    """
    if not _PREFIX.match(prefix):
        raise InputError(
            f"info_prefix must be letters, digits and _, the first no digit; got {prefix!r}"
        )
    unknown = [name for name in statistics if name not in VCF_STATISTICS]
    if unknown:
        raise InputError(
            f"VCF statistics must be among {', '.join(VCF_STATISTICS)}; got {', '.join(unknown)}"
        )
    ids = _different(
        f"{prefix}_{_legal(score)}_{_legal(labels[column])}_{statistic}"
        for score in scores
        for column in columns
        for statistic in statistics
    )
    return [
        InfoField(next(ids), score, column, labels[column], statistic)
        for score in scores
        for column in columns
        for statistic in statistics
    ]


def interval_fields(
    prefix: str, conformal: ConformalOptions, labels: Sequence[str], others: Sequence[InfoField]
) -> list[InfoField]:
    """The fields of calibrated intervals, of the outputs that the annotated VCF carries.

    Parameters
    ----------
    labels : sequence of str
        Of all outputs that are computed.
    others : sequence of InfoField
        The other fields, from `info_fields`.
    """
    carried = {(field.score, field.label) for field in others}
    calibrations = [one for one in conformal.calibrations if (one.score, one.output) in carried]
    asked = [(one, name) for one in calibrations for name in INTERVAL_STATISTICS]
    wanted = [f"{prefix}_{_legal(one.score)}_{_legal(one.output)}_{name}" for one, name in asked]
    ids = list(_different([*(field.id for field in others), *wanted]))[len(others) :]
    return [
        InfoField(own, one.score, labels.index(one.output), one.output, name, conformal.level)
        for own, (one, name) in zip(ids, asked, strict=True)
    ]


def _legal(label: str) -> str:
    return re.sub(r"[^0-9A-Za-z_]+", "_", label).strip("_") or "output"


def _different(names: Iterable[str]) -> Iterator[str]:
    """The names, of which repeats are numbered."""
    taken: set[str] = set()
    for name in names:
        unique, number = name, 1
        while unique in taken:
            number += 1
            unique = f"{name}_{number}"
        taken.add(unique)
        yield unique


class Annotator:
    """Turns records and their results into the lines of the output.

    Raises
    ------
    InputError
        If the input already has INFO fields of these names.
    """

    def __init__(
        self,
        header: Header,
        prefix: str,
        fields: Sequence[InfoField],
        genome_lengths: Mapping[str, int],
    ) -> None:
        self.header = header
        self.contigs = header.missing_contigs(genome_lengths)
        self.fields = list(fields)
        self.skip_id, self.flag_id = f"{prefix}_SKIP", f"{prefix}_FLAG"
        taken = set(header.declared("INFO")) & {self.skip_id, self.flag_id, *(f.id for f in fields)}
        if taken:
            raise InputError(
                f"the VCF already has INFO fields {', '.join(sorted(taken)[:3])}; give another "
                f"info_prefix than {prefix!r}, or remove them (bcftools annotate -x)"
            )

    def header_text(self, provenance: Mapping[str, Any]) -> str:
        """The input's header and the declarations of what is added."""
        reasons = ", ".join(f"{code} ({text})" for code, text in REASONS.items())
        flags = ", ".join(f"{code} ({text})" for code, text in FLAGS.items())
        skip = f"Why an ALT allele was not scored, in the order of ALT; . for a scored allele: {reasons}"
        flag = f"Notes on scored ALT alleles, joined by &, in the order of ALT: {flags}"
        added = [
            f"##kipoi_mcdropout={json.dumps(without_tables(provenance), sort_keys=True)}",
            f"##INFO=<ID={self.skip_id},Number=.,Type=String,Description={quoted(skip)}>",
            f"##INFO=<ID={self.flag_id},Number=.,Type=String,Description={quoted(flag)}>",
            *(field.line() for field in self.fields),
            *self.contigs,
        ]
        return self.header.text(added)

    def line(
        self,
        record: Record,
        outcomes: Sequence[Outcome],
        cells: Sequence[Sequence[str]],
    ) -> str:
        """A record with its results.

        Parameters
        ----------
        cells : sequence of sequences of str
            For each field, in order, the numbers of the scored alleles of the record (`field_cells`);
            empty if none is scored.
        """
        parts = []
        if any(isinstance(outcome, Skip) for outcome in outcomes):
            codes = [o.reason if isinstance(o, Skip) else _MISSING for o in outcomes]
            parts.append(f"{self.skip_id}={','.join(codes)}")
        if any(isinstance(outcome, Scored) and outcome.flags for outcome in outcomes):
            flags = ["&".join(o.flags) if isinstance(o, Scored) else "" for o in outcomes]
            parts.append(f"{self.flag_id}={','.join(f or _MISSING for f in flags)}")
        for field, numbers in zip(self.fields, cells, strict=False):
            scored = iter(numbers)
            of_alleles = [next(scored) if isinstance(o, Scored) else _MISSING for o in outcomes]
            parts.append(f"{field.id}={','.join(of_alleles)}")
        return _with_info(record, ";".join(parts))


def field_cells(
    fields: Sequence[InfoField], summaries: Sequence[EffectSummary], owner: NDArray[np.int64]
) -> list[list[str]]:
    """The numbers of each field as text, one per mutant; what is not finite is missing."""
    by_score = {summary.score.name: summary for summary in summaries}
    return [_texts(_numbers(field, by_score[field.score], owner)) for field in fields]


def _numbers(field: InfoField, summary: EffectSummary, owner: NDArray[np.int64]) -> NDArray[np.float64]:
    column, name = field.target, field.statistic
    if name in summary.reference:
        of_reference: NDArray[np.float64] = summary.reference[name][owner, column]
        return of_reference
    if name in summary.mutant:
        return summary.mutant[name][:, column]
    if name == _DRAWS:
        return summary.counts[name][:, column].astype(np.float64)
    values = {key: array[owner, column] for key, array in summary.reference.items()}
    values |= {key: array[:, column] for key, array in summary.mutant.items()}
    z, p = z_and_p(values, summary.score, summary.eps)
    return z if name == "z" else p


def _texts(numbers: NDArray[np.float64]) -> list[str]:
    texts = ("%.7g " * len(numbers) % tuple(numbers.tolist())).split()
    for i in np.flatnonzero(~np.isfinite(numbers)):
        texts[i] = _MISSING
    return texts


def _with_info(record: Record, added: str) -> str:
    if not added:
        return record.text + record.line_end
    columns = record.text.split("\t", _INFO_COLUMN + 1)
    info = columns[_INFO_COLUMN]
    columns[_INFO_COLUMN] = added if info in (_MISSING, "") else f"{info.removesuffix(';')};{added}"
    return "\t".join(columns) + record.line_end
