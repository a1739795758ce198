"""The arguments that say where inputs come from: a dataloader, regions of a genome, or a FASTA."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

FASTA_FLAGS = ("-f", "--fasta_file")
_FASTA = "the genome for --regions: FASTA, plain or bgzipped"


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """All of them; `-f` is the genome."""
    add_file_arguments(parser)
    parser.add_argument(*FASTA_FLAGS, metavar="FASTA", help=_FASTA)
    add_dataloader_arguments(parser)


def add_data_arguments_beside_function(parser: argparse.ArgumentParser) -> None:
    """The same for commands in which kipoi-interpret has `-f` for `--output_sel_fn FILE::FUNCTION`."""
    add_file_arguments(parser)
    parser.add_argument(
        *FASTA_FLAGS,
        action=_FastaOrFunction,
        metavar="FASTA",
        help=f"{_FASTA} (-f FILE::FUNCTION, with two colons, is --output_sel_fn, as in kipoi-interpret)",
    )
    add_dataloader_arguments(parser)


class _FastaOrFunction(argparse.Action):
    """`-f` with two colons in its value is kipoi-interpret's word for --output_sel_fn."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        is_function = option_string == "-f" and "::" in str(values)
        setattr(namespace, "output_sel_fn" if is_function else self.dest, values)


def add_file_arguments(parser: argparse.ArgumentParser) -> None:
    """Files that give the inputs without a dataloader."""
    parser.add_argument(
        "--regions",
        metavar="BED",
        help="windows of the genome of -f: BED or narrowPeak, plain or gzipped. A region of another "
        "length than the model's input is resized about its centre",
    )
    parser.add_argument(
        "--sequences",
        metavar="FASTA",
        help="one sequence for each input, of the length of the model's input: FASTA, plain or gzipped",
    )
    parser.add_argument(
        "--edge",
        choices=["pad", "skip"],
        help="what to do with a window that runs over an end of a contig: pad it with N (default), or "
        "skip the region",
    )
    parser.add_argument(
        "--use_strand",
        action="store_true",
        help="read the reverse complement of regions with - in the sixth column (default: the forward "
        "strand of all)",
    )
    parser.add_argument(
        "--contig_map",
        metavar="FILE",
        help="file with two columns: name of a contig in the regions, its name in the FASTA",
    )


def add_dataloader_arguments(parser: argparse.ArgumentParser) -> None:
    """The dataloader, by the words that `kipoi predict` has."""
    parser.add_argument(
        "--dataloader", metavar="NAME", help="name of a dataloader to use in place of the model's own"
    )
    parser.add_argument(
        "--dataloader_source",
        metavar="SOURCE",
        help="where to find that dataloader, as for --source (default: kipoi)",
    )
    parser.add_argument(
        "--dataloader_args",
        nargs="+",
        metavar="ARGS",
        help='arguments of the dataloader: JSON such as \'{"fasta_file": "genome.fa"}\', the path of '
        "a JSON file, or words such as fasta_file=genome.fa",
    )
    parser.add_argument(
        "--batch_size",
        type=int,
        help="number of inputs in one forward pass (default: as many as fit into memory, at most 32)",
    )
    parser.add_argument(
        "-n",
        "--num_workers",
        type=_whole,
        default=0,
        help="number of processes in which the dataloader reads (default 0: none but this one)",
    )


def _whole(text: str) -> int:
    """A whole number of 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number, 0 or more; got {text!r}")
    return int(text)
