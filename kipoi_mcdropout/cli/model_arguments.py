"""The model of every command: the argument MODEL, and the flags that say what it does not say itself."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kipoi_mcdropout.model.description import ModelDescription
    from kipoi_mcdropout.model.source import ModelSource

# The flags of the model, by their names in `load_model` and in mcdropout.yaml.
MODEL_FLAGS = (
    "source", "weights", "members", "model_kwargs", "trust_pickle", "outputs", "input_shape", "length",
    "model_input", "category_axis", "alphabet", "unknown", "vocabulary", "extra_inputs", "label_axis",
    "ignore", "dtype", "device", "allow_tf32",
)  # fmt: skip
MODEL_HELP = (
    "the model: path/to/file.py:NAME or package.module:NAME, a class or function that gives an "
    "nn.Module; a Keras file (.keras, .h5); a mcdropout.yaml or its folder; a folder with a "
    "model.yaml; or a name in Kipoi's zoo"
)


def add_model(parser: argparse.ArgumentParser) -> None:
    """MODEL and its flags; those that are not given are None."""
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    _add_loading(parser)
    _add_inputs(parser)
    _add_outputs(parser)
    _add_device(parser)


def _add_loading(parser: argparse.ArgumentParser) -> None:
    """How a model is loaded."""
    import kipoi

    parser.add_argument(
        "--source",
        choices=list(kipoi.config.model_sources()),
        help="where to find a model of Kipoi: dir for a local folder, kipoi for the zoo, or another "
        "source from ~/.kipoi/config.yaml (default: dir if MODEL is a folder with a model.yaml, else "
        "kipoi)",
    )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="weights for file.py:NAME or package.module:NAME: a state_dict (.pt, .pth, .safetensors) "
        "or a checkpoint that has one, as Lightning writes it; random for those of an untrained network",
    )
    parser.add_argument(
        "--member",
        "--members",
        dest="members",
        action="extend",
        nargs="+",
        metavar="FILE",
        help="another trained network of the same ensemble (a fold, a replicate, a checkpoint), any "
        "number of times: a file of weights for the same code, another MODEL, or a quoted pattern such "
        "as 'fold_*/weights.pt'; each draw is then a member and its masks",
    )
    parser.add_argument(
        "--model_kwargs",
        metavar="JSON",
        help="arguments of NAME as JSON, such as '{\"n_filters\": 64}', or the path of a JSON file",
    )
    parser.add_argument(
        "--trust_pickle",
        action="store_true",
        default=None,
        help="also read files that can run code of their own when they are read: a checkpoint with "
        "Python objects, or a whole pickled network (MODEL may then be its file, net.pt); only for "
        "files whose author you trust",
    )


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    """How the model takes sequences."""
    parser.add_argument(
        "--input_shape",
        metavar="N,N",
        help="shape of one input, such as 4,500; needed only where the data do not say it and the "
        "network does not either",
    )
    parser.add_argument(
        "--length",
        type=int,
        metavar="BP",
        help="length of the sequence in bp, if the model does not say it",
    )
    parser.add_argument(
        "--model_input",
        metavar="NAME",
        help="name of the input to mutate; needed if the model has several",
    )
    parser.add_argument(
        "-c",
        "--category_axis",
        type=int,
        metavar="AXIS",
        help="axis of one input with the bases: 1 for (1000, 4), 0 for (4, 1000) (default: the axis "
        "that is 4 long)",
    )
    parser.add_argument(
        "--alphabet",
        metavar="LETTERS",
        help="letters along that axis, in order (default: the dataloader's alphabet, else ACGT); ACGTN "
        "where N has a channel of its own, ACGU for RNA",
    )
    parser.add_argument(
        "--unknown",
        choices=["uniform", "zero"],
        help="how N is encoded where this program reads the sequence: 0.25 each, as kipoiseq does "
        "(uniform, the default), or all zero; an alphabet with N has a channel for it",
    )
    parser.add_argument(
        "--vocabulary",
        metavar="TOKENS",
        help="for a model whose input is one token a base: the tokens, as A=7,C=8,G=9,T=10,N=11, or a "
        "tokenizer (a folder with tokenizer.json, vocab.json or vocab.txt, or such a file); "
        "prefix=0,suffix=1 are tokens around a sequence that is read from a genome",
    )
    parser.add_argument(
        "--extra_inputs",
        metavar="JSON",
        help="values of the model's other inputs, the same for all sequences, where this program reads "
        "the sequence, e.g. '{\"organism\": 0}'",
    )


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    """What the outputs are called, and which dropout is left off."""
    parser.add_argument(
        "--outputs",
        nargs="+",
        metavar="NAME",
        help="names of all outputs of the model, in order; or a file with one name a line (default: "
        "those of the model's schema, else numbers)",
    )
    parser.add_argument(
        "--label_axis",
        type=int,
        metavar="AXIS",
        help="axis of an output that its column labels name, not counting the batch; needed if several "
        "axes fit",
    )
    parser.add_argument(
        "--ignore",
        nargs="+",
        metavar="MODULE",
        help="modules whose dropout stays off, including the dropout inside them",
    )
    parser.add_argument(
        "--dtype",
        choices=["float32", "bfloat16"],
        help="type in which the model computes: float32, its own types (default), or bfloat16, which is "
        "faster on some processors, but loses small effects to rounding; the masks are the same",
    )


def _add_device(parser: argparse.ArgumentParser) -> None:
    """Where the model computes."""
    parser.add_argument(
        "--device",
        metavar="DEVICE",
        help="where the model computes: auto (a GPU of CUDA where there is one, else the CPU; the "
        "default), cpu, cuda, cuda:N for one of several GPUs, or mps for a GPU of Apple",
    )
    parser.add_argument(
        "--allow_tf32",
        action="store_true",
        default=None,
        help="let a GPU of NVIDIA round the factors of float32 products to TF32, 10 binary digits, "
        "which is faster, but loses small effects to rounding",
    )


def model_words(options: argparse.Namespace) -> dict[str, Any]:
    """MODEL and its flags, without those that were not given."""
    words = {"model": options.model, **{name: getattr(options, name) for name in MODEL_FLAGS}}
    return {name: value for name, value in words.items() if value is not None}


def describe_model(options: argparse.Namespace, **other: Any) -> ModelDescription:
    """The checked description of the model; `other` are words that replace the flags.

    Raises
    ------
    InputError
        See `ModelDescription.of`.
    """
    from kipoi_mcdropout.cli.messages import say
    from kipoi_mcdropout.model.description import ModelDescription

    words = {**model_words(options), **{k: v for k, v in other.items() if v is not None}}
    description = ModelDescription.of(words, say)
    source = description.source
    if source.is_kipoi and source.source is None and source.kipoi_source == "dir":
        say(f"{source.model} is a local folder with a model.yaml, so --source dir is used")
    return description


def load_described(
    description: ModelDescription, with_dataloader: bool = True, memory_bytes: int | None = None
) -> list[Any]:
    """The model that the description names, and its other members, loaded.

    What there is to say goes to stderr. Large members are kept out of memory; see `load_members`.

    Raises
    ------
    InputError
        If one cannot be loaded; it is named.
    """
    from kipoi_mcdropout.cli.messages import say
    from kipoi_mcdropout.model.load_members import load_members

    def load(number: int, source: ModelSource) -> Any:
        return _load(source, with_dataloader and number == 0)

    return load_members(description.sources, load, memory_bytes, say)


def _load(source: ModelSource, with_dataloader: bool) -> Any:
    from kipoi_mcdropout.cli.messages import say
    from kipoi_mcdropout.cli.session import explained

    if not source.is_kipoi:
        return source.load(say=say)
    what = f"the model {source.model!r} from source {source.kipoi_source!r} cannot be loaded"
    with explained(what):
        return source.load(with_dataloader, say)
