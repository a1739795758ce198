"""`score_variants`: a VCF in, effects with their uncertainty out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kipoi_mcdropout.effects.asked_outputs import asked_outputs
from kipoi_mcdropout.effects.scores import Score
from kipoi_mcdropout.effects.summary import EffectOptions
from kipoi_mcdropout.effects.until import Until
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files import EFFECT_TABLE_SUFFIXES
from kipoi_mcdropout.files.atomic import STDOUT
from kipoi_mcdropout.files.effects import Effects
from kipoi_mcdropout.files.scratch import scratch_folder
from kipoi_mcdropout.model.ensemble import draws_of
from kipoi_mcdropout.model.model import as_model
from kipoi_mcdropout.runs.options import RunOptions
from kipoi_mcdropout.vcf.options import VariantEffects, VariantOptions, VcfOptions
from kipoi_mcdropout.vcf.read.source import AnySource, as_source
from kipoi_mcdropout.vcf.score import score_vcf
from kipoi_mcdropout.vcf.write.output_paths import OutputPaths


def score_variants(
    model: Any,
    vcf: AnySource,
    fasta: str | Path,
    *,
    n_draws: int | None = None,
    seed: int = 0,
    scores: str | Score | Sequence[str | Score] = ("diff",),
    targets: str | int | Sequence[str | int] | None = None,
    output: str | Path | Sequence[str | Path] | None = None,
    options: VariantOptions = VariantOptions(),  # noqa: B008 (it cannot be changed)
    vcf_options: VcfOptions = VcfOptions(),  # noqa: B008
    running: RunOptions = RunOptions(),  # noqa: B008
    **outputs: Any,
) -> Effects:
    """Effect of every ALT allele of a VCF, or of variants in another form, with the model's uncertainty.

    Every allele of every record is scored, or skipped with a named reason, which
    `VcfOptions(skipped="skipped.tsv")` writes to a table.

    Parameters
    ----------
    model : Model, nn.Module, or what `kipoi.get_model` returns
        With one window of one-hot DNA as its input; borrowed, never changed. A bare nn.Module needs
        `Model(net, input_shape=...)`.
    vcf : str, Path, or sequence of str
        A VCF (plain, gzipped, bgzipped or BCF); a table (TSV, CSV) with the columns chrom, pos (from
        1), ref and alt; a BED file (from 0) with REF and ALT behind the region; a file with a name such
        as chr1:1000:A>G a line; "-" for one of them from standard input; or such names themselves.
    fasta : str or Path
        The genome, plain or bgzipped.
    n_draws : int, optional
        Number of draws, at least 2; or 0 for the effects with dropout off alone. By default 30, or as
        many as are right for the members of the model (`ensemble.default_draws`).
    seed : int
        0 <= seed < 2**64; all variants see the same masks in a draw.
    scores : str or sequence of str
        kipoi-interpret's and kipoi-veff's names, ref alt diff logit logit_ref logit_alt deepsea_effect,
        and log2fc.
    targets : str, int, or sequence of them, optional
        Outputs to compute, by label, index from 0, or shell pattern.
    output : str, Path, or sequence of them, optional
        An annotated VCF (.vcf, .vcf.gz; "-" is standard output), a table (.parquet, .tsv, .tsv.gz,
        .h5ad), or both. Without any, the effects are kept in memory.
    options : VariantOptions
    vcf_options : VcfOptions
    running : RunOptions
    outputs
        `head`, `tracks`, `center_bins`, `reduce` and the other words of a `Readout`: what is read of the
        outputs of the model, and reduced, in each draw. And `pseudocount`, of the score log2fc.

    Returns
    -------
    Effects
        With a row per scored allele, score and output.

    Raises
    ------
    kipoi_mcdropout.errors.McDropoutError, SkippedAllelesError, UnitFailedError
        See `score.score_vcf`.

    Warns
    -----
    InputWarning
        If something about the VCF or the FASTA must be known before the results are used, and if no
        allele was scored.
    """
    ready, parsed = asked_outputs(as_model(model), scores, outputs, "score_variants", options.moves_bins)
    until = Until.of(options.until, options.threshold, len(parsed))
    effects = EffectOptions(parsed, draws_of(n_draws), tuple(options.quantiles), until=until)
    source = options.source_of(vcf)
    wanted = VariantEffects(effects, seed, targets, options, vcf_options)
    if output is not None:
        annotated, table = _split(output)
        paths = output_paths(source, annotated, table, vcf_options, running)
        score_vcf(ready, source, fasta, paths, wanted, running)
        return Effects.at([path for path in (paths.table,) if path is not None])
    if running.needs_files is not None:
        raise InputError(
            f"{running.needs_files} needs files to write; give output=, such as output='out.parquet'"
        )
    with scratch_folder() as folder:
        table = folder / "effects.parquet"
        paths = output_paths(source, None, table, vcf_options, running)
        score_vcf(ready, source, fasta, paths, wanted, running)
        return Effects.in_memory_from(table)


def output_paths(
    source: AnySource,
    annotated: str | Path | None,
    table: str | Path | None,
    vcf_options: VcfOptions,
    running: RunOptions,
) -> OutputPaths:
    """The outputs, checked."""
    return OutputPaths.check(
        as_source(source), annotated, table, vcf_options.skipped, running.overwrite, running.resume,
        running.shard,
    )  # fmt: skip


def _split(output: str | Path | Sequence[str | Path]) -> tuple[str | Path | None, str | Path | None]:
    """The annotated VCF and the table among the outputs."""
    given = [output] if isinstance(output, (str, Path)) else list(output)
    tables = [path for path in given if str(path).endswith(EFFECT_TABLE_SUFFIXES)]
    others = [path for path in given if path not in tables]
    if len(tables) > 1 or len(others) > 1 or not given:
        raise InputError(
            "output must be an annotated VCF (.vcf, .vcf.gz, or - for standard output), a table "
            f"({', '.join(EFFECT_TABLE_SUFFIXES)}), or one of each; got "
            f"{', '.join(map(str, given)) or STDOUT}"
        )
    return (others[0] if others else None), (tables[0] if tables else None)
