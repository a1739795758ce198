"""`kipoi mcdropout init`: a new project; or what a model is, as mcdropout.yaml or as a Kipoi folder."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kipoi_mcdropout.cli.arguments import Parser
from kipoi_mcdropout.cli.model_arguments import (
    add_model,
    describe_model,
    load_described,
    model_words,
)
from kipoi_mcdropout.errors import EXIT_OK, InputError

if TYPE_CHECKING:
    from kipoi_mcdropout.model.description import ModelDescription
    from kipoi_mcdropout.model.model import Model
    from kipoi_mcdropout.model.source import ModelSource

_DESCRIPTION = """\
init FOLDER makes a new folder to start from. It has a small network, a genome, regions and a VCF, to be
replaced by yours, and a README and a Snakefile with the commands, which run as they are.

init MODEL -o PATH writes what MODEL and its flags say into a file, mcdropout.yaml, that every
command takes as MODEL, so that a group can share it. Paths in it are relative to the file. With --kipoi
it writes a folder that Kipoi itself can load, with copies of the code and of the weights and with a
dataloader. The model is loaded and run first, so what does not fit is found now."""


def get_parser(prog: str = "kipoi mcdropout init") -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = Parser(
        prog,
        _DESCRIPTION,
        f"{prog} my_project\n"
        f"  {prog} net.py:Net --weights weights.pt \\\n"
        "    --outputs FOXA2 DNase --length 500 -o mcdropout.yaml",
    )
    add_model(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="PATH",
        help="file to write, .yaml, or a folder, which then gets a mcdropout.yaml (default: MODEL is "
        "the name of a new folder, for a project to start from)",
    )
    parser.add_argument(
        "--kipoi", action="store_true", help="write a folder with a model that Kipoi itself can load"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    return parser


def main(args: list[str], prog: str = "kipoi mcdropout init") -> int:
    """Run the command; returns its exit code."""
    options = get_parser(prog).parse_args(args)

    if options.output is None:
        return _new_project(options)

    from kipoi_mcdropout.cli.messages import say
    from kipoi_mcdropout.files.atomic import check_free, replace_file
    from kipoi_mcdropout.model.model import Model
    from kipoi_mcdropout.model.model_file import MODEL_FILE, model_file_text

    path = Path(options.output)
    is_file = path.suffix in (".yaml", ".yml")
    if options.kipoi and is_file:
        raise InputError(f"--kipoi writes a folder; got the file {path}. Give a folder by -o")
    folder, name = (path.parent, path.name) if is_file else (path, MODEL_FILE)
    description = describe_model(options)
    if options.kipoi and len(description.sources) > 1:
        raise InputError(
            "Kipoi has no models of several members: write a mcdropout.yaml, without --kipoi"
        )
    model = Model.of(load_described(description, with_dataloader=False), description.settings)
    example = f"Every command takes this file as MODEL: kipoi mcdropout audit {name}"
    if options.kipoi:
        from kipoi_mcdropout.model.kipoi_folder import kipoi_files

        files = kipoi_files(model, description.source)
        words = _words_beside_kipoi(description, model)
        files[name] = model_file_text(words, Path(), example).encode()
    else:
        words = _words(description)
        if found := _found_shape(model, say):
            words.pop("length", None)
            words |= found
        files = {name: model_file_text(words, folder, example).encode()}
    folder.mkdir(parents=True, exist_ok=True)
    paths = {folder / name: content for name, content in files.items()}
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    check_free(paths, options.overwrite)
    for path, content in paths.items():
        replace_file(path, [content])
    say(f"written: {', '.join(map(str, sorted(paths)))}")
    return EXIT_OK


def _new_project(options: argparse.Namespace) -> int:
    """Make a folder to start from; flags of a model, or of its file, are an error."""
    from kipoi_mcdropout.cli.messages import say
    from kipoi_mcdropout.cli.new_project import new_project

    flags = [name for name in model_words(options) if name != "model"]
    flags += [name for name in ("kipoi", "overwrite") if getattr(options, name)]
    if flags:
        raise InputError(
            f"--{flags[0]} is about a model, so -o PATH is needed, the file or folder to write. For a "
            "new project give init the name of a new folder alone"
        )
    paths = new_project(Path(options.model))
    say(f"written: {', '.join(map(str, paths))}")
    say(f"next: cd {options.model}, and follow its README.md")
    return EXIT_OK


def _words(description: ModelDescription) -> dict[str, Any]:
    """All words that are not the default."""
    from kipoi_mcdropout.model.settings import settings_as_dict

    source = {
        field.name: value
        for field in dataclasses.fields(description.source)
        if (value := getattr(description.source, field.name)) not in (None, {}, False)
    }
    members = [_member_word(member, description.source) for member in description.sources[1:]]
    return {
        **source, **settings_as_dict(description.settings), **({"members": members} if members else {}),
    }  # fmt: skip


def _member_word(member: ModelSource, model: ModelSource) -> str:
    """What a member is called: its weights, or another model without weights of its own."""
    if member.weights is not None and dataclasses.replace(member, weights=model.weights) == model:
        return member.weights
    if member != dataclasses.replace(member, weights=None, model_kwargs={}, trust_pickle=False):
        raise InputError(
            f"the member {member.model} has weights or arguments of its own, which a mcdropout.yaml of "
            "several members cannot say. Write a file for it and name that by --member"
        )
    return member.model


def _found_shape(model: Model, say: Any) -> dict[str, Any]:
    """The shape of an input, also where it was found out; nothing where the data must say it."""
    if model.source not in ("file", "module", "pickle"):
        return {}
    try:
        return {"input_shape": list(model.sequences.layout.shape)}
    except InputError as error:
        say(f"input_shape is not written: {error}")
        return {}


def _words_beside_kipoi(description: ModelDescription, model: Model) -> dict[str, Any]:
    """What a Kipoi folder cannot say of its model."""
    settings = description.settings
    words: dict[str, Any] = {"model": ".", "source": "dir", "alphabet": model.alphabet}
    words |= {"category_axis": model.sequences.layout.category_axis}
    for name in ("unknown", "label_axis", "ignore"):
        if (value := getattr(settings, name)) not in (None, ()):
            words[name] = value
    return words
