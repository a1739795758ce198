"""Which outputs and statistics the annotated VCF carries, as INFO fields."""

from __future__ import annotations

from collections.abc import Sequence

from kipoi_mcdropout.effects.columns import BACKGROUND_STATISTICS, MEMBER_STATISTICS
from kipoi_mcdropout.errors import OutputError, TargetError
from kipoi_mcdropout.model.model import Model
from kipoi_mcdropout.outputs.targets import Targets
from kipoi_mcdropout.vcf.options import VariantEffects
from kipoi_mcdropout.vcf.write.annotate import (
    DEFAULT_RANKED,
    DEFAULT_STATISTICS,
    MAX_FIELDS,
    InfoField,
    draws_field,
    info_fields,
    interval_fields,
)


def carried_fields(wanted: VariantEffects, chosen: Targets, model: Model) -> list[InfoField]:
    """The INFO fields of the annotated VCF.

    Raises
    ------
    TargetError
        If an output of `VcfOptions.targets` is not among those that are computed.
    OutputError
        If there are too many fields.
    """
    effects, vcf = wanted.effects, wanted.vcf
    statistics = _statistics(wanted, len(model.ensemble))
    columns: Sequence[int] = range(len(chosen.columns))
    if vcf.targets is not None:
        carried = model.sequences.targets(vcf.targets)
        if missing := set(carried.columns) - set(chosen.columns):
            names = dict(zip(carried.columns, carried.labels, strict=True))
            raise TargetError(
                "VcfOptions.targets (--vcf_target) must be among the outputs that are computed; "
                f"{names[min(missing)]!r} is not among targets (--target)"
            )
        columns = [chosen.columns.index(column) for column in carried.columns]
    scores = [score.name for score in effects.scores]
    n = len(scores) * len(columns) * len(statistics)
    if vcf.targets is None and n > MAX_FIELDS:
        raise OutputError(
            f"the annotated VCF would have {n} INFO fields for {len(columns)} outputs; name those that "
            "it is to carry with VcfOptions.targets (--vcf_target; the table has all), or compute fewer "
            "with targets (--target)"
        )
    fields = info_fields(vcf.info_prefix, scores, chosen.labels, columns, statistics)
    if (conformal := wanted.options.conformal) is not None:
        fields += interval_fields(vcf.info_prefix, conformal, chosen.labels, fields)
    return [*fields, draws_field(vcf.info_prefix, scores[0])] if effects.stops_early else fields


def _statistics(wanted: VariantEffects, n_members: int) -> tuple[str, ...]:
    """The statistics that are asked for, of each score and output."""
    statistics, ranked = tuple(wanted.vcf.statistics), wanted.options.background is not None
    if ranked and statistics == DEFAULT_STATISTICS:
        statistics += DEFAULT_RANKED
    of_background = [name for name in statistics if name in BACKGROUND_STATISTICS]
    if of_background and not ranked:
        raise OutputError(
            f"VcfOptions.statistics (--vcf_statistics) {', '.join(of_background)} need a background: "
            "give VariantOptions.background (--background)"
        )
    of_members = [name for name in statistics if name in MEMBER_STATISTICS]
    if of_members and n_members == 1:
        raise OutputError(
            f"VcfOptions.statistics (--vcf_statistics) {', '.join(of_members)} need a model with "
            "several members (--member); this one is alone"
        )
    return statistics
