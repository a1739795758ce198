"""`kipoi mcdropout ism`, and what `kipoi interpret ism --method mcdropout_ism` runs."""

from __future__ import annotations

import argparse
import itertools
from typing import Any

from kipoi_mcdropout.cli.arguments import (
    Parser,
    add_draw_arguments,
    add_engine_arguments,
    add_model_arguments,
    add_output_arguments,
    add_run_arguments,
    parse_json,
    parse_shard,
)
from kipoi_mcdropout.errors import EXIT_OK, InputError

METHOD = "mcdropout_ism"
_DESCRIPTION = """\
Compute the effect of every single substitution on every model output, with the model's uncertainty. The
model is run for many draws of dropout masks. In each draw, reference and mutants share the same
masks."""


def get_parser(prog: str = "kipoi mcdropout ism") -> argparse.ArgumentParser:
    """Parser of the command; the flags that `kipoi interpret ism` has mean the same here."""
    parser = Parser(
        prog,
        _DESCRIPTION,
        f"{prog} example/model --source dir --method {METHOD} --model_input seq \\\n"
        '    --dataloader_args \'{"fasta_file": "genome.fa", "intervals_file": "regions.bed"}\' \\\n'
        "    --n_draws 30 --seed 0 --target DNase -o out.h5 out.tsv",
    )
    add_model_arguments(parser)
    parser.add_argument(
        "--method",
        "--imp_score",
        choices=[METHOD],
        default=METHOD,
        help=f"method; must be {METHOD} here",
    )
    parser.add_argument(
        "--imp_score_kwargs",
        default=None,
        metavar="JSON",
        help="arguments of the method as JSON, such as '{\"n_draws\": 100}'; they replace the flags",
    )
    parser.add_argument("--model_input", default=None, help="name of the model input to mutate")
    parser.add_argument(
        "-s",
        "--scores",
        nargs="+",
        default=["diff"],
        help="scores to compute: ref alt diff logit logit_ref logit_alt deepsea_effect (default diff)",
    )
    parser.add_argument(
        "-k",
        "--score_kwargs",
        nargs="+",
        default=None,
        metavar="JSON",
        help="one JSON object per score, as in kipoi-interpret; {} for none",
    )
    parser.add_argument(
        "-c",
        "--category_axis",
        type=int,
        default=None,
        help="axis of one input with the bases: 1 for (1000, 4), 0 for (4, 1000) (default: the axis "
        "that is 4 long)",
    )
    parser.add_argument(
        "--alphabet",
        default=None,
        help="letters along that axis, in order (default: the dataloader's alphabet, else ACGT)",
    )
    parser.add_argument(
        "-f",
        "--output_sel_fn",
        default=None,
        metavar="FILE::FUNCTION",
        help="a Python function that is applied to the outputs for each input before scoring",
    )
    add_draw_arguments(parser)
    parser.add_argument(
        "--start", type=int, default=0, help="first position to mutate, from 0 (default 0)"
    )
    parser.add_argument(
        "--end",
        type=int,
        default=None,
        help="position after the last one to mutate (default: the length)",
    )
    parser.add_argument(
        "--mask_scope",
        default="run",
        metavar="SCOPE",
        help="run: in a draw, all sequences share the masks (default); sequence: each sequence has "
        "masks of its own",
    )
    parser.add_argument(
        "--quantiles",
        nargs="+",
        type=float,
        default=[],
        metavar="Q",
        help="quantiles of the effect over the draws to report, e.g. 0.05",
    )
    parser.add_argument(
        "--keep_draws", action="store_true", help="also write the effect of every draw (HDF5 only)"
    )
    parser.add_argument("--test_ref_ref", action="store_true", help="also 'mutate' each base to itself")
    add_engine_arguments(parser)
    add_run_arguments(parser, "a sequence")
    add_output_arguments(parser, ".h5 .tsv .tsv.gz .parquet, any number of them")
    return parser


