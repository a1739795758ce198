"""Scores a VCF with all options side by side, where a test is about one of them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from kipoi_mcdropout.effects.scores import parse_scores
from kipoi_mcdropout.effects.summary import EffectOptions
from kipoi_mcdropout.model.model import as_model
from kipoi_mcdropout.runs.options import RunOptions
from kipoi_mcdropout.vcf.call import output_paths
from kipoi_mcdropout.vcf.options import VariantEffects, VariantOptions, VcfOptions
from kipoi_mcdropout.vcf.score import Told, VariantRun, score_vcf

_MODEL = ("length", "category_axis", "input_shape", "unknown", "alphabet", "label_axis", "ignore")


def score_variants(
    model: Any,
    vcf: str | Path,
    fasta: str | Path,
    output: str | Path | None = None,
    table: str | Path | None = None,
    **options: Any,
) -> VariantRun:
    """As `score_vcf`, with the options of its groups by their names."""
    if "vcf_targets" in options:
        options["vcf_carries"] = options.pop("vcf_targets")
    if "vcf_statistics" in options:
        options["statistics"] = options.pop("vcf_statistics")
    settings = {name: options.pop(name) for name in _MODEL if name in options}
    told = Told(options.pop("command", None), options.pop("progress", None))
    effects = EffectOptions(
        parse_scores(options.pop("scores", ("diff",))),
        options.pop("n_draws", 30),
        tuple(options.get("quantiles", ())),
    )
    seed, targets = options.pop("seed", 0), options.pop("targets", None)
    if "vcf_carries" in options:
        options["targets"] = options.pop("vcf_carries")
    placed, written, running = (
        kind(**{f.name: options.pop(f.name) for f in fields(kind) if f.name in options})
        for kind in (VariantOptions, VcfOptions, RunOptions)
    )
    assert not options, f"there are no options {sorted(options)}"
    paths = output_paths(vcf, output, table, written, running)
    wanted = VariantEffects(effects, seed, targets, placed, written)
    return score_vcf(as_model(model, **settings), vcf, fasta, paths, wanted, running, told)
