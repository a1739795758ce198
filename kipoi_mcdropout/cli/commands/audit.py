"""`kipoi mcdropout audit`: every dropout site of a model, before any run."""

from __future__ import annotations

import argparse
from typing import Any

from kipoi_mcdropout.cli.arguments import Parser, add_model_arguments
from kipoi_mcdropout.errors import EXIT_OK

_DESCRIPTION = """\
Print every dropout site of a model: name, kind, p, shape of the mask, and whether it is locked. Then
print each operation of the incremental engine, what a mutation changes there, and the time for a
sequence. Without
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
        help="modules whose dropout is to be left off, also inside them",
    )
    parser.add_argument(
        "--model_input",
        default=None,
        help="name of the input to mutate; needed if the model has several",
    )
    parser.add_argument(
        "-c",
        "--category_axis",
        type=int,
        default=None,
        help="axis of one input with the bases (default: the one that is 4 long)",
    )
    parser.add_argument(
        "--alphabet", default="ACGT", help="letters along that axis, in order (default ACGT)"
    )
    parser.add_argument("--no_plan", action="store_true", help="print only the dropout sites")
    return parser


def main(args: list[str], prog: str = "kipoi mcdropout audit") -> int:
    """Run the command; returns its exit code."""
    options = get_parser(prog).parse_args(args)

    from kipoi_mcdropout.cli.messages import say
    from kipoi_mcdropout.cli.session import batches, load_data, load_model
    from kipoi_mcdropout.engine.explain import engine_plan, format_plan
    from kipoi_mcdropout.files.standard_output import results
    from kipoi_mcdropout.model.adapter import KipoiModel
    from kipoi_mcdropout.model.audit import audit, example_inputs, format_audit

    with_data = options.dataloader_args is not None
    model = load_model(options, with_dataloader=with_data)
    if with_data:
        dataloader, _ = load_data(options, model)
        inputs = next(batches(options, dataloader))["inputs"]
    else:
        inputs = example_inputs(model)
        say(
            "no --dataloader_args were given: the model is probed with a random input of the shape in "
            "its schema"
        )
    print(format_audit(*audit(model, inputs, tuple(options.ignore))), file=results())
    if not options.no_plan:
        name, axis = _mutated_input(options, inputs)
        adapter = KipoiModel(model, ignore=options.ignore)
        plan = engine_plan(adapter, inputs, name, axis, options.alphabet, say)
        print(f"\n{format_plan(plan)}", file=results())
    return EXIT_OK


def _mutated_input(options: argparse.Namespace, inputs: Any) -> tuple[Any, int]:
    """Name of the input that would be mutated, and its category axis."""
    from kipoi_mcdropout.arrays.nested import leaves
    from kipoi_mcdropout.errors import InputError
    from kipoi_mcdropout.sequence.mutants import get_input
    from kipoi_mcdropout.sequence.one_hot import OneHotLayout

    name = options.model_input
    names = list(inputs) if isinstance(inputs, dict) else list(range(len(list(leaves(inputs)))))
    if name is None:
        if len(names) > 1:
            raise InputError(f"--model_input must be one of {', '.join(map(str, names))}, or --no_plan")
        name = names[0]
    elif isinstance(inputs, dict) and name not in names:
        raise InputError(f"--model_input must be one of {', '.join(map(str, names))}; got {name!r}")
    if options.category_axis is not None:
        return name, options.category_axis
    return name, OneHotLayout.of(get_input(inputs, name), None, options.alphabet).category_axis
