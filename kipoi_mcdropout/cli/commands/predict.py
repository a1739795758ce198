"""`kipoi mcdropout predict`: predictions with uncertainty."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from kipoi_mcdropout.cli.arguments import (
    Parser,
    add_draw_arguments,
    add_output_arguments,
)
from kipoi_mcdropout.cli.data_arguments import add_data_arguments
from kipoi_mcdropout.cli.model_arguments import add_model, describe_model
from kipoi_mcdropout.cli.readout_arguments import add_readout_arguments, readout_words, with_readout
from kipoi_mcdropout.errors import EXIT_OK

if TYPE_CHECKING:
    from kipoi_mcdropout.dropout.sites import SitePlan

_DESCRIPTION = """\
Write the mean, variance, standard deviation and Monte Carlo error of a model's predictions over many
draws of dropout masks, and the prediction with dropout off. All inputs of a draw share the same
masks."""


def get_parser(prog: str = "kipoi mcdropout predict") -> argparse.ArgumentParser:
    """Parser of the command; flags that `kipoi predict` has mean the same here."""
    parser = Parser(
        prog,
        _DESCRIPTION,
        f"{prog} example/model -f genome.fa --regions regions.bed \\\n"
        "    --n_draws 30 --seed 0 -o predictions.tsv",
    )
    add_model(parser)
    add_data_arguments(parser)
    add_readout_arguments(parser)
    add_draw_arguments(parser)
    parser.add_argument("--keep_draws", action="store_true", help="also write every draw (HDF5 only)")
    add_output_arguments(parser, ".h5 .tsv .tsv.gz .parquet, any number of them")
    return parser


def main(args: list[str], prog: str = "kipoi mcdropout predict") -> int:
    """Run the command; returns its exit code."""
    options = get_parser(prog).parse_args(args)

    from kipoi_mcdropout.files import SUFFIXES
    from kipoi_mcdropout.files.atomic import check_free, check_outputs

    check_free(check_outputs(options.output, SUFFIXES), options.overwrite)

    from kipoi_mcdropout.cli.data import Data
    from kipoi_mcdropout.cli.messages import say, warn
    from kipoi_mcdropout.model.ensemble import draws_of
    from kipoi_mcdropout.model.model import Model
    from kipoi_mcdropout.model.predict import PredictionOptions
    from kipoi_mcdropout.outputs.targets import as_targets
    from kipoi_mcdropout.runs.predict import predict_to_files

    settings = PredictionOptions(
        draws_of(options.n_draws), options.seed, as_targets(options.target), options.batch_size,
        options.keep_draws,
    )  # fmt: skip
    data = Data(options, only_of_files=("length", "model_input", "category_axis", "alphabet"))
    description = describe_model(options)
    own = with_readout(description.settings, readout_words(options))
    model = Model.of(data.load_model(description), own)
    bad = _BadValues()

    def began(plan: SitePlan) -> None:
        for note in plan.notes:
            say(f"note: {note}")

    n = predict_to_files(
        model,
        data.open(model),
        settings,
        options.output,
        overwrite=options.overwrite,
        command=[*prog.split(), *args],
        began=began,
        finished=lambda record: bad.mention(record, warn),
    )
    say(f"{n} sequences, {bad.n_draws} draws: {', '.join(options.output)}")
    if bad.n:
        warn(f"{bad.n} predictions are NaN; look at the column n_nonfinite")
    return EXIT_OK


class _BadValues:
    """Counts predictions that are NaN, and names the first of each batch."""

    def __init__(self) -> None:
        self.n = 0
        self.n_draws = 0  # of the run

    def mention(self, record: Any, warn: Any) -> None:
        """Look at the predictions of a batch."""
        self.n_draws = record.predictions.n_draws
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
