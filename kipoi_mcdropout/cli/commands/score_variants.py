"""`kipoi mcdropout score_variants`: variants in, a VCF and a table out."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from kipoi_mcdropout.cli.arguments import (
    Parser,
    add_background,
    add_draw_arguments,
    add_engine_arguments,
    add_member_means,
    add_run_arguments,
    add_until_arguments,
    parse_shard,
)
from kipoi_mcdropout.cli.interval_arguments import add_conformal_arguments, asked_conformal
from kipoi_mcdropout.cli.model_arguments import add_model, describe_model
from kipoi_mcdropout.cli.readout_arguments import (
    add_readout_arguments,
    readout_words,
    with_readout,
)
from kipoi_mcdropout.cli.score_arguments import add_scores
from kipoi_mcdropout.cli.variant_arguments import add_variants, given_columns, given_variants
from kipoi_mcdropout.errors import EXIT_OK, EXIT_STRICT, InputError
from kipoi_mcdropout.runs.interrupt import raise_if_interrupted

_DESCRIPTION = """\
Score every ALT allele of every record of a VCF, or of variants in a table, in BED or by name: the
effect on each model output, with the model's uncertainty. The annotated VCF is the input with the
results added to INFO. The table has a row per allele and output. Every allele is either scored or
skipped with a reason (INFO MCD_SKIP, and --skipped). With --phased, the alleles of a haplotype are
scored together.