def main(args: list[str], prog: str = "kipoi mcdropout ism") -> int:
    """Run the command; returns its exit code."""
    options = get_parser(prog).parse_args(args)
    keywords = _keywords(options)

    from kipoi_mcdropout.runs.ism import IsmPaths, load_function

    shard = parse_shard(options.shard)
    paths = IsmPaths.check(options.output, options.overwrite, shard, options.resume)

    from kipoi_mcdropout.cli.session import load_data, load_model
    from kipoi_mcdropout.model.adapter import alphabet_of, as_alphabet
    from kipoi_mcdropout.plugin.mutation import MCDropoutISM

    selection = keywords["output_sel_fn"]
    function = None if selection is None else load_function(selection)
    model = load_model(options)
    try:
        ism = MCDropoutISM(model, **{**keywords, "output_sel_fn": function})
    except TypeError as error:
        if options.imp_score_kwargs is None:
            raise
        raise InputError(f"a value in --imp_score_kwargs has a wrong type: {error}") from error
    dataloader, dataloader_kwargs = load_data(options, model)
    if keywords["alphabet"] is None:  # its arguments may give another than the model's default
        stated = as_alphabet(dataloader_kwargs.get("alphabet"))
        keywords["alphabet"] = stated or alphabet_of(dataloader)
        if keywords["alphabet"] != ism.options.alphabet:
            ism = MCDropoutISM(model, **{**keywords, "output_sel_fn": function})
    _run(ism, dataloader, dataloader_kwargs, options, keywords, paths, [prog, *args])
    return EXIT_OK


def _keywords(options: argparse.Namespace) -> dict[str, Any]:
    """Arguments of MCDropoutISM."""
    keywords: dict[str, Any] = {
        "model_input": options.model_input,
        "scores": options.scores,
        "score_kwargs": None
        if options.score_kwargs is None
        else [parse_json(text, "--score_kwargs") for text in options.score_kwargs],
        "batch_size": options.batch_size,
        "output_sel_fn": options.output_sel_fn,
        "category_axis": options.category_axis,
        "test_ref_ref": options.test_ref_ref,
        "n_draws": options.n_draws,
        "seed": options.seed,
        "targets": options.target,
        "start": options.start,
        "end": options.end,
        "mask_scope": options.mask_scope,
        "quantiles": options.quantiles,
        "keep_draws": options.keep_draws,
        "ignore": options.ignore,
        "engine": options.engine,
        "memory_bytes": options.memory,
        "verify": not options.no_verify,
        "alphabet": options.alphabet,
        "label_axis": options.label_axis,
    }
    if options.imp_score_kwargs is not None:
        extra = parse_json(options.imp_score_kwargs, "--imp_score_kwargs")
        if unknown := set(extra) - set(keywords):
            raise InputError(
                f"--imp_score_kwargs has unknown {sorted(unknown)}; known are {sorted(keywords)}"
            )
        keywords.update(extra)
    if keywords["model_input"] is None:
        raise InputError(
            "--model_input is required: the name of the model input to mutate, as in the model.yaml"
        )
    return keywords


