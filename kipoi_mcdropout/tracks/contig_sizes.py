"""Lengths of the contigs of a result, which a bigWig and a bigBed begin with."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kipoi_mcdropout.errors import InputError, InputWarning
from kipoi_mcdropout.files.provenance import file_checksum
from kipoi_mcdropout.sequence.contig_names import alias_of, some_names
from kipoi_mcdropout.sequence.genome import Genome

_FASTA_KEYS = ("fasta_file", "fasta")  # of the files in the provenance: of ism, of score_variants


def contig_sizes(
    ends: Mapping[str, int], record: Mapping[str, Any], fasta_file: str | Path | None
) -> dict[str, int]:
    """The length of each contig of a result, by its name there, sorted by name.

    From the FASTA that is given, else from the one that the result was made with, if it is still there
    and unchanged; else the last position that is written, with a warning.

    Parameters
    ----------
    ends : mapping of str to int
        Contigs of the result, and the end of the last interval on each.
    record : mapping
        Provenance of the result; its contig map is used.
    fasta_file : str or Path, optional

    Raises
    ------
    InputError
        If the FASTA lacks a contig, or one ends before the last position.
    """
    path = Path(fasta_file) if fasta_file is not None else _own_fasta(record)
    if path is None:
        warnings.warn(
            "no FASTA tells the lengths of the contigs, so each ends at the last position written. "
            "Genome browsers show such files; to have the true lengths, give the FASTA "
            "(-f, or fasta_file=)",
            InputWarning,
            stacklevel=2,
        )
        return dict(sorted(ends.items()))
    with Genome(path) as genome:
        lengths = genome.lengths
    contig_map = _contig_map(record)
    sizes = {name: _length(name, contig_map, lengths, path) for name in sorted(ends)}
    for name, end in ends.items():
        if end > sizes[name]:
            raise InputError(
                f"contig {name} has {sizes[name]:,} bases in {path}, and the result has position "
                f"{end:,}. Give the FASTA that the result was made with"
            )
    others = {name: length for name, length in lengths.items() if name not in contig_map.values()}
    if all(name in lengths for name in ends):  # other contigs, as other tools have them
        sizes = {**others, **sizes}
    return dict(sorted(sizes.items()))


def _own_fasta(record: Mapping[str, Any]) -> Path | None:
    files = record.get("files", {})
    for entry in (files[key] for key in _FASTA_KEYS if key in files):
        path = Path(entry["path"])
        if path.is_file() and file_checksum(path) == entry["sha256"]:
            return path
    return None


def _contig_map(record: Mapping[str, Any]) -> dict[str, str]:
    options = record.get("options", {})
    inputs = options.get("inputs") or {}
    return dict(options.get("contig_map") or inputs.get("contig_map") or {})


def _length(name: str, contig_map: Mapping[str, str], lengths: Mapping[str, int], path: Path) -> int:
    for candidate in (contig_map.get(name, name), alias_of(name)):
        if candidate in lengths:
            return lengths[candidate]
    raise InputError(
        f"contig {name} of the result is not in {path}, which has {some_names(lengths)}. Give the FASTA "
        "that the result was made with"
    )
