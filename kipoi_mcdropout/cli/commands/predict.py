"""`kipoi mcdropout predict`: predictions with uncertainty over a dataloader."""

from __future__ import annotations

import argparse
from typing import Any

from kipoi_mcdropout.cli.arguments import (
    Parser,
    add_data_arguments,
    add_draw_arguments,
    add_output_arguments,
)
from kipoi_mcdropout.cli.model_arguments import add_model, describe_model, load_described
from kipoi_mcdropout.errors import EXIT_OK

_DESCRIPTION = """\
Write the mean, variance, standard deviation and Monte Carlo error of a model's predictions over many
draws of dropout masks, and the prediction with dropout off. All inputs of a draw share the same
masks."""


def get_parser(prog: str = "kipoi mcdropout predict") -> argparse.ArgumentParser:
    """Parser of the command; flags that `kipoi predict` has mean the same here."""
    parser = Parser(
        prog,
        _DESCRIPTION,
        f"{prog} example/model --source dir \\\n"
        '    --dataloader_args \'{"fasta_file": "genome.fa", "intervals_file": "regions.bed"}\' \\\n'
        "    --n_draws 30 --seed 0 -o predictions.tsv",
    )
    add_model(parser)
    add_data_arguments(parser)
    add_draw_arguments(parser)
    parser.add_argument("--keep_draws", action="store_true", help="also write every draw (HDF5 only)")
    add_output_arguments(parser, ".h5 .tsv .tsv.gz .parquet, any number of them")
    return parser


def main(args: list[str], prog: str = "kipoi mcdropout predict") -> int:
    """Run the command; returns its exit code."""
    options = get_parser(prog).parse_args(args)

    from kipoi_mcdropout.files import SUFFIXES, prediction_files
    from kipoi_mcdropout.files.atomic import check_free, check_outputs

    check_free(check_outputs(options.output, SUFFIXES), options.overwrite)

    from kipoi_mcdropout.arrays.nested import n_rows, take
    from kipoi_mcdropout.cli.messages import say, warn
    from kipoi_mcdropout.cli.session import batches, load_data
    from kipoi_mcdropout.files.record import PredictionRecord, metadata_rows
    from kipoi_mcdropout.model.model import Model
    from kipoi_mcdropout.model.predict import mc_predict

    description = describe_model(options)
    loaded = load_described(description, with_dataloader=options.dataloader is None)
    model = Model.of(loaded, description.settings)
    dataloader, arguments = load_data(options, loaded)
    stream = batches(options, dataloader)
    first = next(stream)
    adapter = model.adapter
    with adapter.locked.borrow():
        one = adapter.tensors(take(adapter.arrays(first["inputs"]), slice(0, 1)))
        plan = adapter.locked.plan_for(one, options.n_draws)
    header = _provenance(options, model, plan, arguments, [*prog.split(), *args])
    for note in plan.notes:
        say(f"note: {note}")
    n = 0
    bad = _BadValues()
    with prediction_files(options.output, header, options.overwrite) as files:
        batch: dict[str, Any] | None = first
        while batch is not None:
            predictions = mc_predict(
                model,
                batch["inputs"],
                options.n_draws,
                options.seed,
                targets=options.target,
                batch_size=options.batch_size,
                keep_draws=options.keep_draws,
            )
            rows = n_rows(batch["inputs"])
            record = PredictionRecord(n, predictions, metadata_rows(batch, rows))
            files.write(record)
            bad.mention(record, warn)
            n += rows
            batch = next(stream, None)
    say(f"{n} sequences, {options.n_draws} draws: {', '.join(options.output)}")
    if bad.n:
        warn(f"{bad.n} predictions are NaN; look at the column n_nonfinite")
    return EXIT_OK


def _provenance(
    options: argparse.Namespace,
    model: Any,
    plan: Any,
    dataloader_kwargs: dict[str, Any],
    command: list[str],
) -> dict[str, Any]:
    from kipoi_mcdropout.files.provenance import input_files, provenance

    return provenance(
        model=model.name,
        source=model.source,
        identity=model.adapter.identity(),
        plan=plan,
        seed=options.seed,
        n_draws=options.n_draws,
        options={
            "target": options.target,
            "ignore": list(model.settings.ignore),
            "dataloader_args": dataloader_kwargs,
        },
        files=input_files({**model.adapter.files, **dataloader_kwargs}),
        command=command,
    )


class _BadValues:
    """Counts predictions that are NaN, and names the first of each batch."""

    def __init__(self) -> None:
        self.n = 0

    def mention(self, record: Any, warn: Any) -> None:
        """Look at the predictions of a batch."""
        bad = record.not_finite()
        self.n += int(bad.sum())
        if bad.any():
            row, output = (int(i[0]) for i in bad.nonzero())
            why = "the model's output is NaN or infinite"
            if record.predictions.n_nonfinite[row, output] == 0:
                why = "a statistic is too large for 32 bits, or the output with dropout off is infinite"
            warn(
                f"{int(bad.sum())} predictions are NaN, first for sequence {record.names()[row]}, "
                f"output {record.predictions.labels[output]!r}: {why}"
            )
