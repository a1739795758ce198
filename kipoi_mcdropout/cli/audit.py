"""`kipoi mcdropout audit`: every dropout site of a model, before any run."""

from __future__ import annotations

import argparse

from kipoi_mcdropout.cli.arguments import Parser, add_model_arguments
from kipoi_mcdropout.errors import EXIT_OK

_DESCRIPTION = """\
Print every dropout site of a model: name, kind, p, shape of the mask, and whether it is locked. Without
--dataloader_args the model is probed with random sequences of the shapes in its schema. Exit code 2 if
the model has no dropout, or one that cannot be locked."""


def get_parser(prog: str = "kipoi mcdropout audit") -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = Parser(prog, _DESCRIPTION, f"{prog} example/model --source dir")
    add_model_arguments(parser)
    parser.add_argument(
        "--ignore",
        nargs="+",
        default=[],
        metavar="MODULE",
        help="modules that look like dropout but are to be left off",
    )
    return parser


def main(args: list[str], prog: str = "kipoi mcdropout audit") -> int:
    """Run the command; returns its exit code."""
    options = get_parser(prog).parse_args(args)

    from kipoi_mcdropout.audit import audit, example_inputs, format_audit
    from kipoi_mcdropout.cli.session import batches, load_data, load_model

    model = load_model(options)
    if options.dataloader_args is None:
        inputs = example_inputs(model)
    else:
        dataloader, _ = load_data(options, model)
        inputs = next(batches(options, dataloader))["inputs"]
    print(format_audit(*audit(model, inputs, tuple(options.ignore))))
    return EXIT_OK