exit codes: 0 done, 1 the model failed (see --on_error), 2 bad input (no output is written), 3 nothing
was scored, or something was skipped under --strict."""


def get_parser(prog: str = "kipoi mcdropout score_variants") -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = Parser(
        prog,
        _DESCRIPTION,
        f"{prog} example/model --source dir -i in.vcf.gz -f genome.fa \\\n"
        "    -o out.vcf.gz -t table.parquet --n_draws 30 --seed 0",
    )
    add_model(parser)
    add_file_arguments(parser)
    add_readout_arguments(parser)
    add_draw_arguments(parser)
    add_until_arguments(parser, "allele")
    add_result_arguments(parser)
    add_conformal_arguments(parser)
    add_window_arguments(parser)
    add_reading_arguments(parser)
    add_run_arguments(parser, "a batch of alleles")
    return parser


def add_file_arguments(parser: argparse.ArgumentParser) -> None:
    """Inputs and outputs."""
    add_variants(parser)
    parser.add_argument(
        "-f", "--fasta_file", required=True, metavar="FASTA", help="the genome, plain or bgzipped"
    )
    parser.add_argument(
        "-o",
        "--output_vcf",
        metavar="VCF",
        help="annotated VCF to write: .vcf, .vcf.gz (bgzip), or - for standard output",
    )
    parser.add_argument(
        "-t", "--table", metavar="FILE", help="table to write: .parquet, .tsv, .tsv.gz or .h5ad"
    )
    parser.add_argument(
        "--skipped", metavar="TSV", help="table to write with the skipped alleles and their reasons"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def add_result_arguments(parser: argparse.ArgumentParser) -> None:
    """What is computed and where it goes."""
    add_scores(parser)
    parser.add_argument(
        "--quantiles",
        nargs="+",
        type=float,
        default=[],
        metavar="Q",
        help="quantiles of the effect over the draws, for the table",
    )
    parser.add_argument(
        "--q_values",
        action="store_true",
        help="add q-values (Benjamini-Hochberg false discovery rate) to the table",
    )
    add_background(parser)
    add_member_means(parser)
    parser.add_argument(
        "--vcf_target",
        nargs="+",
        default=None,
        metavar="OUTPUT",
        help="model outputs to write into the VCF (default: all, if they are few)",
    )
    parser.add_argument(
        "--vcf_statistics",
        nargs="+",
        default=None,
        metavar="NAME",
        help="statistics of each output to write into the VCF (default: effect_mean effect_sd "
        "effect_point prob_positive ref_mean alt_mean, and with --background p_empirical percentile "
        "percentile_sd sign_probability)",
    )
    parser.add_argument(
        "--info_prefix",
        default="MCD",
        metavar="PREFIX",
        help="first part of the IDs of the added INFO fields (default MCD)",
    )


def add_window_arguments(parser: argparse.ArgumentParser) -> None:
    """How alleles are put into windows."""
    parser.add_argument("--rc", action="store_true", help="average both strands within each draw")
    parser.add_argument(
        "--shifts",
        default="0",
        metavar="BP,BP",
        help="average windows that are moved by so many bases, within each draw, e.g. --shifts=-1,0,1 "
        "(default 0)",
    )
    parser.add_argument(
        "--strand_pairs",
        metavar="FILE",
        help="with --rc: tracks that change places on the other strand, two a line with a tab between: "
        "labels, numbers from 0, or patterns such as '*plus' and '*minus'",
    )
    parser.add_argument(
        "--indel_alignment",
        choices=["none", "stitch"],
        default="none",
        help="stitch: put the bins behind an insertion or deletion back to those of the reference "
        "before profiles are compared or reduced; needs --reduce and --bin_bp (default: none)",
    )
    parser.add_argument(
        "--phased",
        action="store_true",
        help="score haplotypes: the alleles on one copy of a sample's chromosome within the window, "
        "together; needs phased genotypes (GT, PS) in a sorted VCF, and a table (-t)",
    )
    parser.add_argument(
        "--share_windows",
        type=int,
        default=0,
        metavar="BP",
        help="score records within so many bases of each other in one window about their middle, which "
        "is faster; the variants are then off its centre (default 0: each in a window of its own)",
    )
    parser.add_argument("--normalize", action="store_true", help="trim and left-align each allele first")
    parser.add_argument(
        "--edge",
        choices=["pad", "skip"],
        default="pad",
        help="what to do with a window that runs over an end of a contig: pad it with N (default), or "
        "skip the allele",
    )
    parser.add_argument(
        "--ref_mismatch",
        choices=["few", "skip", "error"],
        default="few",
        help="what to do if REF is not what the genome has there; such an allele is never scored. few: "
        "skip it, but refuse the VCF if there are many (default); skip: skip it, even if there are "
        "many; error: stop at the first one",
    )


def add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """How strictly records are read, and in what portions."""
    parser.add_argument("--strict", action="store_true", help="exit code 3 if any allele is skipped")
    parser.add_argument(
        "--batch_size",
        type=int,
        help="number of inputs in one forward pass (default: as many as fit into memory, at most 32)",
    )
    add_engine_arguments(parser)


def main(args: list[str], prog: str = "kipoi mcdropout score_variants") -> int:
    """Run the command; returns its exit code."""
    options = get_parser(prog).parse_args(args)
    shifts = _shifts(options.shifts)

    from kipoi_mcdropout.cli.data import load_for_files
    from kipoi_mcdropout.cli.messages import mention_engine, say, warn
    from kipoi_mcdropout.model.model import Model
    from kipoi_mcdropout.vcf.call import output_paths
    from kipoi_mcdropout.vcf.score import Told, score_vcf
    from kipoi_mcdropout.vcf.write.ledger import SkippedAllelesError

    wanted, running = _wanted(options, shifts)
    files = (options.output_vcf, options.table)
    source = wanted.options.source_of(given_variants(options))
    paths = output_paths(source, *files, wanted.vcf, running)
    description = describe_model(options)
    moves_bins = wanted.options.moves_bins
    settings = with_readout(
        description.settings, readout_words(options), wanted.effects.scores, moves_bins
    )
    model = Model.of(load_for_files(description, options.memory), settings)
    bar = _Bar(_expected(options, source, running.shard))
    told = Told([*prog.split(), *args], bar.update)
    try:
        run = score_vcf(model, source, options.fasta_file, paths, wanted, running, told)
    except SkippedAllelesError as error:
        bar.close()
        warn(str(error))
        return EXIT_STRICT
    bar.close()
    if run.nothing_left:
        say("this run was already complete; nothing was done")
        return EXIT_OK
    say(run.ledger.summary())
    mention_engine(run.engine)
    if "dtype_check" in run.provenance:
        from kipoi_mcdropout.engine.dtype_check import DtypeCheck

        say(f"note: {DtypeCheck(**run.provenance['dtype_check'])}")
    nothing = running.shard is None and run.ledger.nothing_scored() is not None
    return EXIT_STRICT if nothing else EXIT_OK


def _wanted(options: argparse.Namespace, shifts: tuple[int, ...]) -> tuple[Any, Any]:
    """What is to be computed, and how."""
    from kipoi_mcdropout.effects.scores import parse_scores
    from kipoi_mcdropout.effects.summary import EffectOptions
    from kipoi_mcdropout.effects.until import Until
    from kipoi_mcdropout.model.ensemble import draws_of
    from kipoi_mcdropout.runs.options import RunOptions
    from kipoi_mcdropout.vcf.options import VariantEffects, VariantOptions, VcfOptions
    from kipoi_mcdropout.vcf.write.annotate import DEFAULT_STATISTICS

    n_draws = draws_of(options.n_draws)
    scores = parse_scores(options.scores, pseudocount=options.pseudocount)
    until = Until.of(options.until, options.threshold, len(scores))
    effects = EffectOptions(scores, n_draws, tuple(options.quantiles), until=until)
    placed = VariantOptions(
        options.rc, shifts, options.normalize, options.edge, options.ref_mismatch, options.region,
        options.contig_map, (), options.background, conformal=asked_conformal(options),
        strand_pairs=options.strand_pairs, indel_alignment=options.indel_alignment,
        input_format=options.input_format, columns=given_columns(options), phased=options.phased,
        share_windows=options.share_windows,
    )  # fmt: skip
    written = VcfOptions(
        options.skipped, options.vcf_target, options.vcf_statistics or DEFAULT_STATISTICS,
        options.info_prefix, options.q_values, options.member_means, options.strict,
    )  # fmt: skip
    running = RunOptions(
        options.batch_size, options.engine, options.memory, not options.no_verify, options.scheduler,
        options.on_error, options.overwrite, options.resume, parse_shard(options.shard),
    )  # fmt: skip
    return VariantEffects(effects, options.seed, options.target, placed, written), running


def _shifts(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError as error:
        raise InputError(
            f"--shifts must be whole numbers separated by commas, such as 0,1,-1; got {text!r}"
        ) from error


def _expected(options: argparse.Namespace, source: Any, shard: Any) -> int | None:
    """Approximate number of records, for the progress bar; None if no bar is shown."""
    if not sys.stderr.isatty() or options.region is not None:
        return None
    from kipoi_mcdropout.vcf.read.count import count_records

    n = len(source.names) if source.file is None else count_records(source.file)
    return n if n is None or shard is None else n // shard.of


class _Bar:
    """Progress bar of records on stderr; not shown if stderr is not a terminal."""

    def __init__(self, total: int | None) -> None:
        from tqdm import tqdm

        from kipoi_mcdropout.cli.messages import bar_is_off

        self._bar = tqdm(
            total=total, unit="record", unit_scale=True, disable=bar_is_off(), file=sys.stderr
        )

    def update(self, ledger: Any) -> None:
        raise_if_interrupted()
        self._bar.update(ledger.records - self._bar.n)

    def close(self) -> None:
        self._bar.close()
