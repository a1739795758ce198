"""`kipoi mcdropout audit`: every dropout site of a model, before any run."""

from __future__ import annotations

import argparse

from kipoi_mcdropout.cli.arguments import Parser
from kipoi_mcdropout.cli.data_arguments import add_data_arguments
from kipoi_mcdropout.cli.model_arguments import add_model, describe_model, load_described
from kipoi_mcdropout.cli.readout_arguments import add_readout_arguments, readout_words, with_readout
from kipoi_mcdropout.errors import EXIT_OK

_DESCRIPTION = """\
Print every dropout site of a model: name, kind, p, shape of the mask, and whether it is locked. Then
print each operation of the incremental engine, what a mutation changes there, and the time for a
sequence. Without --dataloader_args, --regions or --sequences the model is probed with random sequences
of the shapes in its schema. Exit code 2 if the model has
no dropout and is alone (several members without dropout are draws themselves), or has a dropout that
cannot be locked."""


def get_parser(prog: str = "kipoi mcdropout audit") -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = Parser(prog, _DESCRIPTION, f"{prog} example/model --source dir")
    add_model(parser)
    add_data_arguments(parser)
    add_readout_arguments(parser)
    parser.add_argument("--no_plan", action="store_true", help="print only the dropout sites")
    return parser


def main(args: list[str], prog: str = "kipoi mcdropout audit") -> int:
    """Run the command; returns its exit code."""
    options = get_parser(prog).parse_args(args)

    from kipoi_mcdropout.arrays.nested import take
    from kipoi_mcdropout.cli.data import Data
    from kipoi_mcdropout.cli.messages import say
    from kipoi_mcdropout.engine.explain import engine_plan, format_plan
    from kipoi_mcdropout.files.standard_output import results
    from kipoi_mcdropout.model.audit import audit
    from kipoi_mcdropout.model.model import Model
    from kipoi_mcdropout.sequence.mutants import get_input

    data = Data(options)
    with_data = data.files is not None or options.dataloader_args is not None
    description = describe_model(options)
    loaded = data.load_model(description) if with_data else load_described(description, False)
    settings = with_readout(description.settings, readout_words(options))
    model = Model.of(loaded, settings)
    if with_data:
        inputs = next(data.open(model).batches)["inputs"]
    else:
        inputs = model.example()
        say(
            "no --dataloader_args, --regions or --sequences were given: the model is probed with a "
            "random input of the shape in its schema"
        )
    print(audit(model, inputs), file=results())
    if not options.no_plan:
        adapter = model.adapter
        reference = take(adapter.arrays(inputs), slice(0, 1))
        key = adapter.input_key(model.settings.model_input, reference)
        sequence = get_input(reference, key)
        layout = model.encoding.layout(sequence)
        layout.codes(sequence)  # refuses an input that is not one-hot
        ensemble = model.ensemble
        is_random = ensemble.is_random(inputs)[ensemble.members.index(adapter)]
        plan = engine_plan(adapter.locked, reference, key, layout, say, is_random)
        which = f"the first of {len(loaded)} members:\n" if len(loaded) > 1 else ""
        print(f"\n{which}{format_plan(plan)}", file=results())
    return EXIT_OK