def _run(
    ism: Any,
    dataloader: Any,
    dataloader_kwargs: dict[str, Any],
    options: argparse.Namespace,
    keywords: dict[str, Any],
    paths: Any,
    command: list[str],
) -> None:
    from kipoi_mcdropout.cli.interrupt import raise_if_interrupted
    from kipoi_mcdropout.cli.messages import mention_engine, say, warn
    from kipoi_mcdropout.cli.session import Progress, batches, number_of_sequences
    from kipoi_mcdropout.runs.ism.check_ranges import RangeCheck, genome_of, with_checked_ranges
    from kipoi_mcdropout.runs.ism.run import run_ism
    from kipoi_mcdropout.runs.ism.units import ism_units
    from kipoi_mcdropout.runs.schedule import open_scheduler
    from kipoi_mcdropout.sequence.one_hot import DNA

    stream = with_checked_ranges(
        batches(options, dataloader),
        RangeCheck(genome_of(dataloader_kwargs)),
        ism.options.model_input,
        ism.options.category_axis,
        ism.options.alphabet or DNA,
    )
    first = next(stream)  # errors of the data or the model come before any file is made
    ism.mutagenesis.model.input_key(ism.options.model_input, first["inputs"])
    choice = ism.mutagenesis.fix_engine(first["inputs"])
    mention_engine(choice)
    keywords = {**keywords, "engine": choice.engine}  # the workers take the same
    record = _provenance(ism, first["inputs"], dataloader_kwargs, options, keywords, command)
    for note in ism.mutagenesis.plan(first["inputs"]).notes:
        say(f"note: {note}")
    here = options.scheduler == "none"
    n = number_of_sequences(dataloader)
    progress = Progress(n if n is None or paths.shard is None else n // paths.shard.of)
    bad = _BadValues()

    def done(block: Any, is_first: bool) -> None:
        raise_if_interrupted()
        if is_first:
            _mention_unmutated(block, warn)
        bad.mention(block, warn)
        if not here:
            progress.sequence(block.effects)

    scheduler = open_scheduler(options.scheduler)
    try:
        run = run_ism(
            ism_units(itertools.chain([first], stream), ism.mutagenesis),
            _work(ism, keywords, progress if here else None),
            scheduler,
            paths,
            record,
            on_error=options.on_error,
            done=done,
        )
    finally:
        scheduler.close()
        progress.close()
    _report(run, ism, paths, bad.n)


def _report(run: Any, ism: Any, paths: Any, n_bad: int) -> None:
    from kipoi_mcdropout.cli.messages import say, warn
    from kipoi_mcdropout.runs.session import shard_folder

    where = ", ".join(map(str, paths.outputs))
    if paths.shard is not None:
        where = str(shard_folder(paths.first, paths.shard))
    if run.nothing_left:
        say(f"this run was already complete; nothing was done: {where}")
        return
    say(f"{run.n_sequences} sequences, {ism.options.effects.n_draws} draws: {where}")
    if run.failed:
        warn(
            f"{len(run.failed)} sequences failed and are left out; the first failed because: "
            f"{run.failed[0]['reason']}"
        )
    if n_bad:
        warn(f"{n_bad} effects are NaN: see the columns n_nonfinite and n_saturated")


def _work(ism: Any, keywords: dict[str, Any], progress: Any) -> Any:
    """How a unit is computed in this process and, with a scheduler, in others."""
    from kipoi_mcdropout.model.reference import ModelReference
    from kipoi_mcdropout.runs.ism import IsmJob
    from kipoi_mcdropout.runs.schedule import Work

    if progress is not None:
        return Work(lambda task: task.run(ism.mutagenesis, progress.update))
    job = IsmJob(ModelReference.of(ism.mutagenesis.model), keywords)
    return Work(lambda task: task.run(ism.mutagenesis), job)


def _mention_unmutated(record: Any, warn: Any) -> None:
    missing = record.effects.substitutions.without_base
    if len(missing):
        shown = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
        warn(
            f"sequence {record.name}: {len(missing)} positions are N in the reference and are not "
            f"mutated: {shown}"
        )


class _BadValues:
    """Counts effects that are NaN, and names the first of each sequence and score."""

    def __init__(self) -> None:
        self.n = 0

    def mention(self, record: Any, warn: Any) -> None:
        """Look at a sequence."""
        for summary in record.effects.summaries:
            bad = (summary.counts["n_nonfinite"] + summary.counts["n_saturated"]) > 0
            self.n += int(bad.sum())
            if bad.any():
                mutant, output = (int(i[0]) for i in bad.nonzero())
                nonfinite = int(summary.counts["n_nonfinite"][mutant, output])
                why = "the model's output is not finite" if nonfinite else "a probability is 0 or 1"
                warn(
                    f"sequence {record.name}, score {summary.score.name}: {int(bad.sum())} effects are "
                    f"NaN, first for output {record.effects.targets.labels[output]!r} at position "
                    f"{int(record.effects.substitutions.position[mutant])}: {why}"
                )


def _provenance(
    ism: Any,
    inputs: Any,
    dataloader_kwargs: dict[str, Any],
    options: argparse.Namespace,
    keywords: dict[str, Any],
    command: list[str],
) -> dict[str, Any]:
    from kipoi_mcdropout.files.provenance import input_files, provenance
    from kipoi_mcdropout.runs.session import without_shard

    settings, engine = ism.options, ism.mutagenesis.choice(inputs)
    return provenance(
        model=options.model,
        source=options.source,
        identity=ism.mutagenesis.model.identity(),
        plan=ism.mutagenesis.plan(inputs),
        seed=settings.seed,
        n_draws=settings.effects.n_draws,
        options={
            "method": METHOD,
            "model_input": settings.model_input,
            "scores": [score.name for score in settings.effects.scores],
            "outputs": len(ism.mutagenesis.targets(inputs).labels),
            "target": list(settings.targets),
            "label_axis": keywords["label_axis"],
            "category_axis": ism.mutagenesis.layout(inputs).category_axis,
            "alphabet": settings.alphabet,
            "start": settings.start,
            "end": settings.end,
            "mask_scope": settings.mask_scope,
            "test_ref_ref": settings.include_reference,
            "batch_size": settings.batch_size,
            "engine": settings.engine,
            "engine_used": engine.engine,
            "memory_bytes": settings.memory_bytes,
            "quantiles": list(settings.effects.quantiles),
            "keep_draws": settings.effects.keep_draws,
            "ignore": list(keywords["ignore"]),
            "output_sel_fn": keywords["output_sel_fn"],
            "dataloader": options.dataloader,
            "dataloader_args": dataloader_kwargs,
        },
        engine_reason=engine.reason,
        files=input_files(dataloader_kwargs),
        command=without_shard([*command[0].split(), *command[1:]]),
    )
