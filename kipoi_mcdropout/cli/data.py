"""Where the inputs of a command come from: Kipoi's dataloader, regions of a genome, or a FASTA."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kipoi_mcdropout.arrays.nested import leaves
from kipoi_mcdropout.cli.messages import say, warn
from kipoi_mcdropout.cli.model_arguments import load_described
from kipoi_mcdropout.cli.session import explained
from kipoi_mcdropout.errors import InputError

if TYPE_CHECKING:
    from kipoi_mcdropout.model.description import ModelDescription
    from kipoi_mcdropout.model.fasta_sequences import FastaSequences
    from kipoi_mcdropout.model.model import Model
    from kipoi_mcdropout.model.regions import Regions
    from kipoi_mcdropout.model.sequences import Sequences
    from kipoi_mcdropout.model.settings import ModelSettings
    from kipoi_mcdropout.runs.background.options import BackgroundOptions

_OF_DATALOADER = ("dataloader_args", "dataloader", "dataloader_source")
_OF_REGIONS = ("edge", "use_strand", "contig_map")
_OF_FILES = ("unknown", "extra_inputs")
_OTHER_WAYS = "or give -f FASTA with --regions BED, or --sequences FASTA"
_READ_AT_ONCE = 32  # sequences, where --batch_size is not given


class Data:
    """The inputs of a command; its words are checked when it is made, before any model is loaded.

    Parameters
    ----------
    options : Namespace
        With the arguments of `data_arguments.add_data_arguments`.
    only_of_files : sequence of str
        Further arguments that mean nothing where a dataloader gives the inputs.

    Raises
    ------
    InputError
        If words cannot be combined.
    """

    def __init__(self, options: argparse.Namespace, only_of_files: Sequence[str] = ()) -> None:
        self.options = options
        self.files = _files(options)
        if self.files is None:
            _need(options, (*_OF_FILES, *only_of_files), "-f and --regions, or with --sequences")
        elif options.batch_size is not None and options.batch_size < 1:
            raise InputError(f"--batch_size must be at least 1; got {options.batch_size}")
        self._made: tuple[Any, dict[str, Any]] | None = None

    def load_model(self, description: ModelDescription) -> list[Any]:
        """The members of the model; with a dataloader where that is what gives the inputs."""
        memory = getattr(self.options, "memory", None)  # not all commands have it
        if self.files is not None:
            return load_for_files(description, memory)
        return load_described(description, self.options.dataloader is None, memory)

    def alphabet(self, loaded: Sequence[Any]) -> str | None:
        """The order of the bases in what the dataloader gives, which is made here.

        None where the inputs come from files: then it is that of the model.
        """
        from kipoi_mcdropout.model.adapter import alphabet_of, as_alphabet

        if self.files is not None:
            return None
        self._made = dataloader, arguments = make_dataloader(self.options, loaded[0])
        return as_alphabet(arguments.get("alphabet")) or alphabet_of(dataloader)

    def settings(self, own: ModelSettings, loaded: Sequence[Any]) -> ModelSettings:
        """The settings of the model, with the order of the bases in what the dataloader gives."""
        alphabet = self.alphabet(loaded)
        if own.alphabet is None and own.vocabulary is None:
            return replace(own, alphabet=alphabet)
        return own

    @contextmanager
    def sources(self, model: Model, options: BackgroundOptions) -> Iterator[Sequences]:
        """The sequences that a background is made of."""
        from kipoi_mcdropout.runs.background.make import sources

        if self.files is None and not options.from_regions:
            yield self.open(model)
            return
        with sources(model, self.files, options) as sequences:
            for note in sequences.notes:
                say(note)
            yield sequences

    def open(self, model: Model) -> Sequences:
        """The inputs in batches; what was done with them is said.

        Raises
        ------
        InputError
            If a file, or the dataloader, cannot be read or does not fit the model.
        """
        from kipoi_mcdropout.model.sequences import Sequences

        if self.files is not None:
            sequences = self.files.open(model, self.options.batch_size or _READ_AT_ONCE)
            for note in sequences.notes:
                say(note)
            return sequences
        if self._made is None:
            self._made = make_dataloader(self.options, model.adapter.model)
        dataloader, arguments = self._made
        batches = dataloader_batches(self.options, dataloader)
        n = _number_of_sequences(dataloader)
        return Sequences(batches, arguments, self.options.dataloader, n)


def _files(options: argparse.Namespace) -> Regions | FastaSequences | None:
    """The files that the inputs come from, None for a dataloader."""
    fasta, regions, sequences = options.fasta_file, options.regions, options.sequences
    _refuse(options, sequences is not None and regions is not None, ("sequences",), "--regions")
    _refuse(options, sequences is not None, ("fasta_file",), "--sequences")
    if (fasta is None) != (regions is None):
        raise InputError(
            "-f (--fasta_file), a genome, and --regions, a BED file, belong together: give both, or "
            "give --sequences, a FASTA file with a sequence for each input"
        )
    what = "--regions" if regions is not None else "--sequences"
    _refuse(options, regions is not None or sequences is not None, _OF_DATALOADER, what)
    if regions is None:
        _need(options, _OF_REGIONS, "-f and --regions")
    if regions is not None:
        from kipoi_mcdropout.model.regions import Regions

        how = {"use_strand": options.use_strand, "contig_map": options.contig_map}
        return Regions(fasta, regions, options.edge or "pad", **how)
    if sequences is not None:
        from kipoi_mcdropout.model.fasta_sequences import FastaSequences

        return FastaSequences(sequences)
    return None


def _refuse(options: argparse.Namespace, here: bool, names: tuple[str, ...], what: str) -> None:
    """Raise InputError for the first of some arguments that was given although `what` was."""
    for name in names:
        if here and getattr(options, name) is not None:
            raise InputError(f"--{name} cannot be combined with {what}: the inputs come from one place")


def _need(options: argparse.Namespace, names: Sequence[str], what: str) -> None:
    """Raise InputError for the first of some arguments that was given without what it belongs to."""
    for name in names:
        if getattr(options, name) not in (None, False):
            raise InputError(f"--{name} is used with {what} only")


def load_for_files(description: ModelDescription, memory_bytes: int | None = None) -> list[Any]:
    """The model for windows that are read by us; its dataloader can only say the order of the bases.

    Raises
    ------
    InputError
        If the model cannot be loaded.
    """
    own = description.settings
    if not description.source.is_kipoi or own.alphabet is not None or own.vocabulary is not None:
        return load_described(description, False, memory_bytes)
    try:
        return load_described(description, True, memory_bytes)
    except InputError as error:
        loaded = load_described(description, False, memory_bytes)  # raises if it is the model's fault
        warn(
            "warning: the dataloader of the model cannot be loaded, so the order of the bases is not "
            "known from it: A, C, G, T is used. If the model takes another, give --alphabet. "
            f"({error})"
        )
        return loaded


def make_dataloader(args: argparse.Namespace, model: Any) -> tuple[Any, dict[str, Any]]:
    """The dataloader, and the arguments it was made with.

    Raises
    ------
    InputError
        If Kipoi cannot make it with the arguments given.
    """
    import kipoi
    from kipoi_utils.utils import parse_json_file_str_or_arglist

    from kipoi_mcdropout.model.sibling_code import hidden

    with explained("--dataloader_args must be JSON, a .json file, or words of the form key=value"):
        kwargs = _as_json(args.dataloader_args)
        if kwargs is None:
            kwargs = parse_json_file_str_or_arglist(args.dataloader_args)
    what = f"the dataloader cannot be created; give its arguments with --dataloader_args, {_OTHER_WAYS}"
    with explained(what):
        if args.dataloader is None:
            factory = _required_dataloader(model)
        else:
            with hidden():
                factory = kipoi.get_dataloader_factory(
                    args.dataloader, args.dataloader_source or "kipoi"
                )
        known = set(factory.args)
        if unknown := set(kwargs) - known:
            raise InputError(f"unknown {sorted(unknown)}; it takes {sorted(known)}")
        required = {name for name, argument in factory.args.items() if not argument.optional}
        if missing := required - set(kwargs):
            raise InputError(f"missing {sorted(missing)}; it takes {sorted(known)}")
        return factory(**kwargs), kwargs


def _required_dataloader(model: Any) -> Any:
    """The model's own dataloader; InputError where it has none."""
    found = getattr(model, "default_dataloader", None)
    if found is None:
        raise InputError(
            "the model has no dataloader of its own; name one with --dataloader and --dataloader_source"
        )
    return found


def _as_json(words: list[str] | None) -> dict[str, Any] | None:
    """The arguments of a dataloader from one word of JSON; None where it is none.

    Kipoi reads JSON as YAML, which refuses file names that are no text in the locale's encoding.
    """
    try:
        value = json.loads(words[0]) if words and len(words) == 1 else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def dataloader_batches(args: argparse.Namespace, dataloader: Any) -> Iterator[dict[str, Any]]:
    """Batches of the dataloader.

    Raises
    ------
    InputError
        If it gives none, or fails while reading.
    """
    n = 0
    size = args.batch_size or _READ_AT_ONCE
    iterator = iter(dataloader.batch_iter(batch_size=size, num_workers=args.num_workers))
    while True:
        with explained(f"the dataloader failed after {n} sequences"):
            try:
                batch = next(iterator)
            except StopIteration:
                break
        n += len(next(leaves(batch["inputs"]))[1])
        yield batch
    if n == 0:
        raise InputError("the dataloader gave no sequence; check the files in --dataloader_args")


def _number_of_sequences(dataloader: Any) -> int | None:
    """Number of sequences, if the dataloader knows it."""
    try:
        return len(dataloader)
    except (TypeError, NotImplementedError):
        return None
